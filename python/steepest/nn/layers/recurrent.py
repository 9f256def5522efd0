"""Recurrent layers: plain, with long short-term memory, and with gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from steepest._runtime.arrays import Array
from steepest.nn.initializers import Initializer, check_initializer, initialize
from steepest.nn.ops.recurrence import Recurrence, RecurrentOperation
from steepest.nn.values import Shape, Value
from steepest.nn.windows import numbers_of

from .base import Layer, ParameterSpec
from .dropout import Dropout
from .merge import Concatenate

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder

Output = Literal["sequence", "last", "state"]
OUTPUTS = ("sequence", "last", "state")


@dataclass(frozen=True)
class _Recurrent(Layer):
    """What the layers of this module share."""

    arity = (1, 3)
    gates: ClassVar[int]
    has_inner_bias: ClassVar[bool] = False

    n_in: int
    n_units: int
    n_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    output: Output = "sequence"
    carries: bool = False
    init: Initializer | float = "glorot_uniform"
    reverse: bool = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        for setting in ("n_in", "n_units", "n_layers"):
            numbers_of(name, setting, getattr(self, setting), 1)
        if self.output not in OUTPUTS:
            raise ValueError(f"[{name}] output {self.output!r} is not one of: {', '.join(OUTPUTS)}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"[{name}] dropout must be in [0, 1), got {self.dropout}")
        if self.carries and (self.bidirectional or self.reverse):
            raise ValueError(f"[{name}] a state is carried forwards: not with bidirectional or reverse")
        if self.bidirectional and self.reverse:
            raise ValueError(f"[{name}] bidirectional includes the reverse direction: pass one of them")
        check_initializer(name, self.init)

    @property
    def cell(self) -> str:
        """The name of the cell in `kernels.recurrence`."""
        raise NotImplementedError

    @property
    def state_width(self) -> int:
        """How many numbers the state of a layer has."""
        return self.n_units

    def __call__(self, *inputs: Value, lengths: Value | None = None, state: Value | None = None) -> Value:
        """Return the output for sequences, their lengths, and the states before their first steps.

        Parameters
        ----------
        *inputs : Value
            The sequences, of shape (steps, n_in).
        lengths : Value, optional
            An `Input` of shape () and dtype int64: how many steps each sequence has, from 1 on. The output of later
            steps is zero.
        state : Value, optional
            The state before the first step, such as the ``output="state"`` of another layer; zeros if absent.
        """
        return super().__call__(*inputs, *(value for value in (lengths, state) if value is not None))

    def output_shape(self, *shapes: Shape) -> Shape:
        steps = self._steps(shapes[0])
        lengths, states = _split(shapes)
        if len(lengths) > 1 or len(states) > 1:
            raise ValueError(
                f"takes lengths of shape () and one state, but gets {shapes[1:]} behind the sequences"
            )
        if states and (self.n_layers > 1 or self.bidirectional):
            raise ValueError("takes a state as a single layer in one direction only; this one comes out")
        if states and states[0] != (self.state_width,):
            raise ValueError(
                f"takes a state of shape ({self.state_width},), but {states[0]} comes behind what comes out"
            )
        directions = 2 if self.bidirectional else 1
        if self.output == "state":
            return (directions * self.state_width,)
        width = directions * self.n_units
        return (steps, width) if self.output == "sequence" else (width,)

    def _steps(self, shape: Shape) -> int | None:
        if len(shape) != 2:
            raise ValueError(f"takes sequences (steps, {self.n_in}), but samples of shape {shape} come out")
        if shape[1] not in (None, self.n_in):
            raise ValueError(f"takes {self.n_in} numbers a step, but {shape[1]} come out")
        return shape[0]

    @property
    def _is_single(self) -> bool:
        return self.n_layers == 1 and not self.bidirectional

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        if not self._is_single:
            return {}
        units, gates = self.n_units, self.gates
        specs = {
            "weight": ParameterSpec(
                (self.n_in, gates * units), _for_each_gate(self.init, gates), decays=True
            ),
            "recurrent_weight": ParameterSpec(
                (units, gates * units), _for_each_gate("orthogonal", gates), decays=True
            ),
            "bias": ParameterSpec((gates * units,), self._initial_bias()),
        }
        if self.has_inner_bias:
            specs["recurrent_bias"] = ParameterSpec((units,))
        return specs

    def _initial_bias(self) -> float | Callable[[tuple[int, ...], int], Array]:
        return 0.0

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        if inputs[0] in build.integers:
            raise ValueError("takes floating-point numbers, but integers come out")
        lengths = [i for i in inputs[1:] if build.shape(i) == ()]
        if any(build.integers.get(i) != np.int64 for i in lengths):
            raise ValueError(
                "takes lengths of dtype int64, an nn.Input((), dtype=np.int64), behind the sequences that come out"
            )
        if self._is_single:
            recurrence = Recurrence(
                self.cell,
                self.output,
                self.reverse,
                has_lengths=bool(lengths),
                has_state=len(inputs) > 1 + len(lengths),
                carries=self.carries,
            )
            operation = RecurrentOperation(recurrence, carried=build.carried() if self.carries else None)
            return build.node(self, operation, inputs)
        number = inputs[0]
        for i in range(self.n_layers):
            last = i == self.n_layers - 1
            if i and self.dropout:
                number = build.call(f"dropout{i}", Dropout(self.dropout), (number,))
            one = replace(
                self,
                n_in=self.n_in if i == 0 else self.n_units * (2 if self.bidirectional else 1),
                n_layers=1,
                bidirectional=False,
                dropout=0.0,
                output=self.output if last else "sequence",
            )
            behind = (*lengths, *inputs[1 + len(lengths) :])
            made = [build.call(str(i), one, (number, *behind))]
            if self.bidirectional:
                made.append(build.call(f"{i}_reverse", replace(one, reverse=True), (number, *behind)))
                made = [build.call(f"{i}_both", Concatenate(), tuple(made))]
            number = made[0]
        return number


def _split(shapes: tuple[Shape, ...]) -> tuple[list[Shape], list[Shape]]:
    """Return the shapes of lengths and those of states, behind the first."""
    return [s for s in shapes[1:] if s == ()], [s for s in shapes[1:] if s != ()]


def _for_each_gate(init: str | float, gates: int) -> Callable[[tuple[int, ...], int], Array]:
    """Return a function that draws the weights of each gate as those of a layer of its own."""

    def draw(shape: tuple[int, ...], seed: int) -> Array:
        units = shape[1] // gates
        drawn = [np.empty((shape[0], units)) for _ in range(gates)]
        for stream, weight in enumerate(drawn):
            initialize(weight, init, seed=seed, stream=stream)
        return np.concatenate(drawn, axis=1)

    return draw


@dataclass(frozen=True)
class RNN(_Recurrent):
    """A plain recurrent layer, ``h = f(x @ w + h' @ u + b)`` with the hidden state h' of the step before.

    J. Elman, "Finding structure in time", 1990. Gradients shrink or grow with every step: `LSTM` and `GRU` remember
    longer. Called on values, a layer may also take the lengths of sequences and the states before their first steps:
    ``nn.RNN(3, 16)(x, lengths=lengths, state=state)``, where lengths is an ``nn.Input((), dtype=np.int64)``. Steps
    beyond a sequence's length cost nothing but a copy, and their output is zero.

    Parameters
    ----------
    n_in, n_units : int
        Numbers of inputs of a step, and of units.
    n_layers : int, default=1
        Layers, each of which takes the hidden states of the one before.
    bidirectional : bool, default=False
        Whether each layer is two: one from the first step to the last, and one back; their outputs lie side by side.
    dropout : float, default=0.0
        Rate of a dropout between layers.
    output : {"sequence", "last", "state"}, default="sequence"
        What comes out: the hidden states of all steps, (steps, n_units); that after the last step, (n_units,); or the
        whole state then, which another layer takes as `state`.
    carries : bool, default=False
        Whether a training step begins with the states that the last one of as many sequences has left, until
        `Network.forget_states`: back-propagation through time, truncated to the steps of a batch. Predictions begin at
        zero.
    init : str or float, default="glorot_uniform"
        Distribution of the initial weights of the inputs, as in `Linear`, for each gate. Those of the hidden state are
        orthogonal for each gate, biases are zero.
    reverse : bool, default=False
        Whether steps run from the last to the first.
    nonlinearity : {"tanh", "relu"}, default="tanh"
        The function f.

    Raises
    ------
    ValueError
        If a number is too small, or an option is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Input((20, 3)), nn.RNN(3, 16, output="last"), nn.Linear(16, 2)])
    >>> net.predict(np.zeros((5, 20, 3), np.float32)).shape
    (5, 2)
    """

    gates = 1
    nonlinearity: Literal["tanh", "relu"] = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"[RNN] nonlinearity {self.nonlinearity!r} is not one of: tanh, relu")

    @property
    def cell(self) -> str:
        return f"rnn_{self.nonlinearity}"


@dataclass(frozen=True)
class LSTM(_Recurrent):
    """A layer with long short-term memory, see ``"lstm"`` in `kernels.recurrence`.

    Weights hold the gates i, f, g, o side by side, as in PyTorch, whose two biases are one here: their sum. A state is
    h beside c, (2 n_units,).

    Parameters
    ----------
    n_in, n_units, n_layers, bidirectional, dropout, output, carries, reverse
        As in `RNN`.
    init : str or float, default="glorot_uniform"
        As in `RNN`; the bias of the forget gate begins at 1 (R. Jozefowicz et al., "An empirical exploration of
        recurrent network architectures", ICML 2015).

    Raises
    ------
    ValueError
        As in `RNN`.

    Examples
    --------
    A network for sequences of up to 20 steps:

    >>> import numpy as np
    >>> from steepest import nn
    >>> x, lengths = nn.Input((20, 3)), nn.Input((), dtype=np.int64, name="lengths")
    >>> last = nn.LSTM(3, 16, output="last")(x, lengths=lengths)
    >>> net = nn.Network([x, lengths], nn.Linear(16, 2)(last))
    >>> net.predict(np.zeros((2, 20, 3), np.float32), np.array([20, 7])).shape
    (2, 2)
    """

    gates = 4

    @property
    def cell(self) -> str:
        return "lstm"

    @property
    def state_width(self) -> int:
        return 2 * self.n_units

    def _initial_bias(self) -> Callable[[tuple[int, ...], int], Array]:
        units = self.n_units

        def draw(shape: tuple[int, ...], seed: int) -> Array:
            bias = np.zeros(shape)
            bias[units : 2 * units] = 1
            return bias

        return draw


@dataclass(frozen=True)
class GRU(_Recurrent):
    """A layer of gated recurrent units, see ``"gru"`` in `kernels.recurrence`.

    Weights hold the gates r, z, n side by side, as in PyTorch. Of its two biases, those of r and z are summed here, and
    that of n in the product of the hidden state is ``recurrent_bias``.

    Parameters
    ----------
    n_in, n_units, n_layers, bidirectional, dropout, output, carries, init, reverse
        As in `RNN`.
    reset : {"after", "before"}, default="after"
        Whether the reset gate multiplies the hidden state after its product with the weights, as in cuDNN and PyTorch,
        or before it, as in the paper.

    Raises
    ------
    ValueError
        As in `RNN`.
    """

    gates = 3
    reset: Literal["after", "before"] = "after"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset not in ("after", "before"):
            raise ValueError(f"[GRU] reset {self.reset!r} is not one of: after, before")

    @property
    def cell(self) -> str:
        return "gru" if self.reset == "after" else "gru_reset_before"

    @property
    def has_inner_bias(self) -> bool:  # type: ignore[override]
        return self.reset == "after"
