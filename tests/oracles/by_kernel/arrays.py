"""Helpers of all oracles: arrays in float64, row weights, finite differences."""

from __future__ import annotations

import numpy as np

F64 = np.float64


def f64(x):
    """x in float64."""
    return np.asarray(x).astype(F64)


def one_hot(labels, c):
    """One-hot matrix (n, c); rows whose label lies outside 0..c-1 are zero."""
    return (np.asarray(labels)[:, None] == np.arange(c)).astype(F64)


def row_weights(n, sample_weight=None, labels=None, ignore_label=None):
    """Weight of each row divided by the sum of the weights; all zero when that sum is zero."""
    w = np.ones(n) if sample_weight is None else f64(sample_weight)
    if ignore_label is not None:
        w = np.where(np.asarray(labels) == ignore_label, 0.0, w)
    total = w.sum()
    return w / total if total > 0 else np.zeros(n)


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
