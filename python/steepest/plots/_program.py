"""Diagram of a program: a box for each operation, and a line for each value that one reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steepest.nn.program import Program

from ._style import COLOURS, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Sizes of a box and of the steps between boxes, in units of the axes; a step is about an inch.
_BOX_WIDTH, _BOX_HEIGHT = 0.84, 0.5
_LONGEST_NAME = 15


def draw_program(program: Program, ax: Axes | None) -> Axes:
    """Draw the operations of a program from left to right.

    An operation stands one step to the right of the last value that it reads. Boxes with parameters are filled.

    Parameters
    ----------
    program : Program
        The program.
    ax : Axes or None
        Axes to draw into; None for a new figure.
    """
    places = _places(program)
    width = 1 + max(x for x, _ in places.values())
    height = 1 - min(y for _, y in places.values())
    ax = make_axes(ax, (1.35 * width + 0.6, 0.85 * height + 0.8))
    for node in program.nodes:
        for number in node.inputs:
            _draw_arrow(ax, places[number], places[node.output])
    for number in [*program.inputs, *program.constants]:
        what = "input" if number in program.inputs else "constant"
        _draw_box(ax, places[number], what, program.shapes[number], "white")
    for node in program.nodes:
        colour = COLOURS[5] if node.parameters else "#eeeeee"
        _draw_box(ax, places[node.output], repr(node.operation), program.shapes[node.output], colour)
    for number in program.outputs:
        x, y = places[number]
        ax.annotate(
            "",
            (x + _BOX_WIDTH / 2 + 0.2, y),
            (x + _BOX_WIDTH / 2, y),
            arrowprops={"arrowstyle": "-|>", "color": "#222222", "shrinkA": 0, "shrinkB": 0},
        )
    ax.set(xlim=(-0.6, width - 0.2), ylim=(0.4 - height, 0.75))
    ax.set_axis_off()
    return ax


def _draw_arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow from side to side of neighbouring boxes, and one above the boxes in between otherwise."""
    arrow = {"arrowstyle": "-|>", "color": "#777777", "shrinkA": 0, "shrinkB": 0}
    (x, y), (to_x, to_y) = start, end
    if to_x - x > 1 and y == to_y:
        above = _BOX_HEIGHT / 2
        arrow["connectionstyle"] = f"arc3,rad={-0.35 / (to_x - x):.3f}"
        ax.annotate("", (to_x, to_y + above), (x, y + above), arrowprops=arrow)
    else:
        ax.annotate("", (to_x - _BOX_WIDTH / 2, to_y), (x + _BOX_WIDTH / 2, y), arrowprops=arrow)


def _places(program: Program) -> dict[int, tuple[float, float]]:
    """Return where the box of each value stands: its column, and how far below the first row."""
    columns = dict.fromkeys(program.inputs, 0)
    for node in program.nodes:
        columns[node.output] = 1 + max((columns[i] for i in node.inputs if i in columns), default=0)
    for number in program.constants:
        # Just before the first operation that reads it.
        columns[number] = min(columns[n.output] for n in program.nodes if number in n.inputs) - 1
    rows: dict[int, int] = {}
    places = {}
    for number, column in columns.items():
        places[number] = (float(column), -float(rows.get(column, 0)))
        rows[column] = rows.get(column, 0) + 1
    return places


def _draw_box(
    ax: Axes, place: tuple[float, float], name: str, shape: tuple[int | None, ...], colour: str
) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    corner = (x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2)
    ax.add_patch(
        FancyBboxPatch(
            corner,
            _BOX_WIDTH,
            _BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=colour,
            edgecolor="#444444",
            linewidth=0.8,
        )
    )
    shown = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    sizes = " × ".join("n" if size is None else str(size) for size in shape) or "1"
    ax.text(x, y + 0.07, shown, ha="center", va="center", fontsize=8)
    ax.text(x, y - 0.13, sizes, ha="center", va="center", fontsize=7, color="#555555")
