"""Validation of an estimator's inputs: X as a NumPy, CuPy or sparse array, y, and sample weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_array, validate_data

from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_host

from .cupy_data import validate_cupy, validate_matrix
from .data import as_items, first_missing, locate_nonfinite, refuse_masked_items

FLOATS = (np.float64, np.float32)


def float_dtype(X: Any) -> np.dtype[Any]:
    """Return the dtype to compute in for a validated X: its own, and float32 for bytes and ids."""
    return np.dtype(X.dtype if X.dtype.kind == "f" else np.float32)


def validate(
    estimator: BaseEstimator,
    X: Any,
    y: Any = "no_validation",
    *,
    reset: bool,
    accept_sparse: bool = False,
    finite: bool = True,
    dtype: np.dtype[Any] | None = None,
    keeps_bytes: bool = False,
    **options: Any,
) -> Any:
    """Validate X, and y if it is given; messages are those of scikit-learn after the estimator's name.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator whose number and names of features are set, or checked.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Samples.
    y : array-like or "no_validation"
        Targets, of NumPy or CuPy.
    reset : bool
        Whether this is a first fit, which sets the number of features.
    accept_sparse : bool, default=False
        Whether X may be sparse; it is then converted to CSR.
    finite : bool, default=True
        Whether to check a dense NumPy X for NaN and infinity. False saves a pass over X if the computation finds them.
    dtype : dtype or None, default=None
        Dtype of the returned X; None keeps float32 and converts any other dtype to float64.
    keeps_bytes : bool, default=False
        Whether an X of uint8 stays as it is.
    **options
        Options of scikit-learn's `validate_data`, for y.

    Returns
    -------
    X : ndarray, cupy.ndarray or CSR
        C-ordered samples, in the library of X.
    y : ndarray
        Targets as a NumPy array; omitted for "no_validation".

    Raises
    ------
    ValueError
        If X or y is not as described, or has masked items; the message names the first item that is missing or not
        finite.
    """
    name = type(estimator).__name__
    refuse_masked_items(name, X=X, y=y)
    try:
        y = _prepared_targets(y, options)
        if is_cupy(X):
            kept = X.dtype if keeps_bytes and X.dtype == np.uint8 else dtype
            return validate_cupy(estimator, X, y, dtype=kept, reset=reset, **options)
        if not finite and not hasattr(X, "tocsr"):
            options = {**options, "ensure_all_finite": False}
        return validate_data(
            estimator,
            X,
            y,
            dtype=(*(FLOATS if dtype is None else (dtype,)), *((np.uint8,) if keeps_bytes else ())),
            order="C",
            reset=reset,
            accept_sparse="csr" if accept_sparse else False,
            **options,
        )
    except ValueError as error:
        # For CuPy arrays, the error already names the item.
        where = "" if is_cupy(X) else locate_nonfinite(X)
        raise ValueError(f"[{name}] {where or first_missing('y', y)}{error}") from error


def validate_targets(estimator: BaseEstimator, y: Any, n_samples: int, **options: Any) -> Array:
    """Validate targets of samples that scikit-learn does not know, as `validate` does those of others.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator whose name messages start with.
    y : array-like
        Targets, of NumPy or CuPy.
    n_samples : int
        Number of samples.
    **options
        Options of scikit-learn's `validate_data`, for y.

    Returns
    -------
    ndarray
        Targets as a NumPy array.

    Raises
    ------
    ValueError
        If y is not as described, or has another number of samples.
    """
    name = type(estimator).__name__
    refuse_masked_items(name, y=y)
    try:
        prepared = _prepared_targets(y, options)
        checked: Array = validate_data(estimator, y=prepared, reset=False, **options)
        if len(checked) != n_samples:
            raise ValueError(f"X has {n_samples} samples, but y has {len(checked)}.")
    except ValueError as error:
        raise ValueError(f"[{name}] {first_missing('y', y)}{error}") from error
    return checked


def _prepared_targets(y: Any, options: dict[str, Any]) -> Any:
    """Return targets on the host, as numbers if options ask for them; ValueError if one is missing."""
    y = to_host(y)
    if options.get("y_numeric"):
        y = _as_numbers(y)
    if as_items(y).dtype == object and first_missing("y", y):
        # None can be neither sorted with labels nor converted to a number.
        raise ValueError("Every sample needs a target.")
    return y


def validate_transformed(
    estimator: BaseEstimator, X: Any, n_columns: int, dtype: np.dtype[Any] | None = None
) -> Array:
    """Validate the input of `inverse_transform`; return it C-ordered, in its own library.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator whose name messages start with.
    X : array-like of shape (n_samples, n_columns)
        Transformed samples, as `transform` returns them.
    n_columns : int
        Required number of columns.
    dtype : dtype or None, default=None
        Dtype of the returned X; None keeps float32 and converts any other dtype to float64.

    Raises
    ------
    ValueError
        If X has another shape, or an item that is not finite.
    """
    name = type(estimator).__name__
    refuse_masked_items(name, X=X)
    try:
        if is_cupy(X):
            checked = validate_matrix(X, dtype, name)
        else:
            dtypes = FLOATS if dtype is None else dtype
            checked = check_array(X, input_name="X", dtype=dtypes, order="C", ensure_min_features=0)
    except ValueError as error:
        raise ValueError(f"[{name}] {error}") from error
    if checked.shape[1] != n_columns:
        raise ValueError(
            f"[{name}] X must have {n_columns} columns, as transform returns, got shape {checked.shape}"
        )
    return checked


def _as_numbers(y: Any) -> Any:
    """Return an array of strings converted to numbers, and any other y unchanged."""
    if not (isinstance(y, np.ndarray) and y.dtype.kind in "US"):
        return y
    try:
        return y.astype(np.float64)
    except ValueError as error:
        raise ValueError(f"y must be numbers: {error}") from error


def validate_labels(estimator: BaseEstimator, y: Array) -> None:
    """Raise ValueError unless y consists of class labels.

    Raises
    ------
    ValueError
        If y looks like the targets of a regression, or is of another kind.
    """
    if y.dtype.kind in "biu" and y.ndim == 1:
        return  # one-dimensional integers are always class labels, and the check would be slow
    try:
        check_classification_targets(y)
    except ValueError as error:
        raise ValueError(f"[{type(estimator).__name__}] {error}") from error


def labels_of_stream(estimator: BaseEstimator, classes: Any, known: Array | None) -> Array:
    """Return the class labels of all calls of `partial_fit`.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator whose name messages start with.
    classes : array-like or None
        Argument `classes` of this call; required in the first call.
    known : ndarray or None
        Labels of an earlier call, sorted; None in the first call.

    Returns
    -------
    ndarray of shape (n_classes,)
        Sorted labels, as a NumPy array.

    Raises
    ------
    ValueError
        If `classes` is missing in the first call, or differs from those of the first call.
    """
    name = type(estimator).__name__
    given = None if classes is None else np.unique(np.asarray(to_host(classes)))
    if known is None:
        if given is None:
            raise ValueError(f"[{name}] classes must be passed on the first call to partial_fit.")
        return given
    known = to_host(known)
    if given is not None and not np.array_equal(given, known):
        raise ValueError(
            f"[{name}] `classes={classes}` is not the same as on last call to partial_fit, was: {known}"
        )
    return known


def validate_weights(
    estimator: BaseEstimator, sample_weight: Any, X: Any, *, all_zero: bool = False
) -> Array | None:
    """Return the sample weights as a NumPy array in the dtype to compute in, or None.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator whose name messages start with.
    sample_weight : array-like of shape (n,) or None
        The sample weights.
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        The samples.
    all_zero : bool, default=False
        Whether all weights may be zero, as in one part of a stream of samples.

    Raises
    ------
    ValueError
        If a weight is not finite or negative, their number differs from that of the samples, or all are zero.
    """
    if sample_weight is None:
        return None
    name = type(estimator).__name__
    weights = to_host(sample_weight)
    n_samples, dtype = X.shape[0], float_dtype(X)
    refuse_masked_items(name, sample_weight=weights)
    if all_zero and np.shape(weights) == (n_samples,) and not np.any(weights):
        return np.zeros(n_samples, dtype)
    try:
        checked: Array = _check_sample_weight(
            weights, np.empty((n_samples, 0), dtype), dtype=dtype, ensure_non_negative=True
        )
    except ValueError as error:
        raise ValueError(f"[{name}] {first_missing('sample_weight', weights)}{error}") from error
    if not checked.any():
        raise ValueError(f"[{name}] sample_weight is zero for every sample")
    return checked
