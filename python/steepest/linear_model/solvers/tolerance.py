"""Tolerances at which the gradient of a linear model's objective counts as zero, and centring of remote columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Float64Array

from .column_samples import ColumnSample

# Rounding error of a gradient's components, in units of machine epsilon times the size of their terms.
ROUNDING = 10.0


def gradient_tolerance(tol: float, columns: ColumnSample, dtype: npt.DTypeLike) -> Float64Array:
    """Return the tolerance for each column: the largest component of the gradient that counts as zero.

    It is `tol`, or for columns with a standard deviation below 1 `tol` times that deviation, since their gradients are
    smaller too. It is at least 10 eps times the standard deviation, the rounding error.

    Parameters
    ----------
    tol : float
        Tolerance for a column with a standard deviation of one or more.
    columns : ColumnSample
        Centres and spreads of the d columns.
    dtype : dtype
        Dtype of X.

    Returns
    -------
    ndarray of shape (d,)
        Tolerances, above 0.
    """
    size = np.where(columns.spread > 0.0, columns.spread, np.abs(columns.centre))
    size = np.where((size > 0.0) & np.isfinite(size), size, 1.0)
    return np.maximum(tol * np.minimum(size, 1.0), ROUNDING * float(np.finfo(dtype).eps) * size)


def remote_centre(
    tolerance: Float64Array, columns: ColumnSample, dtype: npt.DTypeLike, by_coordinates: bool = False
) -> Float64Array | None:
    """Return the centres of columns that lie far from zero, and 0 for all other columns; None if no column does.

    Far is where roundings show in a gradient. With ``u = |c| + spread``, scores round to eps times the sum of
    ``u_l |w_l|``; as ``spread_l |w_l|`` is near one, to eps times ``u_l / spread_l``. That reaches every component j
    of the gradient, times ``u_j``, and is to stay below its tolerance: columns in large units ask that of all others.
    Far is also where squares spend more than half of their digits on the mean: ``|c| > eps^(-1/4) spread``, in float32
    some 50 times, in float64 some 8,000 times the spread. To steps along coordinates ``|c| > spread`` is far: with
    each, the intercept has to move, too.

    Parameters
    ----------
    tolerance : ndarray of shape (d,)
        Tolerances that `gradient_tolerance` returned.
    columns : ColumnSample
        Centres c and spreads of the d columns.
    dtype : dtype
        Dtype of X.
    by_coordinates : bool, default=False
        Whether the solver steps along single coordinates.
    """
    eps, size = float(np.finfo(dtype).eps), np.abs(columns.centre)
    # What scores of order one, rounded, leave of a gradient, in units of its tolerance.
    rounding = ROUNDING * eps * (columns.sizes() / tolerance).max(initial=0.0)
    hidden = rounding * size > columns.spread
    cancelled = size > (1.0 if by_coordinates else eps**-0.25) * np.where(
        columns.spread > 0.0, columns.spread, 1.0
    )
    remote = (hidden & (size > columns.spread) & (columns.spread > 0.0)) | cancelled
    return np.where(remote, columns.centre, 0.0) if remote.any() else None
