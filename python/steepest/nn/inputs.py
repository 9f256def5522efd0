"""Inputs of a network: one array, or a tuple of several, and what they have to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from steepest._runtime.arguments import refuse_masked_array
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of

from .values import Input

Inputs = Array | tuple[Array, ...]
"""The input of a network for a batch, or a tuple of them for a network of several."""


def as_inputs(x: Inputs) -> tuple[Array, ...]:
    """Return the inputs of a network, one or several, as a tuple."""
    return x if isinstance(x, tuple) else (x,)


def check_inputs(
    name: str, declared: Sequence[Input], inputs: tuple[Array, ...], dtype: np.dtype[Any], device: str
) -> None:
    """Raise ValueError or TypeError unless arrays are the inputs of a network.

    Parameters
    ----------
    name : str
        Name of the method, for messages.
    declared : sequence of Input
        The inputs of the network; empty for a chain of layers whose one input has rows of any width.
    inputs : tuple of ndarray
        The arrays.
    dtype : dtype
        Dtype of the network.
    device : {"cpu", "cuda"}
        Device of the network.
    """
    if not declared:
        _check_input(name, "x", inputs[0], None, dtype, device)
        return
    for value, x in zip(declared, inputs, strict=True):
        is_integer = value.dtype is not None and value.dtype.kind in "iu"
        own = cast("np.dtype[Any]", value.dtype) if is_integer else dtype
        _check_input(name, value.name, x, cast("tuple[int, ...]", value.shape), own, device)
    if len({len(x) for x in inputs}) > 1:
        rows = ", ".join(f"{value.name} {len(x)}" for value, x in zip(declared, inputs, strict=True))
        raise ValueError(f"[{name}] the inputs have different numbers of rows: {rows}")


def _check_input(
    name: str, what: str, x: Array, shape: tuple[int, ...] | None, dtype: np.dtype[Any], device: str
) -> None:
    # Other libraries' arrays have dtypes of their own.
    if not isinstance(getattr(x, "dtype", None), np.dtype) or not hasattr(x, "ndim"):
        raise TypeError(
            f"[{name}] {what} must be a NumPy or CuPy array, not {type(x).__name__}: "
            "convert it, with numpy.asarray or cupy.asarray"
        )
    refuse_masked_array(name, what, x)
    if shape is None:
        if x.ndim != 2:
            raise ValueError(f"[{name}] {what} has shape {x.shape}: it must be (n, n_in)")
    elif x.ndim == 0 or x.shape[1:] != shape:
        wanted = ", ".join(["n", *(str(size) for size in shape)])
        raise ValueError(f"[{name}] {what} has shape {x.shape}: it must be ({wanted})")
    if x.dtype != dtype:
        raise TypeError(f"[{name}] {what} is {x.dtype}, but the network is {dtype}")
    if device_of(x) != device:
        raise TypeError(
            f"[{name}] {what} lies on {device_of(x)!r}, but the network on {device!r}: "
            "move one of them, with cupy.asarray, cupy.asnumpy or Network.to"
        )


def checked_changes(
    what: str, given: Sequence[Array | None] | None, of: Sequence[Array]
) -> Sequence[Array | None]:
    """Return the changes of arrays that `Network.jvp` was given, None for those that do not change.

    Raises
    ------
    ValueError
        If there are more or fewer of them, or one has another shape or dtype than what it changes.
    """
    if given is None:
        return [None] * len(of)
    fits = len(given) == len(of) and all(
        change is None or (change.shape, change.dtype) == (array.shape, array.dtype)
        for change, array in zip(given, of, strict=True)
    )
    if not fits:
        shapes, dtype = [array.shape for array in of], of[0].dtype
        raise ValueError(
            f"[Network.jvp] {what} must be None or arrays of the shapes {shapes} and dtype {dtype}"
        )
    return given
