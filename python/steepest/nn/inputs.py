"""Inputs of a network: one array, or a tuple of several, and what they have to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from steepest import kernels as K
from steepest._runtime.arguments import refuse_masked_array
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros

from .values import Input, Shape

Inputs = Array | tuple[Array, ...]
"""The input of a network for a batch, or a tuple of them for a network of several."""


def as_inputs(x: Inputs) -> tuple[Array, ...]:
    """Return the inputs of a network, one or several, as a tuple."""
    return x if isinstance(x, tuple) else (x,)


def as_contiguous(inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return arrays with copies of those that have more than two axes and are not contiguous."""
    for x in inputs:
        if x.ndim > 2 and not x.flags.c_contiguous:
            return tuple(x if x.ndim <= 2 or x.flags.c_contiguous else K.copy(x) for x in inputs)
    return inputs


def constant_in(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return a constant in the dtype of a network; ValueError if a number is too large for it."""
    largest = float(np.finfo(dtype).max)
    if array.size and float(np.abs(array).max()) > largest:
        raise ValueError(f"[Network] a constant has numbers above {largest:.2g}, which {dtype} does not hold")
    return array.astype(dtype)


def check_declared_dtypes(declared: Sequence[Input], dtype: np.dtype[Any]) -> None:
    """Raise TypeError where an input was declared with another floating-point dtype than the network's."""
    for value in declared:
        if value.dtype is not None and value.dtype.kind == "f" and value.dtype != dtype:
            raise TypeError(
                f"[Network] {value.origin} has dtype {value.dtype}, but the network is {dtype}: pass dtype to Network"
            )


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
        is_own = value.dtype is not None and value.dtype.kind != "f"
        own = cast("np.dtype[Any]", value.dtype) if is_own else dtype
        _check_input(name, value.name, x, value.shape, own, device)
    if len({len(x) for x in inputs}) > 1:
        rows = ", ".join(f"{value.name} {len(x)}" for value, x in zip(declared, inputs, strict=True))
        raise ValueError(f"[{name}] the inputs have different numbers of rows: {rows}")


def _check_input(
    name: str, what: str, x: Array, shape: Shape | None, dtype: np.dtype[Any], device: str
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
    elif x.ndim == 0 or not _has_shape(x, shape):
        wanted = (
            ", ".join(["n", *("any" if size is None else str(size) for size in shape)]) if shape else "n,"
        )
        raise ValueError(f"[{name}] {what} has shape {x.shape}: it must be ({wanted})")
    if x.dtype != dtype:
        owner = "the network" if dtype.kind == "f" else "this input"
        raise TypeError(f"[{name}] {what} is {x.dtype}, but {owner} is {dtype}")
    if device_of(x) != device:
        raise TypeError(
            f"[{name}] {what} lies on {device_of(x)!r}, but the network on {device!r}: "
            "move one of them, with cupy.asarray, cupy.asnumpy or Network.to"
        )


def _has_shape(x: Array, shape: Shape) -> bool:
    """Return whether the samples of a batch have a shape; sizes that it leaves open are positive."""
    if None not in shape:
        return x.shape[1:] == shape
    sizes = x.shape[1:]
    return len(sizes) == len(shape) and all(
        size == own if own is not None else size > 0 for size, own in zip(sizes, shape, strict=True)
    )


def checked_gradients(
    name: str, given: Sequence[Array | None], outputs: Sequence[Array], dtype: np.dtype[Any], device: str
) -> list[Array]:
    """Return the gradients of the outputs that a method or function `name` was given, with zeros for None.

    Raises
    ------
    ValueError, TypeError
        If there are more or fewer of them than outputs, or one has another shape or dtype.
    """
    if len(given) == 1 == len(outputs):
        # The usual case, in which checks take as long as a kernel.
        only, shape = given[0], outputs[0].shape
        if isinstance(only, np.ndarray) and only.dtype == dtype and only.shape == shape and len(shape) <= 2:
            return [only]
    if len(given) != len(outputs):
        raise ValueError(f"[{name}] there are {len(outputs)} outputs, but {len(given)} gradients")
    found = []
    for i, (d, output) in enumerate(zip(given, outputs, strict=True)):
        which = "" if len(outputs) == 1 else f" {i}"
        if d is None and which:
            found.append(aligned_zeros(output.shape, dtype, device))
            continue
        if not hasattr(d, "shape") or d.dtype != dtype:  # type: ignore[union-attr]
            what = getattr(d, "dtype", type(d).__name__)
            raise TypeError(f"[{name}] d_output{which} is {what}, but the network is {dtype}")
        assert d is not None
        if d.shape != output.shape:
            raise ValueError(
                f"[{name}] d_output{which} has shape {d.shape}, "
                f"but the output{which} has shape {output.shape}"
            )
        found.append(as_contiguous((d,))[0])
    return found


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
