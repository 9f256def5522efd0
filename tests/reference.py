"""Plain float64 NumPy oracles of every kernel.

Nothing here calls a kernel. Each function takes arrays of any float dtype, computes in float64, and returns
new arrays. `philox4x32` is written in Python integers from the paper, and shares no code with the kernels.
"""

from __future__ import annotations

import numpy as np

F64 = np.float64


def _f64(x):
    return np.asarray(x).astype(F64)


# ---------------------------------------------------------------------------------------------- activations


def _sigmoid(x):
    # Two branches, so that exp never overflows.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


# name -> (f, f' as a function of the output y, Lipschitz constant of f)
ACTIVATIONS = {
    "identity": (lambda x: x.copy(), lambda y: np.ones_like(y), 1.0),
    "relu": (lambda x: np.where(np.isnan(x), x, np.maximum(x, 0.0)), lambda y: (y > 0).astype(F64), 1.0),
    "sigmoid": (_sigmoid, lambda y: y * (1.0 - y), 0.25),
    "tanh": (np.tanh, lambda y: 1.0 - y * y, 1.0),
}


def activation(x, name="relu"):
    """f(x)."""
    with np.errstate(all="ignore"):
        return ACTIVATIONS[name][0](_f64(x))


def activation_backward(d_y, y, name="relu"):
    """d_y * f', with f' evaluated at the output y = f(x)."""
    with np.errstate(all="ignore"):
        return _f64(d_y) * ACTIVATIONS[name][1](_f64(y))


# ------------------------------------------------------------------------------------------------- products


def matmul(a, b):
    """a @ b."""
    with np.errstate(all="ignore"):
        return _f64(a) @ _f64(b)


def linear(x, w, b=None, activation="identity"):
    """f(x @ w + b)."""
    z = matmul(x, w)
    if b is not None:
        z = z + _f64(b)
    return ACTIVATIONS[activation][0](z)


def linear_backward(d_out, x, w, activation="identity", l2=0.0):
    """(d_x, d_w, d_b); `activation` is the one that produced x."""
    d_w = matmul(np.asarray(x).T, d_out) + l2 * _f64(w)
    d_b = _f64(d_out).sum(axis=0)
    d_x = activation_backward(matmul(d_out, np.asarray(w).T), x, activation)
    return d_x, d_w, d_b


# --------------------------------------------------------------------------------------------------- losses


def log_softmax(x):
    """x - log(sum(exp(x))) over the last axis."""
    x = _f64(x)
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(x):
    """exp(x) / sum(exp(x)) over the last axis."""
    x = _f64(x)
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)


def one_hot(labels, c):
    """(n, c) of zeros and ones; rows whose label lies outside 0..c-1 are zero."""
    return (np.asarray(labels)[:, None] == np.arange(c)).astype(F64)


def row_weights(n, sample_weight=None, labels=None, ignore_label=None):
    """Weight of each row divided by the sum of the weights; all zero when that sum is zero."""
    w = np.ones(n) if sample_weight is None else _f64(sample_weight)
    if ignore_label is not None:
        w = np.where(np.asarray(labels) == ignore_label, 0.0, w)
    total = w.sum()
    return w / total if total > 0 else np.zeros(n)


def softmax_cross_entropy(logits, labels, sample_weight=None, ignore_label=None):
    """(mean loss, gradient). A target probability of 0 contributes 0 even where log p is -inf."""
    x = _f64(logits)
    n, c = x.shape
    labels = np.asarray(labels)
    by_id = labels.ndim == 1
    target = one_hot(labels, c) if by_id else _f64(labels)
    w = row_weights(n, sample_weight, labels if by_id else None, ignore_label if by_id else None)
    counted = w > 0
    log_p = log_softmax(x)
    with np.errstate(all="ignore"):
        terms = np.where(target > 0, target * log_p, np.where(np.isnan(log_p), np.nan, 0.0))
        row_loss = -terms.sum(axis=1)
        loss = (w[counted] * row_loss[counted]).sum()
        gradient = w[:, None] * (target.sum(axis=1, keepdims=True) * np.exp(log_p) - target)
    gradient[~counted] = 0.0
    return loss, gradient


def squared_error(prediction, target, sample_weight=None, half=False):
    """(weighted mean over rows of the mean over columns of (p - t)^2, gradient)."""
    p, t = _f64(prediction), _f64(target)
    n, m = p.shape
    s = 0.5 if half else 1.0
    w = row_weights(n, sample_weight)
    r = np.where(w[:, None] > 0, p - t, 0.0)  # a row without weight may hold anything
    return s * (w * (r * r).mean(axis=1)).sum(), s * 2.0 / m * w[:, None] * r


def _wrong_share(z, t):
    """The share of the target that the sign of the logit is wrong for."""
    return np.where(z > 0, 1.0 - t, t)


def _product(a, b):
    """a * b, and 0 where a is 0 even for an infinite b."""
    return np.where(a == 0, 0.0 * np.nan_to_num(b, nan=np.nan), a * b)


# name -> (l(z, t, parameter), its derivative by z); at a kink the derivative is 0.
POINTWISE_LOSSES = {
    "squared_error": (lambda z, t, _: (z - t) ** 2, lambda z, t, _: 2.0 * (z - t)),
    "absolute_error": (lambda z, t, _: np.abs(z - t), lambda z, t, _: np.sign(z - t)),
    "huber": (
        lambda z, t, c: np.where(np.abs(z - t) <= c, 0.5 * (z - t) ** 2, c * (np.abs(z - t) - 0.5 * c)),
        lambda z, t, c: np.clip(z - t, -c, c),
    ),
    "quantile": (
        lambda z, t, q: np.where(z > t, (1.0 - q) * (z - t), q * (t - z)),
        lambda z, t, q: np.sign(z - t) * np.where(z > t, 1.0 - q, q),
    ),
    # log(1 + exp(z)) - t z, in the form that does not cancel.
    "log_loss": (
        lambda z, t, _: _product(_wrong_share(z, t), np.abs(z)) + np.log1p(np.exp(-np.abs(z))),
        lambda z, t, _: np.where(z > 0, 1.0, -1.0) * (_wrong_share(z, t) - _sigmoid(-np.abs(z))),
    ),
    "hinge": (
        lambda z, t, margin: np.maximum(0.0, margin - t * z),
        lambda z, t, margin: -t * np.heaviside(margin - t * z, 0.0),
    ),
    "squared_hinge": (
        lambda z, t, _: np.maximum(0.0, 1.0 - t * z) ** 2,
        lambda z, t, _: -2.0 * t * np.maximum(0.0, 1.0 - t * z),
    ),
    "exponential": (lambda z, t, _: np.exp(-t * z), lambda z, t, _: -t * np.exp(-t * z)),
    "poisson": (
        lambda z, t, _: np.where(z == np.inf, np.inf, np.exp(z) - _product(t, z)),
        lambda z, t, _: np.exp(z) - t,
    ),
}


def pointwise_items(name, z, t, parameter=None):
    """(l, dl/dz) of every item."""
    with np.errstate(all="ignore"):
        return tuple(f(_f64(z), _f64(t), parameter) for f in POINTWISE_LOSSES[name])


def gaussian_items(prediction, target):
    """(l, (dl/dmu, dl/ds)) of every target, for predictions (mu, s): l = (s + (t - mu)^2 exp(-s)) / 2."""
    t = _f64(target)
    mu, s = np.split(_f64(prediction), 2, axis=1)
    with np.errstate(all="ignore"):
        square = np.where(t == mu, 0.0, (t - mu) ** 2 * np.exp(-s))
        slope = np.where(t == mu, 0.0, (mu - t) * np.exp(-s))
        return 0.5 * (s + square), np.concatenate([slope, 0.5 * (1.0 - square)], axis=1)


def mean_of_items(value, derivative, sample_weight=None, reduction="mean"):
    """(loss, gradient): outputs are averaged or added up, rows averaged with weights."""
    n, m = value.shape
    w = row_weights(n, sample_weight)[:, None] / (m if reduction == "mean" else 1)
    counted = w[:, 0] > 0  # a row without weight may hold anything
    gradient = np.zeros_like(derivative)
    gradient[counted] = (w * derivative)[counted]
    return (w * value)[counted].sum(), gradient


def pointwise_loss(name, prediction, target, sample_weight=None, parameter=None, reduction="mean"):
    """(loss, gradient) of a loss of `POINTWISE_LOSSES`."""
    items = pointwise_items(name, prediction, target, parameter)
    with np.errstate(invalid="ignore"):
        return mean_of_items(*items, sample_weight, reduction)


def gaussian(prediction, target, sample_weight=None, reduction="mean"):
    """(loss, gradient) of the Gaussian with predicted means and log-variances."""
    with np.errstate(invalid="ignore"):
        return mean_of_items(*gaussian_items(prediction, target), sample_weight, reduction)


def zero_one_loss(scores, labels, ignore_label=None):
    """Mean of argmax(scores) != label over the rows not ignored (0 when there are none)."""
    labels = np.asarray(labels)
    keep = np.ones(len(labels), bool) if ignore_label is None else labels != ignore_label
    if not keep.any():
        return 0.0
    return float((np.asarray(scores)[keep].argmax(axis=1) != labels[keep]).mean())


# -------------------------------------------------------------------------------------------------- updates


def sgd_update(p, g, v=None, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    """(p, v) after one step (v is None without momentum)."""
    p, g = _f64(p), _f64(g)
    g = g + weight_decay * p
    new_v = momentum * (0.0 if v is None else _f64(v)) - lr * g
    step = momentum * new_v - lr * g if nesterov else new_v
    return p + step, (None if v is None else new_v)


def adam_update(p, g, m, v, step, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    """(p, m, v) after update number `step`, counted from 1 (Kingma and Ba 2015, Algorithm 1)."""
    p, g, m, v = _f64(p), _f64(g), _f64(m), _f64(v)
    g = g + weight_decay * p
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    m_hat = m / (1.0 - beta1**step)
    v_hat = v / (1.0 - beta2**step)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


# ------------------------------------------------------------------------------------------- random numbers

_MASK32 = 0xFFFFFFFF


def philox4x32(counter, key, rounds=10):
    """Philox4x32 of Salmon et al. (2011), section 3.3: four words from a counter of four and a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        product0, product1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (product1 >> 32) ^ c1 ^ k0,
            product1 & _MASK32,
            (product0 >> 32) ^ c3 ^ k1,
            product0 & _MASK32,
        )
        k0, k1 = (k0 + 0x9E3779B9) & _MASK32, (k1 + 0xBB67AE85) & _MASK32
    return c0, c1, c2, c3


def dropout(x, rate, seed, stream):
    """x / (1 - rate) where an item's word, over 2**32, is at least the rate in steps of 2**-32; 0 elsewhere."""
    x = _f64(x)
    key, high = (seed & _MASK32, seed >> 32), (stream & _MASK32, stream >> 32)
    counters = range(-(-x.size // 4))
    words = [w for i in counters for w in philox4x32((i & _MASK32, i >> 32, *high), key)][: x.size]
    kept = np.array(words, np.int64).reshape(x.shape) >= np.floor(rate * 2.0**32)
    with np.errstate(all="ignore"):
        return np.where(kept, x / (1.0 - rate), 0.0)


# --------------------------------------------------------------------------------------- finite differences


def finite_difference(f, x, h=1e-6):
    """Gradient of the scalar function f at x by central differences (error O(h^2) + O(eps / h))."""
    x = _f64(x)
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        gradient[i] = (f(up) - f(down)) / (2.0 * h)
    return gradient
