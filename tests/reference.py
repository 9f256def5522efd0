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


def zero_one_loss(scores, labels, ignore_label=None):
    """Mean of argmax(scores) != label over the rows not ignored (0 when there are none)."""
    labels = np.asarray(labels)
    keep = np.ones(len(labels), bool) if ignore_label is None else labels != ignore_label
    if not keep.any():
        return 0.0
    return float((np.asarray(scores)[keep].argmax(axis=1) != labels[keep]).mean())


# -------------------------------------------------------------------------------------------------- updates


def _adam_step(p, g, states, lr, step, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * states[0] + (1.0 - beta1) * g
    v = beta2 * states[1] + (1.0 - beta2) * g * g
    return p - lr * (m / (1.0 - beta1**step)) / (np.sqrt(v / (1.0 - beta2**step)) + eps), m, v


def _momentum_step(p, g, states, lr, step, momentum=0.9):
    v = momentum * states[0] - lr * g
    return p + v, v


def _nesterov_step(p, g, states, lr, step, momentum=0.9):
    v = momentum * states[0] - lr * g
    return p + momentum * v - lr * g, v


def _adagrad_step(p, g, states, lr, step, eps=1e-10):
    s = states[0] + g * g
    return p - lr * g / (np.sqrt(s) + eps), s


def _rmsprop_step(p, g, states, lr, step, rho=0.99, eps=1e-8):
    v = rho * states[0] + (1.0 - rho) * g * g
    return p - lr * g / (np.sqrt(v) + eps), v


# name -> (p, *states) after step number `step`, counted from 1, by the formulas of the papers
UPDATE_RULES = {
    "sgd": lambda p, g, states, lr, step: (p - lr * g,),
    "momentum": _momentum_step,
    "nesterov": _nesterov_step,
    "adagrad": _adagrad_step,
    "rmsprop": _rmsprop_step,
    "adam": _adam_step,
}


def clipping(grads, max_norm=None):
    """The factor that brings the norm of all gradients together down to `max_norm`."""
    norm = np.sqrt(sum((_f64(g) ** 2).sum() for g in grads))
    return 1.0 if max_norm is None or norm <= max_norm else max_norm / norm


def soft_threshold(x, t):
    """The proximal operator of t |x|: the minimiser of (y - x)^2 / 2 + t |y|."""
    return np.sign(x) * np.maximum(np.abs(x) - t, 0.0)


def update(rule, p, g, states=(), *, lr, step=1, clip=1.0, l2=0.0, decay=0.0, l1=0.0, **numbers):
    """(p, *states) after one step: clipping, penalties and the rule, in the order of the documentation."""
    p, g = _f64(p), _f64(g)
    g = clip * g + l2 * p
    p = p - lr * decay * p
    p, *states = UPDATE_RULES[rule](p, g, [_f64(s) for s in states], lr, step, **numbers)
    return (soft_threshold(p, lr * l1), *states)


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
