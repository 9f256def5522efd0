"""Distributions of actions, in graphs: log-probabilities, scores, entropies and samples against the equations."""

from __future__ import annotations

import numpy as np
import pytest
from reinforcement_reference import differences, entropy, log_probability

import steepest
from steepest.reinforcement._distributions import distribution_of
from steepest.reinforcement._moments import Moments
from steepest.reinforcement._spaces import Actions

SPACES = {
    "discrete": Actions(3, (), 0),
    "box": Actions(2, (2,), None, np.full(2, -1.0), np.full(2, 1.0)),
}
both = pytest.mark.parametrize("kind", SPACES)


def outputs(kind, rng, dtype, n=40):
    distribution = distribution_of(SPACES[kind], np.dtype(dtype), "cpu")
    z = rng.standard_normal((n, distribution.n_outputs)).astype(dtype)
    coded = np.eye(3)[rng.integers(3, size=n)] if kind == "discrete" else rng.standard_normal((n, 2))
    return distribution, z, coded.astype(dtype)


def replayed(function):
    with steepest.capture() as graph:
        result = function()
    graph.replay()
    return result


@both
def test_log_probability(kind, rng, dtype):
    distribution, z, coded = outputs(kind, rng, dtype)
    expected = log_probability(z.astype(np.float64), coded.astype(np.float64), kind == "discrete")
    # The constant of a normal density cancels in every use, and is left out.
    constant = 0.0 if kind == "discrete" else np.log(2 * np.pi)
    found = replayed(lambda: distribution.log_probability(z, coded))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found - constant, expected, rtol=0, atol=16 * np.finfo(dtype).eps * scale)


@both
def test_score_is_the_gradient(kind, rng):
    distribution, z, coded = outputs(kind, rng, np.float64, n=5)
    expected = differences(lambda: -log_probability(z, coded, kind == "discrete").sum(), z)
    np.testing.assert_allclose(replayed(lambda: distribution.score(z, coded)), expected, rtol=0, atol=1e-8)


@both
def test_entropy_and_its_gradient(kind, rng):
    distribution, z, _ = outputs(kind, rng, np.float64, n=5)
    np.testing.assert_allclose(distribution.entropy(z), entropy(z, kind == "discrete"), rtol=1e-12)
    d = np.ones_like(z)
    replayed(lambda: distribution.subtract_entropy_gradient(d, z, 0.25))
    expected = 1 - 0.25 * differences(lambda: entropy(z, kind == "discrete").sum(), z)
    np.testing.assert_allclose(d, expected, rtol=0, atol=1e-8)


def test_samples_of_classes(dtype):
    distribution = distribution_of(SPACES["discrete"], np.dtype(dtype), "cpu")
    p = np.array([0.5, 0.3, 0.2])
    z = np.tile(np.log(p), (20000, 1)).astype(dtype)
    stream = np.array(7)
    coded = replayed(lambda: distribution.sample(z, 3, stream))
    classes = distribution.actions(coded)
    np.testing.assert_allclose(coded, np.eye(3)[classes], atol=4 * np.finfo(dtype).eps)
    # Five standard deviations of a frequency.
    np.testing.assert_allclose(np.bincount(classes) / 20000, p, rtol=0, atol=5 * np.sqrt(0.25 / 20000))
    assert (distribution.sample(z, 3, stream) == coded).all()
    assert (distribution.sample(z, 3, np.array(8)) != coded).any()


def test_a_certain_class_is_the_sample(dtype):
    """Softmax rounds to 1 and 0 here, and the score of the sample to 0."""
    distribution = distribution_of(SPACES["discrete"], np.dtype(dtype), "cpu")
    z = np.array([[-300.0, 300.0, 0.0], [-300.0, 0.0, 300.0], [300.0, 0.0, -300.0]], dtype)
    np.testing.assert_array_equal(distribution.actions(distribution.sample(z, 0, np.array(0))), [1, 2, 0])


def test_samples_of_vectors(dtype):
    distribution = distribution_of(SPACES["box"], np.dtype(dtype), "cpu")
    mean, deviation = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    z = np.tile(np.concatenate([mean, 2 * np.log(deviation)]), (20000, 1)).astype(dtype)
    drawn = replayed(lambda: distribution.sample(z, 3, np.array(1)))
    np.testing.assert_allclose(drawn.mean(axis=0), mean, rtol=0, atol=(5 * deviation / np.sqrt(20000)).max())
    np.testing.assert_allclose(drawn.std(axis=0), deviation, rtol=5 / np.sqrt(2 * 20000))
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 5 / np.sqrt(20000)


def test_moments_of_batches(rng):
    rows = 1e6 + rng.standard_normal((50, 3)) * [1.0, 100.0, 0.0]
    moments = Moments(3)
    for part in np.split(rows, [1, 20, 20]):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(moments.variance[:2], rows[:, :2].var(axis=0), rtol=1e-9)
    assert moments.deviation[2] == 1.0  # a constant stays finite when it is standardised
    again = Moments(3, moments.state())
    np.testing.assert_array_equal(again.deviation, moments.deviation)
