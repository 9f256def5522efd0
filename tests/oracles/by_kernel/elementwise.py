"""Sums, products and copies, whose oracle is NumPy's in float64."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, eps, tiny


def add(a, b):
    """a + b."""
    with np.errstate(all="ignore"):
        return f64(a) + f64(b)


def add_tolerance(dtype, a, b):
    """One rounding."""
    with np.errstate(all="ignore"):
        return eps(dtype) * np.nan_to_num(absolute(f64(a) + f64(b)), posinf=0.0)


def multiply(a, b, added_to=0.0):
    """a * b, added to what is there."""
    with np.errstate(all="ignore"):
        return f64(added_to) + f64(a) * f64(b)


def multiply_tolerance(dtype, a, b, added_to=0.0):
    """The product is rounded, unless an instruction adds it at once, and so is the sum; the oracle rounds both, too."""
    with np.errstate(all="ignore"):
        product = absolute(f64(a) * f64(b))
        return 2.0 * eps(dtype) * np.nan_to_num(absolute(added_to) + product, posinf=0.0) + tiny(dtype)


def _pair(name, shape_of_b, **options):
    def make(m):
        out = m.normal(m.n, m.k) if options else m.empty(m.n, m.k)
        return m.case(name, (m.normal(m.n, m.k), m.normal(*shape_of_b(m))), {"out": out}, **options)

    return make


def _copy(m):
    return m.case("copy", (m.normal(m.n, m.k),), {"out": m.empty(m.n, m.k)})


def _copy_transposed(m):
    return m.case("copy", (m.normal(m.k, m.n).T,), {"out": m.empty(m.n, m.k)})


CASES = {
    "add": _pair("add", lambda m: (m.n, m.k)),
    "add/of a row": _pair("add", lambda m: (m.k,)),
    "multiply": _pair("multiply", lambda m: (m.n, m.k)),
    "multiply/accumulate": _pair("multiply", lambda m: (m.n, 1), accumulate=True),
    "copy": _copy,
    "copy/transposed": _copy_transposed,
}
