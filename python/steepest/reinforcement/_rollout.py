"""Steps of all environments between two updates of the policy, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import assign, to_host

from ._advantages import generalised_advantages
from ._environments import Environments, Step
from ._policy import Policy
from ._value import Value


@dataclass(frozen=True)
class Discounts:
    """Discount of later rewards, the lambda of generalised advantages, and whether these are standardised."""

    gamma: float
    gae_lambda: float
    standardise: bool


class Rollout:
    """The steps of n environments over a horizon, a row for each step; its arrays are written over each time.

    Parameters
    ----------
    policy : Policy
        The policy that acts.
    environments : Environments
        The environments.
    horizon : int
        Steps of each environment.

    Attributes
    ----------
    size : int
        Number of rows.
    inputs : ndarray of shape (size, n_in)
        Standardised observations, on the policy's device.
    coded : ndarray of shape (size, width)
        Coded actions, on the policy's device.
    weights : ndarray of shape (size,)
        1 for a row that counts, 0 for one that an environment spent on its reset; on the policy's device.
    pull : ndarray of shape (size,)
        Advantages divided by the number of rows that count, 0 for the others; on the policy's device. The gradient of
        the objective is the sum of the pulls times the gradients of log-probabilities.
    targets : ndarray of shape (size,)
        Returns for the value network, on the host.
    """

    def __init__(self, policy: Policy, environments: Environments, horizon: int) -> None:
        n, size = environments.n, environments.observations.size
        self._policy, self._environments, self._horizon = policy, environments, horizon
        self.size = horizon * n
        self._raw: Float64Array = np.empty((horizon, n, size))
        self._rewards: Float64Array = np.empty((horizon, n))
        self._terminated: npt.NDArray[np.bool_] = np.empty((horizon, n), bool)
        self._truncated: npt.NDArray[np.bool_] = np.empty((horizon, n), bool)
        self._counts: npt.NDArray[np.bool_] = np.empty((horizon, n), bool)
        self._cut: list[tuple[int, int, Float64Array]] = []
        width = policy.distribution.width
        self._inputs, self._coded = policy.empty(horizon, n, size), policy.empty(horizon, n, width)
        self.inputs, self.coded = self._inputs.reshape(-1, size), self._coded.reshape(-1, width)
        self.weights, self.pull = policy.empty(self.size), policy.empty(self.size)
        self.targets: Float64Array = np.empty(self.size)
        self._now: Float64Array = np.empty((n, size))
        self._lengths, self._returns = np.zeros(n, np.int64), np.zeros(n)

    def begin(self, seed: int) -> None:
        """Begin new episodes in all environments."""
        self._now = self._environments.reset(seed)
        self._lengths[...], self._returns[...] = 0, 0.0

    def collect(self) -> list[tuple[float, int]]:
        """Act over the horizon; return (return, length) of each episode that ended.

        Raises
        ------
        BrokenEnvironmentError
            If an environment fails.
        """
        actor, ended = self._policy.actor(self._environments.n, deterministic=False), []
        self._cut.clear()
        for t in range(self._horizon):
            self._raw[t] = self._now
            step = self._environments.step(actor(self._now))
            self._inputs[t], self._coded[t] = actor.inputs, actor.coded
            self._rewards[t], self._counts[t] = step.rewards, step.counts
            self._terminated[t], self._truncated[t] = step.terminated, step.truncated
            self._now = step.observations
            self._returns += step.rewards
            self._lengths += step.counts
            done = step.terminated | step.truncated
            if done.any():
                ended += self._end(t, step, done)
        return ended

    def _end(self, t: int, step: Step, done: npt.NDArray[np.bool_]) -> list[tuple[float, int]]:
        self._cut += [(t, int(i), step.last[i]) for i in np.flatnonzero(step.truncated)]
        episodes = list(zip(self._returns[done].tolist(), self._lengths[done].tolist(), strict=True))
        self._returns[done], self._lengths[done] = 0.0, 0
        return episodes

    @property
    def counted(self) -> Float64Array:
        """The observations of the rows that count, of shape (rows, n_in), as the environments gave them."""
        return self._raw[self._counts]

    @property
    def counts(self) -> npt.NDArray[np.bool_]:
        """Whether each row counts, of shape (size,)."""
        return self._counts.reshape(-1)

    @property
    def n_counted(self) -> int:
        """The number of rows that count."""
        return int(self._counts.sum())

    def judge(self, value: Value, discounts: Discounts, reward_scale: float = 1.0) -> float:
        """Compute `weights`, `pull` and `targets`; return the proportion of the returns' variance that values explain.

        Parameters
        ----------
        value : Value
            The values of states.
        discounts : Discounts
            How returns are discounted.
        reward_scale : float, default=1.0
            Factor of the rewards.
        """
        values = value.of(self.inputs).reshape(self._rewards.shape)
        extra = np.concatenate([self._now, *(last[None] for _, _, last in self._cut)])
        of_extra = value.of(self._policy.standardised(extra))
        following = np.concatenate([values[1:], of_extra[None, : self._environments.n]])
        for (t, i, _), own in zip(self._cut, of_extra[self._environments.n :].tolist(), strict=True):
            following[t, i] = own
        advantages = generalised_advantages(
            reward_scale * self._rewards,
            values,
            following,
            self._terminated,
            self._truncated,
            gamma=discounts.gamma,
            gae_lambda=discounts.gae_lambda,
        )
        self.targets[...] = (advantages + values).reshape(-1)
        counting, n = self._counts, self.n_counted
        explained = _explained(self.targets.reshape(counting.shape)[counting], values[counting])
        if discounts.standardise:
            among = advantages[counting]
            advantages = (advantages - among.mean()) / (among.std() + 1e-8)
        assign(self.weights, counting.reshape(-1))
        assign(self.pull, np.where(counting, advantages / n, 0.0).reshape(-1))
        return explained

    def outputs(self) -> Array:
        """Return the policy's outputs for all rows, before an update."""
        output: Array = self._policy.network.predict(*self._policy.inputs(self.inputs))
        return output

    def entropy(self, z: Array) -> float:
        """Return the mean entropy of the policy over the rows that count, for its outputs z."""
        weights = np.asarray(to_host(self.weights), np.float64)
        return float(self._policy.distribution.entropy(z) @ weights / weights.sum())

    @property
    def discounted_step(self) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
        """Rewards, and whether episodes ended, of shape (horizon, n): for a running scale of the returns."""
        return self._rewards, self._terminated | self._truncated


def _explained(targets: Float64Array, values: Float64Array) -> float:
    spread = float(targets.var())
    return float(1.0 - (targets - values).var() / spread) if spread > 0 else 0.0
