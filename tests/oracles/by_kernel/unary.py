"""Registry of the functions of one item: formulas and error bounds for all tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from .activations import Line
from .arrays import f64
from .rounding import absolute, eps

SLOPE_OF_ERF = float(2.0 / np.sqrt(np.pi))


@dataclass(frozen=True)
class UnaryFunction:
    """Formula and error bound of a function f.

    Attributes
    ----------
    value : callable
        f(x) in float64.
    exact : callable
        f(mp, x) in mpmath, where f is defined and finite.
    ulps : float
        The largest error in float32, in units in the last place; 0.5 where the result is the exact one, rounded.
    positive : bool
        Whether f is defined for positive x alone.
    lines : four pairs (a, b) or None
        As in `activations.Activation`; None where no part of the range is like a line.
    """

    value: Callable[..., Any]
    exact: Callable[..., Any]
    ulps: float = 0.5
    positive: bool = False
    lines: tuple[Line, Line, Line, Line] | None = None


# kept by hand: formulas that are independent of the kernels
UNARY_FUNCTIONS = {
    "exp": UnaryFunction(
        np.exp, lambda mp, x: mp.exp(x), ulps=1.0, lines=((0, 0), (1, 0), (1, 0), (float("inf"), 0))
    ),
    "log": UnaryFunction(np.log, lambda mp, x: mp.log(x), ulps=1.0, positive=True),
    "erf": UnaryFunction(
        special.erf,
        lambda mp, x: mp.erf(x),
        ulps=2.0,
        lines=((-1, 0), (0, SLOPE_OF_ERF), (0, SLOPE_OF_ERF), (1, 0)),
    ),
    "sqrt": UnaryFunction(np.sqrt, lambda mp, x: mp.sqrt(x), positive=True),
    "square": UnaryFunction(np.square, lambda mp, x: x * x),
    "reciprocal": UnaryFunction(np.reciprocal, lambda mp, x: 1 / x),
}


def unary(x, name):
    """f(x) in float64, rounded to float32 where that overflows: a result beyond its range is infinite."""
    with np.errstate(all="ignore"):
        y = UNARY_FUNCTIONS[name].value(f64(x))
        return np.where(np.isinf(np.asarray(y).astype(np.asarray(x).dtype)), np.sign(y) * np.inf, y)


def unary_tolerance(dtype, y, name):
    """The bound of the entry in units in the last place, which are eps |y| at most, and half a subnormal unit.

    In float64 the oracle itself errs by up to a unit, and the kernels' bounds hold as well.
    """
    ulps = UNARY_FUNCTIONS[name].ulps + (1.0 if np.dtype(dtype) == np.float64 else 0.0)
    subnormal = float(np.finfo(dtype).smallest_subnormal)
    return ulps * (eps(dtype) * np.nan_to_num(absolute(y), posinf=0.0) + subnormal)


def _case(name):
    return lambda m: m.case(name, (m.positive(m.n, m.k),), {"out": m.empty(m.n, m.k)})


CASES = {name: _case(name) for name in UNARY_FUNCTIONS}
