"""The loop of learning: act, judge, update; and what is told of it."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Float64Array
from steepest._runtime.memory import to_host
from steepest.callbacks import Callback, Epoch, above_bars

from ._environments import Environments
from ._learned import Learned
from ._moments import Moments
from ._rollout import Discounts, Rollout
from ._updates import Outcome, Update, parameters_are_finite

# Episodes whose mean return and length are reported.
RECENT = 100
RECORDED = (
    "steps",
    "episodes",
    "seconds",
    "mean_return",
    "mean_length",
    "loss",
    "divergence",
    "entropy",
    "value_error",
    "explained_variance",
)


@dataclass
class Recent:
    """Returns and lengths of the last episodes."""

    returns: deque[float]
    lengths: deque[int]

    @property
    def mean_return(self) -> float:
        """Their mean return; NaN if there is none."""
        return float(np.mean(self.returns)) if self.returns else math.nan

    @property
    def mean_length(self) -> float:
        """Their mean length; NaN if there is none."""
        return float(np.mean(self.lengths)) if self.lengths else math.nan


class Learning:
    """A call of `learn`.

    Parameters
    ----------
    agent : agent
        The agent, whose parameters are checked.
    learned : Learned
        What it has learned so far.
    environments : Environments
        The environments.
    horizon : int
        Steps of each environment between two updates.
    """

    def __init__(self, agent: Any, learned: Learned, environments: Environments, horizon: int) -> None:
        self._agent, self._learned, self._environments = agent, learned, environments
        self.rollout = Rollout(learned.policy, environments, horizon)
        self._discounts = Discounts(agent.gamma, agent.gae_lambda, agent.normalize_advantages)
        self._update: Update = agent._make_update(learned, self.rollout)
        self._recent = Recent(deque(maxlen=RECENT), deque(maxlen=RECENT))
        self._discounted: Float64Array = np.zeros(environments.n)

    def run(self, n_updates: int, callbacks: list[Callback], target_return: float | None) -> None:
        """Learn until the updates are done, a callback says so, or the mean return of 100 episodes is reached.

        Raises
        ------
        BrokenEnvironmentError, DivergenceError, KeyboardInterrupt
            The policy is then that after the last complete update.
        """
        agent, learned = self._agent, self._learned
        begun = time.perf_counter()
        entropy = np.random.SeedSequence([learned.seed, learned.learns])
        learned.learns += 1
        self.rollout.begin(int(entropy.generate_state(1)[0]))
        for _ in range(n_updates):
            start = time.perf_counter()
            row = self._iterate()
            row["seconds"] = time.perf_counter() - begun
            for name in RECORDED:
                agent.history_[name].append(row[name])
            if agent.verbose:
                with above_bars():
                    print(described(agent, row))
            mean = row["mean_return"]
            epoch = Epoch(
                len(agent.history_["steps"]),
                row["loss"],
                None,
                self.rollout.n_counted,
                time.perf_counter() - start,
                validation_score=None if math.isnan(mean) else mean,
            )
            answers = [callback.epoch_done(agent, epoch) for callback in callbacks]
            if any(answers):
                return
            full = len(self._recent.returns) == RECENT
            if target_return is not None and full and mean >= target_return:
                return

    def _iterate(self) -> dict[str, Any]:
        """Act over the horizon, and update values and policy; return what `history_` records."""
        agent, learned, rollout = self._agent, self._learned, self.rollout
        for own_return, length in rollout.collect():
            self._recent.returns.append(own_return)
            self._recent.lengths.append(length)
            agent.episode_returns_.append(own_return)
        policy_before, value_before = learned.policy.network.arena.copy(), learned.value.network.arena.copy()
        scale_before, rewards_before = (learned.value.mean, learned.value.deviation), learned.rewards.state()
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                scale = self._reward_scale() if agent.normalize_rewards else 1.0
                explained = rollout.judge(learned.value, self._discounts, scale)
                if not np.isfinite(to_host(rollout.pull)).all():
                    raise DivergenceError("the advantages are not finite")
                entropy = rollout.entropy(rollout.outputs())
                outcome = self._updated()
                error = self._fit_values()
        except DivergenceError as diverged:
            # Both networks go back, so that the agent can go on with other parameters.
            learned.policy.network.arena[...] = policy_before
            learned.value.network.arena[...] = value_before
            learned.value.mean, learned.value.deviation = scale_before
            learned.rewards = Moments(1, rewards_before)
            raise DivergenceError(
                f"[{type(agent).__name__}] learning diverged in update {len(agent.history_['steps']) + 1}: {diverged}. "
                f"{agent._remedy}. The policy before the update was kept"
            ) from diverged
        agent.n_steps_ += rollout.n_counted
        if agent.normalize_observations:
            learned.policy.moments.add(rollout.counted)
            learned.policy.use_moments()
        return {
            "steps": agent.n_steps_,
            "episodes": len(agent.episode_returns_),
            "mean_return": self._recent.mean_return,
            "mean_length": self._recent.mean_length,
            "loss": outcome.loss,
            "divergence": outcome.divergence,
            "entropy": entropy,
            "value_error": error,
            "explained_variance": explained,
        }

    def _updated(self) -> Outcome:
        outcome = self._update(self._shuffles(getattr(self._agent, "n_epochs", 0)))
        if not parameters_are_finite(self._learned.policy):
            raise DivergenceError("a parameter of the policy is not finite")
        return outcome

    def _fit_values(self) -> float:
        agent, learned, rollout = self._agent, self._learned, self.rollout
        learned.value.follow(rollout.targets[rollout.counts])
        return learned.value.fit(
            rollout.inputs,
            rollout.targets,
            rollout.weights,
            n_epochs=agent.value_epochs,
            batch_size=agent.value_batch_size,
            seed=learned.seed,
            stream=self._shuffles(agent.value_epochs),
        )

    def _shuffles(self, n: int) -> int:
        """Return the first of n random streams of shuffles that nothing else takes."""
        first = self._learned.shuffles
        self._learned.shuffles += n
        return first

    def _reward_scale(self) -> float:
        """Return the factor of the rewards: the inverse deviation of the discounted returns so far."""
        rewards, done = self.rollout.discounted_step
        sums = np.empty_like(rewards)
        for t in range(len(rewards)):
            self._discounted = sums[t] = self._agent.gamma * self._discounted + rewards[t]
            self._discounted = np.where(done[t], 0.0, self._discounted)
        moments = self._learned.rewards
        moments.add(sums.reshape(-1, 1)[self.rollout.counts])
        if not np.isfinite(moments.variance).all():
            raise DivergenceError("the variance of the discounted returns is not finite")
        return float(1.0 / moments.deviation[0])


def described(agent: Any, row: dict[str, Any]) -> str:
    """Return a line about an update."""
    return (
        f"{type(agent).__name__}: {row['steps']} steps, {row['episodes']} episodes, "
        f"mean return {row['mean_return']:.1f}, divergence {row['divergence']:.4f}, "
        f"entropy {row['entropy']:.2f}, {row['seconds']:.1f} s"
    )
