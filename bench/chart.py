"""The chart of docs/performance.md and the README: time of each library relative to ours, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bench.harness import OURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Ratios: TypeAlias = list[tuple[str, Mapping[str, Sequence[float | None]]]]
TICKS = (0.5, 1, 2, 5, 10, 20, 50)
LIBRARY = 0.2  # distance of two libraries, in lines of the chart
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


def draw(figure: Figure, ratios: Ratios) -> None:
    """Draw the chart on an empty figure."""
    axes = figure.subplots()
    several = any(len(of_library) > 1 for _, r in ratios for of_library in r.values())
    for library, colour in COLOURS.items():
        dots = []
        for i, (_, r) in enumerate(ratios):
            # If a line has several ratios of a library, its libraries are drawn one below the other.
            there = [name for name in COLOURS if any(r.get(name, ()))]
            down = (
                LIBRARY * (there.index(library) - (len(there) - 1) / 2)
                if several and library in there
                else 0.0
            )
            dots += [(x, -i - down) for x in r.get(library, ()) if x]
        if dots:
            x, y = zip(*dots, strict=True)
            axes.scatter(x, y, s=20 if several else 60, color=colour, label=library, zorder=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    largest = max(x for _, r in ratios for of_library in r.values() for x in of_library if x)
    axes.set_xticks(TICKS if largest < 2 * TICKS[-1] else [10.0**k for k in range(6)], minor=False)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}×")
    axes.set_xlim(0.4, 2 * largest)
    axes.set_yticks([-i for i in range(len(ratios))], [case for case, _ in ratios])
    axes.grid(axis="x", alpha=0.25)
    axes.set_xlabel(f"time of the library / time of {OURS}")
    figure.legend(loc="outside upper center", ncols=len(COLOURS), frameon=False)
