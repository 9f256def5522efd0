"""`zero_one_loss`: the proportion of rows whose largest score is not at the label (error rate)."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import SIZES, check
from test_softmax_cross_entropy import INTEGERS

from steepest import kernels as K


def check_loss(scores, labels, ignore_label=None, **kwargs):
    expected = reference.zero_one_loss(scores, labels, ignore_label)
    # A ratio of two counts has one rounding error in float64.
    tolerance = tolerances.eps(np.float64)
    loss = check(
        K.zero_one_loss,
        (scores, labels),
        ("out",),
        (expected,),
        (tolerance,),
        ignore_label=ignore_label,
        **kwargs,
    )[0]
    assert loss.dtype == np.float64
    return loss


def make(rng, dtype, n, c):
    scores = rng.standard_normal((n, c)).astype(dtype)
    labels = np.where(rng.random(n) < 0.5, scores.argmax(axis=1), rng.integers(0, c, n))
    return scores, labels


@pytest.mark.parametrize("shape", [(1, 1), (1, 10), (6, 2), (33, 10), (17, 64), (5, 1000)], ids=str)
def test_layouts(rng, dtype, shape):
    check_loss(*make(rng, dtype, *shape))


def test_every_position_of_the_maximum(dtype):
    for c in SIZES:
        scores = np.zeros((c, c), dtype)
        np.fill_diagonal(scores, 1.0)
        assert K.zero_one_loss(scores, np.arange(c)) == 0.0
        if c > 1:
            assert K.zero_one_loss(scores, np.roll(np.arange(c), 1)) == 1.0


@pytest.mark.parametrize("integer", INTEGERS, ids=lambda t: t.__name__)
def test_every_integer_dtype(rng, dtype, integer):
    scores, labels = make(rng, dtype, 40, 100)
    check_loss(scores, labels.astype(integer), layouts=("c", "strided", "reversed"))


def test_threads(rng, dtype, threads):
    scores, labels = make(rng, dtype, 20001, 11)
    labels[::5] = -1
    check_loss(scores, labels, -1, layouts=("c",))


def test_first_of_equal_scores_counts(dtype):
    scores = np.zeros((4, 20), dtype)
    assert K.zero_one_loss(scores, np.array([0, 1, 0, 19])) == 0.5


def test_ignored_rows(rng, dtype):
    scores, labels = make(rng, dtype, 50, 10)
    labels[[0, 13, 49]] = -1
    scores[13] = np.nan
    check_loss(scores, labels, -1)
    assert check_loss(scores, np.full(50, 3), 3) == 0.0


def test_infinite_scores(dtype):
    scores = np.full((3, 17), -np.inf, dtype)
    scores[1, 5] = -1e3
    scores[2, 16] = np.inf
    check_loss(scores, np.array([0, 5, 16]))
    check_loss(scores, np.array([1, 4, 15]))
