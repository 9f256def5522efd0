"""Weights, sums and scatter matrix of classes, for discriminant analysis and principal component analysis."""

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
    """Return total weights, sums and scatter matrix of classes, about a given centre of each, in one pass over x.

    With weights s and centres m, for sample i of class c(i)::

        weights[c] = sum_i s[i]
        sums[c]    = sum_i s[i] * (x[i] - m[c])                               over the samples of class c
        scatter    = sum_i s[i] * outer(x[i] - m[c(i)], x[i] - m[c(i)])       over all samples

    The means of the classes are ``m + sums / weights[:, None]``, and their pooled scatter within classes is
    ``scatter - sum_c outer(sums[c], sums[c]) / weights[c]``. Centres near the means keep cancellation small in this
    difference, so that large means cost no accuracy. Results over chunks of the samples add up to those over all
    samples (T. Chan, G. Golub and R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979).

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Samples.
    labels : ndarray of shape (n,) of any integer type, or None
        Classes in 0..k-1. None: all samples belong to one class, k = 1.
    centre : ndarray of shape (k, d), of x's dtype
        A point near the mean of each class.
    sample_weight : ndarray of shape (n,), of x's dtype, optional
        Weights, which must not be negative. A sample of weight 0 may hold any values.
    accumulate : bool, default=False
        Whether to add to `weights`, `sums` and `scatter`, which are then required. `scatter` must be symmetric.
    weights, sums, scatter : ndarray of float64, of shapes (k,), (k, d) and (d, d), optional
        Receive the results.

    Returns
    -------
    weights, sums, scatter : ndarray of float64
        The results; the scatter is exactly symmetric. Products of float32 numbers are added up in float32 over blocks
        of 256 samples (4096 on CUDA), everything else in float64. The order of the sums depends on the shapes alone.

    Raises
    ------
    TypeError, ValueError
        If a label is not in 0..k-1; see also the package's conventions.
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
