"""Spaces of observations and actions: what an environment declares, as arrays for networks.

Spaces are recognised by their attributes (``n`` of a discrete space, ``low`` and ``high`` of a box), so that an
environment need not use Gymnasium's classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array, Float64Array


@dataclass(frozen=True)
class Observations:
    """Observations as rows of numbers: a box is flattened, and a number of a discrete space becomes one-hot.

    Attributes
    ----------
    size : int
        Length of a row.
    shape : tuple of int
        Shape of an observation as the environment gives it.
    first : int or None
        Smallest number of a discrete space, or None for a box.
    """

    size: int
    shape: tuple[int, ...]
    first: int | None = None

    def rows(self, observations: Any) -> Float64Array:
        """Return a batch of observations as an array of shape (n, size).

        Raises
        ------
        ValueError
            If the observations are not as the space declares them, or not finite.
        """
        try:
            values = np.asarray(observations, np.float64)
        except (TypeError, ValueError):
            raise ValueError("an observation holds no numbers") from None
        if values.shape[1:] != self.shape:
            raise ValueError(f"an observation has shape {values.shape[1:]}, but its space {self.shape}")
        if not np.isfinite(values).all():
            raise ValueError("an observation is not finite")
        if self.first is None:
            return values.reshape(len(values), self.size)
        numbers = values.astype(np.int64) - self.first
        if (numbers != values - self.first).any() or (numbers < 0).any() or (numbers >= self.size).any():
            raise ValueError(
                f"an observation is outside {self.first}..{self.first + self.size - 1}, its discrete space"
            )
        return np.eye(self.size)[numbers]


@dataclass(frozen=True)
class Actions:
    """Actions of an environment: a number of a discrete space, or a vector in a box.

    Attributes
    ----------
    size : int
        Number of actions, or length of the vector.
    shape : tuple of int
        Shape of an action as the environment takes it; () for a discrete space.
    first : int or None
        Smallest number of a discrete space, or None for a box.
    low, high : ndarray of shape (size,) or None
        Bounds of a box, which may be infinite.
    dtype : dtype
        Dtype of the actions of a box.
    """

    size: int
    shape: tuple[int, ...]
    first: int | None = None
    low: Float64Array | None = None
    high: Float64Array | None = None
    dtype: Any = np.float32

    @property
    def is_discrete(self) -> bool:
        """Whether there is a finite number of actions."""
        return self.first is not None

    def for_environment(self, actions: Array) -> Array:
        """Return actions of the policy as environments take them: numbers from `first`, or vectors within the box."""
        if self.first is not None:
            return actions + self.first
        clipped: Array = np.clip(actions, self.low, self.high)
        return clipped.reshape(len(actions), *self.shape).astype(self.dtype)


def observations_of(space: Any) -> Observations:
    """Return what an observation space declares.

    Raises
    ------
    TypeError
        If it is neither a box nor discrete.
    """
    if _is_discrete(space):
        return Observations(int(space.n), (), int(getattr(space, "start", 0)))
    if _is_box(space):
        shape = tuple(int(n) for n in np.shape(space.low))
        if math.prod(shape) == 0:
            raise TypeError(f"observations have shape {shape}, which holds no numbers")
        return Observations(math.prod(shape), shape)
    raise TypeError(
        f"observations are of {_named(space)}: spaces must be discrete or boxes; "
        "gymnasium.wrappers.FlattenObservation turns others into boxes"
    )


def actions_of(space: Any) -> Actions:
    """Return what an action space declares.

    Raises
    ------
    TypeError
        If it is neither a box nor discrete.
    """
    if _is_discrete(space):
        if space.n < 2:
            raise TypeError("there is a single action, so that there is nothing to learn")
        return Actions(int(space.n), (), int(getattr(space, "start", 0)))
    if _is_box(space):
        shape = tuple(int(n) for n in np.shape(space.low))
        low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in (space.low, space.high))
        dtype = np.dtype(getattr(space, "dtype", None) or np.float32)
        if not low.size or dtype.kind != "f":
            raise TypeError(f"actions are a box of shape {shape} and dtype {dtype}, not of real numbers")
        return Actions(low.size, shape, None, low, high, dtype)
    raise TypeError(f"actions are of {_named(space)}: they must be discrete, or a box of real numbers")


def _is_discrete(space: Any) -> bool:
    return isinstance(getattr(space, "n", None), (int, np.integer)) and np.shape(space) == ()


def _is_box(space: Any) -> bool:
    return hasattr(space, "low") and hasattr(space, "high")


def _named(space: Any) -> str:
    return f"the space {type(space).__name__}"
