"""Norms of the gradients of single samples, which are not formed."""

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
    """Return the squared norms of the gradients of single samples for a layer ``x @ w + b``, without forming them.

    Row ``i * r + s`` of d is a gradient with respect to the layer's outputs for sample i. The gradient with respect
    to w is then ``outer(x[i], d[i * r + s])``, and that with respect to b is ``d[i * r + s]``; their squares add up
    to::

        out[i * r + s] = (x[i] @ x[i] + bias) * (d[i * r + s] @ d[i * r + s])

    the diagonal of `gradient_gram`. Those of the layers of a network add up (I. Goodfellow, "Efficient per-example
    gradient computations", 2015).

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Inputs of the layer.
    d : ndarray of shape (n * r, m), of x's dtype
        Gradients with respect to its outputs, r >= 1 rows for each sample in sequence.
    bias : bool, default=True
        Whether the layer has a bias, whose gradient counts too.
    accumulate : bool, default=False
        Add to `out`, which must be given.
    out : ndarray of shape (n * r,) of float64, optional
        Receives the result.

    Returns
    -------
    ndarray of shape (n * r,) of float64
        All sums are float64.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).gradient_norms(x, d, bias=bias, accumulate=accumulate, out=out)
