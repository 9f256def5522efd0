"""A function for each entry of the registry in ``csrc/common/unary_formulas.h``, such as ``exp(x, out=None)``.

The functions are made from the registry when the module is imported; their types are in a stub that the build writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steepest import _cpu
from steepest._runtime.backends import backend_of

__all__ = [entry["name"] for entry in _cpu.UNARY_FUNCTIONS]

_FUNCTION = "def {name}(x, out=None): return backend_of(x).{name}(x, out)"
_DOCSTRING = """Return {value}, item by item.

    The result is {special}. NaN gives NaN.

    Parameters
    ----------
    x : ndarray of at most 5 dimensions
        The arguments, with any strides.
    out : ndarray of x's shape, optional
        Receives the result; it may be x.

    Returns
    -------
    ndarray of x's shape
        The values.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """


def _function(entry: dict[str, str]) -> Callable[..., Any]:
    """Return the function for a registry entry."""
    own: dict[str, Any] = {"backend_of": backend_of, "__name__": __name__}
    exec(_FUNCTION.format_map(entry), own)
    function: Callable[..., Any] = own[entry["name"]]
    function.__doc__ = _DOCSTRING.format_map(entry)
    return function


globals().update({entry["name"]: _function(entry) for entry in _cpu.UNARY_FUNCTIONS})
