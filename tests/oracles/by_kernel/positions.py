"""Oracles of `positions`, `rotary` and `sinusoidal`: loops over sequences, and rotations as complex products."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, eps, tiny
from .spans import random_spans, rows_of_sequences


def positions(rows, spans=None, sequences=1):
    """0, 1, ... in the rows of each sequence, 0 in others."""
    result = np.zeros(rows, np.int64)
    for of_sequence in rows_of_sequences(rows, spans, sequences):
        result[of_sequence] = np.arange(len(of_sequence))
    return result


def _places(rows, spans, sequences, first):
    """The position of each row, and whether it belongs to a sequence."""
    place, inside = positions(rows, spans, sequences), np.zeros(rows, bool)
    of_sequences = rows_of_sequences(rows, spans, sequences)
    for of_sequence, begin in zip(of_sequences, np.broadcast_to(first, len(of_sequences)), strict=True):
        place[of_sequence] += begin
        inside[of_sequence] = True
    return place, inside


def rotary(x, heads, spans=None, sequences=1, first=0, base=10000.0, *, inverse=False):
    """(a + ib) exp(it) for the pair (a, b) of items j and j + d/2, in long double; 0 in rows of no sequence."""
    rows, size = x.shape[0], x.shape[1] // heads
    place, inside = _places(rows, spans, sequences, first)
    wide = np.longdouble
    frequency = wide(base) ** (-2 * np.arange(size // 2, dtype=wide) / wide(size))
    angle = place.astype(wide)[:, None, None] * frequency * (-1 if inverse else 1)
    halves = x.astype(wide).reshape(rows, heads, 2, size // 2)
    turned = (halves[:, :, 0] + 1j * halves[:, :, 1]) * np.exp(1j * angle)
    return f64(np.stack([turned.real, turned.imag], axis=2).reshape(x.shape) * inside[:, None])


def rotary_tolerance(dtype, x, heads, spans=None, sequences=1, first=0, base=10000.0, *, inverse=False):
    """Sine and cosine rounded, two products and a sum: 2 eps; the angle is rounded like the position, in float64."""
    rows, size = x.shape[0], x.shape[1] // heads
    place, _ = _places(rows, spans, sequences, first)
    halves = absolute(x).reshape(rows, heads, 2, size // 2)
    magnitude = np.broadcast_to(halves.sum(axis=2, keepdims=True), halves.shape).reshape(x.shape)
    return (2.0 * eps(dtype) + 2.0 * eps(np.float64) * np.abs(place)[:, None]) * magnitude + tiny(dtype)


def sinusoidal(n, d, base=10000.0):
    """Pairs of sine and cosine, one column at a time."""
    wide = np.longdouble
    result = np.empty((n, d))
    for column in range(d):
        angle = np.arange(n) * wide(base) ** (wide(-2 * (column // 2)) / wide(d))
        result[:, column] = np.cos(angle) if column % 2 else np.sin(angle)
    return result


def _spans(m):
    return random_spans(m.rng, m.rng.integers(0, m.n // 4, 7))


def _positions(m):
    spans, rows = _spans(m)
    return m.case("positions", (rows, spans), {"out": np.full(rows, -77, np.int64)})


def _rotary_of_spans(m):
    spans, rows = _spans(m)
    args = (m.normal(rows, 6 * m.c), 3, spans)
    return m.case("rotary", args, {"out": m.empty(*args[0].shape)}, first=5, base=100.0)


def _rotary_of_equal(m):
    x = m.normal(m.n // 4 * 4, 4 * m.c)
    options = {"sequences": 4, "first": np.array([0, 7, 2, 4]), "inverse": True}
    return m.case("rotary", (x, 2), {"out": m.empty(*x.shape)}, **options)


CASES = {
    "positions": _positions,
    "rotary/spans": _rotary_of_spans,
    "rotary/equal": _rotary_of_equal,
}
