"""The update rules, from `steepest.optim.RULES`."""

from __future__ import annotations

import inspect

from steepest import kernels as K
from steepest import optim

# What all rules take alike is described below the table.
COMMON = {"params", "l1", "l2", "max_norm"}


def defaults(rule: type[optim.Optimizer]) -> str:
    """Return a rule's own parameters with their defaults."""
    own = {k: p.default for k, p in inspect.signature(rule).parameters.items() if k not in COMMON}
    if own["weight_decay"] == 0:
        del own["weight_decay"]
    return ", ".join(f"`{name}={value}`" for name, value in own.items())


def table() -> str:
    """Return the table in Markdown."""
    lines = ["| rule | step | arrays kept | parameters | source |", "|---|---|---|---|---|"]
    for rule in optim.RULES:
        function, states = K.UPDATE_RULES[rule.rule]
        kept = ", ".join(f"`{state}`" for state in states) or "none"
        name = f"`{rule.__name__}`, `{function}`"
        lines.append(f"| {name} | {rule.formula} | {kept} | {defaults(rule)} | {rule.source} |")
    return "\n".join(lines) + "\n"
