"""`linear_tangent`: the directional derivative (JVP) of a layer along its parameters and its input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
import tolerances
from backends import SIZES, check, identical, layouts_beside

import steepest
from steepest import kernels as K

# Activations whose derivative follows from the output.
ACTIVATIONS = tuple(name for name in K.ACTIVATIONS if name not in K.INPUT_DERIVATIVES)
PARTS = [(bias, inner) for bias in (False, True) for inner in (False, True)]


def make(rng, dtype, n, n_in, n_out, activation="identity", bias=True, inner=True):
    """Make x, v, c, dx, w and y, where y is an output of the activation."""
    x, v, dx, w = (rng.standard_normal(s).astype(dtype) for s in [(n, n_in), (n_in, n_out)] * 2)
    c = rng.standard_normal(n_out).astype(dtype) if bias else None
    y = reference.activation(rng.standard_normal((n, n_out)), activation).astype(dtype)
    return (x, v, c, dx, w, y) if inner else (x, v, c, None, None, y)


def tangent(x, v, c, dx, w, y, **options):
    return K.linear_tangent(x, v, c, dx, w, y=y, **options)


def check_tangent(arrays, activation, **options):
    *inputs, y = arrays
    expected = reference.linear_tangent(*inputs, y, activation)
    derivative = reference.activation_backward(np.ones_like(y), y, activation)
    tolerance = tolerances.linear_tangent(y.dtype, *inputs, np.nan_to_num(derivative))
    return check(tangent, arrays, ("out",), [expected], [tolerance], activation=activation, **options)[0]


@pytest.mark.parametrize(("bias", "inner"), PARTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 31, 33), (65, 12, 10), (3, 600, 9)], ids=str)
def test_layouts(rng, dtype, shape, activation, bias, inner):
    layouts = layouts_beside(ACTIVATIONS.index(activation) + PARTS.index((bias, inner)))
    check_tangent(make(rng, dtype, *shape, activation, bias, inner), activation, layouts=layouts)


@pytest.mark.parametrize(("bias", "inner"), PARTS)
def test_edges(rng, dtype, bias, inner):
    for i, n in enumerate(SIZES):
        n_in, n_out = SIZES[(3 * i + 5) % len(SIZES)], SIZES[(5 * i + 2) % len(SIZES)]
        check_tangent(make(rng, dtype, n, n_in, n_out, "tanh", bias, inner), "tanh", layouts=("c",))


@pytest.mark.parametrize(("bias", "inner"), PARTS)
@pytest.mark.parametrize("n_in", [511, 512, 513, 1030])
def test_derivative_and_bias_enter_once_over_blocks_of_the_inner_dimension(rng, dtype, n_in, bias, inner):
    check_tangent(make(rng, dtype, 21, n_in, 18, "sigmoid", bias, inner), "sigmoid", layouts=("c", "fortran"))


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize(
    "n",
    [
        16,
        pytest.param(
            200, marks=pytest.mark.not_when_slow("16 rows split the inner dimension into as many blocks")
        ),
    ],
)
def test_large(rng, dtype, threads, n, inner):
    """Work that is split over threads by rows, and by blocks of the inner dimension."""
    check_tangent(make(rng, dtype, n, 1784, 130, "tanh", inner=inner), "tanh", layouts=("c", "strided"))


@pytest.mark.cpu_only("threads are the CPU's")
@pytest.mark.parametrize("n", [16, 130, 512])
def test_threads_change_nothing(rng, dtype, n):
    arrays = make(rng, dtype, n, 1100, 70, "tanh")
    before, results = steepest.get_num_threads(), []
    for threads in (1, 2, 3, 5):
        steepest.set_num_threads(threads)
        results.append(tangent(*arrays, activation="tanh"))
    steepest.set_num_threads(before)
    for other in results[1:]:
        assert identical(results[0], other)


def test_parameter(rng, dtype):
    for activation in (("leaky_relu", 0.3), ("elu", 2.0)):
        check_tangent(make(rng, dtype, 33, 20, 17, activation), activation, layouts=("c", "strided"))


def test_identity_needs_no_output(rng, dtype):
    arrays = make(rng, dtype, 19, 23, 7)
    assert identical(tangent(*arrays), tangent(*arrays[:5], None))


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_chain_is_the_derivative_of_a_network(rng, activation):
    """The chain of tangents agrees with central differences of the network's outputs along the direction."""
    sizes = (6, 9, 7, 3)
    x = rng.standard_normal((11, 6))
    pairs = list(itertools.pairwise(sizes))
    point = [(rng.standard_normal(pair), rng.standard_normal(pair[1])) for pair in pairs]
    direction = [(rng.standard_normal(pair), rng.standard_normal(pair[1])) for pair in pairs]

    def outputs(t):
        y = x
        for (w, b), (v, c) in zip(point, direction, strict=True):
            y = reference.linear(y, w + t * v, b + t * c, activation)
        return y

    y, dy = x, None
    for (w, b), (v, c) in zip(point, direction, strict=True):
        after = K.linear(y, w, b, activation)
        dy = K.linear_tangent(y, v, c, dy, None if dy is None else w, y=after, activation=activation)
        y = after
    h = 1e-6
    # Central differences err by h^2 + eps / h, about 1e-9 of these magnitudes.
    np.testing.assert_allclose(dy, (outputs(h) - outputs(-h)) / (2 * h), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_is_the_transpose_of_the_backward_pass(rng, activation):
    """<u, J v> = <J^T u, v>, for the parameters and for the input."""
    x, v, c, dx, w, _ = make(rng, np.float64, 20, 12, 8)
    x = reference.activation(x, activation)
    u = rng.standard_normal((20, 8))
    d_x, d_w, d_b = K.linear_backward(u, x, w)
    forward = (u * K.linear_tangent(x, v, c, dx, w)).sum()
    np.testing.assert_allclose(forward, (d_w * v).sum() + (d_b * c).sum() + (d_x * dx).sum(), rtol=1e-12)


def test_not_a_number_stays_in_its_row(rng, dtype):
    arrays = make(rng, dtype, 20, 9, 17, "tanh")
    arrays[0][3, 2], arrays[3][5, 1], arrays[5][7, 4] = np.nan, np.inf, np.nan
    with np.errstate(invalid="ignore"):  # the oracle's products with infinity
        found = ~np.isfinite(check_tangent(arrays, "tanh", layouts=("c", "strided")))
    expected = np.zeros((20, 17), bool)
    expected[[3, 5]] = True
    expected[7, 4] = True
    assert (found == expected).all()


def test_empty(dtype):
    c, y = np.array([-1.0, 0.5, 2.0], dtype), np.full((2, 3), 0.5, dtype)
    assert tangent(*(np.ones(s, dtype) for s in [(0, 4), (4, 3)]), c, None, None, None).shape == (0, 3)
    # Without input features every row is f' c.
    none, wide = np.ones((2, 0), dtype), np.ones((0, 3), dtype)
    out = tangent(none, wide, c, none, wide, y, activation="tanh")
    np.testing.assert_array_equal(out, np.tile(c * dtype(0.75), (2, 1)))


def test_captured(rng, dtype):
    arrays = make(rng, dtype, 30, 40, 12, "tanh")
    out = np.zeros((30, 12), dtype)
    with steepest.capture() as graph:
        tangent(*arrays, activation="tanh", out=out)
    for _ in range(2):
        arrays[1][...] = rng.standard_normal(arrays[1].shape)
        graph.replay()
        assert identical(out, tangent(*arrays, activation="tanh"))


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("activation", K.INPUT_DERIVATIVES)
def test_derivative_at_the_input_is_refused(dtype, activation):
    x, out = np.ones((2, 2), dtype), np.full((2, 2), 7, dtype)
    with pytest.raises(ValueError, match=rf"^\[linear_tangent\] .*{activation}.*activation_backward"):
        K.linear_tangent(x, x, y=x, activation=activation, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"v": np.ones((4, 2))}, ValueError, ".*the columns of x must be the rows of v"),
        ({"c": np.ones(3)}, ValueError, "c has shape"),
        ({"dx": None}, ValueError, "dx and w go together"),
        ({"w": None}, ValueError, "dx and w go together"),
        ({"dx": np.ones((4, 3))}, ValueError, "dx has shape"),
        ({"w": np.ones((3, 3))}, ValueError, "w has shape"),
        ({"y": None}, ValueError, "y is needed for the derivative of tanh"),
        ({"y": np.ones((5, 3))}, ValueError, "y has shape"),
        ({"out": np.ones((5, 3))}, ValueError, "out has shape"),
        ({"x": np.ones(3)}, ValueError, "x must be 2-D"),
        ({"v": np.ones((3, 2), np.float32)}, TypeError, "v has dtype float32"),
        ({"x": np.ones((5, 3), int)}, TypeError, "x has dtype int64"),
        ({"activation": "cubic"}, ValueError, "activation 'cubic' is not one of"),
        ({"precision": "float16"}, ValueError, "precision 'float16' is not one of"),
    ],
    ids=str,
)
def test_bad_arguments(changes, error, match):
    arguments = {"x": np.ones((5, 3)), "v": np.ones((3, 2)), "c": np.ones(2), "dx": np.ones((5, 3))}
    arguments |= {"w": np.ones((3, 2)), "y": np.ones((5, 2)), "activation": "tanh"}
    with pytest.raises(error, match=rf"^\[linear_tangent\] {match}"):
        K.linear_tangent(**{**arguments, **changes})


@pytest.mark.parametrize("name", ["x", "v", "c", "dx", "w", "y"])
def test_result_over_inputs(name):
    memory = np.ones((3, 3))
    arguments = {name: np.ones((3, 3)) for name in ("x", "v", "dx", "w", "y")} | {"c": np.ones(3)}
    arguments[name] = memory[0] if name == "c" else memory
    with pytest.raises(ValueError, match=rf"^\[linear_tangent\] out overlaps {name} in memory"):
        K.linear_tangent(**arguments, activation="tanh", out=memory)
    assert (memory == 1).all()
