"""A layer for each activation of the registry in ``csrc/common/activations.h``, such as ``ELU(alpha=1.0)``.

The classes are made from the registry when the module is imported; their types are in a stub that the build writes.
"""

from __future__ import annotations

from typing import Any

from steepest import _cpu

from .layers import Activation

__all__ = [entry["layer"] for entry in _cpu.ACTIVATIONS]

_FIXED = "def __init__(self): Activation.__init__(self, {name!r})"
_WITH_PARAMETER = (
    "def __init__(self, {parameter}={default}): Activation.__init__(self, {name!r}, {parameter})"
)


def _layer(entry: dict[str, Any]) -> type[Activation]:
    """Return the class of an entry; its parameter, if there is one, keeps the entry's name and default."""
    own: dict[str, Any] = {"Activation": Activation, "__name__": __name__}
    exec((_WITH_PARAMETER if entry["parameter"] else _FIXED).format_map(entry), own)
    members = {"__init__": own["__init__"], "__doc__": _docstring(entry), "__module__": __name__}
    return type(entry["layer"], (Activation,), members)


def _docstring(entry: dict[str, Any]) -> str:
    source = f" ({entry['source']})" if entry["source"] else ""
    text = f"f(x) = {entry['value']}{source}."
    if not entry["parameter"]:
        return text
    parameter = f"{entry['parameter']} : float, default={entry['default']}\n    Finite and not negative."
    return f"{text}\n\nParameters\n----------\n{parameter}\n"


globals().update({entry["layer"]: _layer(entry) for entry in _cpu.ACTIVATIONS})
