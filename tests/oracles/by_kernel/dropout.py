"""Oracle of `dropout`."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .random import MASK32, philox4x32
from .rounding import absolute, eps, tiny


def dropout(x, rate, seed, stream):
    """x / (1 - rate) where the item's random word is at least floor(rate * 2**32); 0 elsewhere."""
    x = f64(x)
    key, high = (seed & MASK32, seed >> 32), (stream & MASK32, stream >> 32)
    counters = range(-(-x.size // 4))
    words = [w for i in counters for w in philox4x32((i & MASK32, i >> 32, *high), key)][: x.size]
    kept = np.array(words, np.int64).reshape(x.shape) >= np.floor(rate * 2.0**32)
    with np.errstate(all="ignore"):
        return np.where(kept, x / (1.0 - rate), 0.0)


def dropout_tolerance(dtype, y):
    """A product with the rounded 1 / (1 - rate): a relative error of 2 u = eps."""
    return eps(dtype) * np.nan_to_num(absolute(y), posinf=0.0) + tiny(dtype)


def _dropout(m):
    args = (m.normal(m.n, m.k), 0.3)
    return m.case("dropout", args, {"out": m.empty(m.n, m.k)}, seed=5, stream=np.array(2))


CASES = {
    "dropout": _dropout,
}
