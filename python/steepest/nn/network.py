"""A feed-forward network whose parameters lie in one flat, aligned arena."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._memory import CACHE_LINE, aligned_empty, aligned_zeros

from .layers import Activation, Layer, Linear

Array = npt.NDArray[Any]

# `predict` works in blocks of rows, so that hidden layers stay in the cache and its memory does not grow with
# n.
_PREDICT_ROWS = 2048
# `forward` keeps the buffers of this many batch sizes: full and last mini-batches, and some for validation.
_KEPT_BATCH_SIZES = 8


@dataclass(frozen=True, eq=False)
class Parameter:
    """A named tensor of a network with its gradient; both are views into the network's arenas.

    Attributes
    ----------
    name : str
        Position of the layer and role, such as ``"0.weight"``.
    value, grad : ndarray
        The tensor and its gradient, of one shape and dtype.
    """

    name: str
    value: Array
    grad: Array


@dataclass(frozen=True, eq=False)
class _Stage:
    """One kernel call of a forward pass: a linear layer fused with its activation, or a lone activation."""

    activation: str
    weight: Parameter | None = None
    bias: Parameter | None = None
    n_out: int | None = None


@dataclass(eq=False)
class _Buffers:
    """What forward keeps: x[i] is the input of stage i, x[-1] the output; d_x[i] the gradient of x[i]."""

    x: list[Array]
    d_x: list[Array | None]
    d_output: Array | None  # where the last stage has an activation of its own to differentiate
    d_bias: dict[int, Array]  # where a linear stage has no bias: the kernel's sums have to go somewhere


class Network:
    """A chain of layers, ``y = f_k(... f_1(x))``.

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

    Attributes
    ----------
    layers : tuple of layers
        As given.
    dtype : dtype
        As given.
    arena, grad_arena : ndarray of shape (size,)
        All parameters and all gradients. Every tensor starts on a 64-byte boundary; the gaps stay zero.
    weight_arena : ndarray
        The first part of `arena`, which holds the weights and no biases.

    Raises
    ------
    ValueError, TypeError
        Where there are no layers, one is of another type, sizes do not chain, or the dtype is not supported.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)], seed=0)
    >>> net.predict(np.zeros((2, 4), np.float32)).shape
    (2, 3)
    """

    def __init__(self, layers: Iterable[Layer], seed: int = 0, dtype: npt.DTypeLike = np.float32) -> None:
        self._build(tuple(layers), np.dtype(dtype))
        linears = [layer for layer in self.layers if isinstance(layer, Linear)]
        bounds = iter(layer.bound for layer in linears)
        for stream, parameter in enumerate(self._parameters):
            if parameter.name.endswith("weight"):
                bound = next(bounds)
                shape, out = parameter.value.shape, parameter.value
                K.random_uniform(shape, -bound, bound, seed=seed, stream=stream, dtype=self.dtype, out=out)

    def _build(self, layers: tuple[Layer, ...], dtype: np.dtype[Any]) -> None:
        _check_layers(layers, dtype)
        self.layers = layers
        self.dtype = dtype
        self._allocate()
        self._stages = self._plan()
        self._buffers: OrderedDict[int, _Buffers] = OrderedDict()
        self._last: _Buffers | None = None

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
        self.arena: Array = aligned_zeros((end,), self.dtype)
        self.grad_arena: Array = aligned_zeros((end,), self.dtype)
        self.weight_arena: Array = self.arena[:weights_end]
        self._parameters = []
        for name, shape in shapes.items():
            tensor = slice(offsets[name], offsets[name] + int(np.prod(shape)))
            self._parameters.append(
                Parameter(name, self.arena[tensor].reshape(shape), self.grad_arena[tensor].reshape(shape))
            )

    def _plan(self) -> list[_Stage]:
        by_name = {p.name: p for p in self._parameters}
        stages: list[_Stage] = []
        fusible = False  # whether the last stage is a linear layer that has no activation yet
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Linear):
                weight, bias = by_name[f"{i}.weight"], by_name.get(f"{i}.bias")
                stages.append(_Stage("identity", weight, bias, layer.n_out))
                fusible = True
            elif layer.name != "identity":
                if fusible:
                    last = stages.pop()
                    stages.append(_Stage(layer.name, last.weight, last.bias, last.n_out))
                else:
                    stages.append(_Stage(layer.name))
                fusible = False
        return stages

    def parameters(self) -> list[Parameter]:
        """Return the parameters, layer by layer, weight before bias."""
        return list(self._parameters)

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
            _run(stage, source, out)
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
        output: Array = np.empty((n, widths[-1]), self.dtype)
        rows = min(n, _PREDICT_ROWS)
        hidden = [aligned_empty((rows, width), self.dtype) for width in widths[1:-1]]
        for start in range(0, n, _PREDICT_ROWS):
            block = x[start : start + _PREDICT_ROWS]
            outs = [h[: len(block)] for h in hidden] + [output[start : start + len(block)]]
            for stage, out in zip(self._stages, outs, strict=True):
                block = _run(stage, block, out)
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

    def _widths(self, n_in: int) -> list[int]:
        """Numbers of columns of the input and of every stage's output."""
        widths = [n_in]
        for stage in self._stages:
            widths.append(stage.n_out if stage.n_out is not None else widths[-1])
        return widths

    def _buffers_for(self, x: Array) -> _Buffers:
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
        return _Buffers([x, *kept.x[1:]], kept.d_x, kept.d_output, kept.d_bias)

    def _allocate_buffers(self, n: int, widths: list[int]) -> _Buffers:
        def empty(width: int) -> Array:
            return aligned_empty((n, width), self.dtype)

        stages = self._stages
        first_weight = next((i for i, stage in enumerate(stages) if stage.weight is not None), len(stages))
        return _Buffers(
            x=[np.empty((0, widths[0]), self.dtype), *(empty(w) for w in widths[1:])],
            # Nothing before the first weight needs a gradient.
            d_x=[empty(w) if i > first_weight else None for i, w in enumerate(widths[:-1])],
            d_output=empty(widths[-1]) if stages and stages[-1].activation != "identity" else None,
            d_bias={
                i: np.empty(stage.n_out, self.dtype)
                for i, stage in enumerate(stages)
                if stage.weight is not None and stage.bias is None and stage.n_out is not None
            },
        )

    def __getstate__(self) -> dict[str, Any]:
        # Views do not survive pickling as views, so they are laid out anew from one copy of the values.
        return {"layers": self.layers, "dtype": self.dtype, "arena": np.array(self.arena)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._build(state["layers"], state["dtype"])
        self.arena[...] = state["arena"]

    def __repr__(self) -> str:
        return f"Network({list(self.layers)!r}, dtype={self.dtype.name})"


def _run(stage: _Stage, x: Array, out: Array) -> Array:
    if stage.weight is None:
        return K.activation(x, stage.activation, out=out)
    bias = stage.bias.value if stage.bias is not None else None
    return K.linear(x, stage.weight.value, bias, stage.activation, out=out)


def _check_layers(layers: tuple[Layer, ...], dtype: np.dtype[Any]) -> None:
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"[Network] dtype {dtype} is not supported: use float32 or float64")
    if not layers:
        raise ValueError("[Network] there must be at least one layer")
    width: int | None = None
    for i, layer in enumerate(layers):
        if isinstance(layer, Linear):
            if width is not None and layer.n_in != width:
                raise ValueError(
                    f"[Network] layer {i} takes {layer.n_in} inputs, but {width} come out of those before it"
                )
            width = layer.n_out
        elif not isinstance(layer, Activation):
            raise TypeError(f"[Network] layer {i} is a {type(layer).__name__}, not a layer of steepest.nn")
