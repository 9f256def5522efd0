"""All states of the smaller layer of a Boltzmann machine, with their probabilities, by enumeration in float64."""

from __future__ import annotations

import numpy as np
import scipy.special

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import to_host

MOST_UNITS = 20  # units of the smaller layer, whose states are held all together


def binary_states(units: int, begin: int, end: int) -> Float64Array:
    """Return the states of binary units with numbers begin .. end - 1; unit j is bit j of the number.

    Returns
    -------
    ndarray of shape (end - begin, units), float64
        Zeros and ones.
    """
    numbers = np.arange(begin, end)
    states: Float64Array = (numbers[:, None] >> np.arange(units) & 1).astype(np.float64)
    return states


class BinaryStates:
    """The distribution of a restricted Boltzmann machine with binary units, by its smaller layer.

    The machine has ``p(v, h) = exp(b v + c h + h W v) / Z``. Given the states a of the smaller layer, the units of the
    larger one are independent, with means m(a).

    Parameters
    ----------
    components : ndarray of shape (n_hidden, n_visible)
        Weights W.
    intercept_hidden, intercept_visible : ndarray of shape (n_hidden,) and (n_visible,)
        Biases c and b.

    Attributes
    ----------
    turned : bool
        Whether the smaller layer is the visible one.
    states : ndarray of shape (2**k, k)
        All states a of the smaller layer.
    probabilities : ndarray of shape (2**k,)
        Their probabilities.
    means : ndarray of shape (2**k, l)
        Means m(a) of the units of the larger layer.
    log_partition : float
        log Z.

    Raises
    ------
    ValueError
        If the smaller layer has more than 20 units.
    """

    def __init__(self, components: Array, intercept_hidden: Array, intercept_visible: Array) -> None:
        weights, hidden, visible = (
            np.asarray(to_host(a), np.float64) for a in (components, intercept_hidden, intercept_visible)
        )
        self.turned = weights.shape[1] < weights.shape[0]
        if self.turned:
            weights, hidden, visible = weights.T, visible, hidden
        units = len(hidden)
        if units > MOST_UNITS:
            raise ValueError(
                f"a machine of {weights.shape[1]} and {units} units has too many states to enumerate: its smaller "
                f"layer may have at most {MOST_UNITS} units"
            )
        self.states = binary_states(units, 0, 1 << units)
        fields = self.states @ weights
        fields += visible
        logs = self.states @ hidden + np.logaddexp(0.0, fields).sum(axis=1)
        self.log_partition = float(scipy.special.logsumexp(logs))
        self.probabilities: Float64Array = np.exp(logs - self.log_partition)
        self.means: Float64Array = scipy.special.expit(fields)

    def expectations(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the means of h v^T, h and v, in the shapes of the parameters."""
        weighted = self.states * self.probabilities[:, None]
        products, small, large = (
            weighted.T @ self.means,
            weighted.sum(axis=0),
            self.probabilities @ self.means,
        )
        return (products.T, large, small) if self.turned else (products, small, large)
