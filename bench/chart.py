"""The chart of docs/performance.md and the README: time of each library relative to ours, on a logarithmic axis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.harness import OURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"NumPy": "#4c78a8", "PyTorch": "#e4572e", "JAX": "#54a24b", "scikit-learn": "#f2a104"}


def write(ratios: list[tuple[str, dict[str, float | None]]], path: Path) -> None:
    """Draw a line for each case and a dot for each library, and write the picture; without ratios write nothing.

    Needs Matplotlib, from the extra `plot`.
    """
    if not ratios:
        return
    import matplotlib
    from matplotlib.figure import Figure

    # A fixed hashsalt makes the file reproducible; font type "none" keeps text as text.
    with matplotlib.rc_context({"svg.hashsalt": OURS, "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(9, 0.42 * len(ratios) + 1.3), layout="constrained")
        draw(figure, ratios)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})


def draw(figure: Figure, ratios: list[tuple[str, dict[str, float | None]]]) -> None:
    """Draw the chart on an empty figure."""
    axes = figure.subplots()
    for library, colour in COLOURS.items():
        dots = [(r[library], -i) for i, (_, r) in enumerate(ratios) if r.get(library)]
        if dots:
            x, y = zip(*dots, strict=True)
            axes.scatter(x, y, s=60, color=colour, label=library, zorder=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50], minor=False)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_xlim(0.4, 2 * max(x for _, r in ratios for x in r.values() if x))
    axes.set_yticks([-i for i in range(len(ratios))], [case for case, _ in ratios])
    axes.grid(axis="x", alpha=0.25)
    axes.set_xlabel(f"time of the library / time of {OURS}")
    figure.legend(loc="outside upper center", ncols=len(COLOURS), frameon=False)
