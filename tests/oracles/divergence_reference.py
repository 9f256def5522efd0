"""Oracle of KL divergences: their definitions in decimal arithmetic, with enough digits for every cancellation."""

from __future__ import annotations

import decimal
from decimal import Decimal
from functools import cache

import numpy as np


def _softplus(x):
    return (1 + x.exp()).ln()


def _bernoulli(z, w):
    return _softplus(w) - _softplus(z) - (w - z) / (1 + (-z).exp())


def _gaussian(z, w):
    return (w - z) ** 2 / 2


def _learned_variance(z, w):
    (mean, s), (other, r) = z, w
    return ((s - r).exp() - 1 - (s - r) + (mean - other) ** 2 * (-r).exp()) / 2


def _poisson(z, w):
    return w.exp() - z.exp() - z.exp() * (w - z)


def _categorical(z, w):
    p, q = ([a.exp() for a in logits] for logits in (z, w))
    expected = sum(p_j * (z_j - w_j) for p_j, z_j, w_j in zip(p, z, w, strict=True)) / sum(p)
    return expected + (sum(q) / sum(p)).ln()


@cache
def _of_item(formula, z, w):
    """KL divergence between two distributions of one family with parameters z and w: a float or a tuple of floats."""
    numbers = [(a,) if isinstance(a, float) else a for a in (z, w)]
    largest = max(abs(x) for a in numbers for x in a)
    with decimal.localcontext() as context:
        # 1 + exp(-x) keeps at least 60 digits of exp(-x), unless exp(-x) lies below the range of float64.
        context.prec = 60 + int(min(largest, 800))
        decimals = [[Decimal(x) for x in a] for a in numbers]
        return formula(*(a if len(a) > 1 or isinstance(z, tuple) else a[0] for a in decimals))


def rows(z, w, distribution):
    """KL(p(z_i) || p(w_i)) of each row, of shape (n,)."""
    z, w = (np.asarray(a).astype(np.float64).tolist() for a in (z, w))
    totals = []
    for first, second in zip(z, w, strict=True):
        m = len(first) // 2
        if distribution == "categorical":
            total = _of_item(_categorical, tuple(first), tuple(second))
        elif distribution == "gaussian_learned_variance":
            pairs = [list(zip(a[:m], a[m:], strict=True)) for a in (first, second)]
            total = sum(_of_item(_learned_variance, a, b) for a, b in zip(*pairs, strict=True))
        else:
            formula = {"bernoulli": _bernoulli, "gaussian": _gaussian, "poisson": _poisson}[distribution]
            total = sum(_of_item(formula, a, b) for a, b in zip(first, second, strict=True))
        totals.append(max(0.0, float(total)))  # a divergence of 0 may come out slightly negative
    return np.array(totals)
