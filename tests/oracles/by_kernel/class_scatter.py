"""Tolerance and case of `class_scatter`, whose oracle is a plain loop in its tests."""

from __future__ import annotations

import numpy as np

from .rounding import absolute, dot, eps


def class_scatter_tolerance(dtype, deviations, weights):
    """(sums of one class, scatter), from deviations from the centres.
    The deviations, the square roots of the weights and their products are rounded once each. Float32 products are
    summed over at most 4096 rows.
    """
    size, s = absolute(deviations), absolute(weights)[:, None]
    sums = (2.0 * eps(dtype) + 2.0 * len(size) * eps(np.float64)) * (s * size).sum(0)
    magnitude = (s * size).T @ size
    return sums, dot(dtype, min(len(size), 4096), magnitude) + 4.0 * eps(dtype) * magnitude


def _class_scatter(m):
    args = (m.normal(m.n, m.k), m.rng.integers(0, 3, m.n), m.normal(3, m.k), m.normal(m.n) ** 2)
    shapes = {"weights": (3,), "sums": (3, m.k), "scatter": (m.k, m.k)}
    outputs = {name: np.full(shape, -77.0) for name, shape in shapes.items()}
    return m.case("class_scatter", args, outputs)


CASES = {
    "class_scatter": _class_scatter,
}
