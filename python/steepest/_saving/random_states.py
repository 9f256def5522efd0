"""States of NumPy's random generators as plain data, which are checked before a generator takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

# NumPy's bit generators by the name in their states.
BIT_GENERATORS: dict[str, type[np.random.BitGenerator]] = {
    kind.__name__: kind
    for kind in (
        np.random.MT19937,
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.Philox,
        np.random.SFC64,
    )
}
# Largest values of the integers in a state. NumPy would read words at any position.
_LARGEST = {
    "pos": 624,
    "buffer_pos": 4,
    "has_uint32": 1,
    "uinteger": 2**32 - 1,
    "state": 2**128 - 1,
    "inc": 2**128 - 1,
}


def checked_state(state: Any) -> dict[str, Any]:
    """Return the state of a bit generator; raise ValueError unless it is one that NumPy can take.

    NumPy itself does not check states: with a wrong one it would read beyond its words, or draw for ever.

    Parameters
    ----------
    state : dict
        A state, as the attribute `state` of a bit generator.

    Returns
    -------
    dict
        The same state.

    Raises
    ------
    ValueError
        If an entry is missing, of another type or shape, or out of range.
    """
    if not isinstance(state, dict) or state.get("bit_generator") not in list(BIT_GENERATORS):
        raise ValueError(f"this is no state of {', '.join(BIT_GENERATORS)}")
    name = state["bit_generator"]
    if not _fits(state, BIT_GENERATORS[name](0).state):
        raise ValueError(f"this is no state of {name}")
    words = state["state"]
    # With words that are all 0 (only one bit of the first word counts), some samplers would loop for ever. The
    # increment of a PCG is odd.
    if (name == "MT19937" and not words["key"][1:].any()) or ("inc" in words and words["inc"] % 2 == 0):
        raise ValueError(f"this is no state of {name}")
    return state


def _fits(state: Any, like: Any, name: str = "") -> bool:
    """Return whether a state has the keys, types, shapes and ranges of another one."""
    if isinstance(like, dict):
        return (
            isinstance(state, dict)
            and like.keys() <= state.keys()
            and all(_fits(state[key], value, key) for key, value in like.items())
        )
    if isinstance(like, np.ndarray):
        return isinstance(state, np.ndarray) and (state.dtype, state.shape) == (like.dtype, like.shape)
    if isinstance(like, str):
        return bool(state == like)
    return type(state) is int and 0 <= state <= _LARGEST[name]
