"""Attention of several heads, over queries, keys and values that lie beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, BoolArray
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros, short_lived_empty, to_device

from .base import Moved, Operation, Parameters, Reverse, as_rows
from .kept import KeepingOperation
from .spans import check_lengths, clear, padded_spans
from .stream import StreamOperation

# Steps that a new cache has room for; twice as many whenever they have been taken.
_LEAST_ROOM = 64


@dataclass(frozen=True)
class Attention:
    """What attention of several heads computes.

    Attributes
    ----------
    heads, key_heads : int
        Numbers of heads of the queries, and of keys and values.
    causal : bool
        Whether no step attends to a later one.
    rotary : bool
        Whether queries and keys are rotated by their positions.
    has_memory : bool
        Whether queries are the first input, and keys and values another one; otherwise one input has all three.
    has_lengths : bool
        Whether another input is the lengths of the keys' sequences.
    has_mask : bool
        Whether the last input is the masks of the samples.
    """

    heads: int
    key_heads: int
    causal: bool = False
    rotary: bool = False
    has_memory: bool = False
    has_lengths: bool = False
    has_mask: bool = False

    @property
    def sequences(self) -> int:
        """Number of inputs that are sequences; lengths and masks follow."""
        return 2 if self.has_memory else 1


class _Parts(NamedTuple):
    """Queries, keys and values, or arrays of their shapes: rows of all sequences; None for what does not change."""

    q: Array
    k: Array
    v: Array


class AttentionOperation(KeepingOperation):
    """Scaled dot-product attention; see `kernels.attention`.

    Inputs are (steps, (heads + 2 key_heads) d) for attention of a sequence to itself, with queries, keys and values
    side by side; otherwise (steps, heads d) and (key steps, 2 key_heads d).

    Parameters
    ----------
    attention : Attention
        What is computed.
    shared_mask : ndarray of bool of shape (steps, key steps), optional
        Which keys the queries of all sequences may attend to.
    keeps : bool, default=True
        Whether `forward` keeps the logarithms that derivatives need; otherwise they compute them again.
    """

    takes_integers = True

    def __init__(
        self, attention: Attention, shared_mask: BoolArray | None = None, *, keeps: bool = True
    ) -> None:
        super().__init__()
        self.attention, self._shared_mask, self._keeps = attention, shared_mask, keeps

    def at_prediction(self) -> AttentionOperation:
        return AttentionOperation(self.attention, self._shared_mask, keeps=False) if self._keeps else self

    def streaming(self) -> Operation:
        own = self.attention
        if not own.causal or own.has_memory or self._shared_mask is not None:
            raise ValueError(
                "needs whole sequences: causal attention of a sequence to itself without a mask does not"
            )
        return CachedAttentionOperation(self.attention)

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        options = self._options(inputs)
        if "spans" in options:
            clear(out)
        parts = self._rotated(self._parts(inputs), options)
        self._attend(parts, out, self._logarithms(out), options)
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        options = self._options(inputs)
        parts = self._rotated(self._parts(inputs), options)
        logarithms = self._logarithms(output)
        if not self._keeps:
            again = short_lived_empty(output.shape, output.dtype, device_of(output))
            self._attend(parts, again, logarithms, options)
        count = self.attention.sequences
        grads = [
            short_lived_empty(x.shape, x.dtype, device_of(x)) if d_x is None else d_x
            for x, d_x in zip(inputs[:count], into.d_inputs, strict=False)
        ]
        if self.attention.has_lengths:
            for grad in grads:
                clear(grad)
        d_parts = self._parts(grads)
        K.attention_backward(
            as_rows(d),
            *parts,
            as_rows(output),
            logarithms,
            self.attention.heads,
            **options,
            d_q=d_parts.q,
            d_k=d_parts.k,
            d_v=d_parts.v,
        )
        self._rotate(d_parts, d_parts, options, inverse=True)
        return (*into.d_inputs[:count], *([None] * (len(inputs) - count)))

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        options = self._options(inputs)
        parts, logarithms = self._rotated(self._parts(inputs), options), self._logarithms(output)
        result = aligned_zeros(output.shape, output.dtype, device_of(output))
        if not self._keeps:
            self._attend(
                parts, short_lived_empty(output.shape, output.dtype, device_of(output)), logarithms, options
            )
        dq, dk, dv = self._changes(moved_inputs, options)
        K.attention_tangent(
            dq,
            dk,
            dv,
            parts.q,
            parts.k,
            parts.v,
            as_rows(output),
            logarithms,
            self.attention.heads,
            **options,
            out=as_rows(result),
        )
        return result

    def _changes(self, moved_inputs: Moved, options: dict[str, Any]) -> tuple[Array | None, ...]:
        """Return the changes of queries, keys and values, None for those that do not change."""
        if not self.attention.has_memory:
            return self._rotated(self._parts([moved_inputs[0]]), options)
        dq: Array | None = None
        keys: tuple[Array | None, ...] = (None, None)
        moved, moved_memory = moved_inputs[:2]
        if moved is not None:
            dq = self._with_positions(as_rows(moved), self.attention.heads, options, "spans")
        if moved_memory is not None:
            k, v = self._keys_and_values(as_rows(moved_memory))
            keys = self._with_positions(k, self.attention.key_heads, options, "key_spans"), v
        return (dq, *keys)

    def _attend(self, parts: _Parts, out: Array, logarithms: Array, options: dict[str, Any]) -> None:
        K.attention(*parts, self.attention.heads, **options, out=as_rows(out), log_sum_exp=logarithms)

    def _logarithms(self, output: Array) -> Array:
        shape = output.shape[0] * output.shape[1], self.attention.heads

        def allocate() -> tuple[Array, ...]:
            return (short_lived_empty(shape, output.dtype, device_of(output)),)

        part = f"{output.shape[1]} steps"
        return (self.arrays_for(len(output), allocate, part) if self._keeps else allocate())[0]

    def _options(self, inputs: Sequence[Array]) -> dict[str, Any]:
        """Return what the kernels take beside arrays."""
        own = self.attention
        options: dict[str, Any] = {"key_heads": own.key_heads, "causal": own.causal}
        keys = inputs[1 if own.has_memory else 0]
        if own.has_mask:
            options["mask"] = inputs[-1].reshape(-1, keys.shape[1])
        if self._shared_mask is not None:
            self._shared_mask = to_device(self._shared_mask, device_of(keys))
            options["shared_mask"] = self._shared_mask
        if own.has_lengths:
            lengths = inputs[own.sequences]
            check_lengths(repr(self), lengths, keys.shape[1])
            options["key_spans"] = spans = padded_spans(lengths, keys.shape[1])
            if not own.has_memory:
                options["spans"] = spans
        elif own.has_memory:
            options["key_spans"] = to_device(_equal_spans(len(keys), keys.shape[1]), device_of(keys))
        if own.has_memory:
            options["spans"] = to_device(_equal_spans(*inputs[0].shape[:2]), device_of(inputs[0]))
        if not options.keys() & {"spans", "key_spans"}:
            options["sequences"] = len(inputs[0])
        return options

    def _parts(self, inputs: Sequence[Any]) -> _Parts:
        """Return views of queries, keys and values."""
        rows = as_rows(inputs[0])
        if self.attention.has_memory:
            return _Parts(rows, *self._keys_and_values(as_rows(inputs[1])))
        own = self.attention
        end = own.heads * (rows.shape[1] // (own.heads + 2 * own.key_heads))
        return _Parts(rows[:, :end], *self._keys_and_values(rows[:, end:]))

    @staticmethod
    def _keys_and_values(rows: Array) -> tuple[Array, Array]:
        half = rows.shape[1] // 2
        return rows[:, :half], rows[:, half:]

    def _rotated(self, parts: _Parts, options: dict[str, Any]) -> _Parts:
        """Return queries and keys that are rotated by their positions, in new arrays, if they are to be."""
        if not self.attention.rotary:
            return parts
        q = self._with_positions(parts.q, self.attention.heads, options, "spans")
        return _Parts(
            q, self._with_positions(parts.k, self.attention.key_heads, options, "key_spans"), parts.v
        )

    def _rotate(self, parts: _Parts, out: _Parts, options: dict[str, Any], *, inverse: bool) -> None:
        if self.attention.rotary:
            self._with_positions(parts.q, self.attention.heads, options, "spans", out.q, inverse=inverse)
            self._with_positions(
                parts.k, self.attention.key_heads, options, "key_spans", out.k, inverse=inverse
            )

    def _with_positions(
        self,
        rows: Array,
        heads: int,
        options: dict[str, Any],
        which: str,
        out: Array | None = None,
        *,
        inverse: bool = False,
    ) -> Array:
        if not self.attention.rotary:
            return rows
        spans = options.get(which, options.get("spans"))
        return K.rotary(rows, heads, spans, options.get("sequences", 1), inverse=inverse, out=out)

    def __repr__(self) -> str:
        kind = "causal attention" if self.attention.causal else "attention"
        return f"{kind} of {self.attention.heads} heads"


def _equal_spans(n: int, steps: int) -> Any:
    return np.stack([np.arange(n) * steps, np.full(n, steps)], axis=1)


class CachedAttentionOperation(StreamOperation):
    """Causal attention of the next step of each sequence to itself and to those before, whose keys are kept.

    What changes from step to step lies in arrays, so that a step can be captured: a cursor into tables that hold, step
    after step, the places of the new keys in the cache and the spans of the sequences' keys.

    Parameters
    ----------
    attention : Attention
        What is computed.
    """

    def __init__(self, attention: Attention) -> None:
        self._attention = attention
        self._cache: _Cache | None = None

    def forget_state(self) -> None:
        if self._cache is not None:
            self._cache.step[...] = 0
            self._cache.place[...] = 0

    def make_room(self, steps: int) -> bool:
        old = self._cache
        if old is None or steps <= old.capacity:
            return False
        n, _, width = old.keys.shape
        new = _Cache(n, 2 * old.capacity, width, old.keys.dtype, device_of(old.keys))
        K.copy(old.keys, out=new.keys[:, : old.capacity])
        new.step[...], new.place[...] = old.step, old.place
        self._cache = new
        return True

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        own, rows = self._attention, as_rows(inputs[0])
        n, width = len(rows), rows.shape[1] // (own.heads + 2 * own.key_heads)
        end, both, half = own.heads * width, (own.heads + own.key_heads) * width, own.key_heads * width
        if self._cache is None:
            self._cache = _Cache(n, _LEAST_ROOM, 2 * half, rows.dtype, device_of(rows))
        cache = self._cache
        if own.rotary:
            K.rotary(
                rows[:, :both], own.heads + own.key_heads, sequences=n, first=cache.step, out=rows[:, :both]
            )
        keys = cache.keys.reshape(-1, 2 * half)
        K.put_rows(rows[:, end:], cache.places, keys, start=cache.place)
        K.take_rows(cache.spans_of_steps, cache.steps, cache.spans.reshape(1, -1), start=cache.step)
        K.increment(cache.step)
        K.increment(cache.place, by=n)
        K.attention(
            rows[:, :end],
            keys[:, :half],
            keys[:, half:],
            own.heads,
            spans=cache.queries,
            key_spans=cache.spans,
            key_heads=own.key_heads,
            out=as_rows(out),
        )
        return out

    def __repr__(self) -> str:
        return f"cached attention of {self._attention.heads} heads"


class _Cache:
    """The keys and values of the steps so far, and where they lie.

    Parameters
    ----------
    n, capacity, width : int
        Number of sequences, of steps that find room, and of the numbers of a step's keys and values together.
    dtype : dtype
        Dtype of the keys.
    device : {"cpu", "cuda"}
        Where everything lies.
    """

    def __init__(self, n: int, capacity: int, width: int, dtype: np.dtype[Any], device: str) -> None:
        self.capacity = capacity
        self.keys = aligned_zeros((n, capacity, width), dtype, device)
        # The number of steps before, and of places that they took.
        self.step, self.place = (aligned_zeros((), np.int64, device) for _ in range(2))
        sequences, steps = np.arange(n), np.arange(capacity)
        spans = np.empty((capacity, n, 2), np.int64)
        spans[:, :, 0], spans[:, :, 1] = sequences * capacity, 1 + steps[:, None]
        self.steps = to_device(steps, device)
        self.places = to_device((sequences * capacity + steps[:, None]).reshape(-1), device)
        self.spans_of_steps = to_device(spans.reshape(capacity, -1), device)
        self.spans = aligned_zeros((n, 2), np.int64, device)
        self.queries = to_device(np.stack([sequences, np.ones(n, np.int64)], axis=1), device)
