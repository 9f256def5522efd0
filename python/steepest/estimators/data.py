"""Helper functions of the estimators: non-finite and masked items, device transfers, optimizer states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, to_device, to_host
from steepest.optim import NaturalGradient, Optimizer


def locate_nonfinite(X: Any) -> str:
    """Return a sentence that names the first NaN or infinite item of a dense or sparse X, or "" if there is none."""
    if scipy.sparse.issparse(X):
        return _first_nonfinite_stored(X.tocsr())
    try:
        values = np.asarray(X)
        # A cast of complex numbers to float64 would raise a warning.
        values = np.empty(0) if values.dtype.kind == "c" else values.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        return ""
    return "" if values.ndim != 2 else first_nonfinite(values, values)


def refuse_masked_items(estimator: str, **arrays: object) -> None:
    """Raise ValueError for arrays of `numpy.ma` with masked items, which would count as valid numbers.

    Parameters
    ----------
    estimator : str
        Name of the estimator, which messages start with.
    **arrays : object
        Arguments by name; objects other than masked arrays are ignored.

    Raises
    ------
    ValueError
        If one of the arrays has masked items.
    """
    for name, array in arrays.items():
        if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
            raise ValueError(
                f"[{estimator}] {name} has masked items, which would count as if they were not masked: impute them, "
                "or drop their rows"
            )


def _first_nonfinite_stored(X: Any) -> str:
    """Return `first_nonfinite` of a CSR matrix; the columns of a row may be in any order."""
    bad = np.flatnonzero(~np.isfinite(X.data)) if X.dtype.kind in "fc" else np.empty(0, np.int64)
    if not len(bad):
        return ""
    row = int(np.searchsorted(X.indptr, bad[0], side="right")) - 1
    of_row = bad[bad < X.indptr[row + 1]]
    first = of_row[X.indices[of_row].argmin()]
    return f"X is {X.data[first]} at row {row}, column {X.indices[first]}. "


def first_nonfinite(converted: Array, given: Array) -> str:
    """Return a sentence that names the first item of `given` that is not finite in `converted`, or ""."""
    finite = array_namespace(converted).isfinite(converted)
    if finite.all():
        return ""
    row, column = divmod(int((~finite).ravel().argmax()), converted.shape[1])
    return f"X is {float(given[row, column])} at row {row}, column {column}. "


def first_missing(name: str, values: Any) -> str:
    """Return a sentence that names the first NaN, infinite or missing item of targets or weights, or ""."""
    array = as_items(values)
    if array.dtype.kind == "O":
        bad = np.array([_is_missing(item) for item in array.ravel()], bool).reshape(array.shape)
    else:
        bad = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
    if array.ndim not in (1, 2) or not bad.any():
        return ""
    place = np.unravel_index(int(bad.argmax()), array.shape)
    column = f", column {place[1]}" if array.ndim == 2 else ""
    return f"{name} is {array[place]} at row {place[0]}{column}. "


def as_items(values: Any) -> Array:
    """Return values as an array; a list becomes an array of objects, since NumPy would turn NaN into a string."""
    array: Array = np.asarray(values, dtype=object if isinstance(values, list | tuple) else None)
    return array


def _is_missing(item: object) -> bool:
    is_nan = isinstance(item, Real) and item != item
    return item is None or is_nan or type(item).__name__ == "NAType"  # pandas.NA, which cannot be compared


def to_estimator_device(
    arrays: tuple[Any, Array, Array | None],
    device: str,
    estimator: str,
    move: Callable[[Any, str], Any] = to_device,
) -> tuple[Any, Array, Array | None]:
    """Return X, moved by a function of it and the device, y and the sample weights on a device.

    Raises
    ------
    MemoryError
        If they do not fit into the memory of the GPU; the message says what to try.
    """
    X, y, sample_weight = arrays
    try:
        weights = None if sample_weight is None else to_device(sample_weight, device)
        return move(X, device), to_device(y, device), weights
    except MemoryError as error:
        size = X.data.nbytes if scipy.sparse.issparse(X) else X.nbytes
        gibibytes = (size + y.nbytes + (0 if sample_weight is None else sample_weight.nbytes)) / 2**30
        raise MemoryError(
            f"[{estimator}] the data, {gibibytes:.2f} GiB, do not fit into the free memory of the GPU ({error}). "
            "Pass X as float32, call partial_fit with parts of the data, or use device='cpu'"
        ) from error


def in_library_of(X: Any, result: Array) -> Array:
    """Return a result as a CuPy array if X is one, and as a NumPy array for any other X."""
    if array_namespace(X) is not np:
        return to_device(result, "cuda")
    host: Array = to_host(result)
    return host


def is_number(value: object) -> bool:
    """Whether a value is a real number of Python or NumPy."""
    return isinstance(value, Real)


def is_size(value: Any) -> bool:
    """Whether a value is a positive whole number of Python or NumPy."""
    return isinstance(value, Integral) and value is not True and int(value) > 0


def resume(optimizer: Optimizer | NaturalGradient, state: Mapping[str, Any]) -> None:
    """Load a saved state into an optimizer; a state of another rule or with other arrays is ignored.

    The state's position in a schedule is not restored: estimators count their steps themselves, and the next fit
    follows the rest of the schedule.
    """
    state = {name: value for name, value in state.items() if name != "schedule_step"}
    same_arrays = not isinstance(optimizer, Optimizer) or optimizer._state_names() == state.keys()
    if type(optimizer).__name__ == state["rule"] and same_arrays:
        optimizer.load_state_dict(state)
