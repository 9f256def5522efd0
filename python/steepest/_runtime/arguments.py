"""Argument checks that several parts of the package use; messages start with the name of the caller.

NumPy is imported at first use, so that `import steepest` does not load it.
"""

from __future__ import annotations

import operator


def checked_integer(name: str, what: str, value: object, low: int = 0, high: int = 2**64 - 1) -> int:
    """Return a Python or NumPy integer as a Python int, whose arithmetic does not overflow.

    Parameters
    ----------
    name, what : str
        Names of the function or class, and of its argument, for messages.
    value : object
        The argument to check.
    low, high : int
        Smallest and largest valid values; the defaults are those of a seed.

    Raises
    ------
    TypeError
        If the value is not an integer.
    ValueError
        If the value is outside `low`..`high`.
    """
    import numpy as np

    try:
        # operator.index accepts 0-d arrays, but a captured graph would freeze their value.
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
    """Raise TypeError for a masked array, because the kernels would read masked items as valid numbers."""
    import numpy as np

    if isinstance(array, np.ndarray) and type(array) is not np.ndarray and hasattr(array, "mask"):
        raise TypeError(
            f"[{name}] {what} is a masked array; fill it ({what}.filled(value)), or leave out the rows that are masked"
        )
