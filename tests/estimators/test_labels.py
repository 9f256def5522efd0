"""Encoding of labels as 0, 1, …: the same as NumPy's `unique`, but by counting where that is faster."""

from __future__ import annotations

import numpy as np
import pytest

from steepest.estimators.labels import number_labels

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


def assert_as_unique(y):
    classes, ids = number_labels(y)
    expected, positions = np.unique(y, return_inverse=True)
    np.testing.assert_array_equal(classes, expected)
    np.testing.assert_array_equal(ids, positions)
    assert classes.dtype == y.dtype and ids.dtype == np.int64


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("n", [1, 2, 300])
def test_integers_of_every_width(rng, dtype, n):
    """Labels over the whole range of the dtype, near either end, and close to one another."""
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    for low, high in ((least, most), (least, least + 5), (most - 5, most), (0, 3)):
        y = rng.integers(low, high, n, dtype=dtype, endpoint=True)
        assert_as_unique(y)
        assert_as_unique(np.where(y == y[0], y.max(), y))


@pytest.mark.parametrize(
    "y",
    [
        np.array(["ash", "beech", "ash"]),
        np.array([0.5, 2.0, 0.5]),
        np.array([True, False, True]),
        np.array(["a", "b", "a"], dtype=object),
        np.array([], dtype=np.int64),
        np.array([0, 1 << 40, 0]),
    ],
    ids=lambda y: str(y.dtype),
)
def test_other_labels(y):
    assert_as_unique(y)


def test_a_view_with_strides():
    assert_as_unique(np.arange(40)[::-3])
