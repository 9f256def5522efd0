"""The parameters of a layer as a block of a Fisher matrix, and the rows whose outer products the matrix adds up."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, to_host
from steepest.nn.program import Reference

# Parameters of a normalisation whose exact block K-FAC takes; of longer ones it takes a block for each channel.
_LARGEST_EXACT_NORM = 1024

Form = Literal["linear", "convolution", "transposed convolution", "normalization", "other"]


@dataclass(frozen=True)
class Use:
    """An operation that uses parameters of a block: the number of the value that it defines, and which, by role."""

    value: int
    references: Mapping[str, Reference]


@dataclass(frozen=True)
class Stack:
    """Matrices of one shape that make up some of a part; K-FAC has a Kronecker product for each of them.

    The columns of the matrices stand side by side, as the groups of a convolution do in its weights.

    Attributes
    ----------
    start : int
        Where the stack begins in the part.
    rows, columns : int
        Shape of a matrix.
    groups : int
        Number of matrices.
    """

    start: int
    rows: int
    columns: int
    groups: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `of` a vector: without the axis of the groups if there is a single one."""
        return (self.rows, self.columns) if self.groups == 1 else (self.groups, self.rows, self.columns)

    def of(self, part: Array) -> Array:
        """Return a view of the matrices in vectors of the part, which run along the last axis."""
        before, size = part.shape[:-1], self.rows * self.groups * self.columns
        view = part[..., self.start : self.start + size]
        if self.groups == 1:
            return view.reshape(*before, self.rows, self.columns)
        return view.reshape(*before, self.rows, self.groups, self.columns).swapaxes(-2, -3)


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
    form : str
        What all of these are: ``"linear"`` for linear maps with these weights, so that the part of a vector is a matrix
        of the weights with the bias as its last row. Where the weights are used transposed, the bias is not used.
        ``"convolution"``, ``"transposed convolution"`` and ``"normalization"`` say the same of others.
    is_shared : bool
        Whether a sample passes these several times, by several uses or at several positions.
    is_tied : bool
        Whether the weights are used transposed, too.
    groups : int
        Groups of channels of a convolution.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    uses: tuple[Use, ...]
    form: Form
    is_shared: bool
    is_tied: bool
    groups: int = 1

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def is_linear(self) -> bool:
        """Whether all uses are linear maps."""
        return self.form == "linear"

    @property
    def is_convolution(self) -> bool:
        """Whether all uses are convolutions, or transposed ones."""
        return self.form in ("convolution", "transposed convolution")

    @property
    def holds_rows(self) -> bool:
        """Whether a block of this part forms the gradients of all samples at once."""
        return self.is_shared if self.is_linear else not self.is_convolution

    @property
    def has_bias(self) -> bool:
        """Whether a linear map or a convolution has a bias."""
        return (self.is_linear or self.is_convolution) and len(self.names) == 2

    @property
    def matrix(self) -> tuple[int, int]:
        """Shape of the part of a vector as a matrix: one column for a part that is not linear."""
        if not self.is_linear:
            return self.size, 1
        rows, columns = self.shapes[0]
        return rows + self.has_bias, columns

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The matrices that K-FAC replaces by Kronecker products, in the order of the part.

        The bias of a transposed convolution, and the parameters of other layers, are columns: their factors are the
        exact matrix and 1.
        """
        if self.form in ("other", "normalization"):
            count = len(self.names)
            if self.form == "normalization" and self.size > _LARGEST_EXACT_NORM:
                return (Stack(0, count, 1, self.size // count),)
            return (Stack(0, self.size, 1),)
        *inner, outer = self.shapes[0]
        rows, columns = math.prod(inner), outer // self.groups
        if self.form != "transposed convolution":
            return (Stack(0, rows + self.has_bias, columns, self.groups),)
        weights = Stack(0, rows, columns, self.groups)
        return (weights, Stack(rows * outer, self.size - rows * outer, 1)) if self.has_bias else (weights,)


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
    def moments_along(self, u: Array, v: Array, stack: Stack) -> Array:
        """Return the sums over the rows of the squares of ``u^T G v``, with a stack's matrices G of a row."""

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

    def moments_along(self, u: Array, v: Array, stack: Stack) -> Array:
        return moments_of_rows(self.matrix, u, v, stack)

    def rows(self) -> Array:
        rows: Array = to_host(self.matrix)
        return rows

    def in_float64(self) -> Block:
        return ExplicitRows(self.part, self.n, self.matrix.astype(np.float64, copy=False))


def moments_of_rows(rows: Array, u: Array, v: Array, stack: Stack) -> Array:
    """Return the sums over rows of the squares of ``u^T G v``, with a stack's matrices G of a row."""
    xp = array_namespace(rows)
    along = xp.matmul(xp.matmul(u.swapaxes(-1, -2), stack.of(rows)), v)
    moments: Array = (along * along).sum(axis=0)
    return moments
