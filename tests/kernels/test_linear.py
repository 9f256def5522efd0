"""`linear`: f(x @ w + b) in one pass, for every activation of the registry."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import SIZES, check, layouts_beside, one_where_slow

from steepest import kernels as K


def check_linear(x, w, b, activation, **kwargs):
    expected = reference.linear(x, w, b, activation)
    lipschitz = reference.lipschitz(activation)
    tolerance = tolerances.linear(x.dtype, x, w, b, expected, lipschitz)
    return check(K.linear, (x, w, b), ("out",), (expected,), (tolerance,), activation=activation, **kwargs)


def make(rng, dtype, n, n_in, n_out):
    return (
        rng.standard_normal((n, n_in)).astype(dtype),
        rng.standard_normal((n_in, n_out)).astype(dtype),
        rng.standard_normal(n_out).astype(dtype),
    )


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("activation", K.ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 31, 33), (65, 12, 10), (3, 600, 9)], ids=str)
def test_layouts(rng, dtype, shape, activation, bias):
    x, w, b = make(rng, dtype, *shape)
    layouts = layouts_beside(K.ACTIVATIONS.index(activation) + 2 * bias)
    check_linear(x, w, b if bias else None, activation, layouts=layouts)


@pytest.mark.parametrize("activation", K.ACTIVATIONS)
def test_edges(rng, dtype, activation):
    for i, n_out in enumerate(SIZES):
        n, n_in = SIZES[(3 * i + 5) % len(SIZES)], SIZES[(5 * i + 2) % len(SIZES)]
        check_linear(*make(rng, dtype, n, n_in, n_out), activation, layouts=("c",))


@pytest.mark.parametrize("activation", K.ACTIVATIONS)
@pytest.mark.parametrize("n_in", [511, 512, 513, 1030])
def test_activation_is_applied_once_over_blocks_of_the_inner_dimension(rng, dtype, activation, n_in):
    check_linear(*make(rng, dtype, 21, n_in, 18), activation, layouts=("c", "fortran"))


@pytest.mark.parametrize("activation", one_where_slow(K.ACTIVATIONS))
def test_large(rng, dtype, threads, activation):
    x, w, b = make(rng, dtype, 200, 784, 130)
    w *= dtype(0.05)  # keeps sigmoid and tanh away from saturation
    check_linear(x, w, b, activation, layouts=("c",))


@pytest.mark.parametrize("activation", K.ACTIVATIONS)
def test_saturation_and_nan(rng, dtype, activation):
    x, w, b = make(rng, dtype, 20, 5, 33)
    x[3] *= 1e3
    x[4] *= -1e3
    x[7, 2] = np.nan
    result = check_linear(x, w, b, activation, layouts=("c", "strided"))[0]
    assert np.isnan(result[7]).all()
    assert np.isfinite(np.delete(result, 7, axis=0)).all()


@pytest.mark.parametrize("activation", K.ACTIVATIONS)
def test_empty(dtype, activation):
    b = np.array([-1.0, 0.5, 2.0], dtype)
    assert K.linear(np.ones((0, 4), dtype), np.ones((4, 3), dtype), b, activation).shape == (0, 3)
    # Without input features every row is f(b).
    y = K.linear(np.ones((2, 0), dtype), np.ones((0, 3), dtype), b, activation)
    expected = np.tile(reference.activation(b, activation), (2, 1))
    np.testing.assert_allclose(y, expected, rtol=4 * tolerances.eps(dtype), atol=0)


def test_parameter(rng, dtype):
    for activation in (("leaky_relu", 0.3), ("elu", 2.0)):
        check_linear(*make(rng, dtype, 33, 20, 17), activation, layouts=("c", "strided"))


def test_default_has_no_bias_and_no_activation(rng, dtype):
    x, w, _ = make(rng, dtype, 9, 8, 7)
    assert K.linear(x, w).tobytes() == K.linear(x, w, None, "identity").tobytes()
