"""Gram matrix of per-sample gradients, for second-order steps on few samples and neural tangent kernels."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import backend_of

__all__ = ["gradient_gram"]


def gradient_gram(
    x: Array,
    d: Array,
    *,
    bias: bool = False,
    accumulate: bool = False,
    out: Float64Array | None = None,
) -> Float64Array:
    """Return the Gram matrix of the per-sample gradients of a layer ``x @ w + b``, without forming the gradients.

    Row ``i * r + s`` of d is a gradient with respect to the layer's outputs for sample i. The gradient with respect
    to w is then ``outer(x[i], d[i * r + s])``, and the gradient with respect to b is ``d[i * r + s]``. Their inner
    products are::

        out[i * r + s, j * r + t] = (x[i] @ x[j] + bias) * (d[i * r + s] @ d[j * r + t])

    The Gram matrices of a network's layers add up to ``J @ J.T``, where J has a row for each gradient and a column for
    each parameter. With one row for each sample (r = 1), d holds gradients of the loss. With a row for each output of
    the network, the sum is its neural tangent kernel (A. Jacot, F. Gabriel and C. Hongler, "Neural tangent kernel:
    convergence and generalization in neural networks", 2018).

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Inputs of the layer.
    d : ndarray of shape (n * r, m), of x's dtype
        Gradients with respect to the layer's outputs, r >= 1 consecutive rows for each sample.
    bias : bool, default=False
        Whether the layer has a bias, whose gradient is then included.
    accumulate : bool, default=False
        Whether to add to `out`, which is then required and must be symmetric.
    out : ndarray of shape (n * r, n * r) of float64, optional
        Receives the result.

    Returns
    -------
    ndarray of shape (n * r, n * r) of float64
        The Gram matrix, exactly symmetric. Products of float32 numbers are added up in float32 over blocks of at most
        512 columns of x and of d, everything else in float64. The order of the sums depends on the shapes alone.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).gradient_gram(x, d, bias=bias, accumulate=accumulate, out=out)
