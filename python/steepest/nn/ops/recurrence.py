"""Recurrent layers: one operation for all steps of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from steepest import kernels as K
from steepest._cpu import is_capturing
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros

from .base import Moved, Parameters, Reverse, as_rows
from .kept import KEPT_BATCH_SIZES, KeepingOperation
from .linear import LinearOperation
from .spans import Packing, check_lengths, clear, packed, padded_spans

_STATES = {"lstm": 2}


@dataclass(frozen=True)
class Recurrence:
    """What a recurrent layer computes.

    Attributes
    ----------
    cell : str
        Name of the cell, one of `kernels.RECURRENT_CELLS`.
    output : {"sequence", "last", "state"}
        The hidden states of all steps, that after the last step, or the whole state then: for an LSTM h beside c.
    reverse : bool
        Whether steps run from the last to the first.
    has_lengths, has_state : bool
        Whether the inputs behind the sequences are their lengths, and the states before the first steps.
    carries : bool
        Whether the state after a training step's batch is that before the next one's.
    """

    cell: str
    output: str = "sequence"
    reverse: bool = False
    has_lengths: bool = False
    has_state: bool = False
    carries: bool = False

    @property
    def states(self) -> int:
        """How many numbers a unit's state has."""
        return _STATES.get(self.cell, 1)


class _Walk(NamedTuple):
    """The arrays of a forward pass, whose rows are the steps of all sequences.

    Attributes
    ----------
    x, gates, hidden, kept
        Inputs of the steps, and what `kernels.recurrence` makes of them.
    and_more : ndarray
        The array that begins with the rows of `hidden`; if there is a packing, it has another row behind them.
    packing : Packing or None
        Where in a padded array each row lies; None for rows that are those of such an array.
    steps : dict
        Spans or number of the sequences, for the kernels.
    states : dict
        States before the first steps, for the kernels.
    """

    x: Array
    gates: Array
    hidden: Array
    kept: Array | None
    and_more: Array
    packing: Packing | None
    steps: dict[str, Any]
    states: dict[str, Any]


class RecurrentOperation(KeepingOperation):
    """A recurrent cell, walked through sequences of shape (steps, n_in).

    The parameters are those of the cell's gates: ``"weight"`` of the inputs, ``"recurrent_weight"``, ``"bias"``, and
    for a GRU ``"recurrent_bias"`` of the sum that its reset gate multiplies.

    Sequences of different lengths come in a padded array. Their steps are gathered into rows without padding first, so
    that padding costs nothing but the copy. While a graph is captured, the rows are those of the padded array, since
    the lengths may change from replay to replay: large products then include the padding, which must be finite.

    Parameters
    ----------
    recurrence : Recurrence
        What is computed.
    precision : str, default="float32"
        Precision of the products over all steps.
    keeps : bool, default=True
        Whether `forward` keeps its arrays; otherwise derivatives compute them again.
    carried : dict, optional
        The states that batches leave behind, by number of sequences; programs for different numbers of steps share it.
    """

    takes_integers = True
    weights_act_on_inputs = True
    multiplies = frozenset({"weight", "recurrent_weight"})

    def __init__(
        self,
        recurrence: Recurrence,
        precision: str = "float32",
        *,
        keeps: bool = True,
        carried: dict[int, Array] | None = None,
    ) -> None:
        super().__init__()
        self.recurrence, self.precision, self._keeps = recurrence, precision, keeps
        self._product = LinearOperation(precision=precision)
        self._walks: dict[int, _Walk] = {}
        self._carried: dict[int, Array] = {} if carried is None else carried

    def at_prediction(self) -> RecurrentOperation:
        if not self._keeps:
            return self
        return RecurrentOperation(replace(self.recurrence, carries=False), self.precision, keeps=False)

    def streaming(self) -> RecurrentOperation:
        if self.recurrence.reverse:
            raise ValueError("needs whole sequences: it walks from the last step to the first")
        if self.recurrence.has_lengths or self.recurrence.has_state:
            raise ValueError("takes lengths or a state, which a stream does not have")
        return RecurrentOperation(replace(self.recurrence, carries=True), self.precision, keeps=False)

    def at_precision(self, precision: str) -> RecurrentOperation:
        return RecurrentOperation(self.recurrence, precision, keeps=self._keeps, carried=self._carried)

    def release(self) -> None:
        super().release()
        self._walks.clear()

    def forget_state(self) -> None:
        """Set the states that are carried from batch to batch to zero."""
        for state in self._carried.values():
            clear(state)

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        output, units = self.recurrence.output, len(parameters["recurrent_weight"])
        last = None if output == "sequence" else out
        if self.recurrence.carries:
            last = self._carry(inputs[0], units)
        walk = self._walked(inputs, parameters, out if output == "sequence" else None, last)
        if self._keeps:
            self._walks[len(inputs[0])] = walk
            if len(self._walks) > KEPT_BATCH_SIZES:
                self._walks.pop(next(iter(self._walks)))
        if output == "sequence":
            if walk.hidden is not out and self.recurrence.has_lengths:
                _spread(walk, walk.and_more, out)
        elif last is not None and last is not out:
            K.copy(last[:, : out.shape[1]], out=out)
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        recurrent, d_parameters = parameters["recurrent_weight"], into.d_parameters
        (n, units), cell = (len(inputs[0]), len(recurrent)), self.recurrence.cell
        walk = self._walks[n] if self._keeps else self._walked(inputs, parameters)
        rows, padded_rows, n_in = len(walk.x), len(as_rows(inputs[0])), walk.x.shape[1]
        is_packed, is_sequence = walk.packing is not None, self.recurrence.output == "sequence"
        d_x = into.d_inputs[0]
        shapes = [
            (padded_rows, walk.gates.shape[1]),
            (padded_rows, units),
            (padded_rows * cell.startswith("gru"), units),
            (padded_rows * (is_packed and is_sequence), units),
            ((padded_rows + 1) * (is_packed and d_x is not None), n_in),
        ]
        buffers = self._arrays(n, f"backward, {is_packed}, {d_x is not None}", shapes, d)
        if self.recurrence.has_lengths and not is_packed:
            for buffer in buffers:
                clear(buffer)  # large products run over the padding
        d_gates, before, inner_or_none, d_out_or_none = (buffer[:rows] for buffer in buffers[:4])
        given: dict[str, Any] = {}
        d_out = None
        if is_sequence:
            d_out = _gathered(walk, as_rows(d), d_out_or_none)
        else:
            given |= _parts(d, units, "d_h_last", "d_c_last")
        d_state = into.d_inputs[-1] if self.recurrence.has_state else None
        if d_state is not None:
            given |= _parts(d_state, units, "d_h0", "d_c0")
        _, _, inner = K.recurrence_backward(
            d_out,
            walk.gates,
            walk.hidden,
            walk.kept,
            recurrent,
            cell,
            **walk.states,
            **walk.steps,
            **given,
            d_gates=d_gates,
            before=before,
            inner=inner_or_none if len(inner_or_none) else None,
        )
        self._put_gradients(d_gates, before, inner, d_parameters)
        d_rows = None
        if d_x is not None:
            d_rows = buffers[4][:rows] if is_packed else as_rows(d_x)
        of_inputs = {role: d_parameters[role] for role in ("weight", "bias") if role in d_parameters}
        self._product.vjp(d_gates, (walk.x,), walk.gates, parameters, Reverse((d_rows,), of_inputs))
        if d_x is not None and is_packed:
            _spread(walk, buffers[4], d_x)
        others = [None] * self.recurrence.has_lengths + [d_state] * self.recurrence.has_state
        return (d_x, *others)

    def _put_gradients(
        self, d_gates: Array, before: Array, inner: Array | None, d_parameters: Parameters
    ) -> None:
        """Write the gradients of the parameters of the hidden state's product."""
        d_weight, d_bias = d_parameters.get("recurrent_weight"), d_parameters.get("recurrent_bias")
        if d_bias is not None and inner is not None:
            K.sum(inner, axis=0, out=d_bias)
        if d_weight is None:
            return
        if inner is None:
            K.matmul(before.T, d_gates, out=d_weight, precision=self.precision)
            return
        plain = 2 * before.shape[1]
        K.matmul(before.T, d_gates[:, :plain], out=d_weight[:, :plain], precision=self.precision)
        left, right = (before, inner) if self.recurrence.cell == "gru" else (inner, d_gates[:, plain:])
        K.matmul(left.T, right, out=d_weight[:, plain:], precision=self.precision)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        recurrent = parameters["recurrent_weight"]
        n, units = len(inputs[0]), len(recurrent)
        walk = self._walks[n] if self._keeps else self._walked(inputs, parameters)
        changed = None if moved_inputs[0] is None else _gathered(walk, as_rows(moved_inputs[0]))
        of_inputs = {role: moved_parameters[role] for role in ("weight", "bias") if role in moved_parameters}
        moved = None
        if changed is not None or of_inputs:
            moved = self._product.jvp((walk.x,), walk.gates, parameters, (changed,), of_inputs)
        given: dict[str, Any] = {}
        if self.recurrence.has_state and moved_inputs[-1] is not None:
            given |= _parts(moved_inputs[-1], units, "moved_h0", "moved_c0")
        result = aligned_zeros(output.shape, output.dtype, device_of(output))
        if self.recurrence.output != "sequence":
            moved_out, and_more = None, None
            given |= _parts(result, units, "moved_h_last", "moved_c_last")
        elif walk.packing is None:
            moved_out, and_more = as_rows(result), None
        else:
            and_more = aligned_empty((len(walk.x) + 1, units), output.dtype, device_of(output))
            moved_out = and_more[:-1]
        K.recurrence_tangent(
            moved,
            walk.gates,
            walk.hidden,
            walk.kept,
            recurrent,
            self.recurrence.cell,
            **walk.states,
            **walk.steps,
            **given,
            moved_weight=moved_parameters.get("recurrent_weight"),
            moved_bias=moved_parameters.get("recurrent_bias"),
            moved_out=moved_out,
        )
        if and_more is not None:
            _spread(walk, and_more, result)
        return result

    def _walked(
        self,
        inputs: Sequence[Array],
        parameters: Parameters,
        out: Array | None = None,
        last: Array | None = None,
    ) -> _Walk:
        """Compute all steps.

        Parameters
        ----------
        inputs, parameters
            As for `forward`.
        out : ndarray of shape (n, steps, units), optional
            Receives the hidden states if there are no lengths.
        last : ndarray of shape (n, units) or (n, states), optional
            Receives the states after the last steps.
        """
        x, recurrent, cell = inputs[0], parameters["recurrent_weight"], self.recurrence.cell
        (n, steps), (units, width) = x.shape[:2], recurrent.shape
        lengths = self._lengths(inputs, steps)
        is_packed = lengths is not None and not is_capturing()
        has_own = out is None or lengths is not None

        shapes = [
            (n * steps, width),
            ((n * steps + is_packed) * has_own, units),
            (n * steps * (cell in ("lstm", "gru")), units),
            (n * steps * is_packed, x.shape[2]),
            (n if self.recurrence.carries else 0, self.recurrence.states * units),
        ]
        part = f"{steps} steps, {is_packed}, {has_own}"
        gates, and_more, kept, gathered, start = self._arrays(n, part, shapes, x)
        rows, packing = as_rows(x), None
        walked: dict[str, Any] = {"sequences": n}
        if out is not None and lengths is None:
            and_more = as_rows(out)
        hidden = and_more
        if lengths is not None:
            if is_packed:
                packing = packed(lengths, steps)
                count = len(packing.places)
                gates, hidden, kept = gates[:count], hidden[:count], kept[:count]
                rows = K.take_rows(rows, packing.places, gathered[:count])
                walked = {"spans": packing.spans}
            else:
                walked = {"spans": padded_spans(lengths, steps)}
                clear(hidden)
        states: dict[str, Any] = {}
        if self.recurrence.has_state:
            states = _parts(inputs[-1], units, "h0", "c0")
        elif self.recurrence.carries:
            states = _parts(K.copy(self._carry(x, units), out=start), units, "h0", "c0")
        walked["reverse"] = self.recurrence.reverse
        K.linear(rows, parameters["weight"], parameters["bias"], out=gates, precision=self.precision)
        _, number = K.recurrence(
            gates,
            recurrent,
            cell,
            bias=parameters.get("recurrent_bias"),
            **states,
            **walked,
            out=hidden,
            kept=kept if cell in ("lstm", "gru") else None,
            **({} if last is None else _parts(last, units, "h_last", "c_last")),
        )
        return _Walk(rows, gates, hidden, number, and_more, packing, walked, states)

    def _arrays(self, n: int, part: str, shapes: Sequence[tuple[int, ...]], like: Array) -> tuple[Array, ...]:
        """Return arrays of these shapes, which a later pass over as many sequences may use again."""

        def allocate() -> tuple[Array, ...]:
            return tuple(aligned_empty(shape, like.dtype, device_of(like)) for shape in shapes)

        return self.arrays_for(n, allocate, part) if self._keeps else allocate()

    def _lengths(self, inputs: Sequence[Array], steps: int) -> Int64Array | None:
        """Return the lengths of the sequences, which are checked unless a graph is being captured."""
        if not self.recurrence.has_lengths:
            return None
        check_lengths(repr(self), inputs[1], steps)
        return inputs[1]

    def _carry(self, x: Array, units: int) -> Array:
        """Return the states that one batch of n sequences leaves to the next; zeros at first."""
        found = self._carried.get(len(x))
        if found is None:
            shape = len(x), self.recurrence.states * units
            found = self._carried[len(x)] = aligned_zeros(shape, x.dtype, device_of(x))
        return found

    def __repr__(self) -> str:
        own = "" if self.precision == "float32" else f"[{self.precision}]"
        return f"{self.recurrence.cell}{own}{', backwards' if self.recurrence.reverse else ''}"


def _parts(states: Array, units: int, *names: str) -> dict[str, Any]:
    """Return views of the numbers of the units' states, which lie beside one another, by name."""
    count = states.shape[1] // units
    return {name: states[:, i * units : (i + 1) * units] for i, name in enumerate(names[:count])}


def _gathered(walk: _Walk, rows: Array, out: Array | None = None) -> Array:
    """Return the rows of a padded array that belong to sequences: in `out`, or in a new array, if there are others."""
    return rows if walk.packing is None else K.take_rows(rows, walk.packing.places, out)


def _spread(walk: _Walk, rows: Array, padded: Array) -> None:
    """Write rows to their places in a padded array, and zeros to the others; rows are those with one more behind."""
    if walk.packing is None:
        K.copy(rows.reshape(padded.shape), out=padded)
        return
    count = len(walk.packing.places)
    rows[count] = 0
    K.take_rows(rows[: count + 1], walk.packing.sources, as_rows(padded))
