"""Products of the gradients of single samples with one another: what second-order steps of few samples need."""

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
    """Return the Gram matrix of the gradients of single samples for a layer ``x @ w + b``, without forming them.

    Row ``i * r + s`` of d is a gradient with respect to the layer's outputs for sample i. The gradient with respect
    to w is then ``outer(x[i], d[i * r + s])``, and that with respect to b is ``d[i * r + s]``; their products are::

        out[i * r + s, j * r + t] = (x[i] @ x[j] + bias) * (d[i * r + s] @ d[j * r + t])

    Those of the layers of a network add up: the sum over all is ``J @ J.T``, where J has a row for each gradient and
    a column for each parameter. With one row a sample (r = 1), d holds gradients of the loss; with a row for each
    output of the network, out is its neural tangent kernel (A. Jacot, F. Gabriel and C. Hongler, "Neural tangent
    kernel: convergence and generalization in neural networks", 2018).

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Inputs of the layer.
    d : ndarray of shape (n * r, m), of x's dtype
        Gradients with respect to its outputs, r >= 1 rows for each sample in sequence.
    bias : bool, default=False
        Whether the layer has a bias, whose gradient counts too.
    accumulate : bool, default=False
        Add to `out`, which must be given, and symmetric.
    out : ndarray of shape (n * r, n * r) of float64, optional
        Receives the result.

    Returns
    -------
    ndarray of shape (n * r, n * r) of float64
        Exactly symmetric. Products of float32 are added up in float32 over blocks of at most 512 columns of x and
        of d, and everything else in float64, in an order that depends on the shapes alone.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).gradient_gram(x, d, bias=bias, accumulate=accumulate, out=out)
