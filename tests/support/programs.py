"""Networks that are no chain, layers that a user writes, and their functions written out once more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.special

from steepest import kernels as K
from steepest import nn


def residual():
    block = nn.Residual(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    wider = nn.Residual(nn.Linear(6, 4), nn.ReLU(), shortcut=nn.Linear(6, 4, bias=False))
    return nn.Network(
        [nn.Linear(5, 6), nn.Sigmoid(), block, wider, nn.Linear(4, 3)], seed=1, dtype=np.float64
    )


def siamese():
    a, b = nn.Input(5, name="a"), nn.Input(5, name="b")
    encode, act = nn.Linear(5, 4), nn.Tanh()
    product = nn.Multiply()(act(encode(a)), act(encode(b)))
    return nn.Network([a, b], nn.Linear(4, 3)(product), seed=2, dtype=np.float64)


def tied():
    x = nn.Input(5)
    encode = nn.Linear(5, 3)
    return nn.Network(x, nn.Linear(3, 5, tied_to=encode)(nn.Sigmoid()(encode(x))), seed=3, dtype=np.float64)


def two_inputs():
    a, b = nn.Input((2, 3), name="image"), nn.Input(4, name="table")
    both = nn.Concatenate()(nn.Flatten()(a), nn.ReLU()(nn.Linear(4, 5)(b)))
    return nn.Network([a, b], nn.Linear(11, 3)(both), seed=4, dtype=np.float64)


def two_outputs():
    x = nn.Input(5)
    h = nn.Softplus()(nn.Linear(5, 6)(x))
    return nn.Network(x, [nn.Linear(6, 3)(h), nn.Tanh()(nn.Linear(6, 2)(h)), h], seed=5, dtype=np.float64)


def diamond():
    x = nn.Input(5)
    h = nn.Linear(5, 4)(x)
    joined = nn.Add()(nn.ReLU()(h), nn.Multiply()(h, nn.Sigmoid()(h)), h, nn.Constant(np.arange(4.0)))
    scaled = nn.Multiply()(nn.Constant([2.0, -1.0, 0.5, 1.0]), joined)
    return nn.Network(x, nn.Softmax()(nn.Linear(4, 3)(scaled)), seed=6, dtype=np.float64)


def recurrent():
    """One layer four times over, and the axes of a sequence moved about."""
    x = nn.Input((4, 5))
    mix = nn.Permute((1, 0))(nn.Linear(5, 5)(x))
    h, step, act = nn.Reshape((20,))(mix), nn.Linear(20, 20), nn.Tanh()
    for _ in range(3):
        h = act(step(h))
    return nn.Network(x, nn.PReLU()(nn.Linear(20, 3)(nn.GELU()(h))), seed=7, dtype=np.float64)


def linear(x, p, name):
    y = x @ p[f"{name}.weight"]
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


class Complex:
    """Functions that are analytic but for kinks, so that ``f(x + ih).imag / h`` is the derivative to rounding."""

    tanh, cat = staticmethod(np.tanh), staticmethod(np.concatenate)

    @staticmethod
    def where_positive(x, y):
        return np.where(x.real > 0, x, y)

    @staticmethod
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    @staticmethod
    def softplus(x):
        return np.log(1 + np.exp(x))

    @staticmethod
    def gelu(x):
        return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2

    @staticmethod
    def softmax(x):
        return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)

    @staticmethod
    def flat(x):
        return x.reshape(len(x), -1)

    @staticmethod
    def swapped(x):
        return x.transpose(0, 2, 1)


class Torch(Complex):
    """The same by PyTorch, which differentiates it."""

    def __init__(self):
        torch = pytest.importorskip("torch")
        f = torch.nn.functional
        self.tanh, self.sigmoid, self.softplus, self.gelu, self.cat = (
            torch.tanh,
            torch.sigmoid,
            f.softplus,
            f.gelu,
            torch.cat,
        )
        self.where_positive = lambda x, y: torch.where(x > 0, x, y)
        self.softmax = lambda x: torch.softmax(x, 1)
        self.swapped = lambda x: x.permute(0, 2, 1)


def written_out(make, f, p, inputs):
    """The outputs, written down once more with the functions of f."""
    x = inputs[0]
    if make is residual:
        h = f.sigmoid(linear(x, p, "0"))
        h = h + linear(f.tanh(linear(h, p, "2.0")), p, "2.2")
        narrow = linear(h, p, "3.0")
        return [linear(linear(h, p, "3.shortcut") + f.where_positive(narrow, 0 * narrow), p, "4")]
    if make is siamese:
        a, b = (f.tanh(linear(x, p, "0")) for x in inputs)
        return [linear(a * b, p, "3")]
    if make is tied:
        return [f.sigmoid(linear(x, p, "0")) @ p["0.weight"].T + p["2.bias"]]
    if make is two_inputs:
        h = linear(inputs[1], p, "1")
        return [linear(f.cat([f.flat(x), f.where_positive(h, 0 * h)], 1), p, "4")]
    if make is two_outputs:
        h = f.softplus(linear(x, p, "0"))
        return [linear(h, p, "2"), f.tanh(linear(h, p, "3")), h]
    if make is diamond:
        h = linear(x, p, "0")
        constant = h[0] * 0 + h.new_tensor(range(4)) if hasattr(h, "new_tensor") else np.arange(4.0)
        scale = (
            h[0] * 0 + h.new_tensor([2, -1, 0.5, 1])
            if hasattr(h, "new_tensor")
            else np.array([2, -1, 0.5, 1])
        )
        joined = f.where_positive(h, 0 * h) + h * f.sigmoid(h) + h + constant
        return [f.softmax(linear(scale * joined, p, "6"))]
    if make is bilinear:
        w = p["2.weight"].reshape(3, 4, 2)
        return [f.tanh(np.einsum("ni,ijk,nj->nk", f.tanh(linear(x, p, "0")), w, inputs[1]))]
    h = f.flat(f.swapped(linear(x, p, "0")))
    for _ in range(3):
        h = f.tanh(linear(h, p, "3"))
    y = linear(f.gelu(h), p, "6")
    return [f.where_positive(y, p["7.slope"] * y)]


def by_complex_steps(make, net, inputs, d):
    """The outputs, and the derivatives of ``sum(d * outputs)`` by every item of the parameters and of the inputs."""
    arrays = [p.value.astype(complex) for p in net.parameters()] + [x.astype(complex) for x in inputs]
    names, step = [p.name for p in net.parameters()], 1e-30

    def outputs():
        return written_out(make, Complex(), dict(zip(names, arrays, strict=False)), arrays[len(names) :])

    values, derivatives = [y.real for y in outputs()], [np.empty(a.shape) for a in arrays]
    for array, derivative in zip(arrays, derivatives, strict=True):
        for at in np.ndindex(array.shape):
            array[at] += 1j * step
            derivative[at] = sum((y.imag * g).sum() for y, g in zip(outputs(), d, strict=True)) / step
            array[at] -= 1j * step
    return values, derivatives[: len(names)], derivatives[len(names) :]


def by_torch(make, net, inputs, d):
    """The same by PyTorch."""
    torch, functions = pytest.importorskip("torch"), Torch()
    tensors = [torch.from_numpy(x).requires_grad_() for x in inputs]
    values = {p.name: torch.from_numpy(p.value.copy()).requires_grad_() for p in net.parameters()}
    outputs = written_out(make, functions, values, tensors)
    sum((y * torch.from_numpy(g)).sum() for y, g in zip(outputs, d, strict=True)).backward()
    found = [y.detach().numpy() for y in outputs]
    return found, [v.grad.numpy() for v in values.values()], [x.grad.numpy() for x in tensors]


def arguments(net, rng, n=6):
    return [rng.standard_normal((n, *value.shape)) for value in net._architecture.inputs] or [
        rng.standard_normal((n, 5))
    ]


def listed(found):
    return list(found) if isinstance(found, tuple) else [found]


@dataclass(frozen=True)
class Bilinear(nn.CustomLayer):
    """``y_k = sum_ij a_i w_ijk b_j``."""

    n_out: int
    arity = (2, 2)

    def output_shape(self, *shapes):
        return (self.n_out,)

    def parameters(self, *shapes):
        (m,), (n,) = shapes
        return {"weight": nn.ParameterSpec((m * n, self.n_out), "glorot_uniform", decays=True)}

    def _outer(self, a, b):
        pairs = np.empty((len(a), a.shape[1], b.shape[1]), a.dtype)
        for i in range(a.shape[1]):
            K.multiply(b, a[:, i : i + 1], out=pairs[:, i])
        return pairs.reshape(len(a), -1)

    def forward(self, inputs, parameters):
        return K.matmul(self._outer(*inputs), parameters["weight"])

    def vjp(self, d, inputs, output, parameters):
        a, b = inputs
        pairs = K.matmul(d, parameters["weight"].T).reshape(len(a), a.shape[1], b.shape[1])
        d_a = np.empty_like(a)
        d_b = K.multiply(pairs[:, 0], a[:, :1])
        for i in range(a.shape[1]):
            K.sum(K.multiply(pairs[:, i], b), axis=1, out=d_a[:, i])
            if i:
                K.multiply(pairs[:, i], a[:, i : i + 1], out=d_b, accumulate=True)
        return (d_a, d_b), {"weight": K.matmul(self._outer(a, b).T, d)}

    def jvp(self, inputs, output, parameters, moved_inputs, moved_parameters):
        a, b = inputs
        w, result = parameters["weight"], np.zeros_like(output)
        for moved, x, y in ((moved_inputs[0], moved_inputs[0], b), (moved_inputs[1], a, moved_inputs[1])):
            if moved is not None:
                K.add(result, K.matmul(self._outer(x, y), w), out=result)
        if "weight" in moved_parameters:
            K.add(result, K.matmul(self._outer(a, b), moved_parameters["weight"]), out=result)
        return result


def bilinear(seed=0):
    a, b = nn.Input(3, name="a"), nn.Input(4, name="b")
    return nn.Network(
        [a, b], nn.Tanh()(Bilinear(2)(nn.Tanh()(nn.Linear(3, 3)(a)), b)), seed=seed, dtype=np.float64
    )


class Lookup(nn.CustomLayer):
    """Rows of a table: an input of integers has no gradient. It is NumPy's code, which no capture records."""

    capturable = False

    def output_shape(self, *shapes):
        return (*shapes[0], 3)

    def parameters(self, *shapes):
        return {
            "table": nn.ParameterSpec(
                (7, 3), lambda shape, seed: np.random.default_rng(seed).standard_normal(shape)
            )
        }

    def forward(self, inputs, parameters):
        return parameters["table"][inputs[0]]

    def vjp(self, d, inputs, output, parameters):
        found = np.zeros_like(parameters["table"])
        np.add.at(found, inputs[0], d)
        return (None,), {"table": found}
