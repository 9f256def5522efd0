"""Weights, sums and scatter of classes: what discriminant analysis and principal components need of their samples."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import backend_of

__all__ = ["class_scatter"]


def class_scatter(
    x: Array,
    labels: Array | None,
    centre: Array,
    sample_weight: Array | None = None,
    *,
    accumulate: bool = False,
    weights: Float64Array | None = None,
    sums: Float64Array | None = None,
    scatter: Float64Array | None = None,
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return sums over samples about a centre of each class, in one pass over x.

    With weights s and centres m, for sample i of class c(i)::

        weights[c] = sum_i s[i]
        sums[c]    = sum_i s[i] * (x[i] - m[c])                               over the samples of class c
        scatter    = sum_i s[i] * outer(x[i] - m[c(i)], x[i] - m[c(i)])       over all samples

    The means of the classes are ``m + sums / weights[:, None]``, and their pooled scatter within classes is
    ``scatter - sum_c outer(sums[c], sums[c]) / weights[c]``. The nearer the centres are to the means, the less
    cancels there: large means cost no accuracy. Sums over chunks of the samples add up to those over all
    (T. Chan, G. Golub and R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
    1979).

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Samples.
    labels : ndarray of shape (n,) of any integer type, or None
        Classes in 0..k-1. None: all samples are of the one class.
    centre : ndarray of shape (k, d), of x's dtype
        A point near the mean of each class.
    sample_weight : ndarray of shape (n,), of x's dtype, optional
        Weights, which must not be negative. A sample of weight 0 may hold anything.
    accumulate : bool, default=False
        Add to `weights`, `sums` and `scatter`, which must be given. The scatter must be symmetric.
    weights, sums, scatter : ndarray of float64, of shapes (k,), (k, d) and (d, d), optional
        Receive the results.

    Returns
    -------
    weights, sums, scatter : ndarray of float64
        The scatter is exactly symmetric. Products of float32 are added up in float32 over blocks of 256 samples
        (4096 on CUDA), and everything else in float64, in an order that depends on the shapes alone.

    Raises
    ------
    TypeError, ValueError
        A label is not in 0..k-1, or see the package's conventions.
    """
    return backend_of(x).class_scatter(
        x,
        labels,
        centre,
        sample_weight,
        accumulate=accumulate,
        weights=weights,
        sums=sums,
        scatter=scatter,
    )
