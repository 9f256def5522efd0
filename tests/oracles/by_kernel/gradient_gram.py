"""`gradient_gram`."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, dot


def gradient_gram(x, d, bias=False):
    """Products of the gradients with respect to w, and b, for the rows of d, as many of them for each row of x."""
    x, d = f64(x), f64(d)
    x = x.repeat(len(d) // max(len(x), 1), axis=0)
    gradients = (x[:, :, None] * d[:, None, :]).reshape(len(d), x.shape[1] * d.shape[1])
    if bias:
        gradients = np.concatenate([gradients, d], axis=1)
    return gradients @ gradients.T


def gradient_gram_tolerance(dtype, x, d, bias=False):
    """(<x_i, x_j> + bias) <d_i, d_j>: the error of each factor times the other, both summed over at most 512 columns
    before they are in float64; few roundings there, and those of the sums of the oracle, over all pairs of columns.
    """
    x = absolute(x).repeat(len(d) // max(len(x), 1), axis=0)
    d = absolute(d)
    first, second = x @ x.T, d @ d.T
    first_error, second_error = (dot(dtype, min(z.shape[1], 512), m) for z, m in ((x, first), (d, second)))
    first = first + float(bias)
    terms = x.shape[1] * d.shape[1] + d.shape[1]
    return (
        first_error * (second + second_error) + first * second_error + dot(np.float64, terms, first * second)
    )


def _gradient_gram(repeats, **options):
    def make(m):
        n = min(m.n, 300) // repeats
        out = np.full((n * repeats, n * repeats), -77.0)
        return m.case(
            "gradient_gram", (m.normal(n, m.k), m.normal(n * repeats, m.c)), {"out": out}, **options
        )

    return make


CASES = {
    "gradient_gram": _gradient_gram(1, bias=True),
    "gradient_gram/accumulate": _gradient_gram(3, accumulate=True),
}
