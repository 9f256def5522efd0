"""Oracles of `softmax`, `log_softmax` and `softmax_backward`."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, dot, eps, shift, tiny


def log_softmax(x):
    """x - log(sum(exp(x))) over the last axis."""
    x = f64(x)
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(x):
    """exp(x) / sum(exp(x)) over the last axis."""
    x = f64(x)
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)


def softmax_product(z, v):
    """(diag(p) - p p^T) v for p = softmax(z), as p_j sum_l p_l (v_j - v_l), which avoids cancellation for p near 1."""
    p, v = softmax(z), f64(v)
    return p * np.einsum("nl,njl->nj", p, v[:, :, None] - v[:, None, :])


def softmax_backward(d_y, y):
    """y (d_y - sum(d_y y)) over the last axis."""
    d_y, y = f64(d_y), f64(y)
    with np.errstate(all="ignore"):
        return y * (d_y - (d_y * y).sum(axis=-1, keepdims=True))


def softmax_tolerance(dtype, x, p):
    """Rounding x - max changes exp by a relative |x - max| u; exp, a sum of c positive terms and a division follow."""
    relative = 4.0 + np.sqrt(x.shape[-1]) + shift(x)
    return relative * eps(dtype) * np.nan_to_num(absolute(p)) + tiny(dtype)


def log_softmax_tolerance(dtype, x):
    """Two subtractions of up to |x - max| + log c, and a relative error of 4 + sqrt(c) eps in the sum."""
    c = max(1, x.shape[-1])
    return (4.0 + np.sqrt(c) + 2.0 * (shift(x) + np.log(c))) * eps(dtype)


def softmax_backward_tolerance(dtype, d_y, y):
    """The dot product of the row, a difference and a product, with errors relative to the magnitudes of their terms."""
    d_y, y = np.nan_to_num(absolute(d_y), posinf=0.0), np.nan_to_num(absolute(y))
    total = (d_y * y).sum(axis=-1, keepdims=True)
    return y * (dot(dtype, y.shape[-1], total) + 2.0 * eps(dtype) * (d_y + total)) + tiny(dtype)


def softmax_product_tolerance(dtype, z, v):
    """Error of p in p (u - m) and in m = sum p u, for u = v - v_k with the most probable class k."""
    with np.errstate(all="ignore"):
        x = f64(z)
        p = np.exp(x - x.max(axis=-1, keepdims=True))
    p = p / p.sum(axis=-1, keepdims=True)
    u = np.abs(v - np.take_along_axis(v, x.argmax(axis=-1)[:, None], axis=-1).astype(np.float64))
    relative = 8.0 + 2.0 * np.sqrt(x.shape[-1]) + shift(z)
    mean, mean_error = (p * u).sum(axis=-1, keepdims=True), (relative * p * u).sum(axis=-1, keepdims=True)
    return eps(dtype) * p * (relative * (u + mean) + mean_error + relative.max() * mean) + tiny(dtype)


def _elementwise(name):
    return lambda m: m.case(name, (m.normal(m.n, m.c),), {"out": m.empty(m.n, m.c)})


def _softmax_backward(m):
    args = (m.normal(m.n, m.c), m.positive(m.n, m.c))
    return m.case("softmax_backward", args, {"out": m.empty(m.n, m.c)})


CASES = {
    "softmax": _elementwise("softmax"),
    "log_softmax": _elementwise("log_softmax"),
    "softmax_backward": _softmax_backward,
}
