"""Plain float64 NumPy oracles of the update rules, with what is done to gradients and parameters around them."""

from __future__ import annotations

import numpy as np
from reference import f64


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
    norm = np.sqrt(sum((f64(g) ** 2).sum() for g in grads))
    return 1.0 if max_norm is None or norm <= max_norm else max_norm / norm


def soft_threshold(x, t):
    """The proximal operator of t |x|: the minimiser of (y - x)^2 / 2 + t |y|."""
    return np.sign(x) * np.maximum(np.abs(x) - t, 0.0)


def update(rule, p, g, states=(), *, lr, step=1, clip=1.0, l2=0.0, decay=0.0, l1=0.0, **numbers):
    """(p, *states) after one step: clipping, penalties and the rule, in the order of the documentation."""
    p, g = f64(p), f64(g)
    g = clip * g + l2 * p
    p = p - lr * decay * p
    p, *states = UPDATE_RULES[rule](p, g, [f64(s) for s in states], lr, step, **numbers)
    return (soft_threshold(p, lr * l1), *states)
