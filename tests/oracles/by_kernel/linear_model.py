"""Oracles of linear models with few outputs: `linear_loss` and `linear_sgd`."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .classification_loss import softmax_cross_entropy
from .linear import linear
from .losses import pointwise_items, pointwise_loss
from .rounding import absolute, dot, eps


def linear_loss(
    x, w, b, target, kind, sample_weight=None, parameter=None, half=False, reduction="mean", l2=0.0
):
    """(loss, d_w, d_b) of the linear model x @ w + b."""
    z = linear(x, w, b)
    if kind == "softmax_cross_entropy":
        loss, d_z = softmax_cross_entropy(z, target, sample_weight)
    else:
        loss, d_z = pointwise_loss(kind, z, f64(target).reshape(z.shape), sample_weight, parameter, reduction)
    s = 0.5 if half else 1.0
    w = f64(w)
    return s * loss + 0.5 * l2 * (w * w).sum(), s * f64(x).T @ d_z + l2 * w, s * d_z.sum(axis=0)


class LinearSgd:
    """State and steps of `linear_sgd` in plain loops over samples, outputs and weights."""

    def __init__(self, w, b=None, average_start=None):
        self.w = f64(w)
        self.b = None if b is None else f64(b)
        self.average_w, self.average_b = np.zeros_like(self.w), np.zeros(self.w.shape[1])
        self.average_start = average_start
        self.taken, self.allowed = np.zeros_like(self.w), np.zeros(self.w.shape[1])
        self.t = 0
        self.largest = np.abs(self.w).max(initial=0.0)

    def epoch(
        self,
        x,
        target,
        kind,
        *,
        lr,
        parameter=None,
        half=False,
        power=0.0,
        t0=0.0,
        l1=0.0,
        l2=0.0,
        passive_aggressive=0,
        sample_weight=None,
        class_weight=None,
        order=None,
    ):
        """Take a step for each row, in `order`; return the sum of losses and penalties of each output."""
        objective = np.zeros(self.w.shape[1])
        for i in range(len(x)) if order is None else order:
            row = f64(x[i])
            if passive_aggressive == 1 and not row.any():
                continue
            self.t += 1
            rate = lr / (t0 + self.t) ** power
            for c in range(self.w.shape[1]):
                t = float(target[i, c])
                z = row @ self.w[:, c] + (0.0 if self.b is None else self.b[c])
                loss, slope = (
                    float(v) * (0.5 if half else 1.0) for v in pointwise_items(kind, z, t, parameter)
                )
                if kind == "hinge" and t * z == parameter:
                    slope = -t
                objective[c] += loss + 0.5 * l2 * (self.w[:, c] ** 2).sum() + l1 * np.abs(self.w[:, c]).sum()
                if passive_aggressive:
                    bound = row @ row if passive_aggressive == 1 else row @ row + 0.5 / lr
                    step = -np.sign(slope) * (
                        min(lr, loss / bound) if passive_aggressive == 1 else loss / bound
                    )
                else:
                    step = -rate * np.clip(slope, -1e12, 1e12)
                step *= 1.0 if sample_weight is None else float(sample_weight[i])
                step *= 1.0 if class_weight is None else float(class_weight[int(t > 0), c])
                self._move(c, row, step, rate, l1, l2)
            self.largest = max(self.largest, np.abs(self.w).max(initial=0.0))
            if self.average_start is not None and self.t >= self.average_start:
                counted = self.t - self.average_start + 1
                self.average_w += (self.w - self.average_w) / counted
                if self.b is not None:
                    self.average_b += (self.b - self.average_b) / counted
        return objective

    def _move(self, c, row, step, rate, l1, l2):
        self.w[:, c] = max(0.0, 1.0 - rate * l2) * self.w[:, c] + step * row
        if self.b is not None:
            self.b[c] += step
        if l1 == 0.0:
            return
        self.allowed[c] += rate * l1
        for j, w in enumerate(self.w[:, c]):
            if w > 0:
                self.w[j, c] = max(0.0, w - (self.allowed[c] + self.taken[j, c]))
            elif w < 0:
                self.w[j, c] = min(0.0, w + (self.allowed[c] - self.taken[j, c]))
            self.taken[j, c] += self.w[j, c] - w


def linear_loss_tolerance(dtype, x, scores, error, items, w, penalty, d_penalty):
    """(loss, d_w, d_b) for row weights w that sum to 1, scores and their `error`, and items(scores) -> (l, l').

    `error` bounds the error of the scores; its effect on l and l' is their change at scores ± error. The formulas add
    at most 8 eps · max(1, |l|, |l'|). Sums over n rows err as in `dot`; penalties are summed in float64.
    """
    value, slope = items(scores)
    moved = [items(scores + error), items(scores - error)]
    d_value = np.max([np.abs(m[0] - value) for m in moved], axis=0)
    d_slope = np.max([np.abs(m[1] - slope) for m in moved], axis=0)
    size = np.maximum(1.0, np.maximum(np.abs(value), np.abs(slope)))
    share, x = w[:, None], absolute(x)
    loss = float((share * (d_value + 8.0 * eps(dtype) * size)).sum())
    d_z = share * (d_slope + 8.0 * eps(dtype) * size)
    d_w = x.T @ d_z + dot(dtype, len(x), x.T @ (share * np.abs(slope))) + 2.0 * eps(dtype) * np.abs(d_penalty)
    d_b = d_z.sum(axis=0) + dot(dtype, len(x), (share * np.abs(slope)).sum(axis=0))
    return loss + 4.0 * np.sqrt(d_penalty.size) * eps(np.float64) * penalty, d_w, d_b


def linear_sgd_tolerance(dtype, steps, x, largest):
    """Weights after `steps` steps.
    Each step rounds a score of d terms, whose error moves the weights along the sample, and the weights themselves.
    Steps on convex losses do not amplify errors, so they add up, as random errors do (lambda = 4, see `dot`).
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


def _linear_loss(kind):
    def make(m):
        target = m.labels() if kind == "softmax_cross_entropy" else m.positive(m.n, m.c)
        args = (
            m.normal(m.n, m.k),
            m.normal(m.k, m.c) * m.dtype.type(0.1),
            m.normal(m.c),
            target,
            m.positive(m.n),
        )
        outputs = {"loss": m.scalar(), "d_w": m.empty(m.k, m.c), "d_b": m.empty(m.c)}
        return m.case("linear_loss", args, outputs, kind=kind, l2=0.1)

    return make


def _linear_sgd(m):
    w, b, step = m.normal(m.k, m.c) * m.dtype.type(0.1), m.normal(m.c), np.array(3)
    state = {"l1_applied": np.zeros((m.k, m.c), m.dtype), "l1_total": np.zeros(m.c)}
    state |= {"average_w": np.zeros((m.k, m.c), m.dtype), "average_b": np.zeros(m.c, m.dtype)}
    options = {"lr": np.array(0.01), "l1": 1e-4, "l2": 1e-3, "order": m.rng.permutation(m.n)[:40]}
    args = (m.normal(m.n, m.k), m.labels(), w, b, step)
    return m.in_place("linear_sgd", args, [w, b, step, *state.values()], **state, **options)


CASES = {
    "linear_loss": _linear_loss("squared_error"),
    "linear_loss/softmax": _linear_loss("softmax_cross_entropy"),
    "linear_sgd": _linear_sgd,
}
