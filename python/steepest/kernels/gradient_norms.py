"""Norms of per-sample gradients, without forming the gradients."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import backend_of

__all__ = ["gradient_norms"]


def gradient_norms(
    x: Array,
    d: Array,
    *,
    bias: bool = True,
    accumulate: bool = False,
    out: Float64Array | None = None,
) -> Float64Array:
    """Return the squared norms of the per-sample gradients of a layer ``x @ w + b``, without forming the gradients.

    Row ``i * r + s`` of d is a gradient with respect to the layer's outputs for sample i. The gradient with respect
    to w is then ``outer(x[i], d[i * r + s])``, and the gradient with respect to b is ``d[i * r + s]``. The squares of
    their items add up to::

        out[i * r + s] = (x[i] @ x[i] + bias) * (d[i * r + s] @ d[i * r + s])

    which is the diagonal of `gradient_gram`. The squared norms of a network's layers add up (I. Goodfellow, "Efficient
    per-example gradient computations", 2015).

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Inputs of the layer.
    d : ndarray of shape (n * r, m), of x's dtype
        Gradients with respect to the layer's outputs, r >= 1 consecutive rows for each sample.
    bias : bool, default=True
        Whether the layer has a bias, whose gradient is then included.
    accumulate : bool, default=False
        Whether to add to `out`, which is then required.
    out : ndarray of shape (n * r,) of float64, optional
        Receives the result.

    Returns
    -------
    ndarray of shape (n * r,) of float64
        The squared norms; all sums are accumulated in float64.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).gradient_norms(x, d, bias=bias, accumulate=accumulate, out=out)
