"""Environments side by side in one process, with one interface for single and for vectorised ones."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Array, Float64Array

from ._errors import BrokenEnvironmentError
from ._spaces import Actions, Observations, actions_of, observations_of

BoolArray = npt.NDArray[np.bool_]
_NO_GYMNASIUM = (
    "environments by name are those of Gymnasium, which is not installed: "
    "pip install 'gymnasium[classic-control]'"
)


@dataclass(frozen=True)
class Step:
    """What n environments return for one action each.

    Attributes
    ----------
    observations : ndarray of shape (n, size)
        What the next actions follow from; those of a new episode where the last one has ended.
    rewards : ndarray of shape (n,)
        The rewards.
    terminated, truncated : ndarray of bool of shape (n,)
        Whether the episode has ended by itself, or by a limit of time. Never both: what ends by itself has terminated.
    last : ndarray of shape (n, size)
        The observations after the actions, which differ from `observations` at the end of an episode.
    counts : ndarray of bool of shape (n,)
        Whether the action counted; not where the environment spent the step on its reset.
    """

    observations: Float64Array
    rewards: Float64Array
    terminated: BoolArray
    truncated: BoolArray
    last: Float64Array
    counts: BoolArray


class Environments(ABC):
    """n environments that take a step together.

    Attributes
    ----------
    n : int
        Number of environments.
    observations : Observations
        Space of the observations.
    actions : Actions
        Space of the actions.
    """

    n: int
    observations: Observations
    actions: Actions

    def __init__(self, n: int, observation_space: Any, action_space: Any, name: str) -> None:
        self.n, self._name, self._steps = n, name, 0
        try:
            self.observations, self.actions = observations_of(observation_space), actions_of(action_space)
        except TypeError as error:
            raise TypeError(f"[{name}] {error}") from None

    def reset(self, seed: int) -> Float64Array:
        """Begin new episodes everywhere, and return the first observations, of shape (n, size).

        Raises
        ------
        BrokenEnvironmentError
            If an environment raises an exception, or its observation is not valid.
        """
        self._steps = 0
        rows: Float64Array = self._guarded(self._reset, seed)
        return rows

    def step(self, actions: Array) -> Step:
        """Take a step in each environment, and begin a new episode where one has ended.

        Parameters
        ----------
        actions : ndarray of shape (n,) or (n, size)
            The actions of the policy.

        Raises
        ------
        BrokenEnvironmentError
            If an environment raises an exception, or what it returns is not valid: not finite, or not in its space.
        """
        step: Step = self._guarded(self._step, self.actions.for_environment(actions))
        self._steps += 1
        return step

    def _guarded(self, function: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return function(argument)
        except BrokenEnvironmentError:
            raise
        except Exception as error:
            text = (
                str(error)
                if type(error) is _InvalidStepError
                else f"it raised {type(error).__name__}: {error}"
            )
            raise BrokenEnvironmentError(
                f"[{self._name}] the environment failed in step {self._steps + 1} of this run: {text}"
            ) from error

    def _rows(self, observations: Any, n: int | None = None) -> Float64Array:
        try:
            rows = self.observations.rows(observations)
        except ValueError as error:
            raise _InvalidStepError(str(error)) from None
        if len(rows) != (n or self.n):
            raise _InvalidStepError(f"it returned {len(rows)} observations for {n or self.n} environments")
        return rows

    def _rewards(self, rewards: Any) -> Float64Array:
        try:
            values = np.asarray(rewards, np.float64)
        except (TypeError, ValueError):
            raise _InvalidStepError("a reward is not a number") from None
        self._require_one_each(values, "a reward")
        if not np.isfinite(values).all():
            raise _InvalidStepError("a reward is not finite")
        return values

    def _flags(self, flags: Any, name: str) -> BoolArray:
        try:
            values = np.array(flags)
        except ValueError:  # of different shapes
            values = np.array(None)
        if values.dtype.kind not in "biu":
            raise _InvalidStepError(f"`{name}` is not True or False")
        self._require_one_each(values, f"`{name}`")
        return values.astype(bool)

    def _require_one_each(self, values: Array, name: str) -> None:
        if values.shape[:1] != (self.n,):
            raise _InvalidStepError(
                f"it returned an array of shape {values.shape} for {name} of {self.n} environments"
            )
        if values.ndim > 1:
            raise _InvalidStepError(f"{name} has shape {values.shape[1:]}: it must be a single value")

    @abstractmethod
    def _reset(self, seed: int) -> Float64Array: ...

    @abstractmethod
    def _step(self, actions: Array) -> Step: ...

    @abstractmethod
    def close(self) -> None:
        """Close the environments that were made here."""


class _InvalidStepError(ValueError):
    """What an environment returned is not valid."""


class Singles(Environments):
    """Single environments, one after the other.

    Parameters
    ----------
    environments : sequence
        The environments, all alike.
    name : str
        What messages begin with.
    """

    def __init__(self, environments: Sequence[Any], name: str) -> None:
        first = environments[0]
        super().__init__(len(environments), first.observation_space, first.action_space, name)
        self._all = list(environments)

    def _reset(self, seed: int) -> Float64Array:
        seeds = np.random.SeedSequence(seed).generate_state(self.n).tolist()
        pairs = zip(self._all, seeds, strict=True)
        return self._rows([environment.reset(seed=own)[0] for environment, own in pairs])

    def _step(self, actions: Array) -> Step:
        given = actions.tolist() if self.actions.is_discrete else actions
        results = [environment.step(action) for environment, action in zip(self._all, given, strict=True)]
        observations, rewards, terminated, truncated, _ = zip(*results, strict=True)
        last = self._rows(observations)
        ended, cut = self._flags(terminated, "terminated"), self._flags(truncated, "truncated")
        following = last
        if ended.any() or cut.any():
            following = last.copy()
            for i in np.flatnonzero(ended | cut):
                following[i] = self._rows([self._all[i].reset()[0]], 1)[0]
        return Step(following, self._rewards(rewards), ended, cut & ~ended, last, np.ones(self.n, bool))

    def close(self) -> None:
        for environment in self._all:
            if hasattr(environment, "close"):
                environment.close()


class Vectorised(Environments):
    """An environment of Gymnasium's interface `VectorEnv`, in any of its modes of automatic resets.

    Parameters
    ----------
    environment : VectorEnv
        The environment.
    name : str
        What messages begin with.
    owned : bool
        Whether `close` closes it.
    """

    def __init__(self, environment: Any, name: str, *, owned: bool) -> None:
        spaces = environment.single_observation_space, environment.single_action_space
        super().__init__(int(environment.num_envs), *spaces, name)
        self._environment, self._owned = environment, owned
        mode = (getattr(environment, "metadata", None) or {}).get("autoreset_mode", "NextStep")
        self._mode: str = getattr(mode, "value", mode)
        self._resets = np.zeros(self.n, bool)

    def _reset(self, seed: int) -> Float64Array:
        self._resets[...] = False
        return self._rows(self._environment.reset(seed=seed % 2**31)[0]).copy()

    def _step(self, actions: Array) -> Step:
        observations, rewards, terminated, truncated, info = self._environment.step(actions)
        last = self._rows(observations).copy()
        ended, cut = self._flags(terminated, "terminated"), self._flags(truncated, "truncated")
        done, following, counts = ended | cut, last, np.ones(self.n, bool)
        if self._mode == "NextStep":
            counts = ~self._resets
            self._resets = done
        elif done.any() and self._mode == "SameStep":
            last = last.copy()
            for i in np.flatnonzero(done):
                last[i] = self._rows([info["final_obs"][i]], 1)[0]
        elif done.any():
            following = last.copy()
            fresh = self._environment.reset(options={"reset_mask": done})[0]
            following[done] = self._rows(fresh)[done]
        return Step(following, self._rewards(rewards), ended, cut & ~ended, last, counts)

    def close(self) -> None:
        if self._owned:
            self._environment.close()


def make_environments(env: Any, n: int, name: str) -> Environments:
    """Make n environments side by side.

    Parameters
    ----------
    env : str, callable or VectorEnv
        The name of an environment of Gymnasium, a function without arguments that makes an environment, or a vectorised
        environment, which has its own number.
    n : int
        Number of environments.
    name : str
        What messages begin with.

    Raises
    ------
    ImportError
        If Gymnasium is needed and not installed.
    TypeError, ValueError
        If `env` is none of these, has other spaces than boxes and discrete ones, or there is no environment of a name.
    BrokenEnvironmentError
        If a function raises an exception.
    """
    if isinstance(env, str):
        return _by_name(env, n, name)
    if hasattr(env, "num_envs") and hasattr(env, "single_action_space"):
        return Vectorised(env, name, owned=False)
    if not callable(env):
        hint = ": pass a function that makes one" if hasattr(env, "step") else ""
        raise TypeError(
            f"[{name}] env must be the name of an environment, a function that makes one, or a vectorised environment, "
            f"got {type(env).__name__}{hint}"
        )
    try:
        made = [env() for _ in range(n)]
    except Exception as error:
        raise BrokenEnvironmentError(
            f"[{name}] env could not be called: {type(error).__name__}: {error}"
        ) from error
    for attribute in ("reset", "step", "observation_space", "action_space"):
        if not hasattr(made[0], attribute):
            raise TypeError(f"[{name}] env made a {type(made[0]).__name__}, which has no {attribute}")
    return Singles(made, name)


def registered(env: str) -> str:
    """Return the name of an environment of Gymnasium; that of ``"module:name"`` after an import of the module."""
    module, _, name = env.rpartition(":")
    if module:
        importlib.import_module(module)
    return name


def _by_name(env: str, n: int, name: str) -> Environments:
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError(f"[{name}] {_NO_GYMNASIUM}") from error
    try:
        spec = gymnasium.spec(registered(env))
        if spec.vector_entry_point is not None:
            vector = gymnasium.make_vec(spec, n, vectorization_mode="vector_entry_point")
            return Vectorised(vector, name, owned=True)
        # What the checker of each environment looks for is checked here for all of them at once.
        return Singles([gymnasium.make(spec, disable_env_checker=True) for _ in range(n)], name)
    except (gymnasium.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise ImportError(f"[{name}] {error}") from error
    except gymnasium.error.Error as error:
        raise ValueError(f"[{name}] there is no environment {env!r}: {error}") from error
