"""Oracles of operations on single numbers: `increment`, `accumulate`, `look_up` and `require_finite`."""

from __future__ import annotations

import numpy as np


def _increment(m):
    counter = np.array(5)
    return m.in_place("increment", (counter,), [counter], by=3)


def _accumulate(m):
    total = m.scalar(2.0)
    return m.in_place("accumulate", (total, m.scalar(0.3)), [total], scale=1.5)


def _look_up(m):
    return m.case("look_up", (np.linspace(1.0, 2.0, m.n), np.array(4)), {"out": m.scalar()})


CASES = {
    "increment": _increment,
    "accumulate": _accumulate,
    "look_up": _look_up,
}
