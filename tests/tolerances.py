"""One table of tolerances: c * eps(dtype) * scale, each with the sentence that derives it.

`eps` is the distance from 1 to the next number of the dtype, twice the unit roundoff u. Every function
returns absolute tolerances that broadcast to the result. `tiny`, the smallest normal number, is added where a
result may underflow, because a flushed subnormal is not an error.
"""

from __future__ import annotations

import numpy as np


def eps(dtype):
    return float(np.finfo(dtype).eps)


def tiny(dtype):
    return float(np.finfo(dtype).tiny)


def _abs(x):
    return np.abs(np.asarray(x).astype(np.float64))


def dot(dtype, k, magnitude):
    """A dot product of k terms with magnitude = sum |a_i b_i|.

    Any order of summation errs by at most k u magnitude (Higham 2002, eq. 3.5); rounding errors are
    independent enough that lambda sqrt(k) u holds with lambda = 4 (Higham and Mary 2019), which is
    2 sqrt(k) eps; 2 eps more cover short sums and the rounding of the oracle.
    """
    return (2.0 + 2.0 * np.sqrt(k)) * eps(dtype) * magnitude + tiny(dtype)


def matmul(dtype, a, b):
    """Each element is a dot product; an infinite or NaN one has to match exactly and needs no tolerance."""
    magnitude = np.nan_to_num(_abs(a), posinf=0.0) @ np.nan_to_num(_abs(b), posinf=0.0)
    return dot(dtype, np.shape(a)[1], magnitude)


# Relative error of one product: two operands rounded to 11 or 8 significant bits; or, with three products of tf32
# parts, the product of the two rests, each below 2**-11 of its number, and their own rounding.
_PRODUCT_ERROR = {"float32": 0.0, "float32x3": 3 * 2.0**-22, "tf32": 2.0**-10, "bfloat16": 2.0**-7}


def matmul_at_precision(precision, a, b):
    """A float32 product at a precision: the error of every term, and of sums that may round towards zero."""
    magnitude = _abs(a) @ _abs(b)
    k = np.shape(a)[1]
    sums = 0.0 if precision in ("float32", "float32x3") else k * eps(np.float32)
    return matmul(np.float32, a, b) + (_PRODUCT_ERROR[precision] + sums) * magnitude


def elementary(dtype, y):
    """exp, tanh, logistic function: a polynomial within 2 ulp, an addition and a division: 4 eps |y|."""
    return 4.0 * eps(dtype) * np.nan_to_num(_abs(y), posinf=0.0) + tiny(dtype)


def linear(dtype, x, w, b, y, lipschitz):
    """The error of x @ w + b, times the Lipschitz constant of f, plus the error of f itself."""
    z = matmul(dtype, x, w) + (0.0 if b is None else eps(dtype) * _abs(b))
    return lipschitz * z + elementary(dtype, y)


def linear_backward(dtype, d_out, x, w, l2, derivative):
    """(d_x, d_w, d_b): products; d_x scaled by f', itself of two roundings, d_w with l2 w added."""
    magnitude = _abs(d_out) @ _abs(w).T
    d_x = matmul(dtype, d_out, np.asarray(w).T) * np.abs(derivative) + 4.0 * eps(dtype) * magnitude
    d_w = matmul(dtype, np.asarray(x).T, d_out) + 2.0 * eps(dtype) * abs(l2) * _abs(w)
    d_b = dot(dtype, len(d_out), _abs(d_out).sum(axis=0))
    return d_x, d_w, d_b


def dropout(dtype, y):
    """One product with 1 / (1 - rate), itself rounded: twice u of the result."""
    return eps(dtype) * np.nan_to_num(_abs(y), posinf=0.0) + tiny(dtype)


def added_to(dtype, before, gradient, blocks):
    """A sum that joins what stood there, in so many blocks and a penalty: each addition errs by u of what there is."""
    return eps(dtype) * (1 + blocks) * (_abs(before) + _abs(gradient))


def _shift(x):
    """|x - max(x)| over the rows; 0 where that is not finite, for there the result is 0 or NaN."""
    x = np.asarray(x).astype(np.float64)
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.abs(x - x.max(axis=-1, keepdims=True)), nan=0.0, posinf=0.0)


def softmax(dtype, x, p):
    """Rounding x - max moves exp by |x - max| u; then exp, a sum of c positive terms, and a division."""
    relative = 4.0 + np.sqrt(x.shape[-1]) + _shift(x)
    return relative * eps(dtype) * np.nan_to_num(_abs(p)) + tiny(dtype)


def log_softmax(dtype, x):
    """Two subtractions of up to |x - max| + log c, and a relative error of 4 + sqrt(c) eps in the sum."""
    c = max(1, x.shape[-1])
    return (4.0 + np.sqrt(c) + 2.0 * (_shift(x) + np.log(c))) * eps(dtype)


def sum_over_rows(w, magnitude):
    """Sums of weights and of losses are held in float64: the bound of `dot` for n terms, twice."""
    return 2.0 * (2.0 + 2.0 * np.sqrt(len(w))) * eps(np.float64) * magnitude


def softmax_cross_entropy(dtype, logits, target, w, expected_loss):
    """(loss, gradient) for row weights w that sum to 1: log_softmax weighted, softmax less target."""
    mass = _abs(target).sum(axis=1, keepdims=True)
    per_row = (_abs(target) * log_softmax(dtype, logits)).sum(axis=1)
    loss = float((w * per_row).sum()) + 4.0 * eps(dtype) * float(w.sum() > 0)
    loss += sum_over_rows(w, abs(expected_loss))
    relative = 6.0 + np.sqrt(logits.shape[1]) + _shift(logits)
    with np.errstate(all="ignore"):
        x = np.asarray(logits).astype(np.float64)
        p = np.nan_to_num(np.exp(-_shift(logits)) * np.isfinite(x))
    magnitude = w[:, None] * (p * mass + _abs(target))
    gradient = w[:, None] * eps(dtype) * (relative * p * mass + 4.0 * _abs(target)) + tiny(dtype)
    return loss, gradient + sum_over_rows(w, magnitude)


def _pointwise_items(name, z, t, value, derivative, parameter):
    """(value, derivative) of one item, in units of eps, before the weight and the sum.

    All sums of positive terms, products and exponentials keep a relative error of a few ulp; what cancels is held
    against the terms that it cancels from. A margin 1 - t z of targets ±1 rounds once, with its true sign.
    """
    with np.errstate(all="ignore"):
        v, d = np.abs(value), np.abs(derivative)
        product = np.abs(t * z)
        if name == "log_loss":  # exp and log1p to 2 ulp each; sigmoid less target
            return 8.0 * v, 6.0 * (np.where(z > 0, 1.0 - t, t) + np.exp(-np.abs(z)))
        if name == "hinge":
            return np.where(v > 0, 2.0 * (abs(parameter) + product), 0.0), d
        if name == "squared_hinge":
            margin = np.sqrt(v)
            return 4.0 * margin * (1.0 + product) + 2.0 * v, np.where(
                v > 0, 4.0 * (1.0 + product), 0.0
            ) + 2.0 * d
        if name == "poisson":
            return 4.0 * (np.exp(z) + product), 4.0 * (np.exp(z) + np.abs(t))
    return 6.0 * v, 4.0 * d


def mean_of_items(dtype, value, derivative, value_error, derivative_error, w, reduction="mean"):
    """(loss, gradient): the errors of the items, weighted; the weight and the scale round, sums are in float64."""
    m = value.shape[1]
    w = w[:, None] / (m if reduction == "mean" else 1)
    with np.errstate(invalid="ignore"):
        loss = float(np.nan_to_num(w * np.abs(value), posinf=0.0).sum())
        error = float(np.nan_to_num(w * (value_error + 2.0 * np.abs(value)), posinf=0.0).sum())
        gradient = np.nan_to_num(_repeat(w, derivative) * np.abs(derivative), posinf=0.0)
        gradient_error = np.nan_to_num(_repeat(w, derivative) * derivative_error, posinf=0.0) + 4.0 * gradient
    floor = tiny(dtype) * (1.0 + float(w.sum()))
    return (
        eps(dtype) * error + sum_over_rows(w, loss) + floor,
        eps(dtype) * gradient_error + sum_over_rows(w, gradient) + floor,
    )


def _repeat(w, like):
    return np.broadcast_to(w, like.shape)


def pointwise_loss(dtype, name, prediction, target, w, value, derivative, parameter=None, reduction="mean"):
    """(loss, gradient) for row weights w that sum to 1, given the items' values and derivatives."""
    z, t = (np.asarray(x).astype(np.float64) for x in (prediction, target))
    errors = _pointwise_items(name, z, t, value, derivative, parameter)
    return mean_of_items(dtype, value, derivative, *errors, w, reduction)


def gaussian(dtype, prediction, target, w, value, derivative, reduction="mean"):
    """q = (mu - t) exp(-s/2) has three roundings of a relative kind, its square twice as many; s + q² may cancel."""
    _, s = np.split(np.asarray(prediction).astype(np.float64), 2, axis=1)
    d_mean, d_log_variance = np.split(derivative, 2, axis=1)
    square = np.abs(1.0 - 2.0 * d_log_variance)
    errors = np.concatenate([10.0 * np.abs(d_mean), 1.0 + 5.0 * square], axis=1)
    return mean_of_items(dtype, value, derivative, np.abs(s) + 5.0 * square, errors, w, reduction)


def sgd_update(dtype, p, g, v, *, lr, momentum, weight_decay):
    """(p, v). A few products and sums, each within u of the magnitudes of its terms: 4 eps of those."""
    step = momentum * _abs(v) + abs(lr) * (_abs(g) + weight_decay * _abs(p))
    return 4.0 * eps(dtype) * (_abs(p) + step * (1.0 + momentum)), 4.0 * eps(dtype) * step + tiny(dtype)


def adam_update(dtype, p, g, m, v, step, *, lr, beta1, beta2, eps_adam, weight_decay):
    """(p, m, v). Moments: roundings of the magnitudes of their terms; p: those over sqrt(v_hat)."""
    g = _abs(g) + weight_decay * _abs(p)
    m = beta1 * _abs(m) + (1.0 - beta1) * g
    v = beta2 * _abs(v) + (1.0 - beta2) * g * g
    e = eps(dtype)
    # With weight decay g may cancel, and v with it: sqrt(v_hat) of the magnitudes overstates the divisor.
    # Callers keep weight_decay * |p| below |g| / 2, so that (1 + 1/2) / (1 - 1/2) = 3 < 4 makes up for it.
    update = abs(lr) * m / (1.0 - beta1**step) / (np.sqrt(v / (1.0 - beta2**step)) + eps_adam)
    cancel = 4.0 if weight_decay else 1.0
    return e * (_abs(p) + 8.0 * cancel * update), 4.0 * e * m + tiny(dtype), 8.0 * e * v + tiny(dtype)


def reduction(dtype, n, magnitude):
    """A sum of n terms held in float64 (the probabilistic bound of `dot`), rounded once to the dtype."""
    return (eps(dtype) + 2.0 * np.sqrt(n) * eps(np.float64)) * magnitude + tiny(dtype)


def standard_errors(count, z=6.0):
    """z standard errors of a mean of n samples: 6 fail by chance once in 5e8."""
    return z / np.sqrt(count)
