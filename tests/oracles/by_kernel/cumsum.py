"""Oracle of `cumsum`: NumPy's, in float64."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, dot, eps


def cumsum(x, axis=None):
    """Cumulative sums along an axis, or over the flattened array."""
    with np.errstate(all="ignore"):
        return np.cumsum(f64(x), axis=axis)


def cumsum_tolerance(dtype, x, axis=None):
    """A sum in float64, rounded once."""
    size = np.nan_to_num(np.cumsum(absolute(x), axis=axis), posinf=0.0)
    terms = np.size(x) if axis is None else np.shape(x)[axis]
    return dot(np.float64, terms, size) + eps(dtype) * size


def _cumsum(axis):
    def make(m):
        shape = (m.n * m.k,) if axis is None else (m.n, m.k)
        return m.case("cumsum", (m.normal(m.n, m.k),), {"out": m.empty(*shape)}, axis=axis)

    return make


CASES = {f"cumsum/axis={axis}": _cumsum(axis) for axis in (None, 0, 1)}
