"""Oracle of `gradient_norms`."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, dot


def gradient_norms(x, d, bias=True):
    """Squared norms of the per-row gradients with respect to w, and to b with `bias`, one for each row of d."""
    x, d = f64(x), f64(d)
    x = x.repeat(len(d) // max(len(x), 1), axis=0)
    with np.errstate(all="ignore"):
        return np.square(x[:, :, None] * d[:, None, :]).sum(axis=(1, 2)) + bias * np.square(d).sum(axis=1)


def gradient_norms_tolerance(dtype, x, d, bias=True):
    """A float64 sum for every dtype; so is the oracle's sum over all pairs of columns."""
    x = absolute(x).repeat(len(d) // max(len(x), 1), axis=0)
    norms = (np.square(x).sum(axis=1) + float(bias)) * np.square(absolute(d)).sum(axis=1)
    return dot(np.float64, x.shape[1] * d.shape[1] + d.shape[1], norms)


def _gradient_norms(repeats, **options):
    def make(m):
        n = m.n // repeats
        return m.case(
            "gradient_norms",
            (m.normal(n, m.k), m.normal(n * repeats, m.c)),
            {"out": np.full(n * repeats, -77.0)},
            **options,
        )

    return make


CASES = {
    "gradient_norms": _gradient_norms(1),
    "gradient_norms/accumulate": _gradient_norms(3, bias=False, accumulate=True),
}
