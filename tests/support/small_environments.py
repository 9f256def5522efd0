"""Small environments with Gymnasium's interface and known optima, which need no Gymnasium."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np


def discrete(n, start=0):
    return SimpleNamespace(n=n, start=start)


def box(low, high, shape=(1,)):
    return SimpleNamespace(low=np.full(shape, low), high=np.full(shape, high), dtype=np.float32)


class Bandit:
    """One state and two arms, which pay 0.2 and 1 on average; an episode is one pull."""

    observation_space, action_space = box(0.0, 1.0), discrete(2)

    def reset(self, seed=None):
        self.rng = np.random.default_rng(seed) if seed is not None else self.rng
        return np.ones(1), {}

    def step(self, action):
        paid = (0.2, 1.0)[action] + 0.1 * self.rng.standard_normal()
        return np.ones(1), paid, True, False, {}


class Chain:
    """States 0 to 5 in a row; the ends terminate an episode, and pay 0.3 on the left, 1 on the right.

    From state 1, right is the better way: 0.9 ** 3 = 0.729 after four steps is more than 0.3 at once.
    """

    observation_space, action_space = discrete(6), discrete(2, start=3)

    def reset(self, seed=None):
        self.state = 1
        return self.state, {}

    def step(self, action):
        assert action in (3, 4), action
        self.state += (action == 4) - (action == 3)
        return self.state, {0: 0.3, 5: 1.0}.get(self.state, 0.0), self.state in (0, 5), False, {}


class Aim:
    """The best action is twice the observation, except where the box ends; an episode is one step."""

    observation_space, action_space = box(-1.0, 1.0), box(-1.5, 1.5)

    def reset(self, seed=None):
        self.rng = np.random.default_rng(seed) if seed is not None else self.rng
        self.x = self.rng.uniform(-1, 1, 1)
        return self.x, {}

    def step(self, action):
        assert action.shape == (1,)
        assert action.dtype == np.float32
        assert abs(action[0]) <= 1.5
        return self.x, -float((action[0] - 2 * self.x[0]) ** 2), True, False, {}


class Steady:
    """A reward of 1 in each step, whatever the action, until the episode ends after some steps in a given way."""

    observation_space, action_space = box(0.0, 1.0), discrete(2)

    def __init__(self, length=5, *, terminates):
        self.length, self.terminates = length, terminates

    def reset(self, seed=None):
        self.left = self.length
        return np.zeros(1), {}

    def step(self, action):
        self.left -= 1
        over = self.left == 0
        return np.zeros(1), 1.0, over and self.terminates, over and not self.terminates, {}


class Broken(Bandit):
    """A bandit that fails in a way after some steps."""

    def __init__(self, after, fault):
        self.after, self.fault, self.steps = after, fault, 0

    def step(self, action):
        self.steps += 1
        observation, paid, terminated, truncated, info = super().step(action)
        if self.steps > self.after:
            if self.fault == "raises":
                raise OSError("the robot is on fire")
            if self.fault == "reward":
                paid = np.nan
            if self.fault == "observation":
                observation, terminated = np.full(1, np.inf), False
            if self.fault == "shape":
                observation = np.ones(2)
            if self.fault == "interrupt":
                raise KeyboardInterrupt
        return observation, paid, terminated, truncated, info
