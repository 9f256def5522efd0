"""One table of tolerances: c * eps(dtype) * scale, each with the sentence that derives it.

`eps` is the distance from 1 to the next number of the dtype, twice the unit roundoff u. Every function
returns absolute tolerances that broadcast to the result. `tiny`, the smallest normal number, is added where a
result may underflow, because a flushed subnormal is not an error.
"""

from __future__ import annotations

import numpy as np
import update_reference


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


def _normal_density_error(x):
    """The relative error of exp(-x**2 / 2) in the float64 of the oracle; the tail is 0 from 40 on."""
    return np.minimum(_abs(x), 40.0) ** 2 * eps(np.float64)


def activation(dtype, x, y, name):
    """At most 4 ulp, in the subnormal range too.

    gelu divides two polynomials of 2 ulp each, and so does the `erfcx` of its oracle, which also rounds x**2 / 2.
    """
    oracle = _normal_density_error(x) + 8.0 * eps(np.float64) if name == "gelu" else 0.0
    subnormal = float(np.finfo(dtype).smallest_subnormal)
    return (4.0 * eps(dtype) + oracle) * np.nan_to_num(_abs(y), posinf=0.0) + 4.0 * subnormal


def activation_backward(dtype, d_y, at, derivative, name, parameter):
    """f' of a few roundings, each of the magnitudes that it is the sum of, and the product."""
    with np.errstate(all="ignore"):
        size = np.minimum(_abs(at), 40.0)
        magnitude = {
            "sigmoid": 1.0 + np.minimum(size**2, 1.0),
            "tanh": 1.0 + np.minimum(size**2, 1.0),
            "elu": np.where(np.asarray(at) > 0, 1.0, np.minimum(size, parameter or 0.0) + (parameter or 0.0)),
            "gelu": (1.0 + size) * np.exp(-0.5 * size**2) + (np.asarray(at) > 0),
            "silu": (1.0 + size) * np.exp(-size) + (np.asarray(at) > 0),
        }.get(name, _abs(derivative))
    # The factors of gelu's are a rational function and an exponential of 4 ulp.
    c = 8.0 if name in ("gelu", "silu") else 4.0 if name == "softplus" else 2.0
    oracle = _normal_density_error(at) if name == "gelu" else 0.0
    return (c * eps(dtype) + oracle) * _abs(d_y) * np.nan_to_num(magnitude) + tiny(dtype)


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


def linear_tangent(dtype, x, v, c, dx, w, derivative):
    """Two products and the bias in one sum, scaled by f', itself of two roundings."""
    terms, magnitude = np.shape(x)[1], _abs(x) @ _abs(v)
    if dx is not None:
        terms, magnitude = 2 * terms, magnitude + _abs(dx) @ _abs(w)
    if c is not None:
        terms, magnitude = terms + 1, magnitude + _abs(c)
    magnitude = np.nan_to_num(magnitude, posinf=0.0)
    return dot(dtype, terms, magnitude) * np.abs(derivative) + 4.0 * eps(dtype) * magnitude


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


def softmax_backward(dtype, d_y, y):
    """The dot product of the row, a difference and a product, each of the magnitudes of their terms."""
    d_y, y = np.nan_to_num(_abs(d_y), posinf=0.0), np.nan_to_num(_abs(y))
    total = (d_y * y).sum(axis=-1, keepdims=True)
    return y * (dot(dtype, y.shape[-1], total) + 2.0 * eps(dtype) * (d_y + total)) + tiny(dtype)


def softmax_product(dtype, z, v):
    """By v less its item k of the most probable class: errors of p in p (u - m), u = v - v_k, and in m = sum p u."""
    with np.errstate(all="ignore"):
        x = np.asarray(z).astype(np.float64)
        p = np.exp(x - x.max(axis=-1, keepdims=True))
    p = p / p.sum(axis=-1, keepdims=True)
    u = np.abs(v - np.take_along_axis(v, x.argmax(axis=-1)[:, None], axis=-1).astype(np.float64))
    relative = 8.0 + 2.0 * np.sqrt(x.shape[-1]) + _shift(z)
    mean, mean_error = (p * u).sum(axis=-1, keepdims=True), (relative * p * u).sum(axis=-1, keepdims=True)
    return eps(dtype) * p * (relative * (u + mean) + mean_error + relative.max() * mean) + tiny(dtype)


def prelu_backward(dtype, d_y, x, d_x, one):
    """(d_x, d_slope): one rounding; terms that are rounded once, and summed in float64."""
    with np.errstate(invalid="ignore"):
        terms = np.nan_to_num(_abs(d_y) * np.maximum(-np.asarray(x).astype(np.float64), 0.0), posinf=0.0)
    sums = terms.sum(keepdims=True)[0] if one else terms.sum(axis=0)
    return eps(dtype) * np.nan_to_num(_abs(d_x), posinf=0.0) + tiny(dtype), reduction(
        dtype, terms.size, 2.0 * sums
    )


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
        if name == "epsilon_insensitive":  # the error rounds once, and once more less epsilon
            return np.where(v > 0, 2.0 * (v + parameter), 0.0), d
        if name == "squared_epsilon_insensitive":
            excess = np.sqrt(v)
            return 4.0 * excess * (excess + parameter) + 2.0 * v, 4.0 * np.where(
                v > 0, excess + parameter, 0.0
            )
        if name in ("squared_hinge", "modified_huber"):
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


def output_fisher(dtype, z, v, distribution, w, expected):
    """For row weights w, scale included.

    Classes: the errors of p (see `softmax`) in its product with v - m, m = sum p v, and in m, whose sum errs as well.
    Otherwise a product with exponentials, each within 2 ulp, or with their roots, whose errors double; weights round.
    """
    w, v = np.abs(w)[:, None], np.nan_to_num(_abs(v), posinf=0.0)
    floor = tiny(dtype) * (1.0 + w * (1.0 + v.max(axis=1, initial=0.0)[:, None]))
    if distribution != "categorical":
        return 12.0 * eps(dtype) * np.nan_to_num(_abs(expected), posinf=0.0) + floor
    with np.errstate(all="ignore"):
        x = np.asarray(z).astype(np.float64)
        p = np.exp(x - x.max(axis=1, keepdims=True))
        p = np.nan_to_num(p / p.sum(axis=1, keepdims=True))
    relative = 8.0 + 2.0 * np.sqrt(z.shape[1]) + _shift(z)
    mean, mean_error = (p * v).sum(axis=1, keepdims=True), (relative * p * v).sum(axis=1, keepdims=True)
    return eps(dtype) * w * p * (relative * (v + mean) + mean_error + relative.max() * mean) + floor


def output_divergence(z, w, distribution, shares, rows):
    """For shares of the rows that add up to 1, and the exact divergences of the rows; in float64 for both dtypes.

    No terms of a formula exceed 13 times the result (log1p(1) and its neighbours, beside the divergence of z = 0 from
    w = -1), and all are within 2 eps; sums are of terms that are not negative. Rounding the difference d of
    log-variances moves exp(d) by |d| u.

    Of classes, z and w less the maximum of z are rounded (see `softmax`), and t and its mean to a few u of the largest
    |t|. An error D of the mean, which is an error of all u, moves the result R by D R + D² / 2; errors D of single t
    move the deviation sqrt(2 R) of t by D.
    """
    e, c = eps(np.float64), z.shape[1]
    z, w = np.asarray(z).astype(np.float64), np.asarray(w).astype(np.float64)
    t = np.abs(w - z)
    relative = np.full(len(z), 32.0 + 2.0 * np.sqrt(c))
    floor = np.full(len(z), tiny(np.float64))
    if distribution == "gaussian_learned_variance":
        relative += np.minimum(t[:, c // 2 :], 750.0).max(axis=1)
    elif distribution == "categorical":
        error = (4.0 + np.sqrt(c)) * t.max(axis=1)
        relative += error + (_shift(z) + np.abs(w - z.max(axis=1, keepdims=True))).max(axis=1)
        floor += 2.0 * e * error * np.sqrt(2.0 * rows) + (e * error) ** 2
    magnitude = shares @ rows
    return shares @ (relative * e * rows + floor) + sum_over_rows(shares, magnitude)


def sampled_score(dtype, z, distribution, expected):
    """Classes: softmax less one. Counts: the mean, in float64, less the count, rounded once. Otherwise a normal number
    or a quotient, times an exponential or its root; a normal number's square keeps twice its rounding.
    """
    e = eps(dtype)
    if distribution == "categorical":
        with np.errstate(all="ignore"):
            x = np.asarray(z).astype(np.float64)
            p = np.exp(x - x.max(axis=1, keepdims=True))
            p = np.nan_to_num(p / p.sum(axis=1, keepdims=True))
        return softmax(dtype, z, p) + e
    if distribution == "poisson":
        with np.errstate(over="ignore"):
            mean = np.exp(np.asarray(z).astype(np.float64))
        return e * _abs(expected) + 8.0 * eps(np.float64) * mean + tiny(dtype)
    return 10.0 * e * (_abs(expected) + (distribution == "gaussian_learned_variance")) + tiny(dtype)


def linear_loss(dtype, x, scores, error, items, w, penalty, d_penalty):
    """(loss, d_w, d_b) for row weights w that sum to 1, scores and their `error`, and items(scores) -> (l, l').

    The scores err by those of a product: what that does to l and l' is what they differ by at scores + error and
    scores - error. The formulas add up to eight roundings of terms that the larger of 1, |l| and |l'| bounds, and the
    sums over n rows those of `dot`; penalties are summed in float64.
    """
    value, slope = items(scores)
    moved = [items(scores + error), items(scores - error)]
    d_value = np.max([np.abs(m[0] - value) for m in moved], axis=0)
    d_slope = np.max([np.abs(m[1] - slope) for m in moved], axis=0)
    size = np.maximum(1.0, np.maximum(np.abs(value), np.abs(slope)))
    share, x = w[:, None], _abs(x)
    loss = float((share * (d_value + 8.0 * eps(dtype) * size)).sum())
    d_z = share * (d_slope + 8.0 * eps(dtype) * size)
    d_w = x.T @ d_z + dot(dtype, len(x), x.T @ (share * np.abs(slope))) + 2.0 * eps(dtype) * np.abs(d_penalty)
    d_b = d_z.sum(axis=0) + dot(dtype, len(x), (share * np.abs(slope)).sum(axis=0))
    return loss + 4.0 * np.sqrt(d_penalty.size) * eps(np.float64) * penalty, d_w, d_b


def gradient_gram(dtype, x, d, bias=False):
    """(<x_i, x_j> + bias) <d_i, d_j>: the error of each factor times the other, both summed over at most 512 columns
    before they are in float64; few roundings there, and those of the sums of the oracle, over all pairs of columns.
    """
    x = _abs(x).repeat(len(d) // max(len(x), 1), axis=0)
    d = _abs(d)
    first, second = x @ x.T, d @ d.T
    first_error, second_error = (dot(dtype, min(z.shape[1], 512), m) for z, m in ((x, first), (d, second)))
    first = first + float(bias)
    terms = x.shape[1] * d.shape[1] + d.shape[1]
    return (
        first_error * (second + second_error) + first * second_error + dot(np.float64, terms, first * second)
    )


def gradient_norms(dtype, x, d, bias=True):
    """All sums are float64, whatever the dtype, and so is that of the oracle over all pairs."""
    x = _abs(x).repeat(len(d) // max(len(x), 1), axis=0)
    norms = (np.square(x).sum(axis=1) + float(bias)) * np.square(_abs(d)).sum(axis=1)
    return dot(np.float64, x.shape[1] * d.shape[1] + d.shape[1], norms)


def second_moment(dtype, x, weight=None, ones=False, scale=1.0, decay=0.0, out=None):
    """A sum of products over the rows; shares, the products with them, the factor and the sum with what is left of out
    are rounded too, out and the decay once each.
    """
    weight = np.ones(len(x)) if weight is None else _abs(weight)
    x, share = _abs(x)[weight != 0], (weight / (weight.sum() or 1.0))[weight != 0]
    if ones:
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    magnitude = abs(scale) * (x * share[:, None]).T @ x
    kept = 0.0 if decay == 0 else decay * _abs(out)
    return dot(dtype, len(x), magnitude) + 4.0 * eps(dtype) * (magnitude + kept)


def class_scatter(dtype, deviations, weights):
    """(sums of one class, scatter) of deviations from the centres, which are rounded once, as are the roots of the
    weights and the products with these; a sum of float32 products runs over at most 4096.
    """
    size, s = _abs(deviations), _abs(weights)[:, None]
    sums = (2.0 * eps(dtype) + 2.0 * len(size) * eps(np.float64)) * (s * size).sum(0)
    magnitude = (s * size).T @ size
    return sums, dot(dtype, min(len(size), 4096), magnitude) + 4.0 * eps(dtype) * magnitude


def linear_sgd(dtype, steps, x, largest):
    """Weights after so many steps: each rounds a score of d terms, whose error moves the weights along the sample by at
    most as much as the weights' own rounding does in all columns; steps of convex losses bring solutions no further
    apart, so that errors add up, and as random ones do (lambda = 4, see `dot`).
    """
    d = x.shape[1]
    return (
        4.0
        * np.sqrt(steps)
        * (2.0 + 2.0 * np.sqrt(d))
        * eps(dtype)
        * max(1.0, largest)
        * max(1.0, np.abs(x).max(initial=0.0))
    )


def update(
    rule, dtype, p, g, states=(), *, lr, step=1, count=1, clip=1.0, l2=0.0, decay=0.0, l1=0.0, **numbers
):
    """(p, *states) after one step, of `count` gradients in all.

    The gradient: two roundings of its magnitude where it is clipped or penalised; the factor is rounded once, and
    the norm is a root of a sum in float64 (`dot`: 2 sqrt(count) eps, halved by the root). The parameter is rounded
    once by the step, and once each by decay and threshold, whose own sizes are rounded twice. Callers keep l2 |p|
    below |g| / 2: sums of magnitudes overstate the divisors of the scaled rules by at most (1 + 1/2) / (1 - 1/2) = 3,
    for which `cancel` makes up.
    """
    e = eps(dtype)
    adjusted = clip != 1.0 or l2 or decay or l1
    p, g = _abs(p), clip * _abs(g) + l2 * _abs(p)
    states = [_abs(s) for s in states]
    error = 2.0 * e * bool(adjusted) + (1.0 + np.sqrt(count)) * eps(np.float64) * (
        clip != 1.0
    )  # relative, of g
    around = (3.0 if adjusted else 1.0) * e * p + 2.0 * e * (lr * decay * p + lr * l1)
    if rule == "sgd":
        return (4.0 * e * (p + lr * g) + error * lr * g + around,)
    if rule in ("momentum", "nesterov"):
        momentum = numbers.get("momentum", 0.9)
        step_size = momentum * states[0] + lr * g
        v = 4.0 * e * step_size + error * lr * g + tiny(dtype)
        return 4.0 * e * (p + step_size * (1.0 + momentum)) + (1.0 + momentum) * error * lr * g + around, v
    # The scaled rules: eight roundings of the magnitudes over the root, and the gradient's error above and below it.
    cancel = 4.0 if l2 else 1.0
    after, *squares = update_reference.update(rule, p, g, states, lr=lr, step=step, **numbers)
    tolerance = around + cancel * (8.0 * e + 2.0 * error) * np.abs(p - after)
    return (tolerance, *((8.0 * e + 2.0 * error) * s + tiny(dtype) for s in squares))


def reduction(dtype, n, magnitude):
    """A sum of n terms held in float64 (the probabilistic bound of `dot`), rounded once to the dtype."""
    return (eps(dtype) + 2.0 * np.sqrt(n) * eps(np.float64)) * magnitude + tiny(dtype)


def standard_errors(count, z=6.0):
    """z standard errors of a mean of n samples: 6 fail by chance once in 5e8."""
    return z / np.sqrt(count)


def discriminant(dtype, d, offset, scale):
    """Discriminant functions of features of correlations near the identity, whose inverse errs by few eps a feature.

    Means are `offset` deviations from zero, and rounded in float64: the differences between them err by as much.
    """
    return 100.0 * (np.sqrt(d) * eps(dtype) + offset * eps(np.float64)) * scale


def principal_axes(dtype, n, d):
    """Variances and residuals of axes, in units of the largest variance: sums of n products, and a backward stable
    decomposition; the axes themselves are rounded.
    """
    return (10.0 * d + 4.0 * np.sqrt(n)) * eps(dtype)
