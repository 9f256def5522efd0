"""The losses, from their registry and the classes of `steepest.nn`."""

from __future__ import annotations

import dataclasses

import numpy as np

from steepest import kernels as K
from steepest import nn

PAGE = "losses.md"

# Name -> loss l, its derivative by z, what z predicts, what it is for. The rest comes from the registry.
FORMULAS = {
    "squared_error": ("s (z − t)²", "2 s (z − t)", "mean of t", "regression"),
    "absolute_error": ("\\|z − t\\|", "sign(z − t)", "median of t", "regression with outliers"),
    "huber": (
        "e²/2 up to δ, δ (\\|e\\| − δ/2) beyond, e = z − t",
        "e within ±δ, ±δ beyond",
        "between mean and median of t",
        "regression with outliers",
    ),
    "epsilon_insensitive": (
        "max(0, \\|z − t\\| − ε)",
        "sign(z − t) beyond ε, 0 within",
        "t within ±ε",
        "support-vector regression",
    ),
    "squared_epsilon_insensitive": (
        "max(0, \\|z − t\\| − ε)²",
        "2 sign(z − t) max(0, \\|z − t\\| − ε)",
        "t within ±ε",
        "smooth support-vector regression",
    ),
    "quantile": (
        "q (t − z) below t, (1 − q) (z − t) above",
        "−q below t, 1 − q above",
        "q-quantile of t",
        "prediction intervals",
    ),
    "log_loss": (
        "log(1 + exp(z)) − t z",
        "sigmoid(z) − t",
        "logit: P(t = 1) = sigmoid(z)",
        "two classes, several labels at once",
    ),
    "hinge": ("max(0, margin − t z)", "−t within the margin", "sign of t", "linear support-vector machines"),
    "squared_hinge": (
        "max(0, 1 − t z)²",
        "−2 t max(0, 1 − t z)",
        "sign of t",
        "smooth support-vector machines",
    ),
    "modified_huber": (
        "max(0, 1 − t z)² up to t z = −1, −4 t z beyond",
        "−2 t min(2, max(0, 1 − t z))",
        "sign of t",
        "support-vector machines with outliers",
    ),
    "exponential": ("exp(−t z)", "−t exp(−t z)", "half the log odds of t = 1", "boosting"),
    "poisson": ("exp(z) − t z", "exp(z) − t", "log: the mean of t is exp(z)", "counts"),
    "gaussian": (
        "(s + (t − μ)² exp(−s)) / 2",
        "(μ − t) exp(−s); (1 − (t − μ)² exp(−s)) / 2",
        "mean μ and variance exp(s) of t",
        "regression that knows how sure it is",
    ),
    "softmax_cross_entropy": (
        "−log softmax(z)[t]",
        "softmax(z) − one-hot(t)",
        "logits: P(t = k) = softmax(z)[k]",
        "classes",
    ),
}


def class_of(name: str) -> type:
    """Return the loss of `steepest.nn` that calls the kernel."""
    probe = np.zeros((1, 2))
    ids = name == "softmax_cross_entropy"
    target = np.zeros(1, np.int64) if ids else np.ones((1, 1 if name == "gaussian" else 2))
    expected = getattr(K, name)(probe, target)[0]
    for member in (getattr(nn, n) for n in nn.__all__):
        if getattr(member, "kernel", None) == name:
            assert member()(probe, target)[0] == expected
            return member
    raise LookupError(f"steepest.nn has no loss for {name}")


def parameters_of(loss: type) -> str:
    """Return the parameters of a loss and their defaults."""
    fields = [f for f in dataclasses.fields(loss) if f.name != "reduction"]
    return ", ".join(f"{f.name}={f.default}" for f in fields)


def table() -> str:
    """Return the table, a row a loss."""
    if set(FORMULAS) != set(K.LOSSES):
        raise LookupError(f"without formula or without loss: {sorted(set(FORMULAS) ^ set(K.LOSSES))}")
    lines = [
        "| `K.` | `nn.` | loss l | derivative by z | z predicts | negative log-likelihood of | for |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (value, derivative, link, use) in FORMULAS.items():
        loss = class_of(name)
        call = f"`{loss.__name__}({parameters_of(loss)})`"
        behind = K.LOSSES[name] or "–"
        lines.append(f"| `{name}` | {call} | {value} | {derivative} | {link} | {behind} | {use} |")
    return "\n".join(lines) + "\n"
