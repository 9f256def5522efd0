"""The parts of all tolerances: c * eps(dtype) * scale, each with the sentence that derives it.

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

    Any order of summation errs by at most k u magnitude (Higham 2002, eq. 3.5); rounding errors are
    independent enough that lambda sqrt(k) u holds with lambda = 4 (Higham and Mary 2019), which is
    2 sqrt(k) eps; 2 eps more cover short sums and the rounding of the oracle.
    """
    return (2.0 + 2.0 * np.sqrt(k)) * eps(dtype) * magnitude + tiny(dtype)


def elementary(dtype, y):
    """exp, tanh, logistic function: a polynomial within 2 ulp, an addition and a division: 4 eps |y|."""
    return 4.0 * eps(dtype) * np.nan_to_num(absolute(y), posinf=0.0) + tiny(dtype)


def shift(x):
    """|x - max(x)| over the rows; 0 where that is not finite, for there the result is 0 or NaN."""
    x = f64(x)
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.abs(x - x.max(axis=-1, keepdims=True)), nan=0.0, posinf=0.0)


def sum_over_rows(w, magnitude):
    """Sums of weights and of losses are held in float64: the bound of `dot` for n terms, twice."""
    return 2.0 * (2.0 + 2.0 * np.sqrt(len(w))) * eps(np.float64) * magnitude


def reduction(dtype, n, magnitude):
    """A sum of n terms held in float64 (the probabilistic bound of `dot`), rounded once to the dtype."""
    return (eps(dtype) + 2.0 * np.sqrt(n) * eps(np.float64)) * magnitude + tiny(dtype)


def standard_errors(count, z=6.0):
    """z standard errors of a mean of n samples: 6 fail by chance once in 5e8."""
    return z / np.sqrt(count)
