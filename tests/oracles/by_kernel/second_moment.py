"""Oracle of `second_moment`."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, dot, eps


def second_moment(x, weight=None, ones=False, scale=1.0, decay=0.0, out=None):
    """decay * out plus the weighted mean of the rows' outer products; rows of weight 0 may contain NaN."""
    weight = np.ones(len(x)) if weight is None else f64(weight)
    x, share = f64(x)[weight != 0], weight[weight != 0] / (weight.sum() or 1.0)
    if ones:
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    mean = scale * np.einsum("n,ni,nj->ij", share, x, x, optimize=True)
    return mean if decay == 0 else decay * f64(out) + mean


def second_moment_tolerance(dtype, x, weight=None, ones=False, scale=1.0, decay=0.0, out=None):
    """A sum of products over the rows.
    Further rounding errors: the normalised weights, the products with them, the scale, and decay * out and its sum.
    """
    weight = np.ones(len(x)) if weight is None else absolute(weight)
    x, share = absolute(x)[weight != 0], (weight / (weight.sum() or 1.0))[weight != 0]
    if ones:
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    magnitude = abs(scale) * (x * share[:, None]).T @ x
    kept = 0.0 if decay == 0 else decay * absolute(out)
    return dot(dtype, len(x), magnitude) + 4.0 * eps(dtype) * (magnitude + kept)


def _second_moment(m):
    out = m.normal(m.k + 1, m.k + 1)
    out += out.T.copy()
    args = (m.normal(m.n, m.k), m.positive(m.n))
    return m.in_place("second_moment", args, [out], ones=True, scale=0.5, decay=np.array(0.75), out=out)


CASES = {
    "second_moment": lambda m: m.case("second_moment", (m.normal(m.n, m.k),), {"out": m.empty(m.k, m.k)}),
    "second_moment/averaged": _second_moment,
}
