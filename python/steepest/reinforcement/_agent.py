"""What all agents share: learning in environments, acting, evaluation, and what a file or a pickle keeps."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags, check_random_state

from steepest import nn, optim
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array, Float64Array
from steepest._saving.files import save
from steepest.callbacks import check_callbacks
from steepest.estimators.device import resolve_device
from steepest.training.loop import warn_of_interrupt

from ._environments import Environments, make_environments
from ._learned import Learned, begin_learning, revive
from ._learning import RECORDED, Learning
from ._parameters import AgentParameters
from ._rollout import Rollout
from ._updates import Update

Self = TypeVar("Self", bound="Agent")


class Agent(AgentParameters, BaseEstimator):
    """Base class of the agents."""

    history_: dict[str, list[Any]]
    episode_returns_: list[float]
    n_steps_: int
    _learned: Learned

    _remedy = "Lower the learning rates"

    @abstractmethod
    def _make_update(self, learned: Learned, rollout: Rollout) -> Update:
        """Return the update of the policy from a rollout."""

    def _make_optimizer(self, network: nn.Network) -> optim.Optimizer | None:
        """Return the optimizer of the policy's parameters, or None if updates keep nothing."""
        return None

    def _name(self) -> str:
        return type(self).__name__

    # ------------------------------------------------------------------------------------------------ learning

    def learn(
        self: Self,
        n_steps: int,
        *,
        target_return: float | None = None,
        save_to: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Learn from steps in the environments; a second call goes on from the first one.

        Parameters
        ----------
        n_steps : int
            Number of steps in all environments together, of which whole updates are made: ``n_envs * horizon`` steps
            each, or a single update of fewer.
        target_return : float or None, default=None
            Mean return of the last 100 episodes at which to stop.
        save_to : path or None, default=None
            A file for the agent, written at the end of the call, however it ends.

        Returns
        -------
        Agent
            This agent. After Ctrl-C it is as after the last step of its update, and a warning is given.

        Raises
        ------
        ValueError, TypeError, ImportError, FileNotFoundError
            If a parameter is not as described, the environment cannot be used, or there is no folder for `save_to`;
            nothing has changed then.
        BrokenEnvironmentError
            If an environment raises an exception, or returns something that is not finite or not in its space. The
            policy of the last update remains, in the agent and in `save_to`.
        DivergenceError
            If a loss or a parameter is not finite; the policy before the update remains likewise.
        """
        self._validate_params()
        n_steps = checked_integer(self._name(), "n_steps", n_steps, low=1, high=2**62)
        if target_return is not None and not math.isfinite(target_return):
            raise ValueError(f"[{self._name()}] target_return is {target_return}: it must be finite")
        if save_to is not None and not os.path.isdir(folder := os.path.dirname(os.path.abspath(save_to))):
            raise FileNotFoundError(f"[{self._name()}] save_to: there is no folder {folder}")
        callbacks = check_callbacks(self._name(), self.callbacks)
        device = resolve_device(self.device, self._name(), None)
        environments = self._environments(self.n_envs)
        try:
            learned = self._begin(environments, device)
            n = environments.n
            horizon = min(self.horizon, -(-n_steps // n))
            learning = Learning(self, learned, environments, horizon)
            for callback in callbacks:
                callback.fit_begun(self)
            try:
                learning.run(max(n_steps // (n * horizon), 1), callbacks, target_return)
            except KeyboardInterrupt:
                warn_of_interrupt(2)
            finally:
                learned.policy.network.release_buffers()
                learned.value.network.release_buffers()
                for callback in callbacks:
                    callback.fit_done(self)
                if save_to is not None:
                    save(self, save_to)
        finally:
            environments.close()
        return self

    def _environments(self, n: int) -> Environments:
        if self.env is None:
            raise ValueError(
                f"[{self._name()}] there is no environment to act in: pass env, or set_params(env=...)"
            )
        return make_environments(self.env, n, self._name())

    def _begin(self, environments: Environments, device: str) -> Learned:
        """Return what the agent has learned so far, on a device; the first call begins with a new policy."""
        if "_learned" not in self.__dict__:
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
            self._learned = begin_learning(
                self, environments.observations, environments.actions, device, seed
            )
            self.history_ = {name: [] for name in RECORDED}
            self.episode_returns_, self.n_steps_ = [], 0
            return self._learned
        policy = self._learned.policy
        for what, own, others in (
            ("observations", policy.observations.size, environments.observations.size),
            ("actions", policy.action_space.size, environments.actions.size),
            ("kind of actions", policy.action_space.is_discrete, environments.actions.is_discrete),
        ):
            if own != others:
                raise ValueError(
                    f"[{self._name()}] the {what} of env differ from those that the agent knows: {others}, not {own}. "
                    "A clone of the agent begins anew"
                )
        # Parameters such as a learning rate may have changed since.
        self._learned = revive(self, self._learned.state(), device)
        return self._learned

    # -------------------------------------------------------------------------------------------------- acting

    def _policy(self) -> Any:
        if "_learned" not in self.__dict__:
            raise NotFittedError(f"[{self._name()}] this agent has no policy yet: call learn first")
        return self._learned.policy

    def act(self, observation: Any, deterministic: bool = True) -> Any:
        """Return the action for an observation, or those for a batch of them.

        Parameters
        ----------
        observation : array-like
            An observation of the environment, or n of them along a first axis.
        deterministic : bool, default=True
            Whether to take the most probable action. Otherwise actions are drawn from the policy.

        Returns
        -------
        int or ndarray
            The action as the environment takes it, within its box; for a batch an array of n actions.

        Raises
        ------
        NotFittedError
            If the agent has not learned.
        ValueError
            If the observation has another shape, or is not finite.
        """
        policy = self._policy()
        space = policy.observations
        given = np.asarray(observation)
        single = given.shape == space.shape
        try:
            rows = space.rows(given[None] if single else given)
        except ValueError as error:
            raise ValueError(f"[{self._name()}] {error}") from None
        if not len(rows):
            raise ValueError(f"[{self._name()}] there are no observations")
        actions = policy.action_space.for_environment(
            policy.actor(len(rows), deterministic=deterministic)(rows)
        )
        if not single:
            return actions
        return int(actions[0]) if policy.action_space.is_discrete else actions[0]

    def probabilities(self, observations: Any) -> Array:
        """Return the parameters of the policy's distributions for a batch of observations.

        Parameters
        ----------
        observations : array-like of shape (n, ...)
            The observations.

        Returns
        -------
        ndarray of shape (n, n_actions) or (n, 2, size)
            Probabilities of discrete actions, or means and standard deviations of the components of a vector.
        """
        policy = self._policy()
        try:
            rows = policy.observations.rows(observations)
        except ValueError as error:
            raise ValueError(f"[{self._name()}] {error}") from None
        described: Array = policy.described(rows)
        return described

    def evaluate(
        self,
        n_episodes: int = 100,
        *,
        deterministic: bool = True,
        seed: int | None = None,
        env: Any = None,
    ) -> Float64Array:
        """Return the returns of new episodes, without learning.

        Parameters
        ----------
        n_episodes : int, default=100
            Number of episodes.
        deterministic : bool, default=True
            Whether to take the most probable actions, or to draw them.
        seed : int or None, default=None
            Seed of the environments; by default it follows from the agent's own.
        env : str, callable, VectorEnv or None, default=None
            The environment, by default the agent's.

        Returns
        -------
        ndarray of shape (n_episodes,)
            Sums of the rewards. Each environment plays the same number of episodes, or one fewer, so that short ones do
            not count more often. Episodes must end: an environment without a limit of time may need one
            (``gymnasium.wrappers.TimeLimit``), where the most probable actions go round in circles.

        Raises
        ------
        NotFittedError
            If the agent has not learned.
        BrokenEnvironmentError
            If an environment fails.
        """
        policy = self._policy()
        n_episodes = checked_integer(self._name(), "n_episodes", n_episodes, low=1, high=2**62)
        if seed is None:
            seed = int(np.random.SeedSequence([self._learned.seed, 2**32 - 1]).generate_state(1)[0])
        seed = checked_integer(self._name(), "seed", seed)
        n = min(self.n_envs, n_episodes)
        chosen = self.env if env is None else env
        if chosen is None:
            raise ValueError(f"[{self._name()}] there is no environment to act in: pass env")
        environments = make_environments(chosen, n, self._name())
        try:
            return _played(policy, environments, n_episodes, seed, deterministic=deterministic)
        finally:
            environments.close()

    # ------------------------------------------------------------------------------------------------- pickling

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "_learned" in state:
            state["_learned"] = state["_learned"].state()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        saved = self.__dict__.pop("_learned", None)
        if saved is not None:
            self._learned = revive(self, saved, saved["network"].device)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _played(
    policy: Any, environments: Environments, n_episodes: int, seed: int, *, deterministic: bool
) -> Float64Array:
    """Return the returns of episodes, shared out evenly among environments."""
    n = environments.n
    actor = policy.actor(n, deterministic=deterministic)
    left = np.full(n, n_episodes // n)
    left[: n_episodes % n] += 1
    returns: list[float] = []
    running = np.zeros(n)
    rows = environments.reset(seed)
    while left.any():
        step = environments.step(actor(rows))
        running += step.rewards
        done = step.terminated | step.truncated
        returns += running[done & (left > 0)].tolist()
        left[done & (left > 0)] -= 1
        running[done] = 0.0
        rows = step.observations
    return np.array(returns)
