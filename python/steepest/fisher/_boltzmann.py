"""The Fisher matrix of a small restricted Boltzmann machine, in closed form."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import to_host
from steepest._symmetric import one_thread_if_small

from ._binary_states import BinaryStates

_BLOCK_ITEMS = 1 << 21  # items of a block of expected statistics


class BoltzmannFisher:
    """Fisher matrix of a restricted Boltzmann machine: the covariance of its sufficient statistics.

    The machine has ``p(v, h) = exp(b v + c h + h W v) / Z``, and the statistics of its parameters are h v^T, h and v.
    Their covariance under the model is the Hessian of log Z, and the metric of the joint distribution of v and h [1]_.
    It is exact: the states of the smaller layer are enumerated, and given these the units of the other are independent.

    Vectors have the order of the parameters: ``components``, row by row, then ``intercept_hidden``, then
    ``intercept_visible``.

    Parameters
    ----------
    components : ndarray of shape (n_hidden, n_visible)
        Weights W.
    intercept_hidden, intercept_visible : ndarray of shape (n_hidden,) and (n_visible,)
        Biases c and b.

    Attributes
    ----------
    shape : (int, int)
        Number of parameters, twice.
    log_partition : float
        log Z.
    mean : ndarray of shape (n,)
        Expectations of the statistics, the gradient of log Z.

    Raises
    ------
    ValueError
        If shapes do not match, or the smaller layer has more than 20 units.

    References
    ----------
    .. [1] S. Amari, K. Kurata, H. Nagaoka, "Information geometry of Boltzmann machines", IEEE Transactions on Neural
       Networks 3, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest.fisher import BoltzmannFisher
    >>> F = BoltzmannFisher(np.zeros((1, 1)), np.zeros(1), np.zeros(1))
    >>> F.to_dense()
    array([[0.1875, 0.125 , 0.125 ],
           [0.125 , 0.25  , 0.    ],
           [0.125 , 0.    , 0.25  ]])
    """

    def __init__(self, components: Array, intercept_hidden: Array, intercept_visible: Array) -> None:
        shape = np.shape(components)
        if (
            len(shape) != 2
            or np.shape(intercept_hidden) != shape[:1]
            or np.shape(intercept_visible) != shape[1:]
        ):
            raise ValueError(
                f"[BoltzmannFisher] components of shape {shape} do not match intercepts of shapes "
                f"{np.shape(intercept_hidden)} and {np.shape(intercept_visible)}"
            )
        self._hidden, self._visible = shape
        try:
            self._states = BinaryStates(components, intercept_hidden, intercept_visible)
        except ValueError as error:
            raise ValueError(f"[BoltzmannFisher] {error}") from None
        self.log_partition = self._states.log_partition
        self.mean: Float64Array = np.concatenate([e.ravel() for e in self._states.expectations()])
        self.shape = (len(self.mean), len(self.mean))

    dtype = np.dtype(np.float64)

    def __matmul__(self, v: Array) -> Float64Array:
        """Return the product with a vector of shape (n,), in the time of a few passes over all states."""
        v = np.asarray(to_host(v), np.float64)
        if v.shape != self.shape[:1]:
            raise ValueError(
                f"[BoltzmannFisher] the vector has shape {v.shape}; the matrix has {self.shape[0]} columns"
            )
        states, p, m = self._states.states, self._states.probabilities, self._states.means
        products, small, large = self._split(v)
        # Given a state, the statistics are linear in the units of the larger layer: s = s(a) + A(a) (unit - mean).
        slopes = states @ products + large
        inner = (m * slopes).sum(axis=1) + states @ small
        between = p * (inner - p @ inner)
        within = slopes * (m * (1.0 - m)) * p[:, None]
        moved = within + between[:, None] * m
        return self._join(states.T @ moved, states.T @ between, moved.sum(axis=0))

    def to_dense(self) -> Float64Array:
        """Return the matrix, of shape (n, n) in float64."""
        states, p, m = self._states.states, self._states.probabilities, self._states.means
        k, n_large = states.shape[1], m.shape[1]
        n = self.shape[0]
        dense = np.zeros((n, n))
        rows = max(1, _BLOCK_ITEMS // n)
        order = np.concatenate([a.ravel() for a in self._split(np.arange(n))])
        centre = self.mean[order]
        for begin in range(0, len(p), rows):
            part = slice(begin, begin + rows)
            products = (states[part, :, None] * m[part, None, :]).reshape(-1, k * n_large)
            statistics = np.concatenate([products, states[part], m[part]], axis=1) - centre
            dense += (statistics * p[part, None]).T @ statistics
        # What is left of the covariance given a: unit i of the larger layer varies with (a, 1) on its own.
        ends = np.concatenate([states, np.ones((len(p), 1))], axis=1)
        for i in range(n_large):
            at = np.append(np.arange(k) * n_large + i, k * n_large + k + i)
            dense[np.ix_(at, at)] += (ends * (p * m[:, i] * (1.0 - m[:, i]))[:, None]).T @ ends
        places = order.argsort()
        return dense[np.ix_(places, places)]

    def solve(self, g: Array, damping: float = 0.0) -> Float64Array:
        """Return ``(F + damping I)^-1 g``, the natural gradient of a gradient g.

        Parameters
        ----------
        g : ndarray of shape (n,)
            The gradient.
        damping : float, default=0.0
            Number added to the diagonal; not negative.

        Raises
        ------
        ValueError
            If g has another shape, the damping is negative, or the matrix is singular without more damping.
        """
        g = np.asarray(to_host(g), np.float64)
        if g.shape != self.shape[:1] or not damping >= 0:
            raise ValueError(
                f"[BoltzmannFisher] a gradient of shape {self.shape[:1]} and a damping of at least 0 are needed, got "
                f"shape {g.shape} and {damping}"
            )
        damped = self.to_dense()
        damped[np.diag_indices(len(damped))] += damping
        try:
            with one_thread_if_small(len(damped)):
                solution: Float64Array = scipy.linalg.cho_solve(scipy.linalg.cho_factor(damped), g)
        except scipy.linalg.LinAlgError:
            raise ValueError(f"[BoltzmannFisher] F + {damping:g} I is singular: use more damping") from None
        return solution

    def diagonal(self) -> Float64Array:
        """Return the variances of the statistics: these are binary, with variance ``mean (1 - mean)``."""
        return self.mean * (1.0 - self.mean)

    def trace(self) -> float:
        """Return the sum of the diagonal."""
        return float(self.diagonal().sum())

    def eigenvalues(self) -> Float64Array:
        """Return the eigenvalues, ascending."""
        values: Float64Array = scipy.linalg.eigvalsh(self.to_dense())
        return values

    def _split(self, v: Array) -> tuple[Array, Array, Array]:
        """Return the parts of a vector for products, smaller layer and larger layer."""
        weights = self._hidden * self._visible
        products = v[:weights].reshape(self._hidden, self._visible)
        hidden, visible = v[weights : weights + self._hidden], v[weights + self._hidden :]
        return (products.T, visible, hidden) if self._states.turned else (products, hidden, visible)

    def _join(self, products: Float64Array, small: Float64Array, large: Float64Array) -> Float64Array:
        """Return the vector of these parts."""
        parts = (products.T, large, small) if self._states.turned else (products, small, large)
        return np.concatenate([part.ravel() for part in parts])
