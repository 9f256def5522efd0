"""Second-moment matrices of rows, with a running average: the Kronecker factors of K-FAC."""

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
    """Return the second-moment matrix of the rows of x, added to a decayed running average.

    With ``z[i] = x[i]``, or ``z[i] = append(x[i], 1)`` with `ones`::

        out = decay * out + scale * sum_i w[i] * outer(z[i], z[i]) / sum_i w[i]

    where w = 1 without `sample_weight`. The second moments of a layer's inputs, and of the gradients with respect to
    its outputs, are the Kronecker factors of K-FAC [1]_. With ``scale = 1 - decay``, the result is an exponential
    average over batches. Only one triangle is computed, which is about half of the work of ``x.T @ x``.

    Parameters
    ----------
    x : ndarray of shape (n, d), n >= 1
        Rows, one for each sample.
    sample_weight : ndarray of shape (n,), of x's dtype, optional
        Weights w. A row of weight 0 may hold any values. If all weights are 0, nothing is added.
    ones : bool, default=False
        Whether to append a 1 to each row, the input of a bias. The last row and column of the second moment are then
        the mean of x, and 1.
    scale : float, default=1.0
        Factor of the mean.
    decay : float in [0, 1) or 0-d float64 ndarray, default=0.0
        Factor of the old `out`, which is then required. With a decay of 0, the old values of `out` are ignored. A
        scalar array may be changed between the replays of a captured step.
    out : ndarray of shape (d + ones, d + ones), of x's dtype, optional
        Old average, which receives the result; it must be symmetric unless decay is 0.

    Returns
    -------
    ndarray of shape (d + ones, d + ones), of x's dtype
        The new average, exactly symmetric. Sums are in x's dtype, in an order that depends on the shape and the device
        alone.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015.
    """
    return backend_of(x).second_moment(x, sample_weight, ones=ones, scale=scale, decay=decay, out=out)
