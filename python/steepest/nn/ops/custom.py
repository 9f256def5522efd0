"""The operation of a layer that a user wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest import _cpu
from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.nn.values import Shape

from .base import Moved, Operation, Parameters, Reverse

if TYPE_CHECKING:
    from steepest.nn.layers.custom import CustomLayer


class CustomOperation(Operation):
    """What a `CustomLayer` computes, with checks of what it returns.

    Parameters
    ----------
    layer : CustomLayer
        The layer.
    shape : tuple of int
        Shape of a sample of the output.
    batched : int
        Position of an input that is no constant, whose first axis is the batch.
    """

    allocates = True
    takes_integers = True

    def __init__(self, layer: CustomLayer, shape: Shape, batched: int) -> None:
        self.layer, self.shape, self.batched = layer, shape, batched

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        self._require_capturable()
        output = self.layer.forward(inputs, parameters)
        dtype = _float_dtype([*inputs, *parameters.values()])
        self._check("forward", "an output", output, (len(inputs[self.batched]), *self.shape), dtype)
        # An array of its own: what is read here may be written over while the output is still held.
        shares = array_namespace(output).may_share_memory
        if not output.flags.c_contiguous or any(shares(output, x) for x in [*inputs, *parameters.values()]):
            output = K.copy(output)
        return output

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        self._require_capturable()
        d_inputs, d_parameters = self.layer.vjp(d, inputs, output, parameters)
        if len(d_inputs) != len(inputs):
            raise ValueError(
                f"[{self._name}] vjp returned {len(d_inputs)} gradients of inputs, but there are {len(inputs)} inputs"
            )
        for role, target in into.d_parameters.items():
            if role not in d_parameters:
                raise ValueError(f"[{self._name}] vjp returned no gradient of the parameter {role!r}")
            self._check("vjp", f"a gradient of {role!r}", d_parameters[role], target.shape, d.dtype)
            K.copy(d_parameters[role], out=target)
        found: list[Array | None] = []
        for x, d_x in zip(inputs, d_inputs, strict=True):
            if d_x is not None:
                self._check("vjp", "a gradient of an input", d_x, (len(d), *x.shape[1:]), d.dtype)
            found.append(d_x if d_x is None or d_x.flags.c_contiguous else K.copy(d_x))
        return found

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        self._require_capturable()
        moved = self.layer.jvp(inputs, output, parameters, moved_inputs, moved_parameters)
        self._check("jvp", "a change of the output", moved, output.shape, output.dtype)
        return moved if moved.flags.c_contiguous else K.copy(moved)

    @property
    def _name(self) -> str:
        return type(self.layer).__name__

    def _check(
        self, method: str, what: str, array: Any, shape: tuple[int | None, ...], dtype: np.dtype[Any] | None
    ) -> None:
        if not isinstance(getattr(array, "dtype", None), np.dtype):
            raise TypeError(
                f"[{self._name}] {method} returned {what} that is no array but of type {type(array).__name__}"
            )
        if tuple(array.shape) != shape:
            raise ValueError(
                f"[{self._name}] {method} returned {what} of shape {tuple(array.shape)}, but it must be {shape}"
            )
        if dtype is not None and array.dtype != dtype:
            raise TypeError(
                f"[{self._name}] {method} returned {what} of {array.dtype}, but it must be {dtype}"
            )

    def _require_capturable(self) -> None:
        if not self.layer.capturable and _cpu.is_capturing():
            raise RuntimeError(
                f"[{self._name}] cannot be captured by steepest.capture(): it computes without steepest.kernels"
            )

    def __repr__(self) -> str:
        return self._name


def _float_dtype(arrays: Sequence[Array]) -> np.dtype[Any] | None:
    """Return the floating-point dtype among arrays; None if all are integers."""
    return next((array.dtype for array in arrays if array.dtype.kind == "f"), None)
