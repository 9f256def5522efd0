"""Building blocks of all tolerances: c * eps(dtype) * scale, each with its derivation.

`eps` is the distance from 1 to the next number of the dtype, twice the unit roundoff u. Every function
returns absolute tolerances that broadcast to the result. `tiny`, the smallest normal number, is added where a
result may underflow, because a flushed subnormal is not an error."""

from __future__ import annotations

import numpy as np

from .arrays import f64


def eps(dtype):
    return float(np.finfo(dtype).eps)


def tiny(dtype):
    return float(np.finfo(dtype).tiny)


def absolute(x):
    return np.abs(f64(x))


def dot(dtype, k, magnitude):
    """A dot product of k terms with magnitude = sum |a_i b_i|.

    Any order of summation errs by at most k u magnitude (Higham 2002, eq. 3.5). Rounding errors are independent
    enough for the bound lambda sqrt(k) u with lambda = 4 (Higham and Mary 2019), which is 2 sqrt(k) eps. Another
    2 eps cover short sums and the rounding of the oracle.
    """
    return (2.0 + 2.0 * np.sqrt(k)) * eps(dtype) * magnitude + tiny(dtype)


def elementary(dtype, y):
    """exp, tanh, logistic function: a polynomial within 2 ulp, an addition and a division: 4 eps |y|."""
    return 4.0 * eps(dtype) * np.nan_to_num(absolute(y), posinf=0.0) + tiny(dtype)


def shift(x):
    """|x - max(x)| in each row; 0 where it is not finite, since the result is 0 or NaN there."""
    x = f64(x)
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.abs(x - x.max(axis=-1, keepdims=True)), nan=0.0, posinf=0.0)


def sum_over_rows(w, magnitude):
    """Sums of weights and of losses in float64: twice the bound of `dot` for n terms."""
    return 2.0 * (2.0 + 2.0 * np.sqrt(len(w))) * eps(np.float64) * magnitude


def reduction(dtype, n, magnitude):
    """A float64 sum of n terms (the probabilistic bound of `dot`), rounded once to the dtype."""
    return (eps(dtype) + 2.0 * np.sqrt(n) * eps(np.float64)) * magnitude + tiny(dtype)


def standard_errors(count, z=6.0):
    """z standard errors of a mean of `count` samples; a deviation above 6 has probability 1 / 5e8."""
    return z / np.sqrt(count)
