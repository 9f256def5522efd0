"""Checking of what an estimator is given: X of NumPy, CuPy or a sparse matrix, y and the weights."""

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


def validate(
    estimator: BaseEstimator,
    X: Any,
    y: Any = "no_validation",
    *,
    reset: bool,
    accept_sparse: bool = False,
    finite: bool = True,
    dtype: np.dtype[Any] | None = None,
    **options: Any,
) -> Any:
    """Validate X, and y where it is given, in scikit-learn's words after the estimator's name.

    Parameters
    ----------
    estimator : BaseEstimator
        Its number of features and their names are set, or checked.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Samples; float32 is kept, everything else becomes float64.
    y : array-like or "no_validation"
        Targets, of NumPy or CuPy.
    reset : bool
        Whether this is a first fit.
    accept_sparse : bool, default=False
        Whether X may be sparse; it becomes CSR then.
    finite : bool, default=True
        False leaves NaN and infinities of a dense NumPy X to be found by the computation, which saves a pass over it.
    dtype : dtype or None, default=None
        Of the X returned; None keeps float32 and makes everything else float64.
    **options
        Of scikit-learn's `validate_data`, for y.

    Returns
    -------
    X : ndarray, cupy.ndarray or CSR
        In its own library, C-ordered.
    y : ndarray
        A NumPy array; left out for "no_validation".

    Raises
    ------
    ValueError
        Where they are not as described, or have masked items; the message names the first item of X or y that is
        missing or not finite.
    """
    name = type(estimator).__name__
    refuse_masked_items(name, X=X, y=y)
    try:
        y = to_host(y)
        if options.get("y_numeric"):
            y = _as_numbers(y)
        if as_items(y).dtype == object and first_missing("y", y):
            # None can neither be sorted among labels nor become a number.
            raise ValueError("Every sample needs a target.")
        if is_cupy(X):
            return validate_cupy(estimator, X, y, dtype=dtype, reset=reset, **options)
        if not finite and not hasattr(X, "tocsr"):
            options = {**options, "ensure_all_finite": False}
        return validate_data(
            estimator,
            X,
            y,
            dtype=FLOATS if dtype is None else dtype,
            order="C",
            reset=reset,
            accept_sparse="csr" if accept_sparse else False,
            **options,
        )
    except ValueError as error:
        # For CuPy's arrays the error names the item itself.
        where = "" if is_cupy(X) else locate_nonfinite(X)
        raise ValueError(f"[{name}] {where or first_missing('y', y)}{error}") from error


def validate_transformed(
    estimator: BaseEstimator, X: Any, n_columns: int, dtype: np.dtype[Any] | None = None
) -> Array:
    """Validate what an inverse transform takes: C-ordered, in its own library.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose name messages start with.
    X : array-like of shape (n_samples, n_columns)
        As `transform` returns it.
    n_columns : int
        How many columns it has to have.
    dtype : dtype or None, default=None
        Of the X returned; None keeps float32 and makes everything else float64.

    Raises
    ------
    ValueError
        The shape is another, or an item is not finite.
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
            f"[{name}] X has shape {checked.shape}, but what transform returns has {n_columns} columns"
        )
    return checked


def _as_numbers(y: Any) -> Any:
    """Return a y of strings as the numbers that they spell, and any other as it is."""
    if not (isinstance(y, np.ndarray) and y.dtype.kind in "US"):
        return y
    try:
        return y.astype(np.float64)
    except ValueError as error:
        raise ValueError(f"y must be numbers: {error}") from error


def validate_labels(estimator: BaseEstimator, y: Array) -> None:
    """Refuse a y that is not made of classes.

    Raises
    ------
    ValueError
        It looks like the targets of a regression, or is of another kind.
    """
    if y.dtype.kind in "biu" and y.ndim == 1:
        return  # nothing else can be found, and looking takes longer than counting
    try:
        check_classification_targets(y)
    except ValueError as error:
        raise ValueError(f"[{type(estimator).__name__}] {error}") from error


def labels_of_stream(estimator: BaseEstimator, classes: Any, known: Array | None) -> Array:
    """Return the labels of all calls of partial_fit.

    Parameters
    ----------
    estimator : BaseEstimator
        Named in messages.
    classes : array-like or None
        Argument of this call; required in the first call.
    known : ndarray or None
        Labels of an earlier call, sorted.

    Returns
    -------
    ndarray of shape (n_classes,)
        Sorted, a NumPy array.

    Raises
    ------
    ValueError
        `classes` is missing in the first call, or is not what it was then.
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
    """Return the weights of the samples as a NumPy array of the dtype of X, or None.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose name messages start with.
    sample_weight : array-like of shape (n,) or None
        The weights.
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        The samples.
    all_zero : bool, default=False
        Whether all weights may be zero, as those of a part of a stream may.

    Raises
    ------
    ValueError
        They are not finite, negative, of another number of samples, or all zero.
    """
    if sample_weight is None:
        return None
    name = type(estimator).__name__
    weights = to_host(sample_weight)
    n_samples = X.shape[0]
    refuse_masked_items(name, sample_weight=weights)
    if all_zero and np.shape(weights) == (n_samples,) and not np.any(weights):
        return np.zeros(n_samples, X.dtype)
    try:
        checked: Array = _check_sample_weight(
            weights, np.empty((n_samples, 0), X.dtype), dtype=X.dtype, ensure_non_negative=True
        )
    except ValueError as error:
        raise ValueError(f"[{name}] {first_missing('sample_weight', weights)}{error}") from error
    if not checked.any():
        raise ValueError(f"[{name}] sample_weight is zero for every sample")
    return checked
