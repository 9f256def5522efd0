"""Plain float64 NumPy and SciPy oracles of every kernel.

Nothing here calls a kernel. Each function takes arrays of any float dtype, computes in float64, and returns new arrays.
Update rules are in `update_reference.py`, linear models in `linear_model_reference.py`, networks in
`network_reference.py`. `philox4x32` is written in Python integers from the paper, and shares no code with the kernels.
"""

from __future__ import annotations

import numpy as np
from scipy import special

F64 = np.float64


def f64(x):
    """x in float64."""
    return np.asarray(x).astype(F64)


# ---------------------------------------------------------------------------------------------- activations


def _sigmoid(x):
    # Two branches, so that exp never overflows.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def _times_exp(a, x):
    """a * exp(x) for x <= 0, which may be a normal number where exp(x) is none; 0 at -inf."""
    root = np.exp(0.5 * x)
    return np.where(x == -np.inf, 0.0, a * root * root)


def _gelu(x):
    # x Phi(x), below 0 by erfcx(z) = exp(z**2) erfc(z), which has no tail.
    below = _times_exp(0.5 * x * special.erfcx(-x / np.sqrt(2.0)), -0.5 * x * x)
    return np.where(x < 0, below, x * special.ndtr(x))


def _gelu_derivative(x):
    # Phi(x) + x phi(x)
    ratio = 0.5 * special.erfcx(np.abs(x) / np.sqrt(2.0))
    below = _times_exp(ratio - np.abs(x) / np.sqrt(2.0 * np.pi), -0.5 * x * x)
    return np.where(x < 0, below, 1.0 - below)


def _silu(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, _times_exp(x / (1.0 + e), -np.abs(x)), x / (1.0 + e))


def _silu_derivative(x):
    # s + x s (1 - s), s = sigmoid(x)
    s = _sigmoid(np.abs(x))
    below = _times_exp(s - np.abs(x) * s * s, -np.abs(x))
    return np.where(x < 0, below, 1.0 - below)


# name -> (f, f' as a function of the output y or, for the INPUT_DERIVATIVES, of the input x, Lipschitz constant of f).
# All take the parameter as their last argument; the constant is a function of it alone.
ACTIVATIONS = {
    "identity": (lambda x, _: x.copy(), lambda y, _: np.ones_like(y), lambda _: 1.0),
    "relu": (
        lambda x, _: np.where(np.isnan(x), x, np.maximum(x, 0.0)),
        lambda y, _: (y > 0).astype(F64),
        lambda _: 1.0,
    ),
    "leaky_relu": (
        lambda x, slope: np.where(x > 0, x, slope * x),
        lambda y, slope: np.where(y > 0, 1.0, slope),
        lambda slope: max(1.0, slope),
    ),
    "elu": (
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)),
        lambda y, alpha: np.where(y > 0, 1.0, y + alpha),
        lambda alpha: max(1.0, alpha),
    ),
    "sigmoid": (lambda x, _: _sigmoid(x), lambda y, _: y * (1.0 - y), lambda _: 0.25),
    "hard_sigmoid": (
        lambda x, _: np.clip((x + 3.0) / 6.0, 0.0, 1.0),
        lambda y, _: np.where((y > 0) & (y < 1), 1.0 / 6.0, 0.0),
        lambda _: 1.0 / 6.0,
    ),
    "tanh": (lambda x, _: np.tanh(x), lambda y, _: 1.0 - y * y, lambda _: 1.0),
    "softplus": (lambda x, _: np.logaddexp(0.0, x), lambda y, _: -np.expm1(-y), lambda _: 1.0),
    "gelu": (
        lambda x, _: _gelu(x),
        lambda x, _: _gelu_derivative(x),
        lambda _: 1.13,
    ),
    "silu": (
        lambda x, _: _silu(x),
        lambda x, _: _silu_derivative(x),
        lambda _: 1.1,
    ),
}
INPUT_DERIVATIVES = {"gelu", "silu"}
DEFAULT_PARAMETERS = {"leaky_relu": 0.01, "elu": 1.0}


def split_activation(activation):
    """(name, parameter) of a name, or of a pair of these."""
    return activation if isinstance(activation, tuple) else (activation, DEFAULT_PARAMETERS.get(activation))


def _value(x, activation):
    name, parameter = split_activation(activation)
    with np.errstate(all="ignore"):
        return ACTIVATIONS[name][0](f64(x), parameter)


def lipschitz(activation):
    """The largest |f'|."""
    name, parameter = split_activation(activation)
    return ACTIVATIONS[name][2](parameter)


def activation(x, activation="relu"):
    """f(x)."""
    return _value(x, activation)


def activation_backward(d_y, y, activation="relu"):
    """d_y * f', with f' evaluated at the output y = f(x), or at the input for the INPUT_DERIVATIVES."""
    name, parameter = split_activation(activation)
    with np.errstate(all="ignore"):
        return f64(d_y) * ACTIVATIONS[name][1](f64(y), parameter)


def prelu(x, slope):
    """x where x > 0, else slope x."""
    with np.errstate(all="ignore"):
        x = f64(x)
        return np.where(x > 0, x, f64(slope) * x)


def prelu_backward(d_y, x, slope):
    """(d_x, d_slope), summed down the columns or over everything."""
    with np.errstate(all="ignore"):
        d_y, x, slope = f64(d_y), f64(x), f64(slope)
        terms = np.where(x > 0, 0.0, d_y * x)
        d_slope = terms.sum(axis=0) if len(slope) == x.shape[1] else terms.sum(keepdims=True)[0]
        return np.where(x > 0, d_y, slope * d_y), d_slope


# ------------------------------------------------------------------------------------------------- products


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
    """(d_x, d_w, d_b); `activation` is the one that produced x."""
    d_w = matmul(np.asarray(x).T, d_out) + l2 * f64(w)
    d_b = f64(d_out).sum(axis=0)
    d_x = activation_backward(matmul(d_out, np.asarray(w).T), x, activation)
    return d_x, d_w, d_b


def linear_tangent(x, v, c=None, dx=None, w=None, y=None, activation="identity"):
    """f' times the derivative of x @ w + b along (v, c), where x has the derivative dx."""
    sums = matmul(x, v)
    if c is not None:
        sums = sums + f64(c)
    if dx is not None:
        sums = sums + matmul(dx, w)
    return sums if y is None else activation_backward(sums, y, activation)


def gradient_gram(x, d, bias=False):
    """Products of the gradients with respect to w, and b, for the rows of d, as many of them for each row of x."""
    x, d = f64(x), f64(d)
    x = x.repeat(len(d) // max(len(x), 1), axis=0)
    gradients = (x[:, :, None] * d[:, None, :]).reshape(len(d), x.shape[1] * d.shape[1])
    if bias:
        gradients = np.concatenate([gradients, d], axis=1)
    return gradients @ gradients.T


def gradient_norms(x, d, bias=True):
    """The squared norms of these gradients."""
    x, d = f64(x), f64(d)
    x = x.repeat(len(d) // max(len(x), 1), axis=0)
    with np.errstate(all="ignore"):
        return np.square(x[:, :, None] * d[:, None, :]).sum(axis=(1, 2)) + bias * np.square(d).sum(axis=1)


def second_moment(x, weight=None, ones=False, scale=1.0, decay=0.0, out=None):
    """What is left of out, and the weighted mean of the outer products of rows; those of weight 0 are not looked at."""
    weight = np.ones(len(x)) if weight is None else f64(weight)
    x, share = f64(x)[weight != 0], weight[weight != 0] / (weight.sum() or 1.0)
    if ones:
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    mean = scale * np.einsum("n,ni,nj->ij", share, x, x, optimize=True)
    return mean if decay == 0 else decay * f64(out) + mean


# --------------------------------------------------------------------------------------------------- losses


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
    """(diag(p) - p p^T) v for p = softmax(z), as p_j sum_l p_l (v_j - v_l): nothing cancels where one p is nearly 1."""
    p, v = softmax(z), f64(v)
    return p * np.einsum("nl,njl->nj", p, v[:, :, None] - v[:, None, :])


def softmax_backward(d_y, y):
    """y (d_y - sum(d_y y)) over the last axis."""
    d_y, y = f64(d_y), f64(y)
    with np.errstate(all="ignore"):
        return y * (d_y - (d_y * y).sum(axis=-1, keepdims=True))


def one_hot(labels, c):
    """(n, c) of zeros and ones; rows whose label lies outside 0..c-1 are zero."""
    return (np.asarray(labels)[:, None] == np.arange(c)).astype(F64)


def row_weights(n, sample_weight=None, labels=None, ignore_label=None):
    """Weight of each row divided by the sum of the weights; all zero when that sum is zero."""
    w = np.ones(n) if sample_weight is None else f64(sample_weight)
    if ignore_label is not None:
        w = np.where(np.asarray(labels) == ignore_label, 0.0, w)
    total = w.sum()
    return w / total if total > 0 else np.zeros(n)


def softmax_cross_entropy(logits, labels, sample_weight=None, ignore_label=None):
    """(mean loss, gradient). A target probability of 0 contributes 0 even where log p is -inf."""
    x = f64(logits)
    n, c = x.shape
    labels = np.asarray(labels)
    by_id = labels.ndim == 1
    target = one_hot(labels, c) if by_id else f64(labels)
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
    p, t = f64(prediction), f64(target)
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
    "epsilon_insensitive": (
        lambda z, t, c: np.maximum(0.0, np.abs(z - t) - c),
        lambda z, t, c: np.sign(z - t) * np.heaviside(np.abs(z - t) - c, 0.0),
    ),
    "squared_epsilon_insensitive": (
        lambda z, t, c: np.maximum(0.0, np.abs(z - t) - c) ** 2,
        lambda z, t, c: 2.0 * np.sign(z - t) * np.maximum(0.0, np.abs(z - t) - c),
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
    "modified_huber": (
        lambda z, t, _: np.where(t * z >= -1.0, np.maximum(0.0, 1.0 - t * z) ** 2, -4.0 * t * z),
        lambda z, t, _: np.where(t * z >= -1.0, -2.0 * t * np.maximum(0.0, 1.0 - t * z), -4.0 * t),
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
        return tuple(f(f64(z), f64(t), parameter) for f in POINTWISE_LOSSES[name])


def gaussian_items(prediction, target):
    """(l, (dl/dmu, dl/ds)) of every target, for predictions (mu, s): l = (s + (t - mu)^2 exp(-s)) / 2."""
    t = f64(target)
    mu, s = np.split(f64(prediction), 2, axis=1)
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


def scores_of_observations(z, distribution):
    """(probabilities, scores) of all observations of a row of z: classes, or labels of each output."""
    z = f64(z)
    if distribution == "categorical":
        p = softmax(z)
        return p, p[:, None, :] - np.eye(z.shape[1])  # (n, class), (n, class, c)
    p = np.stack([_sigmoid(-z), _sigmoid(z)])  # of the labels 0 and 1
    return p, np.stack([p[1], -p[0]])


def output_fisher(z, v, distribution, sample_weight=None, scale=1.0):
    """scale w_i / sum(w) E[s s^T] v_i, from the scores of all observations where they are finite in number."""
    z, v = f64(z), f64(v)
    w = scale * row_weights(len(z), sample_weight)[:, None]
    with np.errstate(all="ignore"):
        if distribution == "categorical":
            p, s = scores_of_observations(z, distribution)
            product = np.einsum("nk,nkc,nk->nc", p, s, np.einsum("nkc,nc->nk", s, v))
        elif distribution == "bernoulli":
            p, s = scores_of_observations(z, distribution)
            product = (p * s**2).sum(axis=0) * v
        elif distribution == "gaussian":
            product = v
        elif distribution == "gaussian_learned_variance":
            # The score of the log-variance, (1 - e^2) / 2 for a standard normal e, has the variance 2 / 4.
            precision = np.exp(-z[:, z.shape[1] // 2 :])
            product = np.concatenate([precision, np.full_like(precision, 0.5)], axis=1) * v
        else:
            product = np.exp(z) * v  # the variance of the count is its mean
        return np.where(w == 0, 0.0, w * product)


def zero_one_loss(scores, labels, ignore_label=None):
    """Mean of argmax(scores) != label over the rows not ignored (0 when there are none)."""
    labels = np.asarray(labels)
    keep = np.ones(len(labels), bool) if ignore_label is None else labels != ignore_label
    if not keep.any():
        return 0.0
    return float((np.asarray(scores)[keep].argmax(axis=1) != labels[keep]).mean())


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
    x = f64(x)
    key, high = (seed & _MASK32, seed >> 32), (stream & _MASK32, stream >> 32)
    counters = range(-(-x.size // 4))
    words = [w for i in counters for w in philox4x32((i & _MASK32, i >> 32, *high), key)][: x.size]
    kept = np.array(words, np.int64).reshape(x.shape) >= np.floor(rate * 2.0**32)
    with np.errstate(all="ignore"):
        return np.where(kept, x / (1.0 - rate), 0.0)


def _words(index, seed, stream):
    """The four words of one counter."""
    return philox4x32(
        (index & _MASK32, index >> 32, stream & _MASK32, stream >> 32), (seed & _MASK32, seed >> 32)
    )


def _uniforms(index, seed, stream):
    """Two numbers in [0, 1) of 53 bits."""
    w = _words(index, seed, stream)
    return [((low | high << 32) >> 11) * 2.0**-53 for low, high in (w[:2], w[2:])]


def _normals(count, seed, stream):
    """Box and Muller's: the cosine, then the sine, of the second word's angle."""
    words = np.array([_words(k, seed, stream) for k in range(-(-count // 4))], F64).reshape(-1, 2) / 2.0**32
    radius, angle = np.sqrt(-2.0 * np.log(words[:, 0] + 2.0**-33)), 2.0 * np.pi * words[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:count]


def poisson_count(mean, item, seed, stream):
    """A count: below a mean of 10 the first whose distribution function exceeds u, else by Hörmann's PTRS (1993)."""
    if mean < 10:
        return np.argmax(special.pdtr(np.arange(200), mean) > _uniforms(item, seed, stream)[0])
    b = 0.931 + 2.53 * np.sqrt(mean)
    a = -0.059 + 0.02483 * b
    attempt = 0
    while True:
        u, v = _uniforms(item + attempt * 2**48, seed, stream)
        attempt += 1
        us = 0.5 - abs(u - 0.5)
        k = np.floor((2.0 * a / us + b) * (u - 0.5) + mean + 0.43)
        if us >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2.0):
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = np.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (us * us) + b))
        if left <= special.xlogy(k, mean) - mean - special.gammaln(k + 1.0):
            return k


def sampled_score(z, distribution, seed, stream):
    """(score, how far the numbers that were drawn lie from where others would have been)."""
    z = f64(z)
    n, c = z.shape
    if distribution == "categorical":
        u = np.array([_uniforms(i, seed, stream)[0] for i in range(n)])[:, None]
        p = softmax(z)
        ends = p.cumsum(axis=1)
        drawn = (ends <= u).sum(axis=1)
        return p - one_hot(drawn, c), np.abs(ends - u)[:, :-1].min(axis=1, initial=1.0)[:, None]
    if distribution == "bernoulli":
        words = [w for k in range(-(-z.size // 4)) for w in _words(k, seed, stream)][: z.size]
        u = np.array(words, F64).reshape(n, c) / 2.0**32
        less, p, q = _sigmoid(-np.abs(z)), _sigmoid(z), _sigmoid(-z)
        label = np.where(u < less, z <= 0, z > 0)
        return np.where(label, -q, p), np.abs(u - less)
    if distribution == "gaussian":
        return -_normals(z.size, seed, stream).reshape(n, c), np.ones((n, c))
    if distribution == "gaussian_learned_variance":
        e = _normals(z.size // 2, seed, stream).reshape(n, c // 2)
        return np.hstack([-e * np.exp(-0.5 * z[:, c // 2 :]), 0.5 - 0.5 * e * e]), np.ones((n, c))
    mean = np.exp(z)
    counts = [poisson_count(m, e, seed, stream) for e, m in enumerate(mean.ravel())]
    return mean - np.array(counts, F64).reshape(n, c), np.ones((n, c))


# --------------------------------------------------------------------------------------- finite differences


def finite_difference(f, x, h=1e-6):
    """Gradient of the scalar function f at x by central differences (error O(h^2) + O(eps / h))."""
    x = f64(x)
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        gradient[i] = (f(up) - f(down)) / (2.0 * h)
    return gradient
