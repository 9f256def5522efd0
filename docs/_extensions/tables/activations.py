"""The activations, from their registry and the errors that `python -m bench.ulp --write` measures."""

from __future__ import annotations

import json
from pathlib import Path

from steepest import _cpu

RESULTS = Path(__file__).parents[3] / "bench" / "results" / "ulp.json"
SETS = {"generic": "generic", "avx2": "AVX2", "avx512": "AVX-512"}

# How formulas of the registries, which are plain text, are set.
SIGNS = {"-": "−", "inf": "∞", "^2": "²", "Phi": "Φ", "phi": "φ"}


def typeset(formula: str) -> str:
    """Return a formula with the signs of print."""
    for plain, sign in SIGNS.items():
        formula = formula.replace(plain, sign)
    return formula


def measured() -> dict[str, dict[str, dict[str, float]]]:
    """Return the errors: instruction set -> function -> figures."""
    errors: dict[str, dict[str, dict[str, float]]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return errors


def cells_of(name: str, errors: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Return the errors of a function, one for each instruction set."""
    return [f"{errors[isa][name]['ulp']:.2f}" if name in errors[isa] else "" for isa in SETS]


def footnote(names: list[str], errors: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return what the errors of some functions are."""
    stride = max(errors[isa][name]["stride"] for isa in SETS for name in names if name in errors[isa])
    tried = "every finite float32" if stride == 1 else f"one of {stride} consecutive finite float32"
    return f"\nULP: the largest error over {tried}.\n"


def table() -> str:
    """Return the table in Markdown."""
    errors = measured()
    lines = [
        f"| name | parameter | f(x) | f′ | values | {' | '.join(f'ULP, {s}' for s in SETS.values())} |",
        "|---|---|---|---|---|" + "---:|" * len(SETS),
    ]
    for entry in _cpu.ACTIVATIONS:
        name, parameter = entry["name"], entry["parameter"]
        cells = [f"`{name}`", f"{parameter} = {entry['default']:g}" if parameter else ""]
        cells += [typeset(entry[column]) for column in ("value", "derivative", "range")]
        cells += cells_of(name, errors)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + footnote([entry["name"] for entry in _cpu.ACTIVATIONS], errors)
