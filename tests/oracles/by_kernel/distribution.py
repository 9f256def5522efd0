"""Oracles of `output_fisher`, `output_divergence` and `sampled_score`, for the distributions behind the losses."""

from __future__ import annotations

import numpy as np
from scipy import special

from .activations import sigmoid
from .arrays import F64, f64, one_hot, row_weights
from .random import normals, uniforms, words_of
from .rounding import absolute, eps, shift, sum_over_rows, tiny
from .softmax import softmax, softmax_tolerance

# kept by hand: the formulas below are independent of the kernels
DISTRIBUTIONS = ("categorical", "bernoulli", "gaussian", "gaussian_learned_variance", "poisson")
# Distributions whose outputs are independent of each other.
_OF_SINGLE_OUTPUTS = DISTRIBUTIONS[1:]


def scores_of_observations(z, distribution):
    """(probabilities, scores) of all possible observations of each row of z: the classes, or each output's labels."""
    z = f64(z)
    if distribution == "categorical":
        p = softmax(z)
        return p, p[:, None, :] - np.eye(z.shape[1])  # (n, class), (n, class, c)
    p = np.stack([sigmoid(-z), sigmoid(z)])  # of the labels 0 and 1
    return p, np.stack([p[1], -p[0]])


def output_fisher(z, v, distribution, sample_weight=None, scale=1.0):
    """scale w_i / sum(w) E[s s^T] v_i; the expectation sums over all observations if there are finitely many."""
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


def poisson_count(mean, item, seed, stream):
    """A Poisson sample: by inversion of the distribution function for a mean below 10, else by PTRS (Hörmann 1993)."""
    if mean < 10:
        return np.argmax(special.pdtr(np.arange(200), mean) > uniforms(item, seed, stream)[0])
    b = 0.931 + 2.53 * np.sqrt(mean)
    a = -0.059 + 0.02483 * b
    attempt = 0
    while True:
        u, v = uniforms(item + attempt * 2**48, seed, stream)
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
    """(score, distance of the uniform number from the nearest boundary between two samples)."""
    z = f64(z)
    n, c = z.shape
    if distribution == "categorical":
        u = np.array([uniforms(i, seed, stream)[0] for i in range(n)])[:, None]
        p = softmax(z)
        ends = p.cumsum(axis=1)
        drawn = (ends <= u).sum(axis=1)
        return p - one_hot(drawn, c), np.abs(ends - u)[:, :-1].min(axis=1, initial=1.0)[:, None]
    if distribution == "bernoulli":
        words = [w for k in range(-(-z.size // 4)) for w in words_of(k, seed, stream)][: z.size]
        u = np.array(words, F64).reshape(n, c) / 2.0**32
        less, p, q = sigmoid(-np.abs(z)), sigmoid(z), sigmoid(-z)
        label = np.where(u < less, z <= 0, z > 0)
        return np.where(label, -q, p), np.abs(u - less)
    if distribution == "gaussian":
        return -normals(z.size, seed, stream).reshape(n, c), np.ones((n, c))
    if distribution == "gaussian_learned_variance":
        e = normals(z.size // 2, seed, stream).reshape(n, c // 2)
        return np.hstack([-e * np.exp(-0.5 * z[:, c // 2 :]), 0.5 - 0.5 * e * e]), np.ones((n, c))
    mean = np.exp(z)
    counts = [poisson_count(m, e, seed, stream) for e, m in enumerate(mean.ravel())]
    return mean - np.array(counts, F64).reshape(n, c), np.ones((n, c))


def output_fisher_tolerance(dtype, z, v, distribution, w, expected):
    """Absolute tolerance for row weights w that include the scale.

    Categorical: the error of p (see `softmax`) enters its product with v - m, where m = sum p v, and m itself, whose
    sum rounds too. Other distributions: a product with exponentials within 2 ulp each, or with exp(-s / 2), whose
    error doubles; the weights are rounded.
    """
    w, v = np.abs(w)[:, None], np.nan_to_num(absolute(v), posinf=0.0)
    floor = tiny(dtype) * (1.0 + w * (1.0 + v.max(axis=1, initial=0.0)[:, None]))
    if distribution != "categorical":
        return 12.0 * eps(dtype) * np.nan_to_num(absolute(expected), posinf=0.0) + floor
    with np.errstate(all="ignore"):
        x = f64(z)
        p = np.exp(x - x.max(axis=1, keepdims=True))
        p = np.nan_to_num(p / p.sum(axis=1, keepdims=True))
    relative = 8.0 + 2.0 * np.sqrt(z.shape[1]) + shift(z)
    mean, mean_error = (p * v).sum(axis=1, keepdims=True), (relative * p * v).sum(axis=1, keepdims=True)
    return eps(dtype) * w * p * (relative * (v + mean) + mean_error + relative.max() * mean) + floor


def output_divergence_tolerance(z, w, distribution, shares, rows):
    """Absolute tolerance for row weights `shares` that sum to 1 and exact divergences `rows`; float64 for all dtypes.

    No term of a formula exceeds 13 times the result (the largest ratio is that of log1p(1) to the divergence of z = 0
    from w = -1). Each term is within 2 eps, and sums have non-negative terms. Rounding the difference d of
    log-variances changes exp(d) by a relative |d| u.

    Categorical: z and w minus the maximum of z are rounded (see `softmax`), t and its mean to a few u of the largest
    |t|. An error D of the mean, shared by all u, changes the result R by D R + D² / 2. Errors D of single t change the
    standard deviation sqrt(2 R) of t by D.
    """
    e, c = eps(np.float64), z.shape[1]
    z, w = f64(z), f64(w)
    t = np.abs(w - z)
    relative = np.full(len(z), 32.0 + 2.0 * np.sqrt(c))
    floor = np.full(len(z), tiny(np.float64))
    if distribution == "gaussian_learned_variance":
        relative += np.minimum(t[:, c // 2 :], 750.0).max(axis=1)
    elif distribution == "categorical":
        error = (4.0 + np.sqrt(c)) * t.max(axis=1)
        relative += error + (shift(z) + np.abs(w - z.max(axis=1, keepdims=True))).max(axis=1)
        floor += 2.0 * e * error * np.sqrt(2.0 * rows) + (e * error) ** 2
    magnitude = shares @ rows
    return shares @ (relative * e * rows + floor) + sum_over_rows(shares, magnitude)


def sampled_score_tolerance(dtype, z, distribution, expected):
    """Classes: softmax less one. Counts: the mean, in float64, less the count, rounded once. Otherwise a normal number
    or a quotient, times an exponential or its root; a normal number's square keeps twice its rounding.
    """
    e = eps(dtype)
    if distribution == "categorical":
        with np.errstate(all="ignore"):
            x = f64(z)
            p = np.exp(x - x.max(axis=1, keepdims=True))
            p = np.nan_to_num(p / p.sum(axis=1, keepdims=True))
        return softmax_tolerance(dtype, z, p) + e
    if distribution == "poisson":
        with np.errstate(over="ignore"):
            mean = np.exp(f64(z))
        return e * absolute(expected) + 8.0 * eps(np.float64) * mean + tiny(dtype)
    return 10.0 * e * (absolute(expected) + (distribution == "gaussian_learned_variance")) + tiny(dtype)


def _output_fisher(distribution, columns):
    def make(m):
        shape = (m.n, 2 * getattr(m, columns))
        args = (m.normal(*shape), m.normal(*shape), distribution, m.positive(m.n))
        return m.case("output_fisher", args, {"out": m.empty(*shape)}, scale=1.5)

    return make


def _output_divergence(distribution, columns):
    def make(m):
        shape = (m.n, 2 * getattr(m, columns))
        args = (m.normal(*shape), m.normal(*shape), distribution, m.positive(m.n))
        return m.case("output_divergence", args, {"out": m.scalar()})

    return make


def _sampled_score(distribution, columns):
    def make(m):
        shape = (m.n, 2 * getattr(m, columns))
        options = {"seed": 5, "stream": np.array(2)}
        return m.case("sampled_score", (m.normal(*shape), distribution), {"out": m.empty(*shape)}, **options)

    return make


CASES = {
    "output_fisher": _output_fisher("categorical", "c"),
    "output_fisher/wide": _output_fisher("categorical", "k"),
    **{f"output_fisher/{name}": _output_fisher(name, "k") for name in _OF_SINGLE_OUTPUTS},
    "output_divergence": _output_divergence("categorical", "c"),
    "output_divergence/wide": _output_divergence("categorical", "k"),
    **{f"output_divergence/{name}": _output_divergence(name, "k") for name in _OF_SINGLE_OUTPUTS},
    "sampled_score": _sampled_score("categorical", "c"),
    "sampled_score/wide": _sampled_score("categorical", "k"),
    **{f"sampled_score/{name}": _sampled_score(name, "c") for name in _OF_SINGLE_OUTPUTS},
}
