"""The small arrays that change from step to step of a captured graph."""

from __future__ import annotations

from steepest._runtime.arrays import Float64Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["accumulate", "increment", "look_up", "require_finite"]


def increment(counter: Int64Array, by: int = 1) -> None:
    """Add `by` to a 0-d int64 array: a cursor, or the number of an update.

    Parameters
    ----------
    counter : 0-d int64 ndarray
        Changed in place.
    by : int
        What is added.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    backend_of(counter).increment(counter, by)


def accumulate(total: Float64Array, value: float | Float64Array, scale: float = 1.0) -> None:
    """Add ``scale * value`` to a 0-d float64 array: the loss of an epoch, from those of its mini-batches.

    Parameters
    ----------
    total : 0-d float64 ndarray
        Changed in place.
    value : float or 0-d float64 ndarray
        What is added; it may be `total`.
    scale : float
        Its factor.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    backend_of(total).accumulate(total, value, scale)


def look_up(table: Float64Array, index: int | Int64Array, out: Float64Array | None = None) -> Float64Array:
    """Copy one item of a table into a 0-d array: ``table[index]``, the learning rate of a step as a rule.

    Parameters
    ----------
    table : float64 ndarray of shape (n,)
        At least one item.
    index : int or 0-d int64 ndarray
        Which; one below 0 stands for the first item, one above ``n - 1`` for the last.
    out : 0-d float64 ndarray, optional
        Where the item goes.

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

    In a replay, the operations after it are not run in that step: placed between the loss and the update, it keeps
    the parameters as they were.

    Parameters
    ----------
    value : 0-d float64 ndarray
        The loss, as a rule.

    Raises
    ------
    DivergenceError
        The value is infinite or NaN. Its ``step`` is the 0-based step of the replay.
    TypeError, ValueError
        See the package's conventions.
    """
    backend_of(value).require_finite(value)
