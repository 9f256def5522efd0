"""Oracles of matrix products: `matmul`, `linear`, `linear_backward` and `linear_tangent`."""

from __future__ import annotations

import numpy as np

from .activations import _value, activation_backward
from .arrays import f64
from .rounding import absolute, dot, elementary, eps


def matmul(a, b):
    """a @ b."""
    with np.errstate(all="ignore"):
        return f64(a) @ f64(b)


def linear(x, w, b=None, activation="identity"):
    """f(x @ w + b)."""
    z = matmul(x, w)
    if b is not None:
        z = z + f64(b)
    return _value(z, activation)


def linear_backward(d_out, x, w, activation="identity", l2=0.0):
    """(d_x, d_w, d_b); `activation` is the function that produced x."""
    d_w = matmul(np.asarray(x).T, d_out) + l2 * f64(w)
    d_b = f64(d_out).sum(axis=0)
    d_x = activation_backward(matmul(d_out, np.asarray(w).T), x, activation)
    return d_x, d_w, d_b


def linear_tangent(x, v, c=None, dx=None, w=None, y=None, activation="identity"):
    """f' times the directional derivative of x @ w + b along (v, c), where x has the derivative dx."""
    sums = matmul(x, v)
    if c is not None:
        sums = sums + f64(c)
    if dx is not None:
        sums = sums + matmul(dx, w)
    return sums if y is None else activation_backward(sums, y, activation)


def matmul_tolerance(dtype, a, b):
    """Each element is a dot product; infinite and NaN elements must match exactly and need no tolerance."""
    magnitude = np.nan_to_num(absolute(a), posinf=0.0) @ np.nan_to_num(absolute(b), posinf=0.0)
    return dot(dtype, np.shape(a)[1], magnitude)


# Relative error of one product. tf32 and bfloat16 round both operands to 11 or 8 significant bits. high sums three
# products of two parts, of 8 significant bits each on the CPU and of 11 on tensor cores: it omits the product of the
# two remainders, each below 2**-8 or 2**-11, which are rounded themselves.
_PRODUCT_ERROR = {"float32": 0.0, "high": 3 * 2.0**-16, "tf32": 2.0**-10, "bfloat16": 2.0**-7}


def matmul_at_precision_tolerance(precision, a, b):
    """A float32 product at a precision: the error of every term plus that of sums, which may truncate."""
    magnitude = absolute(a) @ absolute(b)
    k = np.shape(a)[1]
    sums = 0.0 if precision in ("float32", "high") else k * eps(np.float32)
    return matmul_tolerance(np.float32, a, b) + (_PRODUCT_ERROR[precision] + sums) * magnitude


def linear_tolerance(dtype, x, w, b, y, lipschitz):
    """The error of x @ w + b, times the Lipschitz constant of f, plus the error of f itself."""
    z = matmul_tolerance(dtype, x, w) + (0.0 if b is None else eps(dtype) * absolute(b))
    return lipschitz * z + elementary(dtype, y)


def linear_backward_tolerance(dtype, d_out, x, w, l2, derivative):
    """(d_x, d_w, d_b): matrix products; d_x is scaled by f' (2 rounding errors), and l2 w is added to d_w."""
    magnitude = absolute(d_out) @ absolute(w).T
    d_x = matmul_tolerance(dtype, d_out, np.asarray(w).T) * np.abs(derivative) + 4.0 * eps(dtype) * magnitude
    d_w = matmul_tolerance(dtype, np.asarray(x).T, d_out) + 2.0 * eps(dtype) * abs(l2) * absolute(w)
    d_b = dot(dtype, len(d_out), absolute(d_out).sum(axis=0))
    return d_x, d_w, d_b


def linear_tangent_tolerance(dtype, x, v, c, dx, w, derivative):
    """Two products and the bias in one sum, scaled by f' (2 rounding errors)."""
    terms, magnitude = np.shape(x)[1], absolute(x) @ absolute(v)
    if dx is not None:
        terms, magnitude = 2 * terms, magnitude + absolute(dx) @ absolute(w)
    if c is not None:
        terms, magnitude = terms + 1, magnitude + absolute(c)
    magnitude = np.nan_to_num(magnitude, posinf=0.0)
    return dot(dtype, terms, magnitude) * np.abs(derivative) + 4.0 * eps(dtype) * magnitude


def added_to_tolerance(dtype, before, gradient, blocks):
    """A sum added to `before` in `blocks` parts and a penalty: each addition errs by u times the magnitude so far."""
    return eps(dtype) * (1 + blocks) * (absolute(before) + absolute(gradient))


def _matmul(m):
    return m.case("matmul", (m.normal(m.n, m.k), m.normal(m.k, m.c)), {"out": m.empty(m.n, m.c)})


def _linear(m):
    args = (m.normal(m.n, m.k), m.normal(m.k, m.c), m.normal(m.c))
    return m.case("linear", args, {"out": m.empty(m.n, m.c)}, activation="tanh")


def _linear_backward(m):
    args = (m.normal(m.n, m.c), m.normal(m.n, m.k), m.normal(m.k, m.c))
    outputs = {"d_x": m.empty(m.n, m.k), "d_w": m.empty(m.k, m.c), "d_b": m.empty(m.c)}
    return m.case("linear_backward", args, outputs, activation="tanh", l2=0.1)


def _linear_backward_accumulating(m):
    case = _linear_backward(m)
    case.kwargs["accumulate"] = True
    return case


def _linear_tangent(m):
    pairs = [(m.normal(m.n, m.k), m.normal(m.k, m.c)) for _ in range(2)]
    args = (*pairs[0], m.normal(m.c), *pairs[1])
    return m.case(
        "linear_tangent", args, {"out": m.empty(m.n, m.c)}, y=m.positive(m.n, m.c), activation="tanh"
    )


CASES = {
    "matmul": _matmul,
    "linear": _linear,
    "linear_backward": _linear_backward,
    "linear_backward/accumulate": _linear_backward_accumulating,
    "linear_tangent": _linear_tangent,
}
