"""A function for each activation of the registry in ``csrc/common/activations.h``, such as ``relu(x, out=None)``.

The functions are made from the registry when the module is imported; their types are in a stub that the build writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steepest import _cpu
from steepest._runtime.backends import backend_of

__all__ = [entry["name"] for entry in _cpu.ACTIVATIONS]

_FIXED = "def {name}(x, out=None): return backend_of(x).activation(x, {name!r}, out)"
_WITH_PARAMETER = (
    "def {name}(x, {parameter}={default}, out=None): "
    "return backend_of(x).activation(x, ({name!r}, {parameter}), out)"
)


def _function(entry: dict[str, Any]) -> Callable[..., Any]:
    """Return the function for a registry entry, with the name and default of the entry's parameter, if any."""
    own: dict[str, Any] = {"backend_of": backend_of, "__name__": __name__}
    exec((_WITH_PARAMETER if entry["parameter"] else _FIXED).format_map(entry), own)
    function: Callable[..., Any] = own[entry["name"]]
    source = f" ({entry['source']})" if entry["source"] else ""
    function.__doc__ = f"Return {entry['value']}{source}; see `activation`."
    return function


globals().update({entry["name"]: _function(entry) for entry in _cpu.ACTIVATIONS})
