"""Flat vectors of a network's parameters, and their views as tensors or as one matrix per layer."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from steepest import _cpu
from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import device_of, is_cupy
from steepest._runtime.memory import aligned_empty, array_namespace, to_device, to_host
from steepest.nn import Network
from steepest.nn.compiled import Compiled

from ._tape import compiled_for
from .blocks.parts import parts_of

# Number of products that `dot` adds in the vectors' own dtype, before it adds these sums in float64.
_BLOCK = 2048


class Layout:
    """Where the parameters of a network stand in a vector: as in ``net.parameters()``, in C order.

    Parameters
    ----------
    net : Network
        The network.

    Attributes
    ----------
    size : int
        Number of parameters, P.
    shapes : list of tuple of int
        Of the tensors.
    blocks : list of Part
        The parameters of each layer that has some.
    layers : list of tuple of int
        Shape of the matrix of each layer: for a linear one its weights, with its bias as the last row.
    widths : list of int
        Number of columns of each output.
    n_outputs : int
        Number of columns of all outputs.
    """

    def __init__(self, net: Network) -> None:
        self.dtype, self.device = net.dtype, net.device
        self.names = [p.name for p in net.parameters()]
        self.shapes = [tuple(p.value.shape) for p in net.parameters()]
        program = compiled_for(net).predicting
        self.blocks = parts_of(program, net._arena.specs)
        self.layers = [part.matrix for part in self.blocks]
        self.widths = [_width(program.shapes[number]) for number in program.outputs]
        self.n_outputs = sum(self.widths)
        self.size = sum(math.prod(shape) for shape in self.shapes)
        self._tensors, self._matrices = _places(self.shapes), _places(self.layers)

    def in_float64(self) -> Layout:
        """Return the layout of float64 vectors on the same device."""
        double = copy.copy(self)
        double.dtype = np.dtype(np.float64)
        return double

    # ------------------------------------------------------------------------------------------ views of a flat array

    def parts(self, flat: Array) -> list[Array]:
        """Return views as one matrix per layer, whose last row is the bias if there is one."""
        return [flat[place].reshape(shape) for place, shape in self._matrices]

    def stacks(self, flat: Array) -> list[Array]:
        """Return views as the matrices that K-FAC replaces by Kronecker products, in the shapes of the stacks."""
        parts = zip(self.blocks, self.parts(flat), strict=True)
        return [stack.of(matrix.reshape(-1)) for part, matrix in parts for stack in part.stacks]

    def tensors(self, flat: Array) -> list[Array]:
        """Return views in the shapes of the parameters."""
        return [flat[place].reshape(shape) for place, shape in self._tensors]

    def named(self, flat: Array) -> dict[str, Array]:
        """Return arrays of the parameters' shapes, by name."""
        return dict(zip(self.names, self.tensors(flat), strict=True))

    # --------------------------------------------------------------------------------------------- of another kind

    def empty(self) -> Array:
        """Return an uninitialised flat array in the network's dtype and on its device."""
        return aligned_empty((self.size,), self.dtype, self.device)

    def empty_like(self, array: Array) -> Array:
        """Return an uninitialised flat array in the dtype and on the device of another array."""
        return aligned_empty((self.size,), array.dtype, device_of(array))

    def gathered(self, arrays: Sequence[Array]) -> Array:
        """Return copies of tensors, or of the layers' matrices, as one flat array in the network's dtype and device."""
        flat = self.empty()
        array_namespace(flat).concatenate([array.reshape(-1) for array in arrays], out=flat)
        return flat

    def on_device(self, flat: Array) -> Array:
        """Return a flat array in the network's dtype, on its device."""
        return to_device(flat.astype(self.dtype, copy=False), self.device)

    def on_host(self, flat: Array) -> Float64Array:
        """Return a flat array in float64, on the host."""
        array: Float64Array = to_host(flat).astype(np.float64, copy=False)
        return array

    # ------------------------------------------------------------------------------------------------------- checks

    def taken(self, v: Any) -> Array:
        """Check a user's vector, and return it as a flat array: float64 on the host, or `gathered` from a list.

        Raises
        ------
        ValueError
            If the shapes are not those of the parameters, or an item is not finite.
        RuntimeError
            If a graph is being captured.
        """
        require_no_capture("FisherMatrix", "use it outside of the block")
        if isinstance(v, (list, tuple)):
            shapes = [tuple(a.shape) for a in v]
            if shapes != self.shapes:
                raise ValueError(
                    f"[FisherMatrix] the arrays have the shapes {shapes}, the parameters {self.shapes}"
                )
            gathered = self.gathered([to_device(array, self.device) for array in v])
            require_finite("the vector", gathered)
            return gathered
        flat = np.array(to_host(v), dtype=np.float64)
        if flat.shape != (self.size,):
            raise ValueError(
                f"[FisherMatrix] the vector has shape {flat.shape}, but there are {self.size} parameters"
            )
        require_finite("the vector", flat)
        return flat

    def given_back(self, like: Any, flat: Array) -> Any:
        """Return a vector in the form of `like`: a list in the network's dtype, or a flat float64 array on the host."""
        if isinstance(like, (list, tuple)):
            return self.tensors(self.on_device(flat))
        return self.on_host(flat)


def _places(shapes: Sequence[tuple[int, ...]]) -> list[tuple[slice, tuple[int, ...]]]:
    """Return where in a flat array each of several arrays stands, with its shape."""
    ends = list(itertools.accumulate(math.prod(shape) for shape in shapes))
    return [(slice(end - math.prod(shape), end), shape) for end, shape in zip(ends, shapes, strict=True)]


_LAYOUTS: WeakKeyDictionary[Compiled, Layout] = WeakKeyDictionary()


def layout_of(net: Network) -> Layout:
    """Return the layout of a network's parameters, which is made once for a network."""
    compiled = compiled_for(net)
    layout = _LAYOUTS.get(compiled)
    if layout is None:
        layout = _LAYOUTS[compiled] = Layout(net)
    return layout


def _width(shape: tuple[int | None, ...]) -> int:
    if len(shape) != 1 or shape[0] is None:
        raise ValueError(
            f"[FisherMatrix] requires outputs that are vectors of a known length, got samples of shape {shape}"
        )
    return shape[0]


def require_no_capture(operation: str, instead: str) -> None:
    """Raise a RuntimeError inside `steepest.capture()`, which records kernels without computing their results."""
    if _cpu.is_capturing():
        raise RuntimeError(
            f"[{operation}] steepest.capture() records kernels without running them, but this needs their results: "
            f"{instead}"
        )


def dot(a: Array, b: Array) -> float:
    """Return the inner product of two flat arrays on the same device."""
    if is_cupy(a):
        return float(array_namespace(a).vdot(a, b))
    # BLAS would start threads that keep spinning and take cores from the kernels. Adding float32 products in float64
    # takes seven times as long as adding them in blocks of float32, and then adding the blocks' sums in float64.
    whole = len(a) // _BLOCK * _BLOCK
    sums = np.einsum("ij,ij->i", a[:whole].reshape(-1, _BLOCK), b[:whole].reshape(-1, _BLOCK))
    rest = np.einsum("i,i->", a[whole:], b[whole:], dtype=np.float64)
    return float(sums.sum(dtype=np.float64) + rest)


def require_finite(what: str, array: Array) -> None:
    """Raise a ValueError that names the first item that is not finite."""
    # If the sum is finite, so is every item. If it is not, the sum may only have overflowed.
    if math.isfinite(float(K.sum(array.reshape(len(array), -1) if array.ndim > 2 else array))):
        return
    finite = array_namespace(array).isfinite(array)
    if not bool(finite.all()):
        at = int(to_host(~finite).ravel().argmax())
        where = np.unravel_index(at, array.shape)
        place = ", ".join(str(int(i)) for i in where)
        raise ValueError(f"[FisherMatrix] {what} is not finite at ({place})")
