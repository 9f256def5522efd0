"""What every layer is: a description that is called on values, and lowered to operations of a program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from steepest._runtime.arrays import Array
from steepest._runtime.memory import assign
from steepest.nn.initializers import initialize
from steepest.nn.values import ConstantShape, Shape, Value

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class ParameterSpec:
    """A parameter that a layer asks for.

    Parameters
    ----------
    shape : tuple of int
        Shape of the parameter.
    init : str, float or callable, default=0.0
        Initial values: the name of an initialiser of `Linear`, for a matrix; a number a, which all items have, or with
        `decays` the bound of a uniform distribution in [-a, a); or a function of the shape and a seed that returns an
        array.
    decays : bool, default=False
        Whether penalties such as `l2` and `weight_decay` act on it, as they do on weights.
    """

    shape: tuple[int, ...]
    init: str | float | Callable[[tuple[int, ...], int], Array] = 0.0
    decays: bool = False


def initialize_parameter(value: Array, spec: ParameterSpec, seed: int, stream: int) -> None:
    """Write the initial values of a parameter.

    Parameters
    ----------
    value : ndarray
        Receives them, on its device.
    spec : ParameterSpec
        What the layer asks for.
    seed, stream : int
        Seed and stream of the random numbers.
    """
    init = spec.init
    if callable(init):
        assign(value, init(spec.shape, (seed + stream) % 2**64))
    elif isinstance(init, str) or spec.decays:
        # A number is half the width of a uniform distribution of weights, and the value of anything else.
        initialize(value, init, seed=seed, stream=stream)
    else:
        value[...] = init


class Layer(ABC):
    """A layer: a description without arrays, so that one layer may stand in several networks.

    Calling a layer on values of a network that is being put together returns its output value. A layer that is called
    several times has one set of parameters, which all calls share.
    """

    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    """The least and the largest number of inputs; None for any number."""
    takes_constants: ClassVar[bool] = False
    """Whether inputs may be constants, as long as one is not."""

    def __call__(self, *inputs: Value) -> Value:
        """Return the output of this layer for the given input values.

        Parameters
        ----------
        *inputs : Value
            Values of a network that is being put together: an `Input`, or the outputs of layers.

        Returns
        -------
        Value
            The output.

        Raises
        ------
        TypeError
            If an argument is not a `Value`, such as an array.
        ValueError
            If there are too few or too many inputs, or their shapes do not fit this layer.
        """
        name = type(self).__name__
        for value in inputs:
            if not isinstance(value, Value):
                raise TypeError(
                    f"[{name}] a layer is called on values such as nn.Input(4), not on an object of type "
                    f"{type(value).__name__}: Network.predict computes the output for arrays"
                )
        self.check_inputs(tuple(value.shape for value in inputs))
        try:
            shape = self.output_shape(*(value.shape for value in inputs))
        except ValueError as error:
            if str(error).startswith("["):
                raise
            raise ValueError(f"[{name}] {self} {error} of {inputs[0].origin}") from None
        return Value(shape, self, inputs)

    def check_inputs(self, shapes: tuple[Shape, ...]) -> None:
        """Raise ValueError unless this layer takes so many inputs, and constants if there are some."""
        n, (least, most) = len(shapes), self.arity
        if n < least or (most is not None and n > most):
            wanted = f"{least}" if least == most else f"at least {least}"
            raise ValueError(
                f"[{type(self).__name__}] takes {wanted} input{'s' * (wanted != '1')}, but is called on {n}"
            )
        constants = sum(isinstance(shape, ConstantShape) for shape in shapes)
        if constants and not self.takes_constants:
            raise ValueError(
                f"[{type(self).__name__}] takes no constant: Add and Multiply take one beside another input"
            )
        if constants == n:
            raise ValueError(f"[{type(self).__name__}] needs an input that is no constant")

    @abstractmethod
    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the shape of a sample of the output.

        Parameters
        ----------
        *shapes : tuple of int
            Shapes of a sample of each input; None stands for a width that is not known yet.

        Raises
        ------
        ValueError
            If the shapes do not fit; the message goes on after the layer: "takes 5 inputs, but 4 come out".
        """

    @abstractmethod
    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        """Add the operations of this layer to a program.

        Parameters
        ----------
        build : Builder
            The program so far, which knows where in the network the layer stands.
        inputs : tuple of int
            Numbers of the input values in the program.

        Returns
        -------
        int
            Number of the output value.
        """

    def __str__(self) -> str:
        """Return the layer with those of its settings that are not the defaults, for messages."""
        settings: list[str] = []
        for setting in fields(self) if "__dataclass_fields__" in vars(type(self)) else ():  # type: ignore[arg-type]
            value = getattr(self, setting.name)
            if setting.default is MISSING:
                settings.append(repr(value))
            elif value != setting.default:
                settings.append(f"{setting.name}={value!r}")
        return f"{type(self).__name__}({', '.join(settings)})"

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        """Return the parameters of this layer for the shapes of its inputs, by role."""
        return {}

    def states(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        """Return the arrays that the layer's operation writes while training, such as averages, by role."""
        return {}


def described(layer: object) -> str:
    """Return what an object is that should be a layer."""
    return f"the class {layer.__name__}" if isinstance(layer, type) else f"of type {type(layer).__name__}"
