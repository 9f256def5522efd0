"""`gradient_gram`: Gram matrix of per-sample gradients, against gradients formed in float64."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import ON_CPU, assert_close, check, identical

import steepest
from steepest import kernels as K


def make(rng, dtype, n, p, m, r=1):
    return rng.standard_normal((n, p)).astype(dtype), rng.standard_normal((n * r, m)).astype(dtype)


def assert_agrees(out, x, d, bias=False):
    assert out.dtype == np.float64
    assert_close(
        out, reference.gradient_gram(x, d, bias), tolerances.gradient_gram(x.dtype, x, d, bias), "out"
    )
    assert identical(out, np.ascontiguousarray(out.T))


@pytest.mark.parametrize(
    ("shape", "r"), [((1, 1, 1), 1), ((41, 17, 9), 1), ((70, 130, 33), 1), ((23, 70, 5), 3)], ids=str
)
def test_layouts(rng, dtype, shape, r):
    """All memory layouts, of shapes whose rows the kernel packs into a copy and of shapes that it reads in place."""
    x, d = make(rng, dtype, *shape, r)
    expected, tolerance = reference.gradient_gram(x, d), tolerances.gradient_gram(dtype, x, d)
    check(K.gradient_gram, (x, d), ("out",), [expected], [tolerance])


@pytest.mark.parametrize("r", [1, 2, 3, 10])
@pytest.mark.parametrize("n", [1, 2, 5, 14, 15, 16, 31, 32, 33, 65])
def test_heights(rng, dtype, n, r):
    """Numbers of samples and rows around the tile sizes."""
    x, d = make(rng, dtype, n, 6, 4, r)
    assert_agrees(K.gradient_gram(x, d), x, d)


@pytest.mark.parametrize("r", [1, 3])
@pytest.mark.parametrize(
    ("p", "m"), [(1, 1), (15, 16), (17, 3), (511, 2), (513, 2), (2, 513), (1300, 7)], ids=str
)
def test_widths(rng, dtype, p, m, r):
    """Widths around the blocks of columns that are summed in the dtype before the float64 sum."""
    x, d = make(rng, dtype, 12, p, m, r)
    assert_agrees(K.gradient_gram(x, d, bias=True), x, d, True)


@pytest.mark.parametrize(
    ("n", "r"), [(127, 1), (128, 1), (129, 1), (257, 1), (300, 1), (64, 4), (65, 5), (1030, 1), (103, 10)]
)
def test_blocks_of_samples(rng, dtype, n, r):
    x, d = make(rng, dtype, n, 5, 3, r)
    assert_agrees(K.gradient_gram(x, d), x, d)


@pytest.mark.skipif(
    not ON_CPU, reason="cache blocking exists only on the CPU, and the test takes long elsewhere"
)
def test_panels_beyond_the_cache(rng, dtype):
    for n, p, m, r in ((130, 4000, 20, 1), (40, 20, 2100, 4)):
        x, d = make(rng, dtype, n, p, m, r)
        out = K.gradient_gram(x, d)
        # The oracle forms the Gram matrix from two products, since the gradients would take gigabytes.
        wide = x.astype(np.float64).repeat(r, axis=0)
        expected = (wide @ wide.T) * (d.astype(np.float64) @ d.astype(np.float64).T)
        assert_close(out, expected, tolerances.gradient_gram(dtype, x, d), "out")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("r", [1, 2])
def test_layers_add_up(rng, dtype, bias, r):
    layers = [make(rng, dtype, 37, 20, 12, r), make(rng, dtype, 37, 12, 5, r)]
    out = K.gradient_gram(*layers[0], bias=bias)
    assert K.gradient_gram(*layers[1], bias=bias, accumulate=True, out=out) is out
    expected = sum(reference.gradient_gram(x, d, bias) for x, d in layers)
    tolerance = sum(tolerances.gradient_gram(dtype, x, d, bias) for x, d in layers)
    assert_close(out, expected, tolerance, "out")
    assert identical(out, np.ascontiguousarray(out.T))


@pytest.mark.parametrize("layout", ["F", "strided"])
def test_adds_to_any_layout(rng, dtype, layout):
    x, d = make(rng, dtype, 21, 7, 3, 2)
    start = np.add.outer(np.arange(42.0), np.arange(42.0))
    base = np.full((84, 90), 5.0)
    out = base[::2, 3:87:2] if layout == "strided" else np.empty((42, 42), order="F")
    out[...] = start
    K.gradient_gram(x, d, accumulate=True, out=out)
    expected = start + reference.gradient_gram(x, d)
    assert_close(out, expected, tolerances.gradient_gram(dtype, x, d) + 1e-13 * (1 + np.abs(expected)), "out")
    assert identical(np.ascontiguousarray(out), np.ascontiguousarray(out.T))
    assert (base[1::2] == 5.0).all()


def test_gradients_of_a_layer(rng):
    """The oracle uses the gradients that `linear_backward` returns for single samples."""
    x, d = make(rng, np.float64, 9, 6, 4)
    w = rng.standard_normal((6, 4))
    gradients = []
    for i in range(9):
        _, d_w, d_b = K.linear_backward(d[i : i + 1], x[i : i + 1], w, input_grad=False)
        gradients.append(np.concatenate([d_w.ravel(), d_b]))
    expected = np.array(gradients) @ np.array(gradients).T
    np.testing.assert_allclose(K.gradient_gram(x, d, bias=True), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
def test_nothing_to_multiply(dtype, bias):
    x, d = np.ones((6, 4), dtype), np.ones((12, 5), dtype)
    assert K.gradient_gram(x[:0], d[:0], bias=bias).shape == (0, 0)
    assert (K.gradient_gram(x[:, :0], d, bias=bias) == (5.0 if bias else 0.0)).all()
    assert (K.gradient_gram(x, d[:, :0], bias=bias) == 0.0).all()
    kept = np.ones((12, 12))
    K.gradient_gram(x, d[:, :0], bias=bias, accumulate=True, out=kept)
    assert (kept == 1.0).all()


def test_not_a_number_stays(rng, dtype):
    x, d = make(rng, dtype, 40, 5, 3, 2)
    x[17, 3] = np.nan
    found = np.isnan(K.gradient_gram(x, d))
    rows = np.isin(np.arange(80), (34, 35))
    assert (found == (rows[:, None] | rows)).all()


def test_float32_sums_are_short(rng):
    """Many small products after a large one count; a long float32 sum would lose them."""
    x = np.full((2, 20000), 2.0**-13, np.float32)
    x[:, 0] = 1.0
    d = np.ones((2, 1), np.float32)
    exact = 1.0 + 19999 * 2.0**-26
    np.testing.assert_allclose(K.gradient_gram(x, d), exact, rtol=1e-5)


@pytest.mark.cpu_only("threads are the CPU's")
@pytest.mark.parametrize(("shape", "r"), [((300, 40, 7), 1), ((90, 600, 30), 3), ((30, 20, 5), 10)], ids=str)
def test_threads_change_nothing(rng, dtype, shape, r):
    x, d = make(rng, dtype, *shape, r)
    before = steepest.get_num_threads()
    results = []
    for threads in (1, 2, 3, 5):
        steepest.set_num_threads(threads)
        results.append(K.gradient_gram(x, d, bias=True))
    steepest.set_num_threads(before)
    for other in results[1:]:
        assert identical(results[0], other)


def test_captured(rng, dtype):
    x, d = make(rng, dtype, 30, 8, 4, 2)
    first, second = np.zeros((60, 60)), np.zeros((60, 60))
    with steepest.capture() as graph:
        K.gradient_gram(x, d, out=first)
        K.gradient_gram(x, d, bias=True, accumulate=True, out=second)
    graph.replay(3)
    assert identical(first, K.gradient_gram(x, d))
    np.testing.assert_allclose(second, 3 * K.gradient_gram(x, d, bias=True), rtol=1e-14)


# ---------------------------------------------------------------------------------------------------- bad input


def arguments():
    return {"x": np.ones((4, 3)), "d": np.ones((8, 2))}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"d": np.ones((7, 2))}, ValueError),
        ({"d": np.ones((2, 2))}, ValueError),
        ({"d": np.ones((0, 2))}, ValueError),
        ({"x": np.ones((0, 3))}, ValueError),
        ({"d": np.ones(8)}, ValueError),
        ({"x": np.ones(4)}, ValueError),
        ({"d": np.ones((8, 2), np.float32)}, TypeError),
        ({"x": np.ones((4, 3), int)}, TypeError),
        ({"accumulate": True}, ValueError),
        ({"out": np.zeros((4, 4))}, ValueError),
        ({"out": np.zeros((8, 8), np.float32)}, TypeError),
    ],
    ids=str,
)
def test_bad_arguments(changes, error):
    with pytest.raises(error, match=r"^\[gradient_gram\] "):
        K.gradient_gram(**{**arguments(), **changes})
