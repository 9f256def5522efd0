"""Layers that look up rows of a table: for ids, and for positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtri

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest.nn.ops.embedding import EmbeddingOperation, PositionOperation
from steepest.nn.values import Shape
from steepest.nn.windows import numbers_of

from .base import Layer, ParameterSpec

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


def _normal(deviation: float) -> Callable[[tuple[int, ...], int], Array]:
    """Return a function that draws normal numbers."""

    def draw(shape: tuple[int, ...], seed: int) -> Array:
        uniform = K.random_uniform(shape, seed=seed, dtype="float64")
        normal: Array = deviation * ndtri(uniform + 2.0**-54)
        return normal

    return draw


def _check_deviation(name: str, init: float | None) -> None:
    if init is not None and not (np.isfinite(init) and init >= 0):
        raise ValueError(f"[{name}] init must be finite and not negative, got {init}")


@dataclass(frozen=True)
class Embedding(Layer):
    """The row of a table for each id: ids of shape (steps,) become (steps, n_out).

    The input is an ``nn.Input(steps, dtype=np.int64)``, or of another integer dtype.

    Parameters
    ----------
    n_ids : int
        Number of different ids, 0 to n_ids - 1.
    n_out : int
        Width of a row.
    init : float, optional
        Standard deviation of the initial items, which are normal; ``n_out ** -0.5`` by default, so that rows have about
        the length 1.

    Raises
    ------
    ValueError
        If a number is too small. Ids outside of the table raise ``IndexError`` when the network computes.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Input(5, dtype=np.int64), nn.Embedding(10, 4), nn.GRU(4, 8, output="last")])
    >>> net.predict(np.array([[1, 2, 3, 2, 9]])).shape
    (1, 8)
    """

    n_ids: int
    n_out: int
    init: float | None = None

    def __post_init__(self) -> None:
        numbers_of("Embedding", "n_ids", self.n_ids, 1)
        numbers_of("Embedding", "n_out", self.n_out, 1)
        _check_deviation("Embedding", self.init)

    def output_shape(self, *shapes: Shape) -> Shape:
        return (*shapes[0], self.n_out)

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        deviation = self.n_out**-0.5 if self.init is None else self.init
        return {"weight": ParameterSpec((self.n_ids, self.n_out), _normal(deviation), decays=True)}

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        if inputs[0] not in build.integers or build.integers[inputs[0]].kind == "b":
            raise ValueError("takes integers, an nn.Input(steps, dtype=np.int64), but other numbers come out")
        return build.node(self, EmbeddingOperation(), inputs)


@dataclass(frozen=True)
class PositionalEncoding(Layer):
    """Adds a row of a table to each step of a sequence (steps, width), by its position.

    Parameters
    ----------
    n_positions : int
        Rows of the table, the length of the longest sequence.
    kind : {"sinusoidal", "learned"}, default="sinusoidal"
        Sines and cosines of many wavelengths (A. Vaswani et al., "Attention is all you need", NeurIPS 2017), or
        parameters.
    init : float, default=0.02
        Standard deviation of the initial items of a table that is learned.

    Raises
    ------
    ValueError
        If a number is too small, or the kind is not known.
    """

    n_positions: int
    kind: Literal["sinusoidal", "learned"] = "sinusoidal"
    init: float = 0.02

    def __post_init__(self) -> None:
        numbers_of("PositionalEncoding", "n_positions", self.n_positions, 1)
        if self.kind not in ("sinusoidal", "learned"):
            raise ValueError(f"[PositionalEncoding] kind {self.kind!r} is not one of: sinusoidal, learned")
        _check_deviation("PositionalEncoding", self.init)

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = shapes[0]
        if len(shape) != 2:
            raise ValueError(f"takes sequences (steps, width), but samples of shape {shape} come out")
        if shape[0] is not None and shape[0] > self.n_positions:
            raise ValueError(f"has {self.n_positions} positions, but sequences of {shape[0]} steps come out")
        return shape

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        if self.kind == "sinusoidal" or shapes[0][1] is None:
            return {}
        return {"weight": ParameterSpec((self.n_positions, shapes[0][1]), _normal(self.init), decays=True)}

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        if build.shape(inputs[0])[1] is None:
            build.known_shape(inputs[0])  # raises
        return build.node(self, PositionOperation(self.n_positions, learned=self.kind == "learned"), inputs)
