"""Oracle of `gradient_gram`."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, dot


def gradient_gram(x, d, bias=False):
    """Gram matrix of the per-row gradients with respect to w, and to b with `bias`, one for each row of d.

    Each row of x belongs to len(d) / len(x) consecutive rows of d.
    """
    x, d = f64(x), f64(d)
    x = x.repeat(len(d) // max(len(x), 1), axis=0)
    gradients = (x[:, :, None] * d[:, None, :]).reshape(len(d), x.shape[1] * d.shape[1])
    if bias:
        gradients = np.concatenate([gradients, d], axis=1)
    return gradients @ gradients.T


def gradient_gram_tolerance(dtype, x, d, bias=False):
    """(<x_i, x_j> + bias) <d_i, d_j>: the error of each factor times the other factor.
    The kernel sums at most 512 columns in the dtype before it continues in float64. The last term bounds the float64
    errors, those of the oracle's sums over all pairs of columns included.
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
