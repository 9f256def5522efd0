"""Random numbers of the chains: Philox in the kernels, or a generator of NumPy in scikit-learn's order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.memory import aligned_empty, assign, to_device

_WORDS = 2**64
_APART = 0x9E3779B97F4A7C15  # the seeds of the draws of one step lie this far apart
_BLOCK_ITEMS = 1 << 18  # numbers that a generator draws at once


class Draws(ABC):
    """Source of the random numbers of a captured step."""

    @abstractmethod
    def begin(self) -> None:
        """Begin a step, while it is captured."""

    @abstractmethod
    def next(self, rows: int, columns: int) -> dict[str, Any]:
        """Return the arguments of the next draw in the step."""

    @abstractmethod
    def end(self) -> None:
        """End a step, while it is captured."""

    @abstractmethod
    def run(self, step: Callable[[int], None], n: int) -> None:
        """Take n steps, each with new numbers; step(k) takes k of them."""


class PhiloxDraws(Draws):
    """Draws that depend on a seed, the number of the step, and the place of the draw in it.

    Parameters
    ----------
    seed : int
        Seed in 0..2**64-1.
    device : {"cpu", "cuda"}
        Device of the arrays.
    """

    def __init__(self, seed: int, device: str) -> None:
        self._seed, self._number = seed, 0
        self.stream = to_device(np.array(0, np.int64), device)

    def begin(self) -> None:  # noqa: D102
        self._number = 0

    def next(self, rows: int = 0, columns: int = 0) -> dict[str, Any]:  # noqa: D102
        self._number += 1
        return {"seed": (self._seed + self._number * _APART) % _WORDS, "stream": self.stream}

    def end(self) -> None:  # noqa: D102
        K.increment(self.stream)

    def run(self, step: Callable[[int], None], n: int) -> None:  # noqa: D102
        step(n)


class HostDraws(Draws):
    """Draws by numbers of a generator, which are copied to the device for many steps at once.

    Parameters
    ----------
    random_state : RandomState
        The generator.
    per_step : int
        Numbers that a step takes.
    dtype : dtype
        Dtype of the numbers.
    device : {"cpu", "cuda"}
        Device of the arrays.
    most : int or None, default=None
        Largest number of steps at once.
    """

    def __init__(
        self,
        random_state: np.random.RandomState,
        per_step: int,
        dtype: Any,
        device: str,
        most: int | None = None,
    ) -> None:
        self._random_state, self._taken = random_state, 0
        rows = max(1, min(_BLOCK_ITEMS // per_step, most or _BLOCK_ITEMS))
        self._block = aligned_empty((rows, per_step), dtype, device)
        self._row = aligned_empty((1, per_step), dtype, device)
        self._order = to_device(np.arange(rows), device)
        self._cursor = to_device(np.array(0, np.int64), device)

    def begin(self) -> None:  # noqa: D102
        self._taken = 0
        K.take_rows(self._block, self._order, out=self._row, start=self._cursor)

    def next(self, rows: int, columns: int) -> dict[str, Any]:  # noqa: D102
        first = self._taken
        self._taken += rows * columns
        return {"uniforms": self._row[0, first : self._taken].reshape(rows, columns)}

    def end(self) -> None:  # noqa: D102
        K.increment(self._cursor)

    def run(self, step: Callable[[int], None], n: int) -> None:  # noqa: D102
        most = len(self._block)
        for begin in range(0, n, most):
            k = min(most, n - begin)
            assign(self._block[:k], self._random_state.uniform(size=(k, self._block.shape[1])))
            self._cursor[...] = 0
            step(k)
