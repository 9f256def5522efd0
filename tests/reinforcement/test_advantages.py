"""Generalised advantages against sums written from the definition, and what they are at both ends."""

from __future__ import annotations

import numpy as np
import pytest
from reinforcement_reference import advantages

from steepest.reinforcement import generalised_advantages


def problem(rng, steps=12, n=3):
    ends = rng.random((2, steps, n)) < 0.15
    return (*rng.standard_normal((3, steps, n)), ends[0], ends[1] & ~ends[0])


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.0), (1.0, 1.0), (0.0, 0.5)])
def test_definition(rng, gamma, lam):
    given = problem(rng)
    found = generalised_advantages(*given, gamma=gamma, gae_lambda=lam)
    np.testing.assert_allclose(found, advantages(*given, gamma, lam), rtol=1e-13, atol=1e-13)


def test_with_lambda_1_they_are_returns_minus_values(rng):
    rewards, values = rng.standard_normal((2, 6, 1))
    following = np.vstack([values[1:], [[4.0]]])
    none = np.zeros((6, 1), bool)
    found = generalised_advantages(rewards, values, following, none, none, gamma=0.9, gae_lambda=1.0)
    returns = (0.9 ** np.arange(6) * rewards[:, 0]).sum() + 0.9**6 * 4.0
    np.testing.assert_allclose(found[0, 0], returns - values[0, 0], rtol=1e-13)


def test_a_limit_of_time_is_no_end(rng):
    """Where a limit of time cuts an episode off, the value of its last state counts; where it terminates, 0 does."""
    rewards, values, following = np.ones((1, 1)), np.full((1, 1), 3.0), np.full((1, 1), 7.0)
    yes, no = np.ones((1, 1), bool), np.zeros((1, 1), bool)
    options = {"gamma": 0.5, "gae_lambda": 0.9}
    assert generalised_advantages(rewards, values, following, no, yes, **options).item() == 1 + 3.5 - 3
    assert generalised_advantages(rewards, values, following, yes, no, **options).item() == 1 - 3
