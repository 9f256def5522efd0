"""Layers that users write."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from steepest._runtime.arrays import Array
from steepest.nn.ops.custom import CustomOperation

from .base import Layer

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


class CustomLayer(Layer):
    """Base of a layer that a user writes: a function of arrays with its derivatives.

    A subclass gives shapes in `output_shape` and `parameters`, and computes in `forward`, `vjp` and `jvp`; `jvp` is
    needed for Fisher matrices alone. The first axis of inputs and outputs is the batch. Functions of `steepest.kernels`
    can be captured by `steepest.capture`, and run on both devices. Code of NumPy or CuPy cannot be captured: set
    `capturable` to False, and a capture is refused.
    """

    takes_constants = True
    capturable: ClassVar[bool] = True
    """Whether everything is computed by functions of `steepest.kernels`."""

    @abstractmethod
    def forward(self, inputs: Sequence[Array], parameters: Mapping[str, Array]) -> Array:
        """Return the output, of shape (n, ...) and the network's dtype; inputs may not be written to."""

    @abstractmethod
    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Mapping[str, Array]
    ) -> tuple[Sequence[Array | None], Mapping[str, Array]]:
        """Return the gradients of the inputs, and those of the parameters by role.

        Parameters
        ----------
        d : ndarray of shape (n, ...)
            Gradient with respect to the output.
        inputs, output, parameters
            As `forward` took and returned them.

        Returns
        -------
        d_inputs : sequence of ndarray or None
            The gradient with respect to each input; None for an input that has none, such as an integer.
        d_parameters : mapping of str to ndarray
            The gradient with respect to each parameter, summed over the batch.
        """

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Mapping[str, Array],
        moved_inputs: Sequence[Array | None],
        moved_parameters: Mapping[str, Array],
    ) -> Array:
        """Return how the output changes with inputs and parameters.

        Parameters
        ----------
        inputs, output, parameters
            As `forward` took and returned them.
        moved_inputs : sequence of ndarray or None
            The change of each input; None for none.
        moved_parameters : mapping of str to ndarray
            The changes of parameters by role; those that are missing do not change.

        Returns
        -------
        ndarray of shape (n, ...)
            The directional derivative.
        """
        raise NotImplementedError(
            f"[{type(self).__name__}] has no jvp, which Fisher matrices and Network.jvp need: write one"
        )

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        shapes = tuple(build.known_shape(number) for number in inputs)
        batched = next(i for i, number in enumerate(inputs) if not build.is_constant(number))
        return build.node(self, CustomOperation(self, self.output_shape(*shapes), batched), inputs)
