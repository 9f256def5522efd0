"""Activations forward and backward, for every entry of the registry."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, assert_close, check, identical

from steepest import kernels as K

SPIKES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e3,
    -1e3,
    1e-4,
    -1e-4,
    1e-30,
    15.0,
    -15.0,
    40.0,
    -40.0,
    -88.0,
    89.0,
    -700.0,
    710.0,
    # Kinks of hard sigmoid; points where the tails of gelu, sigmoid and softplus are subnormal, and where they are 0.
    3.0,
    -3.0,
    -13.5,
    -14.3,
    -38.2,
    -90.0,
    -103.0,
    -104.5,
    -740.0,
    -750.0,
)

# Every activation with its default parameter, and further values of the parameter.
VARIANTS = (
    *K.ACTIVATIONS,
    *((name, value) for name, entry in reference.ACTIVATIONS.items() for value in entry.others),
)


def derivative_at(x, name):
    """Return the argument of activation_backward: the output, in the dtype of x, or x itself."""
    if reference.split_activation(name)[0] in K.INPUT_DERIVATIVES:
        return x
    with np.errstate(over="ignore"):
        return reference.activation(x, name).astype(x.dtype)


def activation_tolerance(x, y, name):
    return tolerances.activation(x.dtype, x, y, reference.split_activation(name)[0])


def backward_tolerance(d_y, at, name):
    derivative = reference.activation_backward(np.ones_like(at), at, name)
    name, parameter = reference.split_activation(name)
    return tolerances.activation_backward(at.dtype, d_y, at, derivative, name, parameter)


def spiked(rng, dtype, shape):
    """Normal values with extreme values among them, each of which also lies in the tail of a vector."""
    x = rng.standard_normal(shape).astype(dtype)
    flat = x.reshape(-1)
    if flat.size > 2 * len(SPIKES):
        flat[:: flat.size // len(SPIKES)][: len(SPIKES)] = SPIKES
    return x


def test_oracle_covers_the_registry():
    entries = reference.ACTIVATIONS
    assert set(K.ACTIVATIONS) == set(entries)
    assert set(K.INPUT_DERIVATIVES) == {name for name, entry in entries.items() if entry.at_input}
    defaults = {name: default for name, (_, default) in K.ACTIVATION_PARAMETERS.items()}
    assert defaults == {name: e.parameter for name, e in entries.items() if e.parameter is not None}


@pytest.mark.parametrize("name", VARIANTS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (13, 33), (64, 65), (129,), (1000,)], ids=str)
def test_forward(rng, dtype, name, shape):
    x = spiked(rng, dtype, shape)
    y = reference.activation(x, name)
    tolerance = activation_tolerance(x, y, name)
    check(K.activation, (x,), ("out",), (y,), (tolerance,), activation=name)


@pytest.mark.parametrize("name", K.ACTIVATIONS)
def test_every_length(rng, dtype, name):
    for n in SIZES:
        x = rng.standard_normal(n).astype(dtype)
        y = reference.activation(x, name)
        check(
            K.activation,
            (x,),
            ("out",),
            (y,),
            (activation_tolerance(x, y, name),),
            layouts=("c", "at_end"),
            activation=name,
        )


@pytest.mark.parametrize("name", VARIANTS, ids=str)
def test_fine_grid(dtype, name):
    # Dense over the range where the formulas switch branches, and down to tiny arguments on a log scale.
    small = np.logspace(-30, 0, 4001)
    x = np.concatenate([np.linspace(-110, 110, 200_001), small, -small]).astype(dtype)
    y = reference.activation(x, name)
    assert_close(K.activation(x, name), y, activation_tolerance(x, y, name), str(name))


@pytest.mark.parametrize("name", VARIANTS, ids=str)
def test_nan_and_infinities(dtype, name):
    x = np.tile(np.array([np.nan, np.inf, -np.inf, 0.5], dtype), 9)
    y = reference.activation(x, name)
    assert_close(K.activation(x, name), y, activation_tolerance(x, y, name), str(name))


@pytest.mark.parametrize("name", K.ACTIVATIONS)
def test_named_function_is_the_activation(rng, dtype, name):
    x = spiked(rng, dtype, (9, 40))
    out = np.empty_like(x)
    assert getattr(K, name)(x, out=out) is out
    assert identical(out, K.activation(x, name))
    assert identical(getattr(K, name)(x), out)


def test_default_is_relu(rng, dtype):
    x = rng.standard_normal((5, 6)).astype(dtype)
    y = K.activation(x)
    assert identical(y, K.relu(x))
    assert identical(K.activation_backward(x, y), K.activation_backward(x, y, "relu"))


@pytest.mark.parametrize("name", VARIANTS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (13, 33), (64, 65), (129,)], ids=str)
def test_backward(rng, dtype, name, shape):
    at = derivative_at(spiked(rng, dtype, shape), name)
    d_y = rng.standard_normal(shape).astype(dtype)
    expected = reference.activation_backward(d_y, at, name)
    tolerance = backward_tolerance(d_y, at, name)
    check(K.activation_backward, (d_y, at), ("out",), (expected,), (tolerance,), activation=name)


@pytest.mark.parametrize("name", VARIANTS, ids=str)
def test_backward_fine_grid(dtype, name):
    x = np.concatenate([np.linspace(-110, 110, 200_001), [np.inf, -np.inf]]).astype(dtype)
    at, one = derivative_at(x, name), np.ones_like(x)
    expected = reference.activation_backward(one, at, name)
    assert_close(K.activation_backward(one, at, name), expected, backward_tolerance(one, at, name), str(name))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", K.ACTIVATIONS)
def test_backward_in_place(rng, dtype, name, layout):
    from backends import lay_out

    y = derivative_at(rng.standard_normal((19, 23)).astype(dtype), name)
    d_y = lay_out(rng.standard_normal((19, 23)).astype(dtype), layout)
    expected = K.activation_backward(d_y.copy(), y, name)
    assert K.activation_backward(d_y, y, name, out=d_y) is d_y
    assert (d_y == expected).all()


def test_relu_backward_blocks_exactly(dtype):
    y = np.array([0.0, -0.0, 1e-30, 2.0], dtype)
    assert K.activation_backward(np.full(4, 3.0, dtype), y, "relu").tolist() == [0.0, 0.0, 3.0, 3.0]


@pytest.mark.parametrize("name", K.ACTIVATIONS)
def test_empty(dtype, name):
    for shape in [(0,), (0, 4), (4, 0)]:
        x = np.ones(shape, dtype)
        assert K.activation(x, name).shape == shape
        assert K.activation_backward(x, x, name).shape == shape


@pytest.mark.parametrize("offset", [0, 3])
def test_results_that_are_written_past_the_caches(rng, offset, threads):
    """Outputs above 32 MiB use streaming stores, at aligned and unaligned addresses, up to the last item."""
    n = (32 << 18) + 1001
    x = np.tile(rng.standard_normal(n // 64 + 1).astype(np.float32), 64)[:n]
    out = np.full(n + offset + 1, 77, np.float32)
    y = reference.activation(x, "tanh")
    K.tanh(x, out=out[offset:-1])
    assert_close(out[offset:-1], y, activation_tolerance(x, y, "tanh"), "forward")
    K.activation_backward(x, x, "leaky_relu", out=out[offset:-1])
    assert_close(
        out[offset:-1], reference.activation_backward(x, x, "leaky_relu"), tolerances.eps(np.float32), ""
    )
    assert (out[:offset] == 77).all()
    assert out[-1] == 77


def test_threads(rng, dtype, threads):
    x = rng.standard_normal((700, 333)).astype(dtype)
    for name in K.ACTIVATIONS:
        y = reference.activation(x, name)
        assert_close(K.activation(x, name), y, activation_tolerance(x, y, name), str(name))


def test_default_parameters(rng, dtype):
    x = rng.standard_normal((7, 9)).astype(dtype)
    for name, (_, default) in K.ACTIVATION_PARAMETERS.items():
        assert identical(K.activation(x, name), K.activation(x, (name, default)))
        assert identical(K.activation(x, [name, 2 * default]), getattr(K, name)(x, 2 * default))
        assert not identical(K.activation(x, name), getattr(K, name)(x, 2 * default))
        assert identical(
            K.activation_backward(x, x, name), K.activation_backward(x, x, (name, float(default)))
        )


@pytest.mark.parametrize("name", VARIANTS, ids=str)
def test_oracle_by_finite_differences(rng, name):
    x = 2.0 * rng.standard_normal(40)
    x = np.where(np.abs(x) < 0.05, 0.1, x)  # away from the kink of relu and others at 0, and of hard sigmoid
    x = np.where(np.abs(np.abs(x) - 3.0) < 0.05, 2.0, x)
    h = 1e-6
    difference = (reference.activation(x + h, name) - reference.activation(x - h, name)) / (2 * h)
    derivative = reference.activation_backward(np.ones(40), derivative_at(x, name), name)
    np.testing.assert_allclose(derivative, difference, atol=1e-9)


@pytest.mark.parametrize(
    "name", [n for n, entry in reference.ACTIVATIONS.items() if entry.keeps_signs_of_zeros]
)
def test_zeros_keep_their_signs(dtype, name):
    """Activations with f(0) = 0 map -0.0 to a zero of the right sign."""
    zeros = np.array([0.0, -0.0] * 20, dtype)
    assert (np.signbit(getattr(K, name)(zeros)) == np.signbit(zeros)).all()
