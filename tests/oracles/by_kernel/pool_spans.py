"""Oracles of `pool_spans`, its gradient and its derivative: loops over sequences with NumPy's reductions."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, eps, reduction, tiny
from .spans import random_spans, rows_of_sequences


def pool_spans(x, spans=None, sequences=1, mode="mean"):
    """The pooled rows; zeros for a sequence without rows."""
    sequences = rows_of_sequences(len(x), spans, sequences)
    pool = {"mean": lambda a: a.mean(axis=0), "last": lambda a: a[-1], "max": lambda a: a.max(axis=0)}[mode]
    result = np.zeros((len(sequences), x.shape[1]))
    for i, rows in enumerate(sequences):
        if len(rows):
            result[i] = pool(f64(x)[rows])
    return result


def pool_spans_tolerance(dtype, x, spans=None, sequences=1, mode="mean"):
    """A mean is summed and divided in float64, then rounded; the others are exact."""
    if mode != "mean":
        return 0.0
    longest = max((len(rows) for rows in rows_of_sequences(len(x), spans, sequences)), default=0)
    return reduction(dtype, longest + 1, pool_spans(absolute(x), spans, sequences))


def rows_of_maxima(x, spans=None, sequences=1):
    """The row of each maximum, the first of several, or the first NaN; -1 without rows."""
    sequences = rows_of_sequences(len(x), spans, sequences)
    index = np.full((len(sequences), x.shape[1]), -1)
    for i, rows in enumerate(sequences):
        if len(rows):
            index[i] = rows[np.argmax(x[rows], axis=0)]
    return index


def pool_spans_backward(d_y, spans=None, sequences=1, mode="mean", index=None, *, d_x):
    """The transpose of the derivative, applied row by row; rows of no sequence keep those of d_x."""
    result = f64(d_x).copy()
    for i, rows in enumerate(rows_of_sequences(len(d_x), spans, sequences)):
        for row in rows:
            if mode == "mean":
                result[row] = f64(d_y[i]) / len(rows)
            else:
                chosen = rows[-1] == row if mode == "last" else index[i] == row
                result[row] = np.where(chosen, f64(d_y[i]), 0.0)
    return result


def pool_spans_backward_tolerance(dtype, d_y, spans=None, sequences=1, mode="mean", index=None, *, d_x):
    """A division."""
    magnitude = pool_spans_backward(absolute(d_y), spans, sequences, mode, index, d_x=absolute(d_x))
    return eps(dtype) * magnitude + tiny(dtype) if mode == "mean" else 0.0


def pool_spans_gather(dx, index):
    """dx at the row of each maximum; 0 for an index that is no row."""
    inside = (index >= 0) & (index < len(dx))
    return np.where(inside, np.take_along_axis(f64(dx), np.where(inside, index, 0), axis=0), 0.0)


def _lengths(m):
    return m.rng.integers(0, m.n // 4, 9)


def _forward(mode):
    def make(m):
        spans, rows = random_spans(m.rng, _lengths(m), 2)
        outputs = {"out": m.empty(9, m.k)}
        if mode == "max":
            outputs["index"] = np.full((9, m.k), 77)
        return m.case("pool_spans", (m.normal(rows, m.k), spans), outputs, mode=mode)

    return make


def _backward(mode):
    def make(m):
        spans, rows = random_spans(m.rng, _lengths(m), 2)
        index = (m.rng.integers(-1, rows, (9, m.k)),) if mode == "max" else ()
        args = (m.normal(9, m.k), spans, 1, mode, *index)
        return m.case("pool_spans_backward", args, {"d_x": m.empty(rows, m.k)})

    return make


def _gather(m):
    args = (m.normal(m.n, m.k), m.rng.integers(-1, m.n + 1, (9, m.k)))
    return m.case("pool_spans_gather", args, {"out": m.empty(9, m.k)})


CASES = {
    **{f"pool_spans/{mode}": _forward(mode) for mode in ("mean", "last", "max")},
    **{f"pool_spans_backward/{mode}": _backward(mode) for mode in ("mean", "last", "max")},
    "pool_spans_gather": _gather,
}
