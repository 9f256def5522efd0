"""Encoding of class labels as integers 0..k-1."""

from __future__ import annotations

import numpy as np

from steepest._runtime.arrays import Array, Int64Array

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
