"""Registry of update rules: formulas and error bounds, with gradient clipping and penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .arrays import f64
from .rounding import absolute, eps, tiny


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


def _lion_step(p, g, states, lr, step, beta1=0.9, beta2=0.99):
    m = states[0]
    return p - lr * np.sign(beta1 * m + (1.0 - beta1) * g), beta2 * m + (1.0 - beta2) * g


def _error_of_plain_step(e, p, g, states, after, lr, error, momentum=0.0):
    return (4.0 * e * (p + lr * g) + error * lr * g,)


def _error_of_momentum(e, p, g, states, after, lr, error, momentum=0.9):
    step_size = momentum * states[0] + lr * g
    moved = 4.0 * e * (p + step_size * (1.0 + momentum)) + (1.0 + momentum) * error * lr * g
    return moved, 4.0 * e * step_size + error * lr * g


def _error_of_scaled_step(e, p, g, states, after, lr, error, **numbers):
    # 8 rounding errors of the step, and the gradient's error in the numerator and in the denominator.
    moved, *squares = after
    relative = 8.0 * e + 2.0 * error
    return relative * np.abs(p - moved), *(relative * s for s in squares)


def _error_of_sign_step(e, p, g, states, after, lr, error, **numbers):
    # The sign is exact unless the error of its argument changes it: no test input comes that close to 0.
    return 2.0 * e * (p + lr), (8.0 * e + 2.0 * error) * after[1]


@dataclass(frozen=True)
class UpdateRule:
    """Formula and error bounds of an update rule.

    Attributes
    ----------
    step : callable
        (p, *states) after step number `step`, counted from 1, by the formula of the paper.
    error : callable
        Error bounds of the parameter and the states, from the magnitudes of their inputs; `after` is the result of
        `step` for these magnitudes.
    divides : bool
        Whether the step divides by the square root of accumulated squared gradients.
    numbers : tuple of dict
        Settings of the rule's own parameters that the tests try; {} stands for the defaults.
    keywords : dict
        Keywords that select this rule in a kernel that implements several.
    rate : float
        Learning rate that finds the minimum of a quadratic with curvatures from 0.1 to 1 in 1000 steps.
    """

    step: Callable[..., tuple]
    error: Callable[..., tuple] = _error_of_scaled_step
    divides: bool = True
    numbers: tuple[dict[str, float], ...] = ({},)
    keywords: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 0.01


# kept by hand: formulas that are independent of the kernels
UPDATE_RULES = {
    "sgd": UpdateRule(
        lambda p, g, states, lr, step: (p - lr * g,), _error_of_plain_step, divides=False, rate=0.9
    ),
    "momentum": UpdateRule(
        _momentum_step,
        _error_of_momentum,
        divides=False,
        numbers=({"momentum": 0.9}, {"momentum": 1.0}),
        keywords={"momentum": 0.9, "nesterov": False},
        rate=0.1,
    ),
    "nesterov": UpdateRule(
        _nesterov_step,
        _error_of_momentum,
        divides=False,
        numbers=({"momentum": 0.9},),
        keywords={"momentum": 0.9, "nesterov": True},
        rate=0.1,
    ),
    "adagrad": UpdateRule(_adagrad_step, numbers=({}, {"eps": 0.1}), rate=0.5),
    "rmsprop": UpdateRule(_rmsprop_step, numbers=({}, {"rho": 0.0}, {"rho": 0.5, "eps": 0.1})),
    "adam": UpdateRule(
        _adam_step,
        numbers=({}, {"beta1": 0.0}, {"beta2": 0.5}, {"beta1": 0.5, "beta2": 0.9999}, {"eps": 0.1}),
    ),
    "lion": UpdateRule(
        _lion_step,
        _error_of_sign_step,
        divides=False,
        numbers=({}, {"beta1": 0.0}, {"beta1": 0.5, "beta2": 0.9}),
    ),
}


def clipping(grads, max_norm=None):
    """The factor that scales the joint norm of all gradients down to `max_norm`."""
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
    p, *states = UPDATE_RULES[rule].step(p, g, [f64(s) for s in states], lr, step, **numbers)
    return (soft_threshold(p, lr * l1), *states)


def update_tolerance(
    rule, dtype, p, g, states=(), *, lr, step=1, count=1, clip=1.0, l2=0.0, decay=0.0, l1=0.0, **numbers
):
    """(p, *states) after one step with `count` gradients in total.

    Gradient: 2 rounding errors if it is clipped or penalised. The clipping factor is rounded once, and the norm is the
    root of a float64 sum (`dot`: 2 sqrt(count) eps, halved by the root). Parameter: one rounding error each for the
    step, the decay and the threshold, and two for the sizes of the decay and of the threshold.

    Callers keep l2 |p| below |g| / 2. Magnitudes then overstate the divisors of the scaled rules by at most
    (1 + 1/2) / (1 - 1/2) = 3, for which `cancel` compensates.
    """
    e, entry = eps(dtype), UPDATE_RULES[rule]
    adjusted = clip != 1.0 or l2 or decay or l1
    p, g = absolute(p), clip * absolute(g) + l2 * absolute(p)
    states = [absolute(s) for s in states]
    # Relative error of g.
    error = 2.0 * e * bool(adjusted) + (1.0 + np.sqrt(count)) * eps(np.float64) * (clip != 1.0)
    around = (3.0 if adjusted else 1.0) * e * p + 2.0 * e * (lr * decay * p + lr * l1)
    cancel = 4.0 if l2 and entry.divides else 1.0
    after = entry.step(p, g, states, lr, step, **numbers)
    moved, *kept = entry.error(e, p, g, states, after, lr, error, **numbers)
    return (cancel * moved + around, *(s + tiny(dtype) for s in kept))


_ADJUSTED = {"max_norm": 0.5, "l1": 0.1, "weight_decay": 0.1, "l2": 0.01, "penalised": [True, False, True]}


def _update(rule, **options):
    return lambda m: m.update(rule, **UPDATE_RULES[rule].keywords, **options)


CASES = {
    "sgd_update": _update("nesterov", l2=0.01),
    "sgd_update/clipped": _update("sgd", max_norm=0.5),
    **{
        f"{rule}_update": _update(rule, **({"l1": 0.1} if rule == "rmsprop" else {}))
        for rule in UPDATE_RULES
        if rule not in ("sgd", "momentum", "nesterov")
    },
    "adam_update/adjusted": _update("adam", **_ADJUSTED),
}
