"""What layers are called on: the inputs of a network, constants, and what layers make of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Array

if TYPE_CHECKING:
    from .layers.base import Layer

Shape = tuple[int | None, ...]
"""Shape of a sample; None for a width that is known once there is a batch."""


class ConstantShape(tuple[int, ...]):
    """Shape of a constant, which has no batch axis: it is broadcast to the samples of a batch."""


class MaskShape(tuple[int | None, ...]):
    """Shape of a sample of an input of booleans."""


@dataclass(frozen=True, eq=False, repr=False)
class Value:
    """A value of a network that is being put together: for every sample of a batch an array of one shape.

    Layers are called on values, and return values; `Network` takes those at both ends.

    Attributes
    ----------
    shape : tuple of int
        Shape of a sample, without the batch axis.
    layer : layer or None
        The layer whose output it is; None for inputs and constants.
    inputs : tuple of Value
        What that layer was called on.
    """

    shape: Shape
    layer: Layer | None = None
    inputs: tuple[Value, ...] = ()

    @property
    def origin(self) -> str:
        """Where the value comes from, as messages say it."""
        return str(self.layer)

    def __repr__(self) -> str:
        # Not the inputs: what a value depends on may be a whole network.
        return f"Value(shape={tuple(self.shape)}, layer={self.layer})"


class Input(Value):
    """An input of a network.

    Parameters
    ----------
    shape : int or tuple of int or None
        Shape of a sample, such as 784 or (28, 28, 1); () for one number a sample. None for a size that each batch
        has its own of, such as the steps of sequences: (None, 3).
    dtype : data-type, optional
        Dtype of the input; the network's own if it is not given. An integer dtype is for layers that look up rows, and
        bool for masks of attention.
    name : str, default="x"
        What messages call it.

    Raises
    ------
    ValueError, TypeError
        If a size is neither a positive integer nor None, or the dtype is neither floating point, nor an integer, nor
        bool.

    Examples
    --------
    >>> from steepest import nn
    >>> x = nn.Input(4)
    >>> hidden = nn.ReLU()(nn.Linear(4, 8)(x))
    >>> net = nn.Network(x, nn.Linear(8, 3)(hidden))
    """

    def __init__(
        self, shape: int | tuple[int | None, ...], dtype: npt.DTypeLike | None = None, name: str = "x"
    ) -> None:
        sizes = shape if isinstance(shape, tuple) else (shape,)
        for size in sizes:
            if size is None and isinstance(shape, tuple):
                continue
            if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
                raise ValueError(
                    f"[Input] shape must hold positive integers, or None for a size that batches differ in, got {shape}"
                )
        if dtype is not None and np.dtype(dtype).kind not in "iufb":
            raise TypeError(
                f"[Input] dtype must be floating point, an integer or bool, got {np.dtype(dtype)}"
            )
        own = MaskShape if dtype is not None and np.dtype(dtype).kind == "b" else tuple
        super().__init__(own(None if size is None else int(size) for size in sizes))
        object.__setattr__(self, "dtype", None if dtype is None else np.dtype(dtype))
        object.__setattr__(self, "name", name)

    dtype: np.dtype[Any] | None
    name: str

    @property
    def origin(self) -> str:
        """Which input it is, as messages say it."""
        return f"the input {self.name}"

    def __repr__(self) -> str:
        dtype = "" if self.dtype is None else f", dtype={self.dtype.name!r}"
        name = "" if self.name == "x" else f", name={self.name!r}"
        return f"Input({self.shape}{dtype}{name})"


class Constant(Value):
    """A value that is the same for every sample: `Add` and `Multiply` take one, and attention a mask of booleans.

    Parameters
    ----------
    array : array_like
        The value, without a batch axis; the network keeps a copy of it in its own dtype, or as booleans for a mask.

    Raises
    ------
    ValueError
        If an item is not finite.
    """

    array: Array

    def __init__(self, array: npt.ArrayLike) -> None:
        held: Array = np.array(array)
        held = held if held.dtype.kind == "b" else held.astype(np.float64)
        if not np.isfinite(held).all():
            raise ValueError("[Constant] array must hold finite numbers only")
        super().__init__(ConstantShape(held.shape))
        object.__setattr__(self, "array", held)

    @property
    def origin(self) -> str:
        """What it is, as messages say it."""
        return "a constant"

    def __repr__(self) -> str:
        return f"Constant(shape={self.shape})"
