"""Oracles of `softmax_cross_entropy` and `zero_one_loss`."""

from __future__ import annotations

import numpy as np

from .arrays import f64, one_hot, row_weights
from .rounding import absolute, eps, shift, sum_over_rows, tiny
from .softmax import log_softmax, log_softmax_tolerance


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


def zero_one_loss(scores, labels, ignore_label=None):
    """Mean of argmax(scores) != label over the rows that are not ignored; 0 if all are ignored."""
    labels = np.asarray(labels)
    keep = np.ones(len(labels), bool) if ignore_label is None else labels != ignore_label
    if not keep.any():
        return 0.0
    return float((np.asarray(scores)[keep].argmax(axis=1) != labels[keep]).mean())


def softmax_cross_entropy_tolerance(dtype, logits, target, w, expected_loss):
    """(loss, gradient) for row weights w that sum to 1: weighted log_softmax, and softmax - target."""
    mass = absolute(target).sum(axis=1, keepdims=True)
    per_row = (absolute(target) * log_softmax_tolerance(dtype, logits)).sum(axis=1)
    loss = float((w * per_row).sum()) + 4.0 * eps(dtype) * float(w.sum() > 0)
    loss += sum_over_rows(w, abs(expected_loss))
    relative = 6.0 + np.sqrt(logits.shape[1]) + shift(logits)
    with np.errstate(all="ignore"):
        x = f64(logits)
        p = np.nan_to_num(np.exp(-shift(logits)) * np.isfinite(x))
    magnitude = w[:, None] * (p * mass + absolute(target))
    gradient = w[:, None] * eps(dtype) * (relative * p * mass + 4.0 * absolute(target)) + tiny(dtype)
    return loss, gradient + sum_over_rows(w, magnitude)


def _softmax_cross_entropy(m):
    args = (m.normal(m.n, m.c), m.labels(), m.positive(m.n))
    return m.case(
        "softmax_cross_entropy", args, {"loss": m.scalar(), "d_logits": m.empty(m.n, m.c)}, ignore_label=1
    )


def _zero_one_loss(m):
    return m.case("zero_one_loss", (m.normal(m.n, m.c), m.labels()), {"out": m.scalar()})


CASES = {
    "softmax_cross_entropy": _softmax_cross_entropy,
    "zero_one_loss": _zero_one_loss,
}
