"""Encoding of class labels as integers 0..k-1."""

from __future__ import annotations

from typing import Any

import numpy as np

from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.memory import to_host

Ids = Int64Array

# Integer labels are counted instead of sorted if their range is below this, or below the number of labels.
_RANGE = 1 << 16


def number_labels(y: Array) -> tuple[Array, Ids]:
    """Return the distinct labels, sorted, and the index of each label among them.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels of any sortable dtype.

    Returns
    -------
    classes : ndarray of shape (k,)
        Distinct labels, in y's dtype.
    ids : ndarray of shape (n,)
        Index of each label in `classes`.
    """
    if y.dtype.kind in "iu" and len(y):
        low, high = int(y.min()), int(y.max())
        if high - low < max(_RANGE, len(y)):
            # Differences could overflow in a narrow signed dtype, and in int64 for large unsigned labels.
            wide = y if y.dtype.kind == "u" else y.astype(np.int64)
            first = wide.dtype.type(low)
            offsets = (wide - first).astype(np.int64, copy=False)
            occurs = np.bincount(offsets) > 0
            present = np.flatnonzero(occurs)
            classes = (present.astype(wide.dtype) + first).astype(y.dtype)
            return classes, offsets if len(present) == len(occurs) else (np.cumsum(occurs) - 1)[offsets]
    classes, ids = np.unique(y, return_inverse=True)
    return classes, ids.astype(np.int64, copy=False)


def one_hot_rows(model: object, y: Any, n: int, classes: Array, dtype: Any) -> Array:
    """Return n rows with a one at the class of each label, on the host.

    Parameters
    ----------
    model : object
        The estimator, which messages name.
    y : label or array-like of shape (n,)
        One label for all rows, or one for each.
    n : int
        Number of rows.
    classes : ndarray of shape (k,)
        The labels that the estimator knows, sorted.
    dtype : dtype
        Dtype of the rows.

    Returns
    -------
    ndarray of shape (n, k)
        The rows.

    Raises
    ------
    ValueError
        If y has another shape, or a label that is not among the classes.
    """
    name, labels = type(model).__name__, np.asarray(to_host(y))
    if labels.ndim == 0:
        labels = np.repeat(labels, n)
    if labels.shape != (n,):
        raise ValueError(
            f"[{name}] y must be a label or {n} labels, one for each sample, got shape {labels.shape}"
        )
    known = np.isin(labels, classes)
    if not known.all():
        raise ValueError(
            f"[{name}] y has the label {labels[~known][0]!r}, but the model knows {classes.tolist()}"
        )
    rows: Array = np.eye(len(classes), dtype=dtype)[np.searchsorted(classes, labels)]
    return rows
