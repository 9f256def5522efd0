"""The R1 penalty of a discriminator: how steep its scores are at the samples, and the gradient of that."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import array_namespace, scalar_like
from steepest.nn import Network
from steepest.nn.tangent_gradient import add_tangent_gradient, is_piecewise_linear

# Added to squared lengths of gradients, so that a gradient of zeros has a direction: any.
_TINY = 1e-30

Spread = Callable[[Array], Array]
"""A function that makes the gradient by the network's outputs from that by the scores, (n, 1)."""


class GradientPenalty:
    """``strength / 2 * mean_i |g_i|^2`` with the gradient ``g_i`` of the score of sample i with respect to the sample.

    L. Mescheder, A. Geiger, S. Nowozin, "Which training methods for GANs do actually converge?", ICML 2018: R1.

    The gradient of the penalty by the parameters is ``strength * mean_i d/dp (g_i . grad_x D(x_i; p))`` with `g_i`
    held constant: that of a directional derivative of D. For networks of linear maps, convolutions and (leaky) ReLU, it
    is exact: a pass of g_i through the layers, and the backward pass of that (`nn.tangent_gradient`).

    For others, the directional derivative is a difference along ``u_i = g_i / |g_i|``, so that

        ``strength * mean_i |g_i| (grad_p D(x_i + h u_i) - grad_p D(x_i - h u_i)) / (2 h)``

    is that gradient, by two more passes that any network has. Its relative error is of the order h² for smooth
    activations, beside rounding errors of the order eps / h. h is ``eps^(1/3)`` of the root mean square of the lengths
    of the samples, where both errors are about ``eps^(2/3)``. Differences are no way for units with a kink: the few
    samples that lie within h of one would contribute 1 / h each.

    Parameters
    ----------
    network : Network
        The discriminator.
    strength : float
        Strength of the penalty, often called gamma.
    scale : float
        Root mean square of the lengths of the samples.
    """

    def __init__(self, network: Network, strength: float, scale: float) -> None:
        self.network, self.strength = network, strength
        self._is_exact = is_piecewise_linear(network)
        self.h = float(np.finfo(network.dtype).eps ** (1 / 3)) * (scale if scale > 0 else 1.0)

    def add_gradient(self, x: Array, spread: Spread) -> Float64Array:
        """Add the penalty's gradient to the gradients of the parameters, and return the penalty.

        Parameters
        ----------
        x : ndarray of shape (n, d)
            The samples, for which the network has just run forward and backward.
        spread : callable
            Makes the gradient by the outputs from that by the scores, for n or 2 n rows.

        Returns
        -------
        ndarray of shape (), float64
            The penalty.
        """
        xp, n = array_namespace(x), len(x)
        ones = xp.ones((n, 1), x.dtype)
        g = self.network.backward(spread(ones), inputs=True, parameters=False)
        squares = K.add(K.sum_squares(g, axis=1), scalar_like(_TINY, x))
        length = K.sqrt(squares).reshape(n, 1)
        if self._is_exact:
            weights = K.multiply(ones, scalar_like(self.strength / n, x))
            add_tangent_gradient(self.network, g, spread(weights))
        else:
            self._add_difference(x, g, length, spread)
        penalty, _ = K.squared_error(length, xp.zeros((n, 1), x.dtype), half=True)
        K.accumulate(penalty, penalty, scale=self.strength - 1.0)
        return penalty

    def _add_difference(self, x: Array, g: Array, length: Array, spread: Spread) -> None:
        """Add the gradient by a difference along the gradients g, which have these lengths (n, 1)."""
        xp, n = array_namespace(x), len(x)
        step = K.multiply(g, K.multiply(K.reciprocal(length), scalar_like(self.h, x)))
        both = xp.empty((2 * n, x.shape[1]), x.dtype)
        K.add(x, step, out=both[:n])
        K.add(x, K.multiply(step, scalar_like(-1.0, x), out=step), out=both[n:])
        self.network.forward(both)
        factor = self.strength / (2.0 * self.h * n)
        d_score = xp.empty((2 * n, 1), x.dtype)
        K.multiply(length, scalar_like(factor, x), out=d_score[:n])
        K.multiply(length, scalar_like(-factor, x), out=d_score[n:])
        self.network.backward(spread(d_score), accumulate=True)


def length_of(X: Array) -> float:
    """Return the root mean square of the lengths of rows; those of uint8 are divided by 255."""
    rows = X.astype(np.float32 if X.dtype == np.uint8 else X.dtype)
    squares = (rows * rows).sum(axis=1)
    return math.sqrt(float(squares.mean(dtype=np.float64))) / (255.0 if X.dtype == np.uint8 else 1.0)
