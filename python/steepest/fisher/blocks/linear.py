"""Blocks of linear maps: a sample's gradient is the outer product of its input and of the gradient of its output."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, array_namespace, to_host
from steepest.nn.program import Reference

from .base import Block, ExplicitRows, Part, Stack


class LinearRows(Block):
    """A linear map that every sample passes once: row (i, s) is the outer product of ``x[i]`` and ``d[i, s]``.

    Parameters
    ----------
    part : Part
        The part.
    x : ndarray of shape (n, p)
        Inputs; if there is a bias, an input of 1 comes after them.
    d : ndarray of shape (n * r, m)
        Gradients of the outputs, r in sequence for each sample.
    w : ndarray of shape (p, m)
        The weights.
    """

    def __init__(self, part: Part, x: Array, d: Array, w: Array) -> None:
        self.part, self.n, self.x, self.d, self.w = part, len(x), x, d, w
        self._repeats = len(d) // max(len(x), 1)
        self._has_bias = part.has_bias

    def times(self, part: Array) -> Array:
        x, d, r = self.x, self.d, self._repeats
        product = K.linear(x, part[: x.shape[1]], part[-1] if self._has_bias else None)
        if r > 1:
            by_sample: Array = (d.reshape(len(x), r, -1) * product[:, None, :]).sum(axis=2)
            return by_sample.reshape(-1)
        product *= d
        sums: Array = product.sum(axis=1)
        return sums

    def combine(self, u: Array, part: Array) -> None:
        weighted = self._by_sample(self.d * u[:, None])
        sums = part[-1] if self._has_bias else aligned_empty(part.shape[1:], part.dtype, device_of(part))
        d_w = part[: self.x.shape[1]]
        K.linear_backward(weighted, self.x, self.w, input_grad=False, d_w=d_w, d_b=sums)

    def _by_sample(self, d: Array) -> Array:
        """Return the sums over the rows of each sample."""
        if self._repeats == 1:
            return d
        sums: Array = d.reshape(len(self.x), self._repeats, -1).sum(axis=1)
        return sums

    def add_gram(self, gram: Array) -> None:
        K.gradient_gram(self.x, self.d, bias=self._has_bias, accumulate=True, out=gram)

    def add_squared_norms(self, norms: Array) -> None:
        K.gradient_norms(self.x, self.d, bias=self._has_bias, accumulate=True, out=norms)

    def squares(self) -> Array:
        x = self._inputs_with_ones()
        return K.matmul((x * x).T, self._by_sample(self.d * self.d))

    def moments_along(self, u: Array, v: Array, stack: Stack) -> Array:
        along = K.linear(self.x, u[: self.x.shape[1]], u[-1].copy() if self._has_bias else None)
        back = K.matmul(self.d, v)
        along *= along
        back *= back
        return K.matmul(along.T, self._by_sample(back))

    def rows(self) -> Array:
        x = self._inputs_with_ones()
        outer = x[:, None, :, None] * self.d.reshape(len(x), self._repeats, 1, -1)
        rows: Array = to_host(outer.reshape(len(self.d), -1))
        return rows

    def _inputs_with_ones(self) -> Array:
        """Return the inputs, with a column of ones at the end if there is a bias."""
        x = self.x
        if not self._has_bias:
            return x
        wider = aligned_empty((len(x), x.shape[1] + 1), x.dtype, device_of(x))
        wider[:, :-1], wider[:, -1] = x, 1
        return wider

    def in_float64(self) -> Block:
        x, d, w = (array.astype(np.float64, copy=False) for array in (self.x, self.d, self.w))
        return LinearRows(self.part, x, d, w)


class LinearPass(NamedTuple):
    """A use of a linear map: inputs (n, ..., p), gradients (n * r, ..., m) of its outputs, and how it takes w."""

    x: Array
    d: Array
    transposed: bool


class SharedLinearRows(ExplicitRows):
    """A linear map that a sample passes several times, whose outer products add up to the gradient of the sample.

    Parameters
    ----------
    part : Part
        The part.
    n : int
        Number of samples.
    passes : list of LinearPass
        The uses.
    """

    def __init__(self, part: Part, n: int, passes: list[LinearPass]) -> None:
        super().__init__(part, n)
        self.passes = passes

    @cached_property
    def matrix(self) -> Array:
        """The rows."""
        total: Array | None = None
        for x, d, transposed in self.passes:
            found = sample_gradients(x, d, {"weight": Reference("", transposed), "bias": Reference("")})
            parts, xp = [found["weight"].reshape(len(d), -1)], array_namespace(d)
            if self.part.has_bias:
                # A transposed use has a bias of its own, in another part.
                width = self.part.matrix[1]
                parts.append(xp.zeros((len(d), width), d.dtype) if transposed else found["bias"])
            rows = xp.concatenate(parts, axis=1)
            total = rows if total is None else total + rows
        assert total is not None
        return total

    def in_float64(self) -> Block:
        passes = [
            LinearPass(x.astype(np.float64, copy=False), d.astype(np.float64, copy=False), transposed)
            for x, d, transposed in self.passes
        ]
        return SharedLinearRows(self.part, self.n, passes)


def sample_gradients(x: Array, d: Array, references: dict[str, Reference]) -> dict[str, Array]:
    """Return the gradients of single samples of a linear map's parameters, summed over the positions of a sample.

    Parameters
    ----------
    x : ndarray of shape (n, ..., p)
        Inputs.
    d : ndarray of shape (n * r, ..., m)
        Gradients of the outputs, r in sequence for each sample.
    references : dict of str to Reference
        Which parameters the map uses; the weights may be those of another layer, transposed.

    Returns
    -------
    dict of str to ndarray of shape (n * r, *shape)
        By role.
    """
    n, xp = len(x), array_namespace(d)
    positions = x.reshape(n, 1, -1, x.shape[-1])
    grads = d.reshape(n, len(d) // max(n, 1), -1, d.shape[-1])
    found = {}
    if "weight" in references:
        if references["weight"].transposed:
            outer = xp.matmul(grads.swapaxes(2, 3), positions)
        else:
            outer = xp.matmul(positions.swapaxes(2, 3), grads)
        found["weight"] = outer.reshape(len(d), *outer.shape[2:])
    if "bias" in references:
        found["bias"] = grads.sum(axis=2).reshape(len(d), -1)
    return found
