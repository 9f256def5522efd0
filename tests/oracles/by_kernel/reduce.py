"""Oracles of reductions, from NumPy."""

from __future__ import annotations

import numpy as np


def _reduction(name, axis):
    def make(m):
        shape = {None: (), 0: (m.k,), 1: (m.n,)}[axis]
        return m.case(name, (m.normal(m.n, m.k),), {"out": m.empty(*shape)}, axis=axis)

    return make


def _argmax(m):
    return m.case("argmax", (m.normal(m.n, m.c),), {"out": np.full(m.n, -77)})


# kept by hand: NumPy has all but the last under the same names
_REDUCTIONS = ("sum", "mean", "max", "min", "sum_squares")
CASES = {
    **{f"{name}/axis={axis}": _reduction(name, axis) for name in _REDUCTIONS for axis in (None, 0, 1)},
    "argmax": _argmax,
}
