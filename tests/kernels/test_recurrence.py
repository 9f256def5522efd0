"""Recurrent layers against their equations in float64: every cell, lengths, states, directions, layouts, identities."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tolerances
from backends import SLOW, assert_close, identical, lay_out, on_each_number_of_threads
from by_kernel.recurrence import GATES, spans_of
from hypothesis import given
from hypothesis import strategies as st

import steepest
from steepest import kernels as K

every_cell = pytest.mark.parametrize("cell", K.RECURRENT_CELLS)
KEPT = ("lstm", "gru")


def numbers(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def layer(rng, dtype, cell, units, sequences, states=True):
    """The weights of a layer and its first states, by name."""
    made = {"weight": numbers(rng, dtype, units, GATES[cell] * units) * dtype(0.8 / np.sqrt(units))}
    if cell == "gru":
        made["bias"] = numbers(rng, dtype, units)
    if states:
        made["h0"] = numbers(rng, dtype, sequences, units)
        if cell == "lstm":
            made["c0"] = numbers(rng, dtype, sequences, units)
    return made


def split(made, cell):
    """The positional arguments behind the rows, and the other ones."""
    return (made["weight"], cell), {k: v for k, v in made.items() if k != "weight"}


def within(rows, spans, sequences):
    """A mask of the rows that belong to a sequence."""
    inside = np.zeros(rows, bool)
    for first, length in [(0, rows)] if spans is None else spans:
        inside[first : first + length] = True
    return inside


def check_forward(rng, dtype, cell, a, made, *, layout="c", **options):
    """Compare the states, the gates and what is kept with the oracle; return the kernel's results."""
    args, given = split(made, cell)
    spans = options.get("spans")
    sequences = options.get("sequences", 1) if spans is None else len(spans)
    inside = within(len(a), spans, sequences)
    expected = reference.recurrence(a, *args, **given, **options)
    allowed = tolerances.recurrence(dtype, a, *args, **given, **options)
    units = made["weight"].shape[0]
    gates = a.copy()
    last = {"h_last": lay_out(np.full((sequences, units), 7, dtype), layout)}
    if cell == "lstm":
        last["c_last"] = lay_out(np.full((sequences, units), 7, dtype), layout)
    laid = {k: lay_out(v, layout) for k, v in given.items()}
    out, kept = K.recurrence(gates, lay_out(args[0], layout), cell, **laid, **last, **options)
    for what, actual, i in (("gates", gates, 0), ("out", out, 1), ("kept", kept, 2)):
        if actual is not None:
            assert_close(actual[inside], expected[i][inside], allowed[i][inside], what)
    assert (kept is not None) == (cell in KEPT)
    assert identical(gates[~inside], a[~inside]), "rows outside of all sequences were written"
    for i, (name, actual) in enumerate(last.items()):
        assert_close(actual, expected[3 + i], allowed[3 + i], name)
    return gates, out, kept


def check_backward(rng, dtype, cell, a, made, results, *, layout="c", **options):
    args, given = split(made, cell)
    gates, out, kept = results
    spans = options.get("spans")
    sequences = options.get("sequences", 1) if spans is None else len(spans)
    inside = within(len(a), spans, sequences)
    units = made["weight"].shape[0]
    d_out = numbers(rng, dtype, *out.shape)
    d_last = [
        numbers(rng, dtype, sequences, units),
        numbers(rng, dtype, sequences, units) if cell == "lstm" else None,
    ]
    expected = reference.recurrence_backward(d_out, *d_last, a, *args, **given, **options)
    allowed = tolerances.recurrence_backward(dtype, d_out, *d_last, a, *args, **given, **options)
    states = {k: lay_out(v, layout) for k, v in given.items() if k != "bias"}
    first = {"d_h0": np.full((sequences, units), 7, dtype)}
    if cell == "lstm":
        first["d_c0"] = np.full((sequences, units), 7, dtype)
    found = K.recurrence_backward(
        d_out, gates, out, kept, lay_out(args[0], layout), cell,
        d_h_last=d_last[0], d_c_last=d_last[1], **states, **first, **options,
    )  # fmt: skip
    assert (found[2] is not None) == cell.startswith("gru")
    for i, name in enumerate(("d_gates", "before", "inner")):
        if found[i] is not None:
            assert_close(found[i][inside], expected[i][inside], allowed[i][inside], name)
    for i, (name, actual) in enumerate(first.items()):
        assert_close(actual, expected[3 + i], allowed[3 + i], name)


def check_tangent(rng, dtype, cell, a, made, results, *, layout="c", **options):
    args, given = split(made, cell)
    gates, out, kept = results
    spans = options.get("spans")
    sequences = options.get("sequences", 1) if spans is None else len(spans)
    inside = within(len(a), spans, sequences)
    changes = {"a": numbers(rng, dtype, *a.shape)}
    changes |= {name: numbers(rng, dtype, *np.shape(value)) for name, value in made.items()}
    expected = reference.recurrence_tangent(changes, a, *args, **given, **options)
    allowed = tolerances.recurrence_tangent(dtype, changes, a, *args, **given, **options)
    names = ("moved_h_last", "moved_c_last")[: 2 if cell == "lstm" else 1]
    last = {name: np.full((sequences, made["weight"].shape[0]), 7, dtype) for name in names}
    states = {k: v for k, v in given.items() if k != "bias"}
    moved = {f"moved_{name}": lay_out(value, layout) for name, value in changes.items() if name != "a"}
    found = K.recurrence_tangent(
        changes["a"], gates, out, kept, args[0], cell, **states, **moved, **last, **options
    )
    assert_close(found[inside], expected[0][inside], allowed[0][inside], "moved_out")
    for i, (name, actual) in enumerate(last.items()):
        assert_close(actual, expected[1 + i], allowed[1 + i], name)


def check_all(rng, dtype, cell, units, rows, count, states=True, **options):
    a = numbers(rng, dtype, rows, GATES[cell] * units)
    made = layer(rng, dtype, cell, units, count, states)
    results = check_forward(rng, dtype, cell, a, made, **options)
    check_backward(rng, dtype, cell, a, made, results, **options)
    check_tangent(rng, dtype, cell, a, made, results, **options)


# ------------------------------------------------------------------------------------------ shapes and options


@every_cell
@pytest.mark.parametrize("units", [1, 7, 16, 17, 33, 65])
def test_units(rng, dtype, cell, units):
    check_all(rng, dtype, cell, units, 12, 4, sequences=4)


@every_cell
@pytest.mark.parametrize("sequences", [1, 2, 3, 4, 5, 29, 61])
def test_numbers_of_sequences(rng, dtype, cell, sequences):
    check_all(rng, dtype, cell, 6, 3 * sequences, sequences, states=sequences % 2 == 0, sequences=sequences)


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("gap", [0, 2])
def test_lengths(rng, dtype, cell, reverse, gap):
    """Packed and padded sequences, some without rows, in any order of lengths."""
    for lengths in ((3, 0, 5, 1, 4), (0, 0), (1,), tuple(rng.integers(0, 6, 70))):
        spans = spans_of(lengths, gap)
        rows = int(np.sum(lengths)) + gap * len(lengths)
        check_all(rng, dtype, cell, 5, rows, len(lengths), spans=spans[::-1].copy(), reverse=reverse)


@every_cell
@pytest.mark.parametrize("layout", ["fortran", "strided", "reversed", "at_end"])
def test_layouts_of_weights_and_states(rng, dtype, cell, layout):
    for sequences in (2, 6):
        options = {"sequences": sequences, "layout": layout}
        check_all(rng, dtype, cell, 9, 4 * sequences, sequences, **options)


@every_cell
@pytest.mark.not_when_slow("a smaller layer has the same loops")
def test_more_units_than_are_multiplied_at_a_time(rng, dtype, cell):
    check_all(rng, dtype, cell, 530, 6, 3, sequences=3)
    check_all(rng, dtype, cell, 300, 8, 4, sequences=4)


@given(st.data())
def test_random_shapes(data):
    draw = data.draw
    rng, cell = np.random.default_rng(draw(st.integers(0, 2**20))), draw(st.sampled_from(K.RECURRENT_CELLS))
    lengths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=6 if SLOW else 40))
    units, dtype = draw(st.integers(1, 40)), draw(st.sampled_from([np.float32, np.float64]))
    spans = spans_of(lengths, draw(st.integers(0, 1)))
    options = {"spans": spans, "reverse": draw(st.booleans())}
    check_all(rng, dtype, cell, units, int(spans[-1].sum()) + 1, len(lengths), draw(st.booleans()), **options)


def test_rows_of_larger_arrays(rng, dtype):
    """Rows may lie in wider arrays, as the two directions of a layer do."""
    gates, wide = numbers(rng, dtype, 12, 30), np.zeros((12, 11), dtype)
    a, weight = gates[:, 5:17], numbers(rng, dtype, 3, 12)
    expected = K.recurrence(a.copy(), weight, "lstm", sequences=3)[0]
    before = gates.copy()
    out, _ = K.recurrence(a, weight, "lstm", sequences=3, out=wide[:, 4:7])
    assert identical(out, expected)
    assert not wide[:, :4].any()
    assert not wide[:, 7:].any()
    assert identical(gates[:, :5], before[:, :5])
    assert identical(gates[:, 17:], before[:, 17:])


# ------------------------------------------------------------------------------------------------- identities


@every_cell
def test_a_sequence_does_not_depend_on_others_or_on_padding(rng, dtype, cell):
    lengths, units = (4, 7, 2, 7, 5), 19
    spans = spans_of(lengths)
    a, made = numbers(rng, dtype, 25, GATES[cell] * units), layer(rng, dtype, cell, units, 5, states=False)
    args, given = split(made, cell)
    packed = K.recurrence(a.copy(), *args, spans=spans, **given)[0]
    padded = numbers(rng, dtype, 5 * 9, GATES[cell] * units)
    wide = np.stack([np.arange(5) * 9, lengths], axis=1)
    for (first, length), (to, _) in zip(spans, wide, strict=True):
        padded[to : to + length] = a[first : first + length]
    out = K.recurrence(padded, *args, spans=wide, **given)[0]
    for (first, length), (to, _) in zip(spans, wide, strict=True):
        assert identical(out[to : to + length], packed[first : first + length])


@every_cell
def test_streaming_is_the_whole_sequence(rng, dtype, cell):
    """The last states, given as the first ones of the rest, go on with the sequence."""
    units, n = 12, 6
    a, made = numbers(rng, dtype, n * 8, GATES[cell] * units), layer(rng, dtype, cell, units, n)
    args, given = split(made, cell)
    whole = K.recurrence(a.copy(), *args, sequences=n, **given)[0].reshape(n, 8, units)
    parts, states = [], {k: v for k, v in given.items() if k != "bias"}
    for t in range(8):
        last = {f"{name[0]}_last": np.empty((n, units), dtype) for name in states}
        rows = np.ascontiguousarray(a.reshape(n, 8, -1)[:, t])
        parts.append(K.recurrence(rows, *args, sequences=n, **{**given, **states}, **last)[0])
        states = {f"{name[0]}0": value for name, value in last.items()}
    assert identical(np.stack(parts, axis=1), whole)


@every_cell
def test_walking_back_is_walking_forth_through_turned_rows(rng, dtype, cell):
    a, made = numbers(rng, dtype, 20, GATES[cell] * 8), layer(rng, dtype, cell, 8, 4, states=False)
    args, given = split(made, cell)
    turned = a.reshape(4, 5, -1)[:, ::-1].reshape(20, -1).copy()
    back = K.recurrence(a.copy(), *args, sequences=4, reverse=True, **given)[0]
    forth = K.recurrence(turned, *args, sequences=4, **given)[0]
    assert identical(back, forth.reshape(4, 5, 8)[:, ::-1].reshape(20, 8))


@every_cell
def test_gradient_and_tangent_of_the_oracle_are_adjoint(rng, cell):
    """The oracle's gradient follows from the equations, its tangent from a complex step."""
    units, spans = 5, spans_of((3, 0, 4))
    a, made = numbers(rng, np.float64, 7, GATES[cell] * units), layer(rng, np.float64, cell, units, 3)
    args, given = split(made, cell)
    d_out, d_last = numbers(rng, np.float64, 7, units), numbers(rng, np.float64, 3, units)
    changes = {"a": numbers(rng, np.float64, *a.shape)}
    changes |= {name: numbers(rng, np.float64, *np.shape(value)) for name, value in made.items()}
    d_gates, before, inner, d_h0, d_c0 = reference.recurrence_backward(
        d_out, d_last, None, a, *args, spans=spans, **given
    )
    through = before.T @ d_gates
    if cell == "gru":
        through[:, 2 * units :] = before.T @ inner
    if cell == "gru_reset_before":
        through[:, 2 * units :] = inner.T @ d_gates[:, 2 * units :]
    gradients = {"a": d_gates, "weight": through, "h0": d_h0, "c0": d_c0, "bias": inner.sum(axis=0)}
    moved, moved_last, _ = reference.recurrence_tangent(changes, a, *args, spans=spans, **given)
    left = (moved * d_out).sum() + (moved_last * d_last).sum()
    terms = [(changes[name] * gradients[name]).sum() for name in changes]
    assert abs(left - sum(terms)) < 1e-12 * sum(map(abs, terms))


def test_cells_that_gates_close_keep_their_state(rng, dtype):
    """A GRU with z = 1, an LSTM with f = 1 and i = 0: what an adding problem relies on."""
    h0 = numbers(rng, dtype, 2, 4)
    closed = np.zeros((10, 12), dtype)
    closed[:, 4:8] = 100
    weight = np.zeros((4, 12), dtype)
    for cell in ("gru", "gru_reset_before"):
        out, _ = K.recurrence(closed.copy(), weight, cell, h0=h0, sequences=2)
        assert identical(out.reshape(2, 5, 4)[:, -1], h0)
    gates = np.tile(np.repeat(np.array([-100, 100, 0, 100], dtype), 4), (10, 1))
    _, kept = K.recurrence(gates, np.zeros((4, 16), dtype), "lstm", c0=h0, sequences=2)
    assert identical(kept.reshape(2, 5, 4)[:, -1], h0)


@every_cell
@pytest.mark.parametrize("longest", [9, 60])
def test_numbers_of_threads(rng, dtype, cell, longest):
    """Threads take neighbouring sequences or, if that is uneven, as with one long one, whichever."""
    units, lengths = 48, rng.integers(1, 9, 60)
    lengths[rng.integers(59)] = longest
    lengths[-1] = 0  # its state is copied
    spans = spans_of(lengths)
    a = numbers(rng, dtype, int(lengths.sum()), GATES[cell] * units)
    made = layer(rng, dtype, cell, units, 60)
    args, given = split(made, cell)
    states = {k: v for k, v in given.items() if k != "bias"}
    results = []
    for _ in on_each_number_of_threads((1, 2, 3, 5)):
        gates, last = a.copy(), np.full((60, units), 7, dtype)
        out, kept = K.recurrence(gates, *args, spans=spans, h_last=last, **given)
        back = K.recurrence_backward(out, gates, out, kept, *args, spans=spans, **states)
        moved = K.recurrence_tangent(a, gates, out, kept, *args, spans=spans, moved_weight=args[0], **states)
        results.append([gates, last, out, *back[:2], moved])
    for found in results[1:]:
        for array, expected in zip(found, results[0], strict=True):
            assert identical(array, expected)


# -------------------------------------------------------------------------------------------------- bad input


def test_spans_outside_of_the_rows(dtype):
    gates, weight = np.ones((6, 3), dtype), np.zeros((3, 3), dtype)
    for spans, text in (
        (
            [[0, 3], [4, 3]],
            "[recurrence] sequence 1 has 3 rows from row 4 on, which are not within the 6 rows",
        ),
        ([[-1, 3], [4, 3]], "sequence 0 has 3 rows from row -1 on"),
        ([[2, -1], [4, 3]], "sequence 0 has -1 rows from row 2 on"),
        ([[2**62, 2**62], [4, 3]], "sequence 0 has"),
    ):
        with pytest.raises(ValueError, match=re.escape(text)):
            K.recurrence(gates, weight, "rnn_tanh", spans=np.array(spans))
        assert (gates == 1).all()


WIDE = np.zeros((4, 9))
GRU = {"cell": "gru", "weight": np.zeros((3, 9)), "gates": WIDE}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            {"weight": np.zeros((2, 3))},
            "weight has shape (2, 3); (units, 4 * units) is needed for cell 'lstm'",
        ),
        ({"gates": np.zeros((4, 8))}, "[recurrence] gates has shape (4, 8); (4, 12) is needed"),
        ({"cell": "lstn"}, "cell 'lstn' is not one of: rnn_tanh, rnn_relu, lstm, gru, gru_reset_before"),
        ({"bias": np.zeros(3)}, "cell 'lstm' takes no bias beside that of its inputs"),
        ({"h0": np.zeros((3, 3))}, "h0 has shape (3, 3); (2, 3) is needed"),
        ({"sequences": 3}, "4 rows cannot be divided into 3 sequences of equal length: pass spans"),
        ({"spans": np.zeros((2, 3), np.int64)}, "spans must be (n, 2)"),
        ({"gates": np.zeros((4, 24))[:, ::2]}, "the rows of gates must be contiguous"),
        ({**GRU, "c0": np.zeros((2, 3))}, "cell 'gru' has no state c"),
        ({**GRU, "bias": np.zeros(2)}, "bias has shape (2,)"),
    ],
    ids=range(10),
)
def test_arguments_that_do_not_fit(changed, text):
    given = {
        "gates": np.zeros((4, 12)),
        "weight": np.zeros((3, 12)),
        "cell": "lstm",
        "sequences": 2,
    } | changed
    with pytest.raises(ValueError, match=re.escape(text)):
        K.recurrence(given.pop("gates"), given.pop("weight"), given.pop("cell"), **given)


def test_derivatives_need_what_was_kept(dtype):
    gates, weight, out = np.zeros((4, 12), dtype), np.zeros((3, 12), dtype), np.zeros((4, 3), dtype)
    for function in (K.recurrence_backward, K.recurrence_tangent):
        with pytest.raises(ValueError, match="cell 'lstm' needs what the forward pass has kept"):
            function(None, gates, out, None, weight, "lstm", sequences=2)
    assert K.recurrence(gates, weight, "lstm", sequences=2, keep=False)[1] is None


def test_a_span_that_fails_ends_a_replay(dtype):
    gates, weight, out = np.ones((6, 3), dtype), np.zeros((3, 3), dtype), np.zeros((6, 3), dtype)
    spans = np.array([[0, 3], [3, 3]])
    with steepest.capture() as graph:
        K.recurrence(gates, weight, "rnn_tanh", spans=spans, out=out)
    graph.replay()
    spans[1] = 3, 4
    with pytest.raises(ValueError, match=re.escape("sequence 1 has 4 rows from row 3 on")):
        graph.replay()
