"""The operation of a layer that a user wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from steepest import _cpu
from steepest import kernels as K
from steepest._runtime.arrays import Array
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
    """

    allocates = True

    def __init__(self, layer: CustomLayer, shape: Shape) -> None:
        self.layer, self.shape = layer, shape

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        self._require_capturable()
        output = self.layer.forward(inputs, parameters)
        self._check("forward", "an output", output, (len(inputs[0]), *self.shape))
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
            self._check("vjp", f"a gradient of {role!r}", d_parameters[role], target.shape)
            K.copy(d_parameters[role], out=target)
        for x, d_x in zip(inputs, d_inputs, strict=True):
            if d_x is not None:
                self._check("vjp", "a gradient of an input", d_x, (len(d), *x.shape[1:]))
        return d_inputs

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
        self._check("jvp", "a change of the output", moved, output.shape)
        return moved

    @property
    def _name(self) -> str:
        return type(self.layer).__name__

    def _check(self, method: str, what: str, array: Array | None, shape: tuple[int | None, ...]) -> None:
        if array is None or tuple(array.shape) != shape:
            found = None if array is None else tuple(array.shape)
            raise ValueError(
                f"[{self._name}] {method} returned {what} of shape {found}, but it must be {shape}"
            )

    def _require_capturable(self) -> None:
        if not self.layer.capturable and _cpu.is_capturing():
            raise RuntimeError(
                f"[{self._name}] cannot be captured by steepest.capture(): it computes without steepest.kernels"
            )

    def __repr__(self) -> str:
        return self._name
