"""Oracles of `prelu` and `prelu_backward`."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, eps, reduction, tiny


def prelu(x, slope):
    """x where x > 0, else slope x."""
    with np.errstate(all="ignore"):
        x = f64(x)
        return np.where(x > 0, x, f64(slope) * x)


def prelu_backward(d_y, x, slope):
    """(d_x, d_slope); d_slope is summed down the columns, or over all items for a single slope."""
    with np.errstate(all="ignore"):
        d_y, x, slope = f64(d_y), f64(x), f64(slope)
        terms = np.where(x > 0, 0.0, d_y * x)
        d_slope = terms.sum(axis=0) if len(slope) == x.shape[1] else terms.sum(keepdims=True)[0]
        return np.where(x > 0, d_y, slope * d_y), d_slope


def prelu_backward_tolerance(dtype, d_y, x, d_x, one):
    """(d_x, d_slope): d_x is rounded once; the terms of d_slope are rounded once each and summed in float64."""
    with np.errstate(invalid="ignore"):
        terms = np.nan_to_num(absolute(d_y) * np.maximum(-f64(x), 0.0), posinf=0.0)
    sums = terms.sum(keepdims=True)[0] if one else terms.sum(axis=0)
    return eps(dtype) * np.nan_to_num(absolute(d_x), posinf=0.0) + tiny(dtype), reduction(
        dtype, terms.size, 2.0 * sums
    )


def _prelu(slopes):
    return lambda m: m.case("prelu", (m.normal(m.n, m.k), m.normal(m.k)[:slopes]), {"out": m.empty(m.n, m.k)})


def _prelu_backward(slopes):
    def make(m):
        slope = m.normal(m.k)[:slopes]
        outputs = {"d_x": m.empty(m.n, m.k), "d_slope": m.empty(*slope.shape)}
        return m.case("prelu_backward", (m.normal(m.n, m.k), m.normal(m.n, m.k), slope), outputs)

    return make


CASES = {
    "prelu": _prelu(None),
    "prelu/one slope": _prelu(1),
    "prelu_backward": _prelu_backward(None),
    "prelu_backward/one slope": _prelu_backward(1),
}
