"""The names that select a Fisher matrix, its structure and its solver."""

from __future__ import annotations

from typing import Any, Literal, get_args

Kind = Literal["exact", "monte_carlo", "empirical"]
# kept by hand: type checkers take names from the source
StructureName = Literal["dense", "block", "kfac", "kfac_reduce", "ekfac", "diagonal"]
SolverName = Literal["auto", "cholesky", "gram", "cg"]
Split = Literal["pi", "even"]


def require_known(operation: str, **names: tuple[str, Any]) -> None:
    """Raise a ValueError if the value of an option is not one of the names in its Literal type."""
    for what, (value, type_of_names) in names.items():
        known = get_args(type_of_names)
        if value not in known:
            raise ValueError(f"[{operation}] {what} {value!r} is not one of: {', '.join(known)}")
