"""The parameters of a layer as a block of a Fisher matrix, and the rows whose outer products the matrix adds up."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, to_host
from steepest.nn.layers import ParameterSpec
from steepest.nn.ops import LinearOperation
from steepest.nn.program import Node, Program, Reference


@dataclass(frozen=True)
class Use:
    """An operation that uses parameters of a block: the number of the value that it defines, and which, by role."""

    value: int
    references: Mapping[str, Reference]


@dataclass(frozen=True)
class Part:
    """The parameters of one layer, which follow one another in a vector of all parameters.

    Attributes
    ----------
    names : tuple of str
        Their names.
    shapes : tuple of tuple of int
        Their shapes.
    uses : tuple of Use
        The operations that use them: several for a layer that is called several times, or for tied weights.
    is_linear : bool
        Whether all of these are linear maps with these weights, so that the part of a vector is a matrix of the weights
        with the bias as its last row. Where the weights are used transposed, the bias is not used.
    is_shared : bool
        Whether a sample passes these several times, by several uses or at several positions.
    is_tied : bool
        Whether the weights are used transposed, too.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    uses: tuple[Use, ...]
    is_linear: bool
    is_shared: bool
    is_tied: bool

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def has_bias(self) -> bool:
        """Whether a linear part has a bias."""
        return self.is_linear and len(self.names) == 2

    @property
    def matrix(self) -> tuple[int, int]:
        """Shape of the part of a vector as a matrix: one column for a part that is not linear."""
        if not self.is_linear:
            return self.size, 1
        rows, columns = self.shapes[0]
        return rows + self.has_bias, columns


def parts_of(program: Program, specs: Mapping[str, ParameterSpec]) -> list[Part]:
    """Return the parts of a vector of the parameters of a program, a part for each layer that has some."""
    by_layer: dict[str, list[str]] = {}
    for name in specs:
        by_layer.setdefault(name.rpartition(".")[0], []).append(name)
    parts = []
    for names in by_layer.values():
        nodes = [n for n in program.nodes if any(r.name in names for r in n.parameters.values())]
        uses = tuple(
            Use(n.output, {role: r for role, r in n.parameters.items() if r.name in names}) for n in nodes
        )
        is_linear = bool(nodes) and all(_is_linear(node, names) for node in nodes)
        is_tied = is_linear and any(node.parameters["weight"].transposed for node in nodes)
        is_shared = len(nodes) != 1 or len(program.shapes[nodes[0].output]) != 1
        shapes = tuple(specs[name].shape for name in names)
        parts.append(Part(tuple(names), shapes, uses, is_linear, is_shared, is_tied))
    return parts


def _is_linear(node: Node, names: list[str]) -> bool:
    """Return whether a node is a linear map with the weights, and the bias if they are not transposed, of a part."""
    if not isinstance(node.operation, LinearOperation):
        return False
    weight = node.parameters["weight"]
    used = [reference.name for reference in node.parameters.values()]
    return weight.name == names[0] if weight.transposed else used == names


class Block(ABC):
    """Rows S of a part, r for each sample in sequence: the Fisher matrix of the part is ``S^T S``.

    Attributes
    ----------
    part : Part
        The part.
    n : int
        Number of samples.
    """

    part: Part
    n: int

    @abstractmethod
    def times(self, part: Array) -> Array:
        """Return ``S v``, of shape (n * r,), for the part of a vector as a matrix."""

    @abstractmethod
    def combine(self, u: Array, part: Array) -> None:
        """Write ``S^T u`` for u of shape (n * r,) into the part of a vector as a matrix."""

    @abstractmethod
    def add_gram(self, gram: Array) -> None:
        """Add ``S S^T`` to a float64 matrix."""

    @abstractmethod
    def add_squared_norms(self, norms: Array) -> None:
        """Add the squared norms of the rows to a float64 vector."""

    @abstractmethod
    def squares(self) -> Array:
        """Return the sums of the squares of the columns, as a matrix of the part."""

    @abstractmethod
    def moments_along(self, u: Array, v: Array) -> Array:
        """Return the sums over the rows, as matrices G, of the squares of ``u^T G v``."""

    @abstractmethod
    def rows(self) -> Array:
        """Return S, on the host."""

    @abstractmethod
    def in_float64(self) -> Block:
        """Return the same rows in float64."""


class ExplicitRows(Block):
    """Rows that are held as a matrix.

    Parameters
    ----------
    part : Part
        The part.
    n : int
        Number of samples.
    matrix : ndarray of shape (n * r, size), optional
        The rows; subclasses make them when they are first needed.
    """

    def __init__(self, part: Part, n: int, matrix: Array | None = None) -> None:
        self.part, self.n = part, n
        if matrix is not None:
            self.__dict__["matrix"] = matrix

    @cached_property
    def matrix(self) -> Array:
        """The rows, of the network's dtype and on its device."""
        raise NotImplementedError

    def times(self, part: Array) -> Array:
        return K.matmul(self.matrix, part.reshape(-1, 1))[:, 0]

    def combine(self, u: Array, part: Array) -> None:
        K.matmul(self.matrix.T, u.reshape(-1, 1), out=part.reshape(-1, 1))

    def add_gram(self, gram: Array) -> None:
        rows = self.matrix.astype(np.float64, copy=False)
        gram += K.second_moment(rows.T, scale=rows.shape[1])

    def add_squared_norms(self, norms: Array) -> None:
        rows = self.matrix.astype(np.float64, copy=False)
        norms += (rows * rows).sum(axis=1)

    def squares(self) -> Array:
        total: Array = (self.matrix * self.matrix).sum(axis=0).reshape(self.part.matrix)
        return total

    def moments_along(self, u: Array, v: Array) -> Array:
        xp = array_namespace(self.matrix)
        along = xp.matmul(xp.matmul(u.T, self.matrix.reshape(-1, *self.part.matrix)), v)
        moments: Array = (along * along).sum(axis=0)
        return moments

    def rows(self) -> Array:
        rows: Array = to_host(self.matrix)
        return rows

    def in_float64(self) -> Block:
        return ExplicitRows(self.part, self.n, self.matrix.astype(np.float64, copy=False))
