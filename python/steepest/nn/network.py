"""A feed-forward network whose parameters lie in one flat, aligned arena."""

from __future__ import annotations

import copy
import sys
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._runtime.arguments import checked_integer, refuse_masked_array
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import check_device, cuda_problem, device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros, assign

from ._arena import Arena
from ._stages import Parameter, Stage, plan
from .initializers import initialize
from .layers import Layer, Linear, PReLU, check_layers

# `predict` works in blocks of rows, so that its memory does not grow with n: on the CPU small enough for hidden layers
# to stay in the cache, on CUDA large enough to occupy the whole device.
_PREDICT_ROWS = {"cpu": 2048, "cuda": 65536}
# `forward` keeps the buffers of this many batch sizes: full and last mini-batches, and some for validation.
_KEPT_BATCH_SIZES = 8


@dataclass(eq=False)
class _Buffers:
    """What `forward` and `backward` write for a batch size, by stage.

    Attributes
    ----------
    outputs : list of ndarray
        Of every stage.
    d_inputs : list of ndarray or None
        Gradients with respect to their inputs, where one is needed.
    d_output : ndarray or None
        Gradient of the last stage's output, where it leaves the derivative of its activation to somebody else.
    spare : list of ndarray
        At most one array: an output of the network that its caller may still hold.
    """

    outputs: list[Array]
    d_inputs: list[Array | None]
    d_output: Array | None
    spare: list[Array] = field(default_factory=list)


class Network:
    """A chain of layers, ``y = f_k(… f_1(x))``.

    A `Linear` and the activation behind it run as one kernel; backward folds the derivative of each such
    activation into the `linear_backward` of the layer after it. Every method can be called inside
    `steepest.capture`.

    Parameters
    ----------
    layers : iterable of layers
        First to last.
    seed : int, default=0
        Seed of the initial weights, of which tensor i is drawn from stream i of Philox4x32-10, and of dropout.
    dtype : {float32, float64}, default=float32
        Dtype of parameters, inputs and outputs.
    device : {"cpu", "cuda"}, default="cpu"
        Where the parameters lie and everything is computed, on NumPy or on CuPy arrays; for CUDA, on CuPy's current
        device and stream. The initial weights are the same on both.

    Attributes
    ----------
    layers : tuple of layers
        As given.
    seed : int
        As given.
    dtype : dtype
        As given.
    device : str
        As given. A pickle holds NumPy arrays and gives a network on the CPU. A network and its optimizer that are
        pickled or deep-copied together, as ``copy.deepcopy((net, optimizer))``, belong together afterwards too.
    arena, grad_arena : ndarray of shape (size,)
        All parameters and all gradients. Every tensor starts on a 64-byte boundary; the gaps stay zero.
    weight_arena : ndarray
        The first part of `arena`, which holds the weights of linear layers, and no biases or slopes.

    Raises
    ------
    ValueError, TypeError
        Where there are no layers, one is of another type, sizes do not chain, or dtype or device are not supported.
    RuntimeError
        Where CUDA is asked for and not available.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)], seed=0)
    >>> net.predict(np.zeros((2, 4), np.float32)).shape
    (2, 3)
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        seed: int = 0,
        dtype: npt.DTypeLike = np.float32,
        device: str = "cpu",
    ) -> None:
        seed = checked_integer("Network", "seed", seed)
        self._build(tuple(layers), seed, np.dtype(dtype), device)
        for stream, parameter in enumerate(self._parameters):
            position, role = parameter.name.split(".")
            layer = self.layers[int(position)]
            if role == "weight" and isinstance(layer, Linear):
                initialize(parameter.value, layer.init, seed=seed, stream=stream)
            elif isinstance(layer, PReLU):
                parameter.value[...] = layer.init

    def _build(self, layers: tuple[Layer, ...], seed: int, dtype: np.dtype[Any], device: str) -> None:
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"[Network] dtype {dtype} is not supported: use float32 or float64")
        check_layers(layers)
        _require_device(device)
        self._use(Arena(layers, dtype, device), seed)

    def _use(self, arena: Arena, seed: int) -> None:
        """Be the network of an arena's layers and parameters."""
        self.layers, self.dtype, self.device = arena.layers, arena.dtype, arena.device
        self.seed = seed
        self._arena = arena
        self.arena, self.grad_arena, self.weight_arena = arena.values, arena.grads, arena.weights
        self._parameters = arena.parameters()
        self._passes: Int64Array = aligned_zeros((), np.int64, self.device)
        self._stages = self._plan(slice(None))
        self._predicting = [stage for stage in self._stages if not stage.training_only]
        self._draws = len(self._predicting) < len(self._stages)
        self._buffers: OrderedDict[int, _Buffers] = OrderedDict()
        self._last: tuple[Array, _Buffers] | None = None  # input and buffers of the last forward pass

    def _plan(self, part: slice) -> list[Stage]:
        by_name = {parameter.name: parameter for parameter in self._parameters}
        return plan(self.layers, by_name, self.seed, self._passes, part)

    @property
    def draws(self) -> bool:
        """Whether `forward` draws masks, and so differs from `predict`."""
        return self._draws

    def parameters(self) -> list[Parameter]:
        """Return the parameters, layer by layer, weight before bias."""
        return list(self._parameters)

    def to(self, device: str) -> Network:
        """Return this network on a device: itself, or a copy if it lies on the other one.

        Parameters
        ----------
        device : {"cpu", "cuda"}
            Where.

        Returns
        -------
        Network
            Of the same layers and parameters; gradients and buffers are not copied.

        Raises
        ------
        ValueError, RuntimeError
            Where the device is not known or not available.
        """
        if device == self.device:
            return self
        _require_device(device)
        return self._twin(self._arena.copy_to(device))

    def _twin(self, arena: Arena) -> Network:
        """Return this network with other parameters."""
        twin = type(self).__new__(type(self))
        twin._use(arena, self.seed)
        assign(twin._passes, self._passes)
        return twin

    def forward(self, x: Array) -> Array:
        """Compute the output for a batch as in training, with dropout, and keep what `backward` needs.

        Parameters
        ----------
        x : ndarray of shape (n, n_in)
            Inputs, of the network's dtype. Not copied: it may not change before `backward`.

        Returns
        -------
        ndarray of shape (n, n_out)
            The output. Its memory is used again by a later batch of the same size, but never while the output, or a
            view of it, is referred to. What `backward` needs is kept for the last call alone.

        Raises
        ------
        ValueError, TypeError
            Where the shape or the dtype does not fit.
        """
        self._check_input("forward", x)
        buffers = self._buffers_for(x)
        self._last = None  # its buffers are written over
        if self._draws:
            K.increment(self._passes)
        y = x
        for stage, out in zip(self._stages, buffers.outputs, strict=True):
            stage.forward(y, out)
            y = out
        self._last = x, buffers
        return y

    def predict(self, x: Array, layers: slice | None = None) -> Array:
        """Compute the output without dropout, and keep nothing.

        Parameters
        ----------
        x : ndarray of shape (n, n_in)
            Inputs, of the network's dtype.
        layers : slice or None, default=None
            Which of `layers` to compute, such as ``slice(2)`` for what the first two make of x, or ``slice(2, None)``
            for what the others make of that; None for all.

        Returns
        -------
        ndarray of shape (n, n_out)
            The output of the last of them, in a new array.

        Raises
        ------
        ValueError, TypeError
            Where the shape or the dtype does not fit, or `layers` is not such a slice.
        """
        self._check_input("predict", x)
        stages = self._predicting
        if layers is not None:
            if not isinstance(layers, slice) or layers.step not in (None, 1):
                raise ValueError(
                    f"[Network.predict] layers must be a slice of layers that follow each other, got {layers!r}"
                )
            stages = [stage for stage in self._plan(layers) if not stage.training_only]
        if not stages:
            return x.copy()
        n, widths = len(x), _widths(stages, x.shape[1])
        output = aligned_empty((n, widths[-1]), self.dtype, self.device)
        rows = _PREDICT_ROWS[self.device]
        hidden = [aligned_empty((min(n, rows), width), self.dtype, self.device) for width in widths[1:-1]]
        for start in range(0, n, rows):
            block = x[start : start + rows]
            outs = [h[: len(block)] for h in hidden] + [output[start : start + len(block)]]
            for stage, out in zip(stages, outs, strict=True):
                stage.forward(block, out)
                block = out
        return output

    def backward(self, d_output: Array, l2: float = 0.0) -> None:
        """Compute the gradient of every parameter for the last batch of `forward`.

        Parameters
        ----------
        d_output : ndarray of shape (n, n_out)
            Gradient of the loss with respect to the output.
        l2 : float, default=0.0
            ``l2 * w`` is added to the gradient of every weight, not to those of biases and slopes.

        Raises
        ------
        RuntimeError
            Where `forward` has not been called.
        ValueError, TypeError
            Where the shape or the dtype does not fit.
        """
        if self._last is None:
            raise RuntimeError(
                "[Network.backward] there is no forward pass to differentiate: call forward first"
            )
        x, buffers = self._last
        y = [x, *buffers.outputs]
        if d_output.shape != y[-1].shape:
            raise ValueError(
                f"[Network.backward] d_output has shape {d_output.shape}, "
                f"but the output of the last forward pass has shape {y[-1].shape}"
            )
        if not self._stages:
            return
        d = d_output
        if buffers.d_output is not None:
            d = K.activation_backward(d, y[-1], self._stages[-1].folded, out=buffers.d_output)
        for i in range(len(self._stages) - 1, -1, -1):
            before = self._stages[i - 1].folded if i > 0 else "identity"
            d_x = buffers.d_inputs[i]
            self._stages[i].backward(d, y[i], y[i + 1], d_x, before, l2)
            if d_x is None:
                break
            d = d_x

    def release_buffers(self) -> None:
        """Free what `forward` keeps: its buffers, and the reference to its last input."""
        self._buffers.clear()
        self._last = None

    def _check_input(self, method: str, x: Array) -> None:
        # Other libraries' arrays have dtypes of their own.
        if not isinstance(getattr(x, "dtype", None), np.dtype) or not hasattr(x, "ndim"):
            raise TypeError(
                f"[Network.{method}] x must be a NumPy or CuPy array, not {type(x).__name__}: "
                "convert it, with numpy.asarray or cupy.asarray"
            )
        refuse_masked_array(f"Network.{method}", "x", x)
        if x.ndim != 2:
            raise ValueError(f"[Network.{method}] x has shape {x.shape}: it must be (n, n_in)")
        if x.dtype != self.dtype:
            raise TypeError(f"[Network.{method}] x is {x.dtype}, but the network is {self.dtype}")
        if device_of(x) != self.device:
            raise TypeError(
                f"[Network.{method}] x lies on {device_of(x)!r}, but the network on {self.device!r}: move one of them, "
                "with cupy.asarray, cupy.asnumpy or Network.to"
            )

    def _buffers_for(self, x: Array) -> _Buffers:
        n = len(x)
        widths = _widths(self._stages, x.shape[1])
        buffers = self._buffers.get(n)
        # A network of activations alone has no width of its own.
        if buffers is None or (buffers.outputs and buffers.outputs[-1].shape[1] != widths[-1]):
            buffers = self._allocate_buffers(n, widths)
            self._buffers[n] = buffers
            if len(self._buffers) > _KEPT_BATCH_SIZES:
                self._buffers.popitem(last=False)
        elif _is_held(buffers.outputs):
            self._renew_output(buffers)
        self._buffers.move_to_end(n)
        return buffers

    def _renew_output(self, buffers: _Buffers) -> None:
        """Put another array in the place of an output that the caller still holds.

        There are two that take turns, so that a loop that keeps the last output in a variable allocates none.
        """
        held, spare = buffers.outputs[-1], buffers.spare
        if spare and not _is_held(spare):
            buffers.outputs[-1] = spare[0]
        else:
            buffers.outputs[-1] = aligned_empty(held.shape, self.dtype, self.device)
        buffers.spare = [held]

    def _allocate_buffers(self, n: int, widths: list[int]) -> _Buffers:
        def empty(width: int) -> Array:
            return aligned_empty((n, width), self.dtype, self.device)

        stages = self._stages
        first = next((i for i, stage in enumerate(stages) if stage.learns), len(stages))
        return _Buffers(
            outputs=[empty(width) for width in widths[1:]],
            # Nothing before the first parameters needs a gradient.
            d_inputs=[empty(w) if i > first else None for i, w in enumerate(widths[:-1])],
            d_output=empty(widths[-1]) if stages and stages[-1].folded != "identity" else None,
        )

    def _configuration(self) -> dict[str, Any]:
        """Return what makes up the network besides its parameters."""
        return {"layers": self.layers, "seed": self.seed, "dtype": self.dtype, "passes": int(self._passes)}

    def __getstate__(self) -> dict[str, Any]:
        return {"arena": self._arena, "seed": self.seed, "passes": int(self._passes)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._use(state["arena"], state["seed"])
        self._passes[...] = state["passes"]

    def __copy__(self) -> Network:
        return self._twin(self._arena.copy_to(self.device))

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        return self._twin(copy.deepcopy(self._arena, memo))

    def __repr__(self) -> str:
        device = "" if self.device == "cpu" else f", device={self.device!r}"
        return f"Network({list(self.layers)!r}, dtype={self.dtype.name}{device})"


def _require_device(device: str) -> None:
    check_device(device, "Network")
    if device == "cuda" and (problem := cuda_problem()):
        raise RuntimeError(f"[Network] device='cuda' is not available: {problem}")


def _widths(stages: list[Stage], n_in: int) -> list[int]:
    """Numbers of columns of the input and of every stage's output."""
    widths = [n_in]
    for stage in stages:
        widths.append(stage.n_out if stage.n_out is not None else widths[-1])
    return widths


def _is_held(outputs: list[Array]) -> bool:
    """Return whether anything but this list refers to its last array, or to the memory that it is a view of.

    Views of NumPy's arrays refer to that memory, not to the array. Each count includes the argument itself.
    """
    if not outputs:
        return False
    memory_is_held = outputs[-1].base is not None and sys.getrefcount(outputs[-1].base) > 2
    return memory_is_held or sys.getrefcount(outputs[-1]) > 2
