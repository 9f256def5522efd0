"""Layers beside PyTorch's: outputs, gradients of inputs and parameters, running statistics, predictions.

PyTorch computes in float64, with channels in the second axis, on the arrays of the layers here in float64 or float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import reference
import tolerances
import torch
from torch import nn as theirs
from torch.nn import functional as F

from steepest import nn

RNG = np.random.default_rng(0)
EPS = 1e-3


class Pair(NamedTuple):
    """A layer, that of PyTorch, and the shape of a sample."""

    ours: nn.Layer
    theirs: Any
    shape: tuple[int, ...]


class Padded(theirs.Module):
    """A layer of PyTorch behind zeros on the left, on the right, above and below."""

    def __init__(self, sides, layer):
        super().__init__()
        self.sides, self.layer = sides, layer

    def forward(self, x):
        return self.layer(F.pad(x, self.sides))


class OnLastAxis(theirs.Module):
    """A layer of PyTorch that acts on the last axis, for arrays with their channels in the second."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.movedim(1, -1)).movedim(-1, 1)


def conv2d(*arguments, shape=(9, 8), **options):
    return Pair(
        nn.Conv2d(*arguments, **options), theirs.Conv2d(*arguments, **options), (*shape, arguments[0])
    )


def conv1d(*arguments, **options):
    return Pair(nn.Conv1d(*arguments, **options), theirs.Conv1d(*arguments, **options), (11, arguments[0]))


def transposed(*arguments, **options):
    return Pair(
        nn.ConvTranspose2d(*arguments, **options),
        theirs.ConvTranspose2d(*arguments, **options),
        (5, 4, arguments[0]),
    )


# Sums of products: each output is linear in the input, and in the weights.
LINEAR = {
    "conv2d": lambda: conv2d(3, 5, 3),
    "conv2d, stride and padding": lambda: conv2d(3, 4, (3, 2), stride=(2, 3), padding=(2, 1)),
    "conv2d, dilation": lambda: conv2d(2, 4, 3, dilation=(2, 3), padding=2),
    "conv2d, groups": lambda: conv2d(6, 9, 3, groups=3, padding=1),
    "conv2d, depthwise": lambda: conv2d(5, 10, 3, groups=5, stride=2),
    "conv2d, 1 x 1 without bias": lambda: conv2d(4, 3, 1, bias=False),
    "conv2d, same": lambda: conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2)),
    "conv2d, two sides": lambda: Pair(
        nn.Conv2d(2, 3, 3, padding=((0, 2), (3, 1))), Padded((3, 1, 0, 2), theirs.Conv2d(2, 3, 3)), (5, 6, 2)
    ),
    "conv2d, all of them": lambda: conv2d(
        4, 6, (2, 3), stride=(2, 1), padding=(1, 2), dilation=(3, 2), groups=2, shape=(12, 9)
    ),
    "conv1d": lambda: conv1d(3, 4, 5),
    "conv1d, all of them": lambda: conv1d(4, 6, 3, stride=2, padding=3, dilation=2, groups=2),
    "conv_transpose2d": lambda: transposed(3, 4, 3),
    "conv_transpose2d, stride": lambda: transposed(3, 4, (3, 4), stride=(2, 3), padding=(1, 0)),
    "conv_transpose2d, output padding": lambda: transposed(
        3, 2, 3, stride=3, output_padding=(2, 1), padding=1
    ),
    "conv_transpose2d, groups": lambda: transposed(6, 4, 3, groups=2, stride=2, bias=False),
    "conv_transpose2d, all of them": lambda: transposed(
        4, 6, (3, 2), stride=(2, 3), padding=(2, 1), dilation=(2, 3), groups=2, output_padding=(1, 2)
    ),
    "average pool": lambda: Pair(nn.AvgPool2d(2), theirs.AvgPool2d(2), (7, 6, 3)),
    "average pool, padding counts": lambda: Pair(
        nn.AvgPool2d((3, 2), (2, 1), (1, 1), count_include_pad=True),
        theirs.AvgPool2d((3, 2), (2, 1), (1, 1)),
        (7, 6, 3),
    ),
    "average pool, padding does not count": lambda: Pair(
        nn.AvgPool2d(3, 2, 1), theirs.AvgPool2d(3, 2, 1, count_include_pad=False), (7, 6, 3)
    ),
    "global pool": lambda: Pair(
        nn.GlobalAvgPool2d(), theirs.Sequential(theirs.AdaptiveAvgPool2d(1), theirs.Flatten()), (5, 7, 4)
    ),
    "upsample": lambda: Pair(nn.Upsample(2), theirs.Upsample(scale_factor=2), (3, 4, 5)),
    "upsample, two factors": lambda: Pair(
        nn.Upsample((3, 2)), theirs.Upsample(scale_factor=(3, 2)), (3, 4, 5)
    ),
}
MAX_POOLS = {
    "max pool": lambda: Pair(nn.MaxPool2d(2), theirs.MaxPool2d(2), (7, 6, 3)),
    "max pool, overlapping": lambda: Pair(
        nn.MaxPool2d((3, 2), (2, 1), (1, 1)), theirs.MaxPool2d((3, 2), (2, 1), (1, 1)), (7, 6, 3)
    ),
}


# Layer, layer of PyTorch, shape of a sample, kind and groups of the oracle.
NORMS = {
    "batch norm of images": lambda: (
        nn.BatchNorm(3, eps=EPS, momentum=0.3),
        theirs.BatchNorm2d(3, eps=EPS, momentum=0.3),
        (4, 5, 3),
        "batch",
        1,
    ),
    "batch norm of rows": lambda: (nn.BatchNorm(4), theirs.BatchNorm1d(4), (4,), "batch", 1),
    "batch norm without weights": lambda: (
        nn.BatchNorm(4, affine=False, momentum=1.0),
        theirs.BatchNorm1d(4, affine=False, momentum=1.0),
        (7, 4),
        "batch",
        1,
    ),
    "layer norm": lambda: (
        nn.LayerNorm(6, eps=EPS),
        OnLastAxis(theirs.LayerNorm(6, eps=EPS)),
        (3, 4, 6),
        "layer",
        1,
    ),
    "RMS norm": lambda: (
        nn.RMSNorm(6, eps=EPS),
        OnLastAxis(theirs.RMSNorm(6, eps=EPS)),
        (3, 6),
        "rms",
        1,
    ),
    "group norm": lambda: (
        nn.GroupNorm(6, eps=EPS, num_groups=3),
        theirs.GroupNorm(3, 6, eps=EPS),
        (4, 3, 6),
        "group",
        3,
    ),
    "instance norm": lambda: (nn.GroupNorm(5, num_groups=5), theirs.GroupNorm(5, 5), (4, 3, 5), "group", 5),
}


def second_axis(array):
    """Numbers with their channels in the second axis, as a tensor of float64."""
    return torch.from_numpy(np.moveaxis(array, -1, 1).astype(np.float64))


def last_axis(tensor):
    """The array of a tensor, with its channels in the last axis."""
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def weight_of_theirs(array):
    """A weight as PyTorch has it: the windows in the last axes, the axes of channels swapped."""
    return np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array


def weight_of_ours(array):
    return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array


def network(layer, shape, dtype):
    """A network of one layer with random parameters, zero nowhere."""
    net = nn.Network([nn.Input(shape), layer], dtype=dtype)
    for p in net.parameters():
        p.value[...] = RNG.uniform(0.5, 1.5, p.value.shape) * RNG.choice([-1, 1], p.value.shape)
    return net


def their_results(module, values, x, d):
    """The output, the gradient of the input and those of the parameters, by PyTorch."""
    module.double()
    for target, value in zip(module.parameters(), values, strict=True):
        target.data = torch.from_numpy(np.ascontiguousarray(weight_of_theirs(value), np.float64))
        target.grad = None
    leaf = second_axis(x).requires_grad_()
    out = module(leaf)
    out.backward(second_axis(d))
    return [
        last_axis(out),
        last_axis(leaf.grad),
        *(weight_of_ours(p.grad.numpy()) for p in module.parameters()),
    ]


def our_results(net, x, d):
    output = net.forward(x)
    d_x = net.backward(d, inputs=True)
    return [output, d_x, *(p.grad for p in net.parameters())]


def compare(name, found, expected, bounds):
    for what, a, b, bound in zip(
        ["output", "d_x", "d_weight", "d_bias"], found, expected, bounds, strict=False
    ):
        assert a.shape == b.shape, (name, what, a.shape, b.shape)
        excess = (np.abs(a - b) / bound).max()
        assert excess <= 1, f"{name}: {what} differs by {excess:.2g} times its bound"


def check_sums(name, make, dtype, *, is_linear=True):
    """Layers that add up products err by `tolerances.dot` of the sums of the products' absolute values."""
    pair = make()
    net = network(pair.ours, pair.shape, dtype)
    x = RNG.standard_normal((3, *pair.shape)).astype(dtype)
    if not is_linear:
        x = RNG.integers(-2, 3, x.shape).astype(dtype)  # with ties: the gradient goes to the first
    d = RNG.standard_normal(net.predict(x).shape).astype(dtype)
    values = [p.value for p in net.parameters()]
    expected = their_results(pair.theirs, values, x, d)
    # The same layer adds up the absolute values of all products.
    sizes = their_results(pair.theirs, [np.abs(v) for v in values], np.abs(x) if is_linear else x, np.abs(d))
    terms = max(x.size, d.size)
    bounds = [
        tolerances.dot(dtype, terms, np.abs(s)) + tolerances.dot(np.float64, terms, np.abs(s)) for s in sizes
    ]
    compare(name, our_results(net, x, d), expected, bounds)
    np.testing.assert_array_equal(net.predict(x), net.forward(x))


def check_norm(name, make, dtype):
    """Layers that normalise, while training and in a prediction, and their running statistics."""
    layer, module, shape, kind, groups = make()
    net = network(layer, shape, dtype)
    values = [p.value for p in net.parameters()]
    weight, bias = (*values, None, None)[:2]
    for _ in range(3):
        x = (2 + 3 * RNG.standard_normal((4, *shape))).astype(dtype)
        d = RNG.standard_normal(x.shape).astype(dtype)
        expected = their_results(module, values, x, d)
        found = our_results(net, x, d)
        of_y, *of_statistics = tolerances.normalize(
            dtype, x, weight, bias, kind=kind, groups=groups, epsilon=layer.eps
        )
        _, mean, rstd = reference.normalize(x, weight, bias, kind=kind, groups=groups, eps=layer.eps)
        of_gradients = tolerances.normalize_backward(dtype, d, x, mean, rstd, weight, kind=kind)
        # Mean and standard deviation err by as many units again, in two factors of each term.
        bounds = [2 * of_y, *(4 * bound for bound in of_gradients)]
        compare(name, found, expected, bounds)
    if kind == "batch":
        states = {key.partition(".")[2]: value for key, value in net.states.items()}
        np.testing.assert_allclose(
            states["running_mean"], module.running_mean, rtol=0, atol=2 * of_statistics[0].max()
        )
        # The relative error of a variance is twice that of the reciprocal of its root.
        units = 4 * (of_statistics[1] / rstd).max()
        np.testing.assert_allclose(states["running_var"], module.running_var, rtol=units)
        module.eval()
        with torch.no_grad():
            expected = last_axis(module(second_axis(x)))
        bound = 2 * of_y + units * np.abs(expected)
        compare(f"{name}, prediction", [net.predict(x)], [expected], [bound])
    else:
        np.testing.assert_array_equal(net.predict(x), found[0])


def check_network():
    """The weights of a network of PyTorch, with its axes in the order of docs/convolution.md, predict the same."""
    module = theirs.Sequential(
        *(theirs.Conv2d(2, 4, 3, padding=1, groups=2), theirs.ReLU(), theirs.MaxPool2d(2)),
        *(theirs.ConvTranspose2d(4, 3, (2, 3), stride=2), theirs.BatchNorm2d(3), theirs.Flatten()),
        theirs.Linear(3 * 6 * 9, 5),
    ).double()
    layers = [
        *(nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.ConvTranspose2d(4, 3, (2, 3), stride=2), nn.BatchNorm(3), nn.Flatten()),
        nn.Linear(6 * 9 * 3, 5),
    ]
    net = nn.Network([nn.Input((7, 8, 2)), *layers], dtype=np.float64)
    weights = [p.detach().numpy() for p in module.parameters()]
    for p, weight in zip(net.parameters(), weights, strict=True):
        if weight.ndim == 4:
            p.value[...] = weight.transpose(2, 3, 1, 0)
        elif weight.ndim == 2:
            p.value[...] = weight.reshape(5, 3, 6, 9).transpose(2, 3, 1, 0).reshape(-1, 5)
        else:
            p.value[...] = weight
    x = RNG.standard_normal((4, 7, 8, 2))
    module(second_axis(x))
    net.forward(x)
    expected = module.eval()(second_axis(x)).detach().numpy()
    # Some hundred terms in each of three sums.
    np.testing.assert_allclose(net.predict(x), expected, rtol=0, atol=200 * tolerances.eps(np.float64))


def check(kind):
    """Compare all layers of a kind."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if kind == "network":
        check_network()
        return
    for dtype in (np.float64, np.float32):
        if kind == "norms":
            for name, make in NORMS.items():
                check_norm(f"{name}, {dtype.__name__}", make, dtype)
        else:
            is_linear = kind == "sums"
            for name, make in (LINEAR if is_linear else MAX_POOLS).items():
                check_sums(f"{name}, {dtype.__name__}", make, dtype, is_linear=is_linear)
