"""Operations on the 0-d arrays that change from step to step of a captured graph: counters, sums, learning rates."""

from __future__ import annotations

from steepest._runtime.arrays import Float64Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["accumulate", "increment", "look_up", "require_finite"]


def increment(counter: Int64Array, by: int = 1) -> None:
    """Add `by` to a 0-d int64 array, such as a cursor into the samples or the number of an update.

    Parameters
    ----------
    counter : 0-d int64 ndarray
        The counter, changed in place.
    by : int
        Number to add.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    backend_of(counter).increment(counter, by)


def accumulate(total: Float64Array, value: float | Float64Array, scale: float = 1.0) -> None:
    """Add ``scale * value`` to a 0-d float64 array, such as the loss of an epoch, summed over its mini-batches.

    Parameters
    ----------
    total : 0-d float64 ndarray
        The sum, changed in place.
    value : float or 0-d float64 ndarray
        Number to add; it may be `total`.
    scale : float
        Factor of `value`.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    backend_of(total).accumulate(total, value, scale)


def look_up(table: Float64Array, index: int | Int64Array, out: Float64Array | None = None) -> Float64Array:
    """Copy one item of a table, ``table[index]``, into a 0-d array; usually the learning rate of a step.

    Parameters
    ----------
    table : float64 ndarray of shape (n,)
        The table, with n >= 1.
    index : int or 0-d int64 ndarray
        Index of the item, clipped to 0..n-1.
    out : 0-d float64 ndarray, optional
        Receives the item.

    Returns
    -------
    0-d float64 ndarray
        The item.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(table).look_up(table, index, out)


def require_finite(value: Float64Array) -> None:
    """Raise ``DivergenceError`` if a 0-d float64 array is not finite.

    In a replay, the error skips the rest of the step. Placed between the loss and the update, this operation keeps the
    parameters as they were.

    Parameters
    ----------
    value : 0-d float64 ndarray
        The number to check, usually the loss.

    Raises
    ------
    DivergenceError
        If the value is infinite or NaN. The error's ``step`` is the 0-based step of the replay.
    TypeError, ValueError
        See the package's conventions.
    """
    backend_of(value).require_finite(value)
