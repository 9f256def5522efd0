"""Plain float64 NumPy oracles of the linear models with few outputs, as `reference` has those of the other kernels."""

from __future__ import annotations

import numpy as np
import reference


def f64(x):
    """A copy in float64."""
    return np.asarray(x).astype(np.float64)


def linear_loss(
    x, w, b, target, kind, sample_weight=None, parameter=None, half=False, reduction="mean", l2=0.0
):
    """(loss, d_w, d_b) of the linear model x @ w + b."""
    z = reference.linear(x, w, b)
    if kind == "softmax_cross_entropy":
        loss, d_z = reference.softmax_cross_entropy(z, target, sample_weight)
    else:
        loss, d_z = reference.pointwise_loss(
            kind, z, f64(target).reshape(z.shape), sample_weight, parameter, reduction
        )
    s = 0.5 if half else 1.0
    w = f64(w)
    return s * loss + 0.5 * l2 * (w * w).sum(), s * f64(x).T @ d_z + l2 * w, s * d_z.sum(axis=0)


class LinearSgd:
    """State and steps of `linear_sgd`, one sample, output and number after the other."""

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
        """Visit the rows in their order; returns the sum of losses and penalties of each output."""
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
                    float(v) * (0.5 if half else 1.0)
                    for v in reference.pointwise_items(kind, z, t, parameter)
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
