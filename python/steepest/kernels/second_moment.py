"""Second moments of rows: the factors of Kronecker-factored curvature, averaged in place."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import backend_of

__all__ = ["second_moment"]


def second_moment(
    x: Array,
    sample_weight: Array | None = None,
    *,
    ones: bool = False,
    scale: float = 1.0,
    decay: float | Float64Array = 0.0,
    out: Array | None = None,
) -> Array:
    """Return the mean of the outer products of the rows of x with themselves, added to what is left of the last one.

    With ``z[i] = x[i]``, or ``z[i] = append(x[i], 1)`` with `ones`::

        out = decay * out + scale * sum_i w[i] * outer(z[i], z[i]) / sum_i w[i]

    and w = 1 where there are no weights. Of a layer's inputs, and of the gradients with respect to its outputs, these
    are the factors of K-FAC [1]_, where ``decay`` and ``scale = 1 - decay`` average exponentially over batches. Only
    one triangle is computed: about half of the work of ``x.T @ x``.

    Parameters
    ----------
    x : ndarray of shape (n, d), n >= 1
        Rows are samples.
    sample_weight : ndarray of shape (n,), of x's dtype, optional
        A row of weight 0 may hold anything. Where all weights are 0, nothing is added.
    ones : bool, default=False
        Whether the rows end with a 1 that x does not hold, the input of a bias: the last row and column of the
        result are then the mean of x, and 1.
    scale : float, default=1.0
        Factor of the mean.
    decay : float in [0, 1) or 0-d float64 ndarray, default=0.0
        What is kept of `out`, which must then be given. Where it is 0, what out holds does not matter. A scalar array
        may be changed between the replays of a captured step.
    out : ndarray of shape (d + ones, d + ones), of x's dtype, optional
        Symmetric, unless decay is 0; receives the result.

    Returns
    -------
    ndarray of shape (d + ones, d + ones), of x's dtype
        Exactly symmetric. Sums are of x's dtype, in an order that depends on the shape and the device alone.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015.
    """
    return backend_of(x).second_moment(x, sample_weight, ones=ones, scale=scale, decay=decay, out=out)
