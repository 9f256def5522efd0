"""Attention of several heads, and the encoders and decoders that are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from steepest.nn.initializers import Initializer, check_initializer
from steepest.nn.ops.attention import Attention, AttentionOperation
from steepest.nn.ops.merge import AddOperation
from steepest.nn.values import Constant, ConstantShape, MaskShape, Shape, Value
from steepest.nn.windows import numbers_of

from .activation import Activation
from .base import Layer, ParameterSpec
from .dropout import Dropout
from .linear import Linear
from .normalization import LayerNorm

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


_MASK = "an nn.Input((steps, key_steps), dtype=bool), or an nn.Constant of booleans"


class _OfSequences(Layer):
    """What layers share that take sequences, perhaps the sequences of a memory, lengths, and a mask.

    Inputs follow one another in this order. Those of a mask know it by their shape.
    """

    arity = (1, 4)
    takes_constants = True
    n_units: int

    def __call__(self, *inputs: Value, lengths: Value | None = None, mask: Value | None = None) -> Value:
        """Return the output for sequences (steps, n_units), and for a memory that they attend to.

        Parameters
        ----------
        *inputs : Value
            The sequences; behind them, where a layer takes one, the memory (memory steps, n_units).
        lengths : Value, optional
            An `Input` of shape () and dtype int64: how many steps of each sequence, or of its memory if there is one,
            are attended to, from 1 on.
        mask : Value, optional
            Which steps attend to which, beside what `causal` and `lengths` allow: an `Input` of shape
            (steps, key_steps) and dtype bool for a mask of each sample, or a `Constant` of booleans for all samples.
            True means that the step may attend to the key. The attention of a step to no key at all is 0.

        Raises
        ------
        TypeError, ValueError
            If a value is not of that kind or shape.
        """
        return self._called(*inputs, lengths, self._checked_mask("mask", mask))

    def _called(self, *inputs: Value | None) -> Value:
        return super().__call__(*(value for value in inputs if value is not None))

    def _checked_mask(self, what: str, mask: Value | None) -> Value | None:
        """Return a mask; TypeError unless it is a value of booleans."""
        is_constant = isinstance(mask, Constant) and mask.array.dtype.kind == "b"
        if mask is None or is_constant or (isinstance(mask, Value) and isinstance(mask.shape, MaskShape)):
            return mask
        raise TypeError(f"[{type(self).__name__}] {what} must be {_MASK}, not {mask!r}")

    def check_sequences(self, shapes: tuple[Shape, ...], *, takes_memory: bool) -> None:
        """Raise ValueError unless the inputs are those that the layer takes."""
        sequences = [shape for shape in shapes if _is_sequence(shape)]
        masks = [shape for shape in shapes if _is_mask(shape)]
        most = 2 if takes_memory else 1
        if len(sequences) > most or len(masks) > 1 or shapes.count(()) > 1:
            what = "sequences, a memory, lengths" if takes_memory else "sequences, their lengths"
            raise ValueError(
                f"takes {what} and a mask, but {len(shapes)} inputs of the shapes {shapes} come out"
            )
        self._check_steps(sequences)
        for mask in masks:
            _check_mask("mask", mask, sequences[0], sequences[-1])

    def _check_steps(self, sequences: list[Shape]) -> None:
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


def _is_mask(shape: Shape) -> bool:
    return isinstance(shape, (MaskShape, ConstantShape))


def _is_sequence(shape: Shape) -> bool:
    return shape != () and not _is_mask(shape)


def _check_mask(what: str, mask: Shape, queries: Shape, keys: Shape) -> None:
    """Raise ValueError unless a mask has a row for each step and a column for each key; sizes may not be known yet."""
    wanted = queries[0], keys[0]
    if len(mask) != 2 or any(
        size is not None and own != size for own, size in zip(mask, wanted, strict=True)
    ):
        raise ValueError(
            f"takes a {what} of shape {wanted}, a row for each step and a column for each step that it may attend to, "
            f"but one of shape {tuple(mask)} comes beside the steps"
        )


@dataclass(frozen=True)
class MultiHeadAttention(_OfSequences):
    """Attention of several heads: of a sequence to itself, or to a memory.

    Queries, keys and values are linear maps of the steps. In each head, a step's output is the mean of all values, with
    weights ``softmax(q @ k.T / sqrt(d))``, d = n_units / n_heads; another linear map takes all heads together (A.
    Vaswani et al., "Attention is all you need", NeurIPS 2017). Called on values: ``attention(x)``,
    ``attention(x, memory)``, ``attention(x, lengths=lengths)``, ``attention(x, mask=mask)``.

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
        sequences = [i for i in inputs if _is_sequence(build.shape(i))]
        masks = [i for i in inputs if _is_mask(build.shape(i))]
        shared = [build.constant(i) for i in masks if build.is_constant(i)]
        if any(mask.dtype.kind != "b" for mask in shared):
            raise ValueError(f"takes a mask that is {_MASK}, beside the steps")
        steps = build.shape(inputs[0])[0]
        width = self.n_units // self.n_heads

        def mapped(part: str, heads: int, number: int) -> int:
            return build.call(part, Linear(self.n_units, heads * width, self.bias, self.init), (number,))

        has_memory = len(sequences) > 1
        attention = Attention(
            self.n_heads,
            self.key_heads,
            self.causal,
            self.rotary,
            has_memory,
            has_lengths=bool(lengths),
            has_mask=len(masks) > len(shared),
        )
        operation = AttentionOperation(attention, shared[0] if shared else None)
        others = (*lengths, *(i for i in masks if not build.is_constant(i)))
        if has_memory:
            made = [
                mapped("query", self.n_heads, sequences[0]),
                mapped("key_value", 2 * self.key_heads, sequences[1]),
            ]
        else:
            made = [mapped("query_key_value", self.n_heads + 2 * self.key_heads, sequences[0])]
        number = build.node(self, operation, (*made, *others), shape=(steps, self.n_units))
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
        number, *others = inputs
        for i in range(self.n_layers):
            attention = self._attention(causal=self.causal)
            number = self._around(build, f"{i}_attention", number, [(attention, tuple(others))])
            number = self._feed_forward(build, f"{i}_perceptron", number)
        return self._end(build, number)


@dataclass(frozen=True)
class TransformerDecoder(_Transformer):
    """Layers of causal attention of a sequence to itself, of attention to a memory, and of a perceptron.

    It is called on a sequence and the memory, such as the output of a `TransformerEncoder`: ``decoder(y, memory)``,
    with ``lengths=`` of the memory, a ``mask=`` of the sequence's attention to itself, and a ``memory_mask=`` of its
    attention to the memory.

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

    arity = (2, 5)
    causal: bool = True

    def __call__(
        self,
        *inputs: Value,
        lengths: Value | None = None,
        mask: Value | None = None,
        memory_mask: Value | None = None,
    ) -> Value:
        """Return the output for sequences (steps, n_units) and a memory (memory steps, n_units).

        Parameters
        ----------
        *inputs : Value
            The sequences and the memory.
        lengths : Value, optional
            How many steps of each memory are attended to, as for `TransformerEncoder`.
        mask, memory_mask : Value, optional
            Which steps of the sequence, and of the memory, a step may attend to, as for `TransformerEncoder`.
        """
        own, others = self._checked_mask("mask", mask), self._checked_mask("memory_mask", memory_mask)
        # The mask of the sequence stands before the memory, which tells the masks apart.
        return self._called(*inputs[:1], own, *inputs[1:], lengths, others)

    def output_shape(self, *shapes: Shape) -> Shape:
        sequences = [shape for shape in shapes if _is_sequence(shape)]
        if len(sequences) != 2:
            raise ValueError(f"takes sequences and a memory, but inputs of the shapes {shapes} come out")
        own = shapes[1:2] if _is_mask(shapes[1]) else ()
        self.check_sequences((*sequences, *shapes[2 + len(own) :]), takes_memory=True)
        for mask in own:
            _check_mask("mask", mask, sequences[0], sequences[0])
        return (shapes[0][0], self.n_units)

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        number, *rest = inputs
        own_mask = [rest.pop(0)] if _is_mask(build.shape(rest[0])) else []
        for i in range(self.n_layers):
            own = self._attention(causal=self.causal)
            number = self._around(build, f"{i}_attention", number, [(own, tuple(own_mask))])
            other = self._attention(causal=False, rotary=False)
            number = self._around(build, f"{i}_memory", number, [(other, tuple(rest))])
            number = self._feed_forward(build, f"{i}_perceptron", number)
        return self._end(build, number)
