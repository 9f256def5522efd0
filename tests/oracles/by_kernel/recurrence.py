"""Recurrent layers, step by step and sequence by sequence.

Tolerances follow from Monte Carlo arithmetic (D. Stott Parker, 1997): the oracle is run again with a random relative
error in every intermediate result, as rounding makes one. A result may differ by eight times the root mean square of
its deviations, or of all results' if that is larger: errors of recurrences grow with the steps in a way that depends on
the weights.
"""

from __future__ import annotations

import numpy as np

from .rounding import eps, tiny

_RUNS = 6


class _Exact:
    def of(self, x):
        return x

    def dot(self, a, b):
        return a @ b


class _Noisy(_Exact):
    """Results with errors as rounding makes them: of functions 2 eps, of products eps of the sizes of their terms."""

    def __init__(self, seed, dtype):
        self._rng, self._eps = np.random.default_rng(seed), eps(dtype)

    def of(self, x):
        return x * (1 + 2 * self._eps * self._rng.standard_normal(np.shape(x)))

    def dot(self, a, b):
        size = np.abs(a) @ np.abs(b)
        return a @ b + self._eps * size * self._rng.standard_normal(np.shape(size))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _wide(x):
    return None if x is None else np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64)


def _spans(rows, spans, sequences):
    if spans is not None:
        return [(int(first), int(length)) for first, length in spans]
    return [(i * (rows // sequences), rows // sequences) for i in range(sequences)]


def _order(first, length, reverse):
    steps = range(first, first + length)
    return steps[::-1] if reverse else steps


def _step(cell, a, h, c, weight, bias, real):
    """One step of one sequence: the gates, what is kept, and both states after it."""
    units = len(h)
    if cell.startswith("rnn"):
        s = real.of(a + real.dot(h, weight))
        h = real.of(np.tanh(s)) if cell == "rnn_tanh" else np.where(s.real > 0, s, 0)
        return h, None, h, c
    if cell == "lstm":
        i, f, g, o = np.split(real.of(a + real.dot(h, weight)), 4)
        i, f, g, o = real.of(_sigmoid(i)), real.of(_sigmoid(f)), real.of(np.tanh(g)), real.of(_sigmoid(o))
        c = real.of(f * c + i * g)
        return np.concatenate([i, f, g, o]), c, real.of(o * np.tanh(c)), c
    r, z = np.split(real.of(_sigmoid(a[: 2 * units] + real.dot(h, weight[:, : 2 * units]))), 2)
    of_n = weight[:, 2 * units :]
    if cell == "gru":
        q = real.of(real.dot(h, of_n) + (0 if bias is None else bias))
        n = real.of(np.tanh(real.of(a[2 * units :] + r * q)))
    else:
        q = None
        n = real.of(np.tanh(real.of(a[2 * units :] + real.dot(real.of(r * h), of_n))))
    return np.concatenate([r, z, n]), q, real.of((1 - z) * n + z * h), c


def _recurrence(a, weight, cell, bias, h0, c0, spans, sequences, reverse, real):
    a, weight, bias, h0, c0 = (_wide(x) for x in (a, weight, bias, h0, c0))
    units = weight.shape[0]
    dtype = np.result_type(*(x for x in (a, weight, bias, h0, c0) if x is not None))
    listed = _spans(len(a), spans, sequences)
    gates, out = np.zeros(a.shape, dtype), np.zeros((len(a), units), dtype)
    kept, h_last, c_last = np.zeros_like(out), *(np.zeros((len(listed), units), dtype) for _ in range(2))
    for i, (first, length) in enumerate(listed):
        h = np.zeros(units, dtype) if h0 is None else h0[i]
        c = np.zeros(units, dtype) if c0 is None else c0[i]
        for row in _order(first, length, reverse):
            gates[row], number, h, c = _step(cell, a[row], h, c, weight, bias, real)
            out[row] = h
            if number is not None:
                kept[row] = number
        h_last[i], c_last[i] = h, c
    return gates, out, kept, h_last, c_last


def recurrence(a, weight, cell, *, bias=None, h0=None, c0=None, spans=None, sequences=1, reverse=False):
    """Return gates, hidden states, what is kept (zeros if nothing is), and the last states; other rows are zeros."""
    return _recurrence(a, weight, cell, bias, h0, c0, spans, sequences, reverse, _Exact())


def recurrence_tolerance(dtype, a, weight, cell, **options):
    return _tolerance(dtype, lambda real: _recurrence(a, weight, cell, *_options(options), real))


def _options(options):
    defaults = {"bias": None, "h0": None, "c0": None, "spans": None, "sequences": 1, "reverse": False}
    return (defaults | options).values()


def _tangent(changes, a, weight, cell, options, real):
    """The derivative by a complex step, which has no truncation error."""
    step = 1e-30
    given = {"a": a, "weight": weight} | options
    for name, change in changes.items():
        if change is not None:
            value = given.get(name)
            value = np.zeros(np.shape(change)) if value is None else np.asarray(value, np.float64)
            given[name] = value + 1j * step * np.asarray(change, np.float64)
    a, weight = given.pop("a"), given.pop("weight")
    moved = _recurrence(a, weight, cell, *_options(given), real)
    return tuple(moved[i].imag / step for i in (1, 3, 4))


def recurrence_tangent(changes, a, weight, cell, **options):
    """Return the changes of hidden states and of the last h and c, for changes of arguments by name."""
    return _tangent(changes, a, weight, cell, options, _Exact())


def recurrence_tangent_tolerance(dtype, changes, a, weight, cell, **options):
    return _tolerance(dtype, lambda real: _tangent(changes, a, weight, cell, options, real))


def _backward(d_out, d_h_last, d_c_last, a, weight, cell, options, real):
    bias, h0, c0, spans, sequences, reverse = _options(options)
    gates, out, kept, _, _ = _recurrence(a, weight, cell, bias, h0, c0, spans, sequences, reverse, real)
    a, weight, d_out, d_h_last, d_c_last, h0, c0 = (
        _wide(x) for x in (a, weight, d_out, d_h_last, d_c_last, h0, c0)
    )
    units = weight.shape[0]
    listed = _spans(len(a), spans, sequences)
    d_gates, before, inner = np.zeros(a.shape), np.zeros(out.shape), np.zeros(out.shape)
    d_h0, d_c0 = np.zeros((len(listed), units)), np.zeros((len(listed), units))
    for i, (first, length) in enumerate(listed):
        order = list(_order(first, length, reverse))
        dh = np.zeros(units) if d_h_last is None else d_h_last[i]
        dc = np.zeros(units) if d_c_last is None else d_c_last[i]
        for t in reversed(range(length)):
            row = order[t]
            h = out[order[t - 1]] if t else (np.zeros(units) if h0 is None else h0[i])
            c = kept[order[t - 1]] if t else (np.zeros(units) if c0 is None else c0[i])
            before[row] = h
            dh = real.of(dh + (0 if d_out is None else d_out[row]))
            gate, number = gates[row], kept[row]
            if cell.startswith("rnn"):
                slope = 1 - gate**2 if cell == "rnn_tanh" else (gate > 0) * 1.0
                d = real.of(dh * slope)
                dh = real.dot(weight, d)
            elif cell == "lstm":
                i_, f, g, o = np.split(gate, 4)
                t_ = real.of(np.tanh(number))
                dc = real.of(dc + dh * o * (1 - t_**2))
                d = real.of(
                    np.concatenate(
                        [
                            dc * g * i_ * (1 - i_),
                            dc * c * f * (1 - f),
                            dc * i_ * (1 - g**2),
                            dh * t_ * o * (1 - o),
                        ]
                    )
                )
                dc, dh = real.of(dc * f), real.dot(weight, d)
            else:
                r, z, n = np.split(gate, 3)
                d_n = real.of(dh * (1 - z) * (1 - n**2))
                d_z = real.of(dh * (h - n) * z * (1 - z))
                of_n, direct = weight[:, 2 * units :], real.of(dh * z)
                if cell == "gru":
                    d_q, d_r = real.of(d_n * r), real.of(d_n * number * r * (1 - r))
                    inner[row], direct = d_q, direct + real.dot(of_n, d_q)
                else:
                    through = real.dot(of_n, d_n)
                    d_r = real.of(through * h * r * (1 - r))
                    inner[row], direct = real.of(r * h), direct + real.of(through * r)
                d = np.concatenate([d_r, d_z, d_n])
                dh = direct + real.dot(weight[:, : 2 * units], d[: 2 * units])
            d_gates[row] = d
        d_h0[i], d_c0[i] = dh, dc
    return d_gates, before, inner, d_h0, d_c0


def recurrence_backward(d_out, d_h_last, d_c_last, a, weight, cell, **options):
    """Return d_gates, before, inner (zeros where there is none), d_h0 and d_c0."""
    return _backward(d_out, d_h_last, d_c_last, a, weight, cell, options, _Exact())


def recurrence_backward_tolerance(dtype, d_out, d_h_last, d_c_last, a, weight, cell, **options):
    return _tolerance(
        dtype, lambda real: _backward(d_out, d_h_last, d_c_last, a, weight, cell, options, real)
    )


def _tolerance(dtype, run):
    exact = run(_Exact())
    squares = [np.zeros(np.shape(x)) for x in exact]
    for seed in range(_RUNS):
        for total, value, noisy in zip(squares, exact, run(_Noisy(seed, dtype)), strict=True):
            total += (noisy - value) ** 2
    return [
        8 * np.sqrt(np.maximum(s, s.mean() if s.size else 0) / _RUNS)
        + 8 * eps(dtype) * np.abs(x)
        + tiny(dtype)
        for s, x in zip(squares, exact, strict=True)
    ]


GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3, "gru_reset_before": 3}


def spans_of(lengths, gap=0):
    """Return the spans of sequences that follow one another, with rows between them that belong to none."""
    lengths = np.asarray(lengths, np.int64)
    return np.stack([np.cumsum(lengths + gap) - lengths, lengths], axis=1)


def _sequences(m):
    """Sequences of different lengths: (spans, rows, units)."""
    spans = spans_of(1 + m.rng.integers(0, 7, m.n // 8 + 2), gap=1)
    return spans, int(spans[-1].sum()) + 1, m.k // 4 + 3


def _weights(m, cell, units):
    return m.normal(units, GATES[cell] * units) * m.dtype.type(1 / np.sqrt(units))


def _forward(cell, **options):
    def make(m):
        spans, rows, units = _sequences(m)
        gates, weight = m.normal(rows, GATES[cell] * units), _weights(m, cell, units)
        outputs = {"out": m.empty(rows, units), "h_last": m.empty(len(spans), units)}
        if cell in ("lstm", "gru"):
            outputs["kept"] = m.empty(rows, units)
        given = {"bias": m.normal(units)} if cell == "gru" else {}
        written = [gates, *outputs.values()]
        return m.in_place(
            "recurrence", (gates, weight, cell), written, spans=spans, **given, **outputs, **options
        )

    return make


def _states(m, cell, rows, units):
    gates, out, kept = m.positive(rows, GATES[cell] * units), m.normal(rows, units), m.normal(rows, units)
    return gates, out, kept if cell in ("lstm", "gru") else None, _weights(m, cell, units), cell


def _back(cell, **options):
    def make(m):
        spans, rows, units = _sequences(m)
        outputs = {"d_gates": m.empty(rows, GATES[cell] * units), "before": m.empty(rows, units)}
        if cell.startswith("gru"):
            outputs["inner"] = m.empty(rows, units)
        d_out, args = m.normal(rows, units), _states(m, cell, rows, units)
        return m.case("recurrence_backward", (d_out, *args), outputs, spans=spans, **options)

    return make


def _moved(cell, **options):
    def make(m):
        spans, rows, units = _sequences(m)
        moved, args = m.normal(rows, GATES[cell] * units), _states(m, cell, rows, units)
        given = {"moved_weight": _weights(m, cell, units), "spans": spans}
        return m.case(
            "recurrence_tangent", (moved, *args), {"moved_out": m.empty(rows, units)}, **given, **options
        )

    return make


CASES = {
    **{f"recurrence/{cell}": _forward(cell, reverse=cell == "gru") for cell in GATES},
    **{f"recurrence_backward/{cell}": _back(cell, reverse=cell == "lstm") for cell in GATES},
    **{f"recurrence_tangent/{cell}": _moved(cell) for cell in GATES},
}
