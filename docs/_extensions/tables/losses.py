"""The losses, from their registry and the classes of `steepest.nn`."""

from __future__ import annotations

import dataclasses

from steepest import kernels as K
from steepest import nn


def losses() -> list[type]:
    """Return the losses of `steepest.nn` that a kernel computes, in their order."""
    modules = (nn.losses.classification, nn.losses.regression)
    defined = [item for module in modules for item in vars(module).values() if hasattr(item, "formula")]
    return [item for item in defined if hasattr(item, "kernel")]


def parameters_of(loss: type) -> str:
    """Return the parameters of a loss and their defaults."""
    fields = [f for f in dataclasses.fields(loss) if f.name != "reduction"]
    return ", ".join(f"{f.name}={f.default}" for f in fields)


def table() -> str:
    """Return the table, a row a loss."""
    names = [loss.kernel for loss in losses()]
    if sorted(names) != sorted(K.LOSSES):
        raise LookupError(f"without kernel or without class: {sorted(set(names) ^ set(K.LOSSES))}")
    lines = [
        "| in `K` and in `nn` | loss l | derivative by z | z predicts | negative log-likelihood of | for |",
        "|---|---|---|---|---|---|",
    ]
    for loss in losses():
        texts = (loss.formula.value, loss.formula.derivative, loss.formula.predicts)
        cells = [f"`{loss.kernel}` `{loss.__name__}({parameters_of(loss)})`"]
        cells += [text.replace("|", "\\|") for text in texts]
        cells += [K.LOSSES[loss.kernel] or "–", loss.formula.use]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
