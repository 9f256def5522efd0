"""Oracle of `linear_bernoulli`: a layer of binary units, and a draw of it."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .linear import linear, linear_tolerance
from .random import words_of


def label_uniforms(n, m, seed, stream):
    """The numbers that decide about the labels: row i begins with word 0 of counter i ceil(m / 4)."""
    counters = -(-m // 4)
    words = [w for i in range(n * counters) for w in words_of(i, seed, stream)]
    rows = np.array(words, np.int64).reshape(n, 4 * counters)[:, :m]
    return (rows // 256 | 1) * 2.0**-24


def linear_bernoulli(x, w, b=None, uniforms=None, *, seed=0, stream=0):
    """(p, label) with p = sigmoid(x @ w + b), and label 1 where p is above the uniform number, else 0."""
    means = linear(x, w, b, "sigmoid")
    u = label_uniforms(*means.shape, seed, stream) if uniforms is None else f64(uniforms)
    return means, np.where(np.isnan(means), np.nan, means > u)


def linear_bernoulli_tolerance(dtype, x, w, b, means, u):
    """The error of the means; where they are as near to the number as that, the label may be either."""
    error = linear_tolerance(dtype, x, w, b, means, 0.25)
    return error, np.where(np.abs(means - u) <= error, 1.0, 0.0)


def _case(m, **options):
    args = (m.normal(m.n, m.k), m.normal(m.k, m.c), m.normal(m.c))
    outputs = {"means": m.empty(m.n, m.c), "draws": m.empty(m.n, m.c)}
    return m.case("linear_bernoulli", args, outputs, **options)


CASES = {
    "linear_bernoulli": lambda m: _case(m, seed=5, stream=np.array(2)),
    "linear_bernoulli/uniforms": lambda m: _case(m, uniforms=m.positive(m.n, m.c)),
}
