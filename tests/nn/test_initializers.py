"""Initial weights: their distributions, that they depend on the seed alone, and orthogonality."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import eps, standard_errors

from steepest import kernels as K
from steepest import nn
from steepest.nn.initializers import INITIALIZERS

VARIANCES = {"glorot": 2 / 500, "he": 2 / 300, "lecun": 1 / 300}


def weight(init, shape=(300, 200), seed=3, dtype=np.float64):
    return nn.Network([nn.Linear(*shape, init=init)], seed=seed, dtype=dtype).parameters()[0].value


def test_initial_weights(dtype):
    net = nn.Network([nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10, init=0.25)], seed=11, dtype=dtype)
    first, first_bias, second, _ = (p.value for p in net.parameters())
    limit = np.sqrt(6 / 50)
    np.testing.assert_array_equal(
        first, K.random_uniform((30, 20), -limit, limit, seed=11, stream=0, dtype=dtype)
    )
    np.testing.assert_array_equal(
        second, K.random_uniform((20, 10), -0.25, 0.25, seed=11, stream=2, dtype=dtype)
    )
    assert not first_bias.any()
    he = nn.Network([nn.Linear(30, 20, init="he_uniform")], dtype=dtype).parameters()[0].value
    assert 0.9 * np.sqrt(6 / 30) < np.abs(he).max() <= np.sqrt(6 / 30)
    assert not np.array_equal(first, nn.Network(net.layers, seed=12, dtype=dtype).parameters()[0].value)


@pytest.mark.parametrize("init", [name for name in INITIALIZERS if name != "orthogonal"])
def test_moments(init):
    name, shape = init.split("_")
    w, variance = weight(init), VARIANCES[name]
    # The fourth moment of a uniform distribution is 9/5 of its variance squared, that of a normal one 3 of it.
    kurtosis = {"uniform": 1.8, "normal": 3.0}[shape]
    assert abs(w.mean()) < standard_errors(w.size) * np.sqrt(variance)
    assert abs(w.var() / variance - 1) < standard_errors(w.size) * np.sqrt(kurtosis - 1)
    spread = np.abs(w).max() / np.sqrt(variance)
    assert spread <= np.sqrt(3) if shape == "uniform" else 3.5 < spread < 6.5
    if shape == "normal":
        assert abs((np.abs(w) < np.sqrt(variance)).mean() - 0.6826894921) < standard_errors(w.size) * 0.47


@pytest.mark.parametrize("shape", [(20, 20), (30, 7), (7, 30), (1, 1)])
def test_orthogonal(shape, dtype):
    w = weight("orthogonal", shape, dtype=dtype).astype(np.float64)
    product = w @ w.T if shape[0] < shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(min(shape)), rtol=0, atol=8 * max(shape) * eps(dtype))


def test_orthogonal_signs_are_not_those_of_the_factorisation():
    """LAPACK's own factor would have a fixed sign; the first item should be positive in half of the draws."""
    positive = sum(weight("orthogonal", (3, 3), seed)[0, 0] > 0 for seed in range(200))
    assert abs(positive - 100) < 6 * np.sqrt(50)


@pytest.mark.parametrize("init", INITIALIZERS)
def test_seeds(init):
    first = weight(init)
    np.testing.assert_array_equal(first, weight(init))
    assert not np.array_equal(first, weight(init, seed=4))
    # float32 holds the same numbers, rounded; uniform ones are drawn on a grid of their own.
    if not init.endswith("uniform"):
        np.testing.assert_array_equal(first.astype(np.float32), weight(init, dtype=np.float32))
