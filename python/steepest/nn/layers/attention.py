"""Attention of several heads, and the encoders and decoders that are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from steepest.nn.initializers import Initializer, check_initializer
from steepest.nn.ops.attention import Attention, AttentionOperation
from steepest.nn.ops.merge import AddOperation
from steepest.nn.values import Shape, Value
from steepest.nn.windows import numbers_of

from .activation import Activation
from .base import Layer, ParameterSpec
from .dropout import Dropout
from .linear import Linear
from .normalization import LayerNorm

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


class _OfSequences(Layer):
    """What layers share that take sequences, perhaps the sequences of a memory, and lengths."""

    arity = (1, 3)
    n_units: int

    def __call__(self, *inputs: Value, lengths: Value | None = None) -> Value:
        """Return the output for sequences (steps, n_units), and for a memory that they attend to.

        Parameters
        ----------
        *inputs : Value
            The sequences; behind them, where a layer takes one, the memory (memory steps, n_units).
        lengths : Value, optional
            An `Input` of shape () and dtype int64: how many steps of each sequence, or of its memory if there is one,
            are attended to, from 1 on.
        """
        return super().__call__(*inputs, *(() if lengths is None else (lengths,)))

    def check_sequences(self, shapes: tuple[Shape, ...], *, takes_memory: bool) -> None:
        """Raise ValueError unless the inputs are those that the layer takes."""
        sequences = [shape for shape in shapes if shape != ()]
        most = 2 if takes_memory else 1
        if len(sequences) > most or len(shapes) - len(sequences) > 1:
            what = "sequences, a memory and lengths" if takes_memory else "sequences and their lengths"
            raise ValueError(f"takes {what}, but {len(shapes)} inputs of the shapes {shapes} come out")
        for shape in sequences:
            if len(shape) != 2 or shape[1] not in (None, self.n_units):
                raise ValueError(
                    f"takes sequences (steps, {self.n_units}), but samples of shape {shape} come out"
                )

    def lengths_of(self, build: Builder, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of the lengths, if there are some."""
        lengths = tuple(i for i in inputs if build.shape(i) == ())
        if any(build.integers.get(i) != np.int64 for i in lengths):
            raise ValueError(
                "takes lengths that are an nn.Input((), dtype=np.int64), behind the sequences that come out"
            )
        return lengths


@dataclass(frozen=True)
class MultiHeadAttention(_OfSequences):
    """Attention of several heads: of a sequence to itself, or to a memory.

    Queries, keys and values are linear maps of the steps. In each head, a step's output is the mean of all values, with
    weights ``softmax(q @ k.T / sqrt(d))``, d = n_units / n_heads; another linear map takes all heads together (A.
    Vaswani et al., "Attention is all you need", NeurIPS 2017). Called on values: ``attention(x)``,
    ``attention(x, memory)``, ``attention(x, lengths=lengths)``.

    Parameters
    ----------
    n_units : int
        Width of a step, and of the output.
    n_heads : int
        Number of heads, which divides n_units.
    n_key_heads : int, optional
        Heads of keys and values, which several heads of queries share; as many as `n_heads` by default.
    causal : bool, default=False
        Whether no step attends to a later one.
    rotary : bool, default=False
        Whether queries and keys are rotated by their positions, see `kernels.rotary`.
    bias : bool, default=True
        Whether the linear maps have biases.
    init : str or float, default="glorot_uniform"
        Distribution of the initial weights of the linear maps.

    Raises
    ------
    ValueError
        If a number is too small, or the heads do not divide n_units or one another.
    """

    n_units: int
    n_heads: int
    n_key_heads: int | None = None
    causal: bool = False
    rotary: bool = False
    bias: bool = True
    init: Initializer | float = "glorot_uniform"

    def __post_init__(self) -> None:
        name = "MultiHeadAttention"
        numbers_of(name, "n_units", self.n_units, 1), numbers_of(name, "n_heads", self.n_heads, 1)
        numbers_of(name, "n_key_heads", self.key_heads, 1)
        if self.n_units % self.n_heads:
            raise ValueError(f"[{name}] n_heads={self.n_heads} must divide n_units={self.n_units}")
        if self.n_heads % self.key_heads:
            raise ValueError(f"[{name}] n_key_heads={self.key_heads} must divide n_heads={self.n_heads}")
        if self.rotary and self.n_units // self.n_heads % 2:
            raise ValueError(f"[{name}] rotary needs heads of even width, not {self.n_units // self.n_heads}")
        check_initializer(name, self.init)

    @property
    def key_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_heads if self.n_key_heads is None else self.n_key_heads

    def output_shape(self, *shapes: Shape) -> Shape:
        self.check_sequences(shapes, takes_memory=True)
        return (shapes[0][0], self.n_units)

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        lengths = self.lengths_of(build, inputs)
        sequences = [i for i in inputs if i not in lengths]
        steps = build.shape(inputs[0])[0]
        width = self.n_units // self.n_heads

        def mapped(part: str, heads: int, number: int) -> int:
            return build.call(part, Linear(self.n_units, heads * width, self.bias, self.init), (number,))

        has_memory = len(sequences) > 1
        attention = Attention(
            self.n_heads, self.key_heads, self.causal, self.rotary, has_memory, has_lengths=bool(lengths)
        )
        if has_memory:
            made = [
                mapped("query", self.n_heads, sequences[0]),
                mapped("key_value", 2 * self.key_heads, sequences[1]),
            ]
        else:
            made = [mapped("query_key_value", self.n_heads + 2 * self.key_heads, sequences[0])]
        number = build.node(
            self, AttentionOperation(attention), (*made, *lengths), shape=(steps, self.n_units)
        )
        return build.call("output", Linear(self.n_units, self.n_units, self.bias, self.init), (number,))


@dataclass(frozen=True)
class _Transformer(_OfSequences):
    """What encoders and decoders share."""

    n_units: int
    n_heads: int
    n_layers: int = 1
    n_hidden: int | None = None
    norm: Literal["pre", "post"] = "pre"
    activation: Any = "gelu"
    dropout: float = 0.0
    causal: bool = False
    rotary: bool = False
    n_key_heads: int | None = None
    bias: bool = True
    init: Initializer | float = "glorot_uniform"

    def __post_init__(self) -> None:
        name = type(self).__name__
        numbers_of(name, "n_layers", self.n_layers, 1)
        numbers_of(name, "n_hidden", self.hidden, 1)
        if self.norm not in ("pre", "post"):
            raise ValueError(f"[{name}] norm {self.norm!r} is not one of: pre, post")
        (
            Activation(self.activation),
            Dropout(self.dropout),
            self._attention(causal=False),
        )  # check their arguments

    @property
    def hidden(self) -> int:
        """Width of the hidden layer behind an attention."""
        return 4 * self.n_units if self.n_hidden is None else self.n_hidden

    def _attention(self, *, causal: bool, rotary: bool | None = None) -> MultiHeadAttention:
        return MultiHeadAttention(
            self.n_units,
            self.n_heads,
            self.n_key_heads,
            causal,
            self.rotary if rotary is None else rotary,
            self.bias,
            self.init,
        )

    def _around(
        self, build: Builder, part: str, number: int, layers: list[tuple[Layer, tuple[int, ...]]]
    ) -> int:
        """Add layers, each with further inputs, between a norm and a sum with what they begin from."""
        norm, inner = LayerNorm(self.n_units), number
        if self.norm == "pre":
            inner = build.call(f"{part}_norm", norm, (inner,))
        for i, (layer, others) in enumerate(layers):
            inner = build.call(part if len(layers) == 1 else f"{part}{i}", layer, (inner, *others))
        if self.dropout:
            inner = build.call(f"{part}_dropout", Dropout(self.dropout), (inner,))
        total = build.node(self, AddOperation(), (number, inner), shape=build.shape(number))
        return build.call(f"{part}_norm", norm, (total,)) if self.norm == "post" else total

    def _feed_forward(self, build: Builder, part: str, number: int) -> int:
        layers: list[Layer] = [
            Linear(self.n_units, self.hidden, self.bias, self.init),
            Activation(self.activation),
            Linear(self.hidden, self.n_units, self.bias, self.init),
        ]
        return self._around(build, part, number, [(layer, ()) for layer in layers])

    def _end(self, build: Builder, number: int) -> int:
        """Add the norm behind the last layer, whose input no norm has seen if there is one before each layer."""
        return build.call("norm", LayerNorm(self.n_units), (number,)) if self.norm == "pre" else number

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        return {}


@dataclass(frozen=True)
class TransformerEncoder(_Transformer):
    """Layers of attention of a sequence to itself, each followed by a perceptron with one hidden layer.

    Around each of both is a residual connection with a layer norm: before it, ``x + f(norm(x))``, or behind,
    ``norm(x + f(x))``, as in A. Vaswani et al., "Attention is all you need", NeurIPS 2017. The norm before trains more
    easily (R. Xiong et al., "On layer normalization in the transformer architecture", ICML 2020); it then stands once
    more at the end. With ``causal=True``, this is the body of a language model.

    Parameters
    ----------
    n_units, n_heads, n_key_heads, causal, rotary, bias, init
        As in `MultiHeadAttention`.
    n_layers : int, default=1
        Number of layers.
    n_hidden : int, optional
        Units of the hidden layer of the perceptron; ``4 * n_units`` by default.
    norm : {"pre", "post"}, default="pre"
        Where the layer norms stand.
    activation : str, default="gelu"
        Activation of the hidden layer.
    dropout : float, default=0.0
        Rate of the dropout behind each attention and each perceptron.

    Raises
    ------
    ValueError
        If a number is too small, or an option is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network(
    ...     [
    ...         nn.Input(8, dtype=np.int64),
    ...         nn.Embedding(10, 16),
    ...         nn.PositionalEncoding(8),
    ...         nn.TransformerEncoder(16, 4, n_layers=2, causal=True),
    ...         nn.Linear(16, 10),
    ...     ]
    ... )
    >>> net.predict(np.zeros((3, 8), np.int64)).shape
    (3, 8, 10)
    """

    def output_shape(self, *shapes: Shape) -> Shape:
        self.check_sequences(shapes, takes_memory=False)
        return (shapes[0][0], self.n_units)

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        lengths, number = self.lengths_of(build, inputs), inputs[0]
        for i in range(self.n_layers):
            attention = self._attention(causal=self.causal)
            number = self._around(build, f"{i}_attention", number, [(attention, lengths)])
            number = self._feed_forward(build, f"{i}_perceptron", number)
        return self._end(build, number)


@dataclass(frozen=True)
class TransformerDecoder(_Transformer):
    """Layers of causal attention of a sequence to itself, of attention to a memory, and of a perceptron.

    It is called on a sequence and the memory, such as the output of a `TransformerEncoder`: ``decoder(y, memory)``,
    with ``lengths=`` of the memory.

    Parameters
    ----------
    n_units, n_heads, n_layers, n_hidden, norm, activation, dropout, rotary, n_key_heads, bias, init
        As in `TransformerEncoder`. The attention to the memory is not rotated.
    causal : bool, default=True
        Whether no step attends to a later one of its own sequence.

    Raises
    ------
    ValueError
        If a number is too small, or an option is not known.
    """

    arity = (2, 3)
    causal: bool = True

    def output_shape(self, *shapes: Shape) -> Shape:
        self.check_sequences(shapes, takes_memory=True)
        if len([shape for shape in shapes if shape != ()]) < 2:
            raise ValueError("takes sequences and a memory, but a single sequence comes out")
        return (shapes[0][0], self.n_units)

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        lengths = self.lengths_of(build, inputs)
        number, memory = (i for i in inputs if i not in lengths)
        for i in range(self.n_layers):
            own = self._attention(causal=self.causal)
            number = self._around(build, f"{i}_attention", number, [(own, ())])
            other = self._attention(causal=False, rotary=False)
            number = self._around(build, f"{i}_memory", number, [(other, (memory, *lengths))])
            number = self._feed_forward(build, f"{i}_perceptron", number)
        return self._end(build, number)
