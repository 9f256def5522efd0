"""What a rollout makes of the steps of environments: returns at the ends of episodes, and of the horizon."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from small_environments import box, discrete

from steepest.reinforcement._environments import Singles
from steepest.reinforcement._moments import Moments
from steepest.reinforcement._policy import NetworkOptions, Policy, make_policy_network
from steepest.reinforcement._rollout import Discounts, Rollout


class Stairs:
    """The observation counts the steps of an episode of three; each step pays 1."""

    observation_space, action_space = box(0.0, 9.0), discrete(2)

    def __init__(self, *, terminates):
        self.terminates = terminates

    def reset(self, seed=None):
        self.count = 0
        return [self.count], {}

    def step(self, action):
        self.count += 1
        over = self.count == 3
        return [self.count], 1.0, over and self.terminates, over and not self.terminates, {}


@pytest.mark.parametrize(
    ("terminates", "last"), [(True, 1.0), (False, 1.0 + 0.5 * 103)], ids=["terminates", "limit of time"]
)
def test_targets(terminates, last):
    """With lambda = 0, targets are r + gamma V(next); a limit of time has the value of the last state, not the first.

    The value of a state is 100 plus its count.
    """
    environments = Singles([Stairs(terminates=terminates), Stairs(terminates=terminates)], "Agent")
    observations, actions = environments.observations, environments.actions
    options = NetworkOptions((3,), "tanh", np.dtype(np.float64), "cpu", seed=0)
    network = make_policy_network(observations, actions, options, 1.0, depends=False)
    rollout = Rollout(Policy(network, observations, actions, Moments(1), 0), environments, horizon=5)
    rollout.begin(0)
    assert rollout.collect() == [(3.0, 3)] * 2
    value = SimpleNamespace(of=lambda inputs: 100.0 + inputs[:, 0])
    rollout.judge(value, Discounts(0.5, 0.0, standardise=False))
    expected = [1 + 0.5 * 101, 1 + 0.5 * 102, last, 1 + 0.5 * 101, 1 + 0.5 * 102]
    np.testing.assert_allclose(rollout.targets.reshape(5, 2), np.tile(expected, (2, 1)).T, rtol=1e-13)
    before = 100.0 + np.array([0, 1, 2, 0, 1])
    np.testing.assert_allclose(rollout.pull.reshape(5, 2)[:, 0], (expected - before) / 10, rtol=1e-12)
    # The next horizon goes on where this one has ended.
    assert rollout.collect() == [(3.0, 3)] * 4
