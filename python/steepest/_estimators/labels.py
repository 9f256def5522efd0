"""Labels of classes as numbers from 0 on."""

from __future__ import annotations

import numpy as np

from steepest._runtime.arrays import Array, Int64Array

Ids = Int64Array

# Integers that lie at most so far apart, or as many as there are labels, are counted instead of sorted.
_RANGE = 1 << 16


def number_labels(y: Array) -> tuple[Array, Ids]:
    """Return the labels that occur, sorted, and the position of each label among them.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels of any sortable kind.

    Returns
    -------
    classes : ndarray of shape (k,)
        Of y's dtype.
    ids : ndarray of shape (n,)
        In 0..k-1.
    """
    if y.dtype.kind in "iu" and len(y):
        low, high = int(y.min()), int(y.max())
        if high - low < max(_RANGE, len(y)):
            # Differences in y's own dtype would wrap around where it is narrow, those of int64 where it is unsigned.
            wide = y if y.dtype.kind == "u" else y.astype(np.int64)
            first = wide.dtype.type(low)
            offsets = (wide - first).astype(np.int64, copy=False)
            occurs = np.bincount(offsets) > 0
            present = np.flatnonzero(occurs)
            classes = (present.astype(wide.dtype) + first).astype(y.dtype)
            return classes, offsets if len(present) == len(occurs) else (np.cumsum(occurs) - 1)[offsets]
    classes, ids = np.unique(y, return_inverse=True)
    return classes, ids.astype(np.int64, copy=False)
