"""`look_up`: an item of a table at an index, which may be a 0-d array."""

from __future__ import annotations

import numpy as np
import pytest

import steepest
from steepest import kernels as K

TABLE = np.array([0.1, -0.0, np.nan, np.inf, 5e-324])


@pytest.mark.parametrize(
    ("index", "place"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (2**62, 4), (-1, 0), (-(2**63), 0)]
)
def test_items(index, place):
    assert K.look_up(TABLE, index).tobytes() == TABLE[place].tobytes()
    out = np.array(7.0)
    assert K.look_up(TABLE, np.array(index), out) is out
    assert out.tobytes() == TABLE[place].tobytes()


def test_strided_table():
    table = np.arange(20.0)
    assert [float(K.look_up(table[::-3], i)) for i in range(8)] == [19, 16, 13, 10, 7, 4, 1, 1]


def test_replay_follows_the_index():
    index, item, total = np.array(0), np.array(0.0), np.array(0.0)
    with steepest.capture() as graph:
        K.look_up(np.array([1.0, 10.0, 100.0]), index, item)
        K.increment(index)
        K.accumulate(total, item)
    graph.replay(2)
    assert total == 11
    graph.replay(3)
    assert total == 311
