"""Checks of arguments that more than one part of the package takes, with messages that start with its name.

NumPy loads when it is used, and not with the package.
"""

from __future__ import annotations

import operator


def checked_integer(name: str, what: str, value: object, low: int = 0, high: int = 2**64 - 1) -> int:
    """Return an integer of Python or of NumPy as Python's, whose arithmetic does not overflow.

    Parameters
    ----------
    name, what : str
        The function or class, and its argument, for messages.
    value : object
        Should be an integer.
    low, high : int
        The smallest and the largest that will do; the defaults are those of a seed.

    Raises
    ------
    TypeError
        It is no integer.
    ValueError
        It lies outside.
    """
    import numpy as np

    try:
        # An array has an index, too, but a graph would freeze it.
        number = None if isinstance(value, np.ndarray) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"[{name}] {what} must be an integer, not {type(value).__name__}")
    if not low <= number <= high:
        shown = number if number.bit_length() < 1000 else "too large"
        raise ValueError(f"[{name}] {what} is {shown}; it must be in {low}..{high}")
    return number


def refuse_masked_array(name: str, what: str, array: object) -> None:
    """Raise TypeError for a masked array: what its mask hides would be taken for numbers."""
    import numpy as np

    if isinstance(array, np.ndarray) and type(array) is not np.ndarray and hasattr(array, "mask"):
        raise TypeError(
            f"[{name}] {what} is a masked array; fill it ({what}.filled(value)), or leave out the rows that are masked"
        )
