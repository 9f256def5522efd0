"""A network as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from .compiled import Compiled, Wanted
from .layers.base import ParameterSpec
from .program import Program


def program_text(compiled: Compiled, wanted: Wanted) -> str:
    """Return the program of a training step as text: as lowered, after its passes, and backwards."""
    parts = [f"# forward, as lowered\n{compiled.plain}", f"# forward, after all passes\n{compiled.training}"]
    if compiled.has_known_shapes:
        parts.append(f"# backward\n{compiled.backward(wanted)[0]}")
    return "\n\n".join(parts)


def summary_of(program: Program, specs: Mapping[str, ParameterSpec], frozen: Iterable[str] = ()) -> str:
    """Return a table of the operations of a program, a line each, with totals.

    A linear map or a convolution takes two operations (a multiplication and an addition) for each weight and position
    that it is applied to; a weight of a norm as well. Other operations are not counted.

    Parameters
    ----------
    program : Program
        The program.
    specs : mapping of str to ParameterSpec
        The parameters of the network.
    frozen : iterable of str, optional
        Names of those that are not trained.
    """
    rows = [("layer", "operation", "output", "parameters", "MFLOP a sample")]
    total = 0.0
    counted: set[str] = set()
    for node in program.nodes:
        names = {reference.name for reference in node.parameters.values()}
        sizes = sum(math.prod(specs[name].shape) for name in names - counted)
        counted |= names
        shape = program.shape(node.output)
        work = 0.0
        places = program.shape(node.inputs[0]) if node.operation.weights_act_on_inputs else shape
        roles = node.operation.multiplies & node.parameters.keys()
        if roles and None not in places:
            weights = sum(math.prod(specs[node.parameters[role].name].shape) for role in roles)
            work = 2e-6 * weights * math.prod(places[:-1])
        total += work
        rows.append((node.path, repr(node.operation), str(shape), f"{sizes:,}", f"{work:.3f}"))
    n_parameters = sum(math.prod(spec.shape) for spec in specs.values())
    rows.append(("", "all", "", f"{n_parameters:,}", f"{total:.3f}"))
    n_frozen = sum(math.prod(specs[name].shape) for name in frozen)
    if n_frozen:
        rows.append(("", "frozen", "", f"{n_frozen:,}", ""))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 3 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
