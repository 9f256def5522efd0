"""A feed-forward network whose parameters lie in one flat, aligned arena."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._backends import check_device, cuda_problem, device_of
from steepest._memory import CACHE_LINE, aligned_empty, aligned_zeros, assign, to_host

from ._stages import Buffers, Parameter, Stage, run
from .layers import Layer, Linear, check_layers

Array = npt.NDArray[Any]

# `predict` works in blocks of rows, so that its memory does not grow with n: on the CPU small enough for hidden layers
# to stay in the cache, on CUDA large enough to occupy the whole device.
_PREDICT_ROWS = {"cpu": 2048, "cuda": 65536}
# `forward` keeps the buffers of this many batch sizes: full and last mini-batches, and some for validation.
_KEPT_BATCH_SIZES = 8


class Network:
    """A chain of layers, ``y = f_k(… f_1(x))``.

    A `Linear` and the activation behind it run as one kernel; backward folds the derivative of each
    activation into the `linear_backward` of the layer after it. Every method can be called inside
    `steepest.capture`.

    Parameters
    ----------
    layers : iterable of layers
        `Linear` layers and activations, first to last.
    seed : int, default=0
        Seed of the initial weights: tensor i is drawn from stream i of Philox4x32-10 under this seed.
    dtype : {float32, float64}, default=float32
        Dtype of parameters, inputs and outputs.
    device : {"cpu", "cuda"}, default="cpu"
        Where the parameters lie and everything is computed, on NumPy or on CuPy arrays; for CUDA, on CuPy's current
        device and stream. The initial weights are the same on both.

    Attributes
    ----------
    layers : tuple of layers
        As given.
    dtype : dtype
        As given.
    device : str
        As given. A pickle holds NumPy arrays and gives a network on the CPU.
    arena, grad_arena : ndarray of shape (size,)
        All parameters and all gradients. Every tensor starts on a 64-byte boundary; the gaps stay zero.
    weight_arena : ndarray
        The first part of `arena`, which holds the weights and no biases.

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
        self._build(tuple(layers), np.dtype(dtype), device)
        linears = [layer for layer in self.layers if isinstance(layer, Linear)]
        bounds = iter(layer.bound for layer in linears)
        for stream, parameter in enumerate(self._parameters):
            if parameter.name.endswith("weight"):
                bound = next(bounds)
                shape, out = parameter.value.shape, parameter.value
                K.random_uniform(shape, -bound, bound, seed=seed, stream=stream, dtype=self.dtype, out=out)

    def _build(self, layers: tuple[Layer, ...], dtype: np.dtype[Any], device: str) -> None:
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"[Network] dtype {dtype} is not supported: use float32 or float64")
        check_layers(layers)
        check_device(device, "Network")
        if device == "cuda" and (problem := cuda_problem()):
            raise RuntimeError(f"[Network] device='cuda' is not available: {problem}")
        self.layers = layers
        self.dtype = dtype
        self.device = device
        self._allocate()
        self._stages = self._plan()
        self._buffers: OrderedDict[int, Buffers] = OrderedDict()
        self._last: Buffers | None = None

    def _allocate(self) -> None:
        """Lay the tensors out: all weights, then all biases, so that the penalised part is contiguous."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Linear):
                shapes[f"{i}.weight"] = (layer.n_in, layer.n_out)
                if layer.bias:
                    shapes[f"{i}.bias"] = (layer.n_out,)
        line = CACHE_LINE // self.dtype.itemsize
        offsets, end, weights_end = {}, 0, 0
        for name in sorted(shapes, key=lambda name: name.endswith("bias")):  # stable
            offsets[name] = end
            end += -(-int(np.prod(shapes[name])) // line) * line
            if name.endswith("weight"):
                weights_end = end
        self.arena: Array = aligned_zeros((end,), self.dtype, self.device)
        self.grad_arena: Array = aligned_zeros((end,), self.dtype, self.device)
        self.weight_arena: Array = self.arena[:weights_end]
        self._parameters = []
        for name, shape in shapes.items():
            tensor = slice(offsets[name], offsets[name] + int(np.prod(shape)))
            self._parameters.append(
                Parameter(name, self.arena[tensor].reshape(shape), self.grad_arena[tensor].reshape(shape))
            )

    def _plan(self) -> list[Stage]:
        by_name = {p.name: p for p in self._parameters}
        stages: list[Stage] = []
        fusible = False  # whether the last stage is a linear layer that has no activation yet
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Linear):
                weight, bias = by_name[f"{i}.weight"], by_name.get(f"{i}.bias")
                stages.append(Stage("identity", weight, bias, layer.n_out))
                fusible = True
            elif layer.name != "identity":
                if fusible:
                    last = stages.pop()
                    stages.append(Stage(layer.name, last.weight, last.bias, last.n_out))
                else:
                    stages.append(Stage(layer.name))
                fusible = False
        return stages

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
        return self if device == self.device else self._copy(device)

    def _copy(self, device: str) -> Network:
        twin = type(self).__new__(type(self))
        twin._build(self.layers, self.dtype, device)
        assign(twin.arena, self.arena)
        return twin

    def forward(self, x: Array) -> Array:
        """Compute the output for a batch and keep what `backward` needs.

        Parameters
        ----------
        x : ndarray of shape (n, n_in)
            Inputs, of the network's dtype. Not copied: it may not change before `backward`.

        Returns
        -------
        ndarray of shape (n, n_out)
            The output. The buffer is used again by the next batch of the same size.

        Raises
        ------
        ValueError, TypeError
            Where the shape or the dtype does not fit.
        """
        self._check_input("forward", x)
        buffers = self._buffers_for(x)
        for stage, source, out in zip(self._stages, buffers.x[:-1], buffers.x[1:], strict=True):
            run(stage, source, out)
        self._last = buffers
        return buffers.x[-1]

    def predict(self, x: Array) -> Array:
        """Compute the output and keep nothing.

        Parameters
        ----------
        x : ndarray of shape (n, n_in)
            Inputs, of the network's dtype.

        Returns
        -------
        ndarray of shape (n, n_out)
            The output, in a new array.

        Raises
        ------
        ValueError, TypeError
            Where the shape or the dtype does not fit.
        """
        self._check_input("predict", x)
        if not self._stages:
            return x.copy()
        n, widths = len(x), self._widths(x.shape[1])
        output = aligned_empty((n, widths[-1]), self.dtype, self.device)
        rows = _PREDICT_ROWS[self.device]
        hidden = [aligned_empty((min(n, rows), width), self.dtype, self.device) for width in widths[1:-1]]
        for start in range(0, n, rows):
            block = x[start : start + rows]
            outs = [h[: len(block)] for h in hidden] + [output[start : start + len(block)]]
            for stage, out in zip(self._stages, outs, strict=True):
                block = run(stage, block, out)
        return output

    def backward(self, d_output: Array, l2: float = 0.0) -> None:
        """Compute the gradient of every parameter for the last batch of `forward`.

        Parameters
        ----------
        d_output : ndarray of shape (n, n_out)
            Gradient of the loss with respect to the output.
        l2 : float, default=0.0
            ``l2 * w`` is added to the gradient of every weight, not to those of biases.

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
        buffers = self._last
        if d_output.shape != buffers.x[-1].shape:
            raise ValueError(
                f"[Network.backward] d_output has shape {d_output.shape}, "
                f"but the output of the last forward pass has shape {buffers.x[-1].shape}"
            )
        if not self._stages:
            return
        # On entering stage i, d is the gradient with respect to what goes into the activation of that stage.
        d = d_output
        if buffers.d_output is not None:
            d = K.activation_backward(d, buffers.x[-1], self._stages[-1].activation, out=buffers.d_output)
        for i in range(len(self._stages) - 1, -1, -1):
            stage, before = self._stages[i], self._stages[i - 1].activation if i > 0 else "identity"
            d_x = buffers.d_x[i]
            if stage.weight is not None:
                K.linear_backward(
                    d,
                    buffers.x[i],
                    stage.weight.value,
                    activation=before,
                    l2=l2,
                    input_grad=d_x is not None,
                    d_x=d_x,
                    d_w=stage.weight.grad,
                    d_b=stage.bias.grad if stage.bias is not None else buffers.d_bias[i],
                )
            elif d_x is not None:
                K.activation_backward(d, buffers.x[i], before, out=d_x)
            if d_x is None:
                break
            d = d_x

    def release_buffers(self) -> None:
        """Free what `forward` keeps: its buffers, and the reference to its last input."""
        self._buffers.clear()
        self._last = None

    def _check_input(self, method: str, x: Array) -> None:
        if x.ndim != 2:
            raise ValueError(f"[Network.{method}] x has shape {x.shape}: it must be (n, n_in)")
        if x.dtype != self.dtype:
            raise TypeError(f"[Network.{method}] x is {x.dtype}, but the network is {self.dtype}")
        if device_of(x) != self.device:
            raise TypeError(
                f"[Network.{method}] x lies on {device_of(x)!r}, but the network on {self.device!r}: move one of them, "
                "with cupy.asarray, cupy.asnumpy or Network.to"
            )

    def _widths(self, n_in: int) -> list[int]:
        """Numbers of columns of the input and of every stage's output."""
        widths = [n_in]
        for stage in self._stages:
            widths.append(stage.n_out if stage.n_out is not None else widths[-1])
        return widths

    def _buffers_for(self, x: Array) -> Buffers:
        n = len(x)
        widths = self._widths(x.shape[1])
        kept = self._buffers.get(n)
        # A network of activations alone has no width of its own.
        if kept is None or kept.x[-1].shape[1] != widths[-1]:
            kept = self._allocate_buffers(n, widths)
            self._buffers[n] = kept
            if len(self._buffers) > _KEPT_BATCH_SIZES:
                self._buffers.popitem(last=False)
        self._buffers.move_to_end(n)
        # The cache must not keep the caller's array alive.
        return Buffers([x, *kept.x[1:]], kept.d_x, kept.d_output, kept.d_bias)

    def _allocate_buffers(self, n: int, widths: list[int]) -> Buffers:
        def empty(width: int) -> Array:
            return aligned_empty((n, width), self.dtype, self.device)

        stages = self._stages
        first_weight = next((i for i, stage in enumerate(stages) if stage.weight is not None), len(stages))
        return Buffers(
            x=[aligned_empty((0, widths[0]), self.dtype, self.device), *(empty(w) for w in widths[1:])],
            # Nothing before the first weight needs a gradient.
            d_x=[empty(w) if i > first_weight else None for i, w in enumerate(widths[:-1])],
            d_output=empty(widths[-1]) if stages and stages[-1].activation != "identity" else None,
            d_bias={
                i: aligned_empty((stage.n_out,), self.dtype, self.device)
                for i, stage in enumerate(stages)
                if stage.weight is not None and stage.bias is None and stage.n_out is not None
            },
        )

    def __getstate__(self) -> dict[str, Any]:
        # Views do not survive pickling as views, so they are laid out anew from one copy of the values.
        # NumPy arrays, and the CPU on the way back: a pickle can be read where there is no CUDA.
        return {"layers": self.layers, "dtype": self.dtype, "arena": np.array(to_host(self.arena))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._build(state["layers"], state["dtype"], "cpu")
        self.arena[...] = state["arena"]

    def __copy__(self) -> Network:
        return self._copy(self.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        return self._copy(self.device)

    def __repr__(self) -> str:
        device = "" if self.device == "cpu" else f", device={self.device!r}"
        return f"Network({list(self.layers)!r}, dtype={self.dtype.name}{device})"
