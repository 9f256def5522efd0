"""The activations, from their registry and the errors that `python -m bench.ulp --write` measures."""

from __future__ import annotations

import json
from pathlib import Path

from steepest import kernels as K

PAGE = "activations.md"
RESULTS = Path(__file__).parent.parent.parent / "bench" / "results" / "ulp.json"
SETS = {"generic": "generic", "avx2": "AVX2", "avx512": "AVX-512"}

# name -> (f(x), f', range)
FORMULAS = {
    "identity": ("x", "1", "(−∞, ∞)"),
    "relu": ("max(x, 0)", "1 where y > 0, else 0", "[0, ∞)"),
    "leaky_relu": ("x where x > 0, else slope x", "1 where y > 0, else slope", "(−∞, ∞)"),
    "elu": ("x where x > 0, else alpha (exp(x) − 1)", "1 where y > 0, else y + alpha", "[−alpha, ∞)"),
    "sigmoid": ("1 / (1 + exp(−x))", "y (1 − y)", "[0, 1]"),
    "hard_sigmoid": ("(x + 3) / 6 between 0 and 1", "1/6 where 0 < y < 1, else 0", "[0, 1]"),
    "tanh": ("tanh(x)", "1 − y²", "[−1, 1]"),
    "softplus": ("log(1 + exp(x))", "1 − exp(−y)", "[0, ∞)"),
    "gelu": ("x Φ(x)", "Φ(x) + x φ(x)", "[−0.17, ∞)"),
    "silu": ("x s(x)", "s(x) (1 + x (1 − s(x)))", "[−0.28, ∞)"),
}


def table() -> str:
    """Return the table in Markdown."""
    errors = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [
        f"| name | parameter | f(x) | f′ | values | {' | '.join(f'ULP, {s}' for s in SETS.values())} |",
        "|---|---|---|---|---|" + "---:|" * len(SETS),
    ]
    for name in K.ACTIVATIONS:
        parameter, default = K.ACTIVATION_PARAMETERS.get(name, ("", 0.0))
        value, derivative, values = FORMULAS[name]
        cells = [f"`{name}`", f"{parameter} = {default:g}" if parameter else "", value, derivative, values]
        cells += [f"{errors[isa][name]['ulp']:.2f}" for isa in SETS]
        lines.append(f"| {' | '.join(cells)} |")
    stride = max(errors[isa][name]["stride"] for isa in SETS for name in K.ACTIVATIONS)
    tried = "every finite float32" if stride == 1 else f"one of {stride} consecutive finite float32"
    return "\n".join(lines) + f"\n\nULP: the largest error over {tried}.\n"
