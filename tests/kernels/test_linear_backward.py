"""`linear_backward`: gradients of a layer and of the activation that produced its input."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import (
    LAYOUTS,
    SIZES,
    GuardedOutput,
    assert_close,
    check,
    lay_out,
    layouts_beside,
    one_where_slow,
)

from steepest import kernels as K

# Activations that linear_backward accepts: their derivative follows from the output.
ACTIVATIONS = tuple(name for name in K.ACTIVATIONS if name not in K.INPUT_DERIVATIVES)


def make(rng, dtype, n, n_in, n_out, activation="identity"):
    """Make (d_out, x, w), where x is an output of the activation, as in a chain of layers."""
    x = reference.activation(rng.standard_normal((n, n_in)), activation).astype(dtype)
    return (
        rng.standard_normal((n, n_out)).astype(dtype),
        x,
        rng.standard_normal((n_in, n_out)).astype(dtype),
    )


def expected_and_tolerance(d_out, x, w, activation, l2):
    expected = reference.linear_backward(d_out, x, w, activation, l2)
    derivative = reference.activation_backward(np.ones_like(x), x, activation)
    return expected, tolerances.linear_backward(x.dtype, d_out, x, w, l2, derivative)


def check_backward(d_out, x, w, activation, l2=0.0, **kwargs):
    expected, tolerance = expected_and_tolerance(d_out, x, w, activation, l2)
    return check(
        K.linear_backward,
        (d_out, x, w),
        ("d_x", "d_w", "d_b"),
        expected,
        tolerance,
        activation=activation,
        l2=l2,
        **kwargs,
    )


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 31, 33), (65, 12, 10), (33, 9, 129)], ids=str)
def test_layouts(rng, dtype, shape, activation, l2):
    layouts = layouts_beside(ACTIVATIONS.index(activation) + 2 * (l2 > 0))
    check_backward(*make(rng, dtype, *shape, activation), activation, l2, layouts=layouts)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_edges(rng, dtype, activation):
    for i, n in enumerate(SIZES):
        n_in, n_out = SIZES[(3 * i + 5) % len(SIZES)], SIZES[(5 * i + 2) % len(SIZES)]
        check_backward(*make(rng, dtype, n, n_in, n_out, activation), activation, layouts=("c",))


@pytest.mark.parametrize("n", [511, 512, 513, 1030])
def test_l2_and_activation_enter_once_over_blocks_of_rows(rng, dtype, n):
    # d_w sums over n rows and d_x over n_out columns; both lengths straddle the blocks of the inner dimension.
    check_backward(*make(rng, dtype, n, 18, 21, "tanh"), "tanh", 0.5, layouts=("c",))
    check_backward(*make(rng, dtype, 18, 21, n, "tanh"), "tanh", 0.5, layouts=("c",))


@pytest.mark.parametrize("activation", one_where_slow(ACTIVATIONS))
def test_large(rng, dtype, threads, activation):
    check_backward(*make(rng, dtype, 200, 784, 128, activation), activation, 1e-2, layouts=("c",))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(17, 31, 33), (65, 12, 10)], ids=str)
def test_accumulate(rng, dtype, shape, layout, l2):
    d_out, x, w = make(rng, dtype, *shape)
    check_accumulation(d_out, x, w, l2, layout, rng)


@pytest.mark.parametrize("shape", [(0, 4, 3), (1, 1, 1), (512, 18, 21), (513, 18, 21), (1030, 7, 9)], ids=str)
def test_accumulate_over_blocks_of_rows(rng, dtype, shape, threads):
    check_accumulation(*make(rng, dtype, *shape), 0.3, "c", rng)
    check_accumulation(*make(rng, dtype, *shape), 0.3, "strided", rng)


def check_accumulation(d_out, x, w, l2, layout, rng):
    expected, tolerance = expected_and_tolerance(d_out, x, w, "tanh", l2)
    before = [rng.standard_normal(a.shape).astype(x.dtype) for a in expected]
    outputs = [GuardedOutput(a.shape, a.dtype, layout) for a in before]
    for out, values in zip(outputs, before, strict=True):
        out.view[...] = values
    d_x, d_w, d_b = (out.view for out in outputs)
    K.linear_backward(
        *(lay_out(a, layout) for a in (d_out, x, w)),
        activation="tanh",
        l2=l2,
        d_x=d_x,
        d_w=d_w,
        d_b=d_b,
        accumulate=True,
    )
    for out in outputs:
        out.assert_margin_untouched()
    assert_close(d_x, expected[0], tolerance[0], "d_x is not added to")
    for i, out in [(1, d_w), (2, d_b)]:
        slack = tolerances.added_to(x.dtype, before[i], expected[i], -(-len(x) // 512))
        assert_close(out, before[i] + expected[i], tolerance[i] + slack, ("d_x", "d_w", "d_b")[i])


def test_accumulation_needs_something_to_add_to(rng):
    d_out, x, w = make(rng, np.float64, 12, 10, 8)
    d_w, d_b = np.ones((10, 8)), np.ones(8)
    for options in [{}, {"d_w": d_w}, {"d_b": d_b}]:
        with pytest.raises(TypeError, match=r"^\[linear_backward\] accumulate=True requires d_w and d_b"):
            K.linear_backward(d_out, x, w, accumulate=True, **options)
    assert (d_w == 1).all()
    assert (d_b == 1).all()


def test_parameter_reaches_the_derivative(rng, dtype):
    for activation in (("leaky_relu", 0.3), ("elu", 2.0)):
        check_backward(*make(rng, dtype, 33, 20, 17, activation), activation, layouts=("c", "strided"))


@pytest.mark.parametrize("activation", K.INPUT_DERIVATIVES)
def test_derivative_at_the_input_is_refused(dtype, activation):
    x, out = np.ones((2, 2), dtype), np.full((2, 2), 7, dtype)
    with pytest.raises(ValueError, match=rf"^\[linear_backward\] .*{activation}.*activation_backward"):
        K.linear_backward(x, x, x, activation=activation, d_x=out, d_w=out.copy())
    assert (out == 7).all()


def test_relu_derivative_is_zero_at_zero(dtype):
    d_x, _, _ = K.linear_backward(
        np.ones((1, 1), dtype), np.array([[0.0, 1.0]], dtype), np.ones((2, 1), dtype), activation="relu"
    )
    assert d_x.tolist() == [[0.0, 1.0]]


def test_without_input_gradient(rng, dtype):
    d_out, x, w = make(rng, dtype, 40, 30, 20)
    d_x, d_w, d_b = K.linear_backward(d_out, x, w, l2=0.1, input_grad=False)
    _, with_w, with_b = K.linear_backward(d_out, x, w, l2=0.1)
    assert d_x is None
    assert d_w.tobytes() == with_w.tobytes()
    assert d_b.tobytes() == with_b.tobytes()


def test_some_outputs_given(rng, dtype):
    d_out, x, w = make(rng, dtype, 12, 10, 8)
    expected, tolerance = expected_and_tolerance(d_out, x, w, "identity", 0.0)
    buffer = np.full_like(w, np.nan)
    results = K.linear_backward(d_out, x, w, d_w=buffer)
    assert results[1] is buffer
    for actual, e, t in zip(results, expected, tolerance, strict=True):
        assert_close(actual, e, t, "linear_backward")


def test_empty_batch_leaves_only_l2(rng, dtype):
    w = rng.standard_normal((4, 3)).astype(dtype)
    d_x, d_w, d_b = K.linear_backward(np.ones((0, 3), dtype), np.ones((0, 4), dtype), w, l2=0.5)
    assert d_x.shape == (0, 4)
    assert_close(d_w, 0.5 * w.astype(np.float64), tolerances.eps(dtype) * np.abs(w), "d_w")
    assert d_b.tolist() == [0.0, 0.0, 0.0]


def test_nan_reaches_the_gradients_it_touches(rng, dtype):
    d_out, x, w = make(rng, dtype, 20, 9, 17)
    d_out[3, 5] = np.nan
    d_x, d_w, d_b = K.linear_backward(d_out, x, w)
    assert np.isnan(d_x[3]).all() and np.isfinite(np.delete(d_x, 3, axis=0)).all()
    assert np.isnan(d_w[:, 5]).all() and np.isfinite(np.delete(d_w, 5, axis=1)).all()
    assert np.isnan(d_b[5]) and np.isfinite(np.delete(d_b, 5)).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_oracle_by_finite_differences(rng, activation):
    z, w, b = rng.standard_normal((5, 4)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    z = np.where(np.abs(z) < 0.05, 0.1, z)  # away from the kink of relu
    d_out, l2 = rng.standard_normal((5, 3)), 0.3
    x = reference.activation(z, activation)

    def objective(z, w, b):
        y = reference.linear(reference.activation(z, activation), w, b)
        return (y * d_out).sum() + 0.5 * l2 * (w * w).sum()

    d_x, d_w, d_b = reference.linear_backward(d_out, x, w, activation, l2)
    # Central differences with h = 1e-6 err by h^2 plus eps / h: about 1e-9 of these magnitudes.
    np.testing.assert_allclose(d_x, reference.finite_difference(lambda v: objective(v, w, b), z), atol=1e-8)
    np.testing.assert_allclose(d_w, reference.finite_difference(lambda v: objective(z, v, b), w), atol=1e-8)
    np.testing.assert_allclose(d_b, reference.finite_difference(lambda v: objective(z, w, v), b), atol=1e-8)
