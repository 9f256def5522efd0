"""Validation of CuPy inputs with the checks and messages of scikit-learn's `validate_data`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_consistent_length,
    validate_data,
)

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, to_host

from .data import first_nonfinite


def validate_cupy(
    estimator: BaseEstimator, X: Array, y: Any, *, dtype: np.dtype[Any] | None, reset: bool, **options: Any
) -> Any:
    """Validate a CuPy array X, and y of either library.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator whose number and names of features are set, or checked.
    X : cupy.ndarray
        Samples of shape (n_samples, n_features); all items must be finite.
    y : array-like or "no_validation"
        Targets.
    dtype : dtype or None
        Dtype of the returned X; None keeps float32 and converts any other dtype to float64.
    reset : bool
        Whether this is a first fit, which sets the number of features.
    **options
        Options of `validate_data`, for y.

    Returns
    -------
    X : cupy.ndarray
        C-ordered samples, copied only if necessary.
    y : ndarray
        Targets as a NumPy array; omitted for "no_validation".

    Raises
    ------
    ValueError
        If X or y is not as described.
    """
    X = validate_matrix(X, dtype, type(estimator).__name__)
    if isinstance(y, str) and y == "no_validation":
        _check_feature_names(estimator, X, reset=reset)
        _check_n_features(estimator, X, reset=reset)
        return X
    y = validate_data(estimator, y=to_host(y), reset=reset, **options)
    check_consistent_length(X, y)
    _check_n_features(estimator, X, reset=reset)
    return X, y


def validate_matrix(X: Array, dtype: np.dtype[Any] | None, name: str) -> Array:
    """Return X as a C-ordered CuPy array of finite numbers with the dtype of `validate_cupy`, or raise ValueError."""
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got {X.ndim}D array instead: X has shape {X.shape}.")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X has dtype {X.dtype}; real numbers are needed. Complex data not supported.")
    for axis, what in enumerate(("sample(s)", "feature(s)")):
        if X.shape[axis] == 0:
            raise ValueError(
                f"Found array with 0 {what} (shape={X.shape}) while a minimum of 1 is required by {name}."
            )
    if dtype is None:
        dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
    xp = array_namespace(X)
    converted: Array = xp.ascontiguousarray(X, dtype=dtype)
    if where := first_nonfinite(converted, X):
        kind = "NaN" if bool(xp.isnan(converted).any()) else f"infinity or a value too large for {dtype!r}"
        raise ValueError(f"{where}Input X contains {kind}.")
    return converted
