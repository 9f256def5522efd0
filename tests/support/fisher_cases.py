"""Small networks with every likelihood, for the tests of Fisher matrices and of the natural gradient."""

from __future__ import annotations

import numpy as np

from steepest import nn
from steepest.fisher import _structures

KINDS = ("exact", "monte_carlo", "empirical")
STRUCTURES = tuple(_structures.STRUCTURES)
LOSSES = {
    "categorical": (nn.SoftmaxCrossEntropy(), 3),
    "Bernoulli": (nn.BinaryCrossEntropy(reduction="sum"), 2),
    "Bernoulli, mean": (nn.BinaryCrossEntropy(), 2),
    "Gaussian": (nn.MeanSquaredError(half=True, reduction="sum"), 2),
    "Gaussian, mean": (nn.MeanSquaredError(), 2),
    "learned variance": (nn.Gaussian(reduction="sum"), 4),
    "Poisson": (nn.Poisson(), 2),
}


def network(n_out, hidden=(4,), activation=nn.Tanh, n_in=3, dtype=np.float64, bias=True, seed=1):
    layers = []
    for width in hidden:
        layers += [nn.Linear(n_in, width, bias=bias), activation()]
        n_in = width
    net = nn.Network([*layers, nn.Linear(n_in, n_out, bias=bias)], seed=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    for parameter in net.parameters():
        parameter.value[...] += 0.1 * rng.standard_normal(parameter.value.shape)
    return net


def inputs(n=6, n_in=3, dtype=np.float64):
    return np.random.default_rng(3).standard_normal((n, n_in)).astype(dtype)


def targets(loss, n, n_out):
    rng = np.random.default_rng(4)
    if isinstance(loss, nn.SoftmaxCrossEntropy):
        return rng.integers(0, n_out, n)
    if isinstance(loss, nn.BinaryCrossEntropy):
        return rng.integers(0, 2, (n, n_out)).astype(np.float64)
    if isinstance(loss, nn.Poisson):
        return rng.poisson(2.0, (n, n_out)).astype(np.float64)
    return rng.standard_normal((n, n_out // 2 if isinstance(loss, nn.Gaussian) else n_out))


def flat(arrays):
    return np.concatenate([a.ravel() for a in arrays])


def gradient(net, loss, X, y, weight=None):
    """The gradient of the loss by the network's own backward pass."""
    _, d = loss(net.forward(X), y, weight)
    net.backward(d)
    return flat([p.grad for p in net.parameters()])


def set_parameters(net, theta):
    start = 0
    for p in net.parameters():
        p.value[...] = theta[start : start + p.value.size].reshape(p.value.shape)
        start += p.value.size


def assert_close(got, expected, relative=1e-10):
    np.testing.assert_allclose(got, expected, rtol=0, atol=relative * max(np.abs(expected).max(), 1e-300))
