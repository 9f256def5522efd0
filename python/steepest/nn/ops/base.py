"""What every operation of a network's program offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function
from steepest._runtime.arrays import Array

Parameters = Mapping[str, Array]
"""Arrays of the parameters of an operation, by role, such as ``"weight"``."""
NO_PARAMETERS: Parameters = {}


class Reverse(NamedTuple):
    """Where `Operation.vjp` writes, and what it does in the same pass.

    Attributes
    ----------
    d_inputs : tuple of ndarray or None
        An array for the gradient with respect to each input; None where nobody needs that gradient, or where the
        operation has arrays of its own.
    d_parameters : mapping of str to ndarray
        Arrays for the gradients of the parameters, by role; those that are missing are not needed.
    derivative : str or tuple
        An activation f that produced the first input. The gradient of that input is multiplied by f', evaluated from
        the input itself. Only operations with `folds_derivative` are given another one than ``"identity"``.
    accumulate : frozenset of str
        Roles whose gradients are added to what `d_parameters` holds. Only for operations with `accumulates`.
    l2 : float
        ``l2 * w`` is added to the gradient of the role ``"weight"``. Only for operations with `accumulates`.
    """

    d_inputs: tuple[Array | None, ...]
    d_parameters: Parameters = NO_PARAMETERS
    derivative: Function = "identity"
    accumulate: frozenset[str] = frozenset()
    l2: float = 0.0


Moved = Sequence[Array | None]
"""Changes of the inputs of an operation; None for an input that does not change."""


class Operation(ABC):
    """A function of arrays whose first axis is the batch, with its derivatives.

    An operation that ends in an activation f whose derivative follows from its output says so in `ends_in`. Its `vjp`
    then takes the gradient with respect to what f is applied to: f' has been applied already, by a kernel that writes
    that gradient anyway, or by one of its own.
    """

    ends_in: Function = "identity"
    """The activation at the end, whose derivative is left to others."""
    weights_act_on_inputs: ClassVar[bool] = False
    """Whether each place of the input is multiplied with all weights, not each place of the output."""
    multiplies: ClassVar[frozenset[str]] = frozenset({"weight"})
    """Roles of the parameters that are multiplied at each place."""
    draws: ClassVar[bool] = False
    """Whether `forward` draws random numbers, other ones in each pass."""
    is_view: ClassVar[bool] = False
    """Whether the output is the first input, or a view of it, where that is contiguous."""
    passes_gradient: bool = False
    """Whether `vjp` returns the gradient of the output itself, or views of it, instead of writing into arrays."""
    allocates: ClassVar[bool] = False
    """Whether `forward` and `vjp` return other arrays than those that they are given; `vjp` may return views of d."""
    takes_integers: ClassVar[bool] = False
    """Whether inputs may be integers."""
    passes_integers: ClassVar[bool] = False
    """Whether the output is integers if an input is."""
    folds_derivative: bool = False
    """Whether `vjp` can apply the derivative of the activation before it."""
    passes_items: ClassVar[bool] = False
    """Whether each item of the output is an item of the input, to which its gradient goes back, as with maxima."""
    accumulates: ClassVar[bool] = False
    """Whether `vjp` can add to gradients of parameters, and add the gradient of an L2 penalty."""
    fuses_activation: ClassVar[bool] = False
    """Whether `forward` can apply an activation behind the operation, see `ending_in`."""
    gradient_reads: frozenset[str] = frozenset({"inputs", "output"})
    """What `vjp` reads for the gradients of inputs alone: ``"inputs"`` and ``"output"``, one of them, or nothing."""

    @abstractmethod
    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        """Compute the output.

        Parameters
        ----------
        inputs : sequence of ndarray
            The inputs.
        parameters : mapping of str to ndarray
            The parameters, and the arrays of the layer's states, by role.
        out : ndarray
            Receives the output, unless `is_view` or `allocates`.

        Returns
        -------
        ndarray
            The output: `out`, a view of the first input, or an array of its own.
        """

    @abstractmethod
    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        """Compute the gradients of inputs and parameters from that of the output: a vector-Jacobian product.

        Parameters
        ----------
        d : ndarray
            Gradient with respect to the output, or, with `ends_in`, to what that activation is applied to.
        inputs, output, parameters
            As `forward` took and returned them.
        into : Reverse
            Which gradients are needed, and where to write them.

        Returns
        -------
        sequence of ndarray or None
            The gradient with respect to each input; None where it is not needed.
        """

    @abstractmethod
    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        """Return how the output changes with inputs and parameters: a Jacobian-vector product.

        Parameters
        ----------
        inputs, output, parameters
            As `forward` took and returned them.
        moved_inputs : sequence of ndarray or None
            The change of each input; None for none.
        moved_parameters : mapping of str to ndarray
            The changes of parameters, by role; those that are missing do not change.
        """

    def at_prediction(self) -> Operation | None:
        """Return what a prediction computes in place of this operation; None if the input is the output there."""
        return self

    each_step: bool = False
    """Whether a step of a sequence, along the first axis of a sample, depends on that step of the inputs alone."""

    def streaming(self) -> Operation | None:
        """Return what computes the next step of a sequence, or None if the input is the output there.

        Raises
        ------
        ValueError
            If a step depends on more than the steps before it.
        """
        if not self.each_step:
            raise ValueError("needs whole sequences")
        return self.at_prediction()

    def forget_state(self) -> None:  # noqa: B027 - most operations carry nothing from pass to pass
        """Set what `forward` carries from one pass to the next to zero."""

    def release(self) -> None:  # noqa: B027 - most operations keep nothing
        """Free what `forward` keeps for derivatives."""

    def ending_in(self, activation: Function) -> Operation:
        """Return this operation with an activation behind it, for operations with `fuses_activation`."""
        raise NotImplementedError

    def at_precision(self, precision: str) -> Operation:
        """Return this operation with its products of matrices at a precision; itself if it has none."""
        return self

    def __repr__(self) -> str:
        return type(self).__name__.removesuffix("Operation").lower()


def as_rows(array: Array) -> Array:
    """Return an array as a matrix whose columns are its last axis: a view, or a copy where its strides allow none."""
    if array.ndim == 2:
        return array
    if not array.flags.c_contiguous:
        array = K.copy(array)
    return array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
