"""The kernel calls of a network: what each layer does in the forward and in the backward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function
from steepest._runtime.arrays import Array

from .layers import Activation, Dropout, Layer, Linear, PReLU

if TYPE_CHECKING:
    from ._arena import Arena


@dataclass(frozen=True, eq=False)
class Parameter:
    """A named tensor of a network with its gradient; both are views into the network's arenas.

    Attributes
    ----------
    name : str
        Position of the layer and role, such as ``"0.weight"``.
    value, grad : ndarray
        The tensor and its gradient, of one shape and dtype.
    arena : Arena or None
        What they are views of. Copies and pickles take it along, so that they stay views of it.
    """

    name: str
    value: Array
    grad: Array
    arena: Arena | None = field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.arena is None:
            return Parameter, (self.name, self.value, self.grad)
        return type(self.arena).parameter, (self.arena, self.name)


class Stage(ABC):
    """One step of the forward pass, and its reverse.

    Where the derivative of an activation follows from its output, the stage after it applies it (`folded`), in the
    pass in which it writes the gradient anyway.

    Attributes
    ----------
    n_out : int or None
        Number of outputs; None for as many as inputs.
    folded : str or tuple
        The activation at the end of this stage whose derivative is left to the stage after it.
    learns : bool
        Whether there are parameters.
    training_only : bool
        Whether `Network.predict` leaves it out.
    """

    n_out: int | None = None
    folded: Function = "identity"
    learns = False
    training_only = False

    @abstractmethod
    def forward(self, x: Array, out: Array) -> None:
        """Compute the stage on x."""

    @abstractmethod
    def backward(self, d: Array, x: Array, y: Array, d_x: Array | None, before: Function, l2: float) -> None:
        """Write the gradients of the parameters, and that of what comes before into d_x.

        Parameters
        ----------
        d : ndarray
            Gradient with respect to the output y, the derivative of `folded` applied.
        x, y : ndarray
            What `forward` took and gave.
        d_x : ndarray or None
            Receives the gradient with respect to x, times the derivative of `before` at x.
        before : str or tuple
            What the stage before has folded.
        l2 : float
            ``l2 * w`` is added to the gradient of the weights.
        """


class LinearStage(Stage):
    """A linear layer with its activation.

    Parameters
    ----------
    weight, bias : Parameter
        Of the layer; `bias` is None where there is none.
    accumulates : bool
        Whether the gradient of the weights is added to what a later layer with the same weights has written.
    """

    learns = True

    def __init__(self, weight: Parameter, bias: Parameter | None, accumulates: bool) -> None:
        self.weight = weight
        self.bias = bias
        self.accumulates = accumulates
        self.n_out = weight.value.shape[1]
        # The kernel sums the gradient of a bias in any case. The sums have to go somewhere, and where they are added to
        # what is there, not into the gradient of a bias.
        self._bias_sums = weight.grad[0].copy() if bias is None or accumulates else bias.grad

    def forward(self, x: Array, out: Array) -> None:
        bias = self.bias.value if self.bias is not None else None
        K.linear(x, self.weight.value, bias, self.folded, out=out)

    def backward(self, d: Array, x: Array, y: Array, d_x: Array | None, before: Function, l2: float) -> None:
        K.linear_backward(
            d,
            x,
            self.weight.value,
            activation=before,
            l2=0.0 if self.accumulates else l2,
            input_grad=d_x is not None,
            accumulate=self.accumulates,
            d_x=d_x,
            d_w=self.weight.grad,
            d_b=self._bias_sums,
        )
        if self.accumulates and self.bias is not None:
            K.sum(d, axis=0, out=self.bias.grad)


class ActivationStage(Stage):
    """An activation that is not fused with a linear layer.

    Parameters
    ----------
    function : str or tuple
        The activation.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        if has_output_derivative(function):
            self.folded = function

    def forward(self, x: Array, out: Array) -> None:
        K.activation(x, self.function, out=out)

    def backward(self, d: Array, x: Array, y: Array, d_x: Array | None, before: Function, l2: float) -> None:
        if d_x is None:
            return
        if has_output_derivative(self.function):
            K.activation_backward(d, x, before, out=d_x)  # its own derivative is in d already
        else:
            K.activation_backward(d, x, self.function, out=d_x)
            apply_derivative(before, x, d_x)


class SoftmaxStage(Stage):
    """The softmax of every row."""

    def forward(self, x: Array, out: Array) -> None:
        K.softmax(x, out=out)

    def backward(self, d: Array, x: Array, y: Array, d_x: Array | None, before: Function, l2: float) -> None:
        if d_x is not None:
            K.softmax_backward(d, y, out=d_x)
            apply_derivative(before, x, d_x)


class PReLUStage(Stage):
    """A rectifier with learned slopes."""

    learns = True

    def __init__(self, slope: Parameter) -> None:
        self.slope = slope

    def forward(self, x: Array, out: Array) -> None:
        K.prelu(x, self.slope.value, out=out)

    def backward(self, d: Array, x: Array, y: Array, d_x: Array | None, before: Function, l2: float) -> None:
        K.prelu_backward(d, x, self.slope.value, d_x=d_x, d_slope=self.slope.grad)
        if d_x is not None:
            apply_derivative(before, x, d_x)


class DropoutStage(Stage):
    """Dropout, whose mask is drawn anew in every forward pass and once more in its backward pass.

    Parameters
    ----------
    rate : float
        Probability of zero.
    seed : int
        Seed of the masks.
    passes : 0-d int64 ndarray
        Number of the forward pass: the random stream.
    """

    training_only = True

    def __init__(self, rate: float, seed: int, passes: Array) -> None:
        self.rate = rate
        self.seed = seed
        self.passes = passes

    def forward(self, x: Array, out: Array) -> None:
        K.dropout(x, self.rate, seed=self.seed, stream=self.passes, out=out)

    def backward(self, d: Array, x: Array, y: Array, d_x: Array | None, before: Function, l2: float) -> None:
        if d_x is not None:
            K.dropout(d, self.rate, seed=self.seed, stream=self.passes, out=d_x)
            apply_derivative(before, x, d_x)


def has_output_derivative(function: Function) -> bool:
    """Return whether the derivative of an activation follows from its output."""
    name = function if isinstance(function, str) else function[0]
    return name not in K.INPUT_DERIVATIVES


def apply_derivative(function: Function, y: Array, d: Array) -> None:
    """Multiply a gradient by the derivative of an activation whose output is y, in place."""
    if function != "identity":
        K.activation_backward(d, y, function, out=d)


def plan(
    layers: tuple[Layer, ...], parameters: Mapping[str, Parameter], seed: int, passes: Array, part: slice
) -> list[Stage]:
    """Return the stages of a part of a network.

    Parameters
    ----------
    layers : tuple of layers
        Of the network.
    parameters : mapping
        Its parameters by name.
    seed : int
        Seed of the network.
    passes : 0-d int64 ndarray
        Counts the forward passes.
    part : slice
        Of the layers.
    """
    # The last of the layers that share weights is the first to write their gradient.
    writers = {_source(layers, i): i for i, layer in enumerate(layers) if isinstance(layer, Linear)}
    stages: list[Stage] = []
    fusible: LinearStage | None = None  # the last stage, if it is a linear layer that has no activation yet
    for i in range(len(layers))[part]:
        layer = layers[i]
        before, fusible = fusible, None
        if isinstance(layer, Linear):
            source = _source(layers, i)
            weight = parameters[f"{source}.weight"]
            if layer.tied_to is not None:
                weight = Parameter(weight.name, weight.value.T, weight.grad.T)
            fusible = LinearStage(weight, parameters.get(f"{i}.bias"), accumulates=writers[source] != i)
            stages.append(fusible)
        elif isinstance(layer, PReLU):
            stages.append(PReLUStage(parameters[f"{i}.slope"]))
        elif isinstance(layer, Dropout):
            if layer.rate > 0:
                stages.append(DropoutStage(layer.rate, _mask_seed(seed, i), passes))
        elif not isinstance(layer, Activation):
            stages.append(SoftmaxStage())
        elif layer.name == "identity":
            fusible = before
        elif before is not None and has_output_derivative(layer.function):
            before.folded = layer.function
        else:
            stages.append(ActivationStage(layer.function))
    return stages


def _source(layers: tuple[Layer, ...], i: int) -> int:
    """Return the position of the layer whose weights linear layer i uses."""
    layer = layers[i]
    return layer.tied_to if isinstance(layer, Linear) and layer.tied_to is not None else i


def _mask_seed(seed: int, layer: int) -> int:
    """Return the seed of a layer's masks: Weyl's sequence sends neighbouring seeds and layers far apart."""
    return (seed + (layer + 1) * 0x9E3779B97F4A7C15) % 2**64
