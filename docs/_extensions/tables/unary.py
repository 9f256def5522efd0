"""The functions of one item, from their registry and the errors that `python -m bench.ulp --write` measures."""

from __future__ import annotations

from steepest import _cpu

from .activations import SETS, cells_of, footnote, measured, typeset

ROUNDED = ["0.50"] * len(SETS)  # functions whose exact result is rounded have no measured errors


def table() -> str:
    """Return the table in Markdown."""
    errors = measured()
    lines = [
        f"| name | special values | {' | '.join(f'ULP, {s}' for s in SETS.values())} |",
        "|---|---|" + "---:|" * len(SETS),
    ]
    for entry in _cpu.UNARY_FUNCTIONS:
        name = entry["name"]
        figures = cells_of(name, errors)
        cells = [f"`{name}`", typeset(entry["special"]), *(figures if any(figures) else ROUNDED)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + footnote([entry["name"] for entry in _cpu.UNARY_FUNCTIONS], errors)
