"""Precisions of matrix products (float32, high, tf32, bfloat16): their accuracy, and which kernel runs."""

from __future__ import annotations

import backends
import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, assert_close, lay_out, on_each_number_of_threads

from steepest import _cpu
from steepest import kernels as K

PRECISIONS = K.PRECISIONS
# (rows, inner dimension, columns) for small, medium and large tiles, full and partial, and for a split inner dimension.
# On the CPU those of some size are computed by bfloat16 units. The last three have several blocks of the inner
# dimension, which end within a pair and a step, partial tiles and panels, and several blocks of columns.
SHAPES = (
    (1, 1, 1),
    (17, 33, 9),
    (64, 40, 64),
    (130, 47, 260),
    (300, 20, 300),
    (10, 1100, 20),
    (40, 600, 130),
    (45, 1101, 70),
    (70, 513, 33),
    (35, 129, 600),
)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_accuracy(rng, precision, shape):
    m, k, n = shape
    a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
    product = K.matmul(a, b, precision=precision)
    tolerance = tolerances.matmul_at_precision(precision, a, b)
    assert_close(product, reference.matmul(a, b), tolerance, f"matmul at {precision}")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(rng, precision, layout):
    a, b = rng.standard_normal((70, 67)).astype(np.float32), rng.standard_normal((67, 66)).astype(np.float32)
    out = lay_out(np.zeros((70, 66), np.float32), layout)
    K.matmul(lay_out(a, layout), lay_out(b, layout), out=out, precision=precision)
    assert_close(out, reference.matmul(a, b), tolerances.matmul_at_precision(precision, a, b), layout)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_small_integers_are_exact(rng, precision):
    a, b = (rng.integers(-16, 17, s).astype(np.float32) for s in ((65, 190), (190, 33)))
    np.testing.assert_array_equal(K.matmul(a, b, precision=precision), a.astype(np.float64) @ b)


# Bit patterns. The second NaN differs from infinity in its lowest bit alone, which narrower types cannot represent.
SPECIAL = {"nan": 0x7FC00000, "nan of the lowest bit": 0x7F800001, "inf": 0x7F800000, "-inf": 0xFF800000}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("special", SPECIAL)
def test_special_values_stay_in_their_row(rng, precision, special):
    a, b = rng.standard_normal((34, 165)).astype(np.float32), 1 + rng.random((165, 63)).astype(np.float32)
    b[:, ::2] = 1  # these items have a single part
    a.view(np.uint32)[17, 33] = SPECIAL[special]
    expected = np.full(63, float(special.split()[0]))
    product = K.matmul(a, b, precision=precision)
    np.testing.assert_array_equal(product[17], expected)
    assert np.isfinite(np.delete(product, 17, axis=0)).all()


@pytest.mark.parametrize("precision", ["float32", "high"])
def test_the_largest_numbers_do_not_overflow(rng, precision):
    a, b = rng.random((64, 80)).astype(np.float32), rng.random((80, 64)).astype(np.float32)
    a[:, 7], b[7] = np.finfo(np.float32).max, 2.0**-100
    tolerance = tolerances.matmul_at_precision(precision, a, b)
    assert_close(K.matmul(a, b, precision=precision), reference.matmul(a, b), tolerance, "largest")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_float64_is_computed_in_float64(rng, precision):
    a, b = rng.standard_normal((20, 30)), rng.standard_normal((30, 10))
    assert_close(
        K.matmul(a, b, precision=precision),
        reference.matmul(a, b),
        tolerances.matmul(np.float64, a, b),
        "float64",
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_linear_and_its_gradients(rng, precision):
    n, n_in, n_out = 150, 70, 40
    x, w, d_out = (rng.standard_normal(s).astype(np.float32) for s in ((n, n_in), (n_in, n_out), (n, n_out)))
    y = K.linear(x, w, precision=precision)
    assert_close(y, reference.matmul(x, w), tolerances.matmul_at_precision(precision, x, w), "linear")
    d_x, d_w, d_b = K.linear_backward(d_out, x, w, precision=precision)
    for got, a, b in ((d_x, d_out, w.T), (d_w, x.T, d_out)):
        assert_close(got, reference.matmul(a, b), tolerances.matmul_at_precision(precision, a, b), "gradient")
    if precision == "bfloat16":
        sums, bias = d_w.copy(), d_b.copy()
        K.linear_backward(
            d_out, x, w, input_grad=False, l2=0.5, d_w=sums, d_b=bias, precision=precision, accumulate=True
        )
        np.testing.assert_allclose(sums, d_w + (d_w + np.float32(0.5) * w), rtol=3e-7, atol=1e-5)
    dx = rng.standard_normal(x.shape).astype(np.float32)
    tolerance = tolerances.matmul_at_precision(precision, np.hstack([x, dx]), np.vstack([w, w]))
    tangent = K.linear_tangent(x, w, None, dx, w, precision=precision)
    assert_close(tangent, reference.linear_tangent(x, w, None, dx, w), tolerance, "tangent")
    # The bias gradient is a sum without products, so it has full float32 accuracy.
    ones = np.ones((1, n), np.float32)
    assert_close(d_b, reference.matmul(ones, d_out)[0], tolerances.matmul(np.float32, ones, d_out)[0], "d_b")


@pytest.mark.parametrize("function", ["matmul", "linear", "linear_backward", "linear_tangent"])
def test_unknown_precision(function):
    a = np.ones((3, 3), np.float32)
    args = (a, a, a) if function == "linear_backward" else (a, a)
    with pytest.raises(ValueError, match=rf"^\[{function}\] precision 'float16' is not one of: float32, "):
        getattr(K, function)(*args, precision="float16")
    with pytest.raises(TypeError, match=rf"^\[{function}\] precision must be a string"):
        getattr(K, function)(*args, precision=16)


@pytest.mark.skipif(not backends.ON_CPU, reason="it tests the CPU kernels")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_cpu_computes_in_float32_where_that_is_faster(rng, precision):
    for shape in ((33, 47, 21), (31, 600, 600), (600, 600, 31), (600, 63, 600), (40, 64, 60)):
        m, k, n = shape
        a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
        assert K.explain("matmul", a, b, precision=precision).parts == 0
        assert K.matmul(a, b, precision=precision).tobytes() == K.matmul(a, b).tobytes()


@pytest.mark.skipif(not backends.ON_CPU, reason="it tests the CPU kernels")
def test_bfloat16_units_compute_what_was_asked_for(rng, threads):
    unit = _cpu.info()["bfloat16"]
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((64, 256), (256, 64)))
    plans = {p: K.explain("matmul", a, b, precision=p) for p in PRECISIONS}
    three = (
        0 if unit in ("none", "avx512_bf16") else 2
    )  # whether three products take less time than one in float32
    expected = {"float32": 0, "high": three, "tf32": three, "bfloat16": 0 if unit == "none" else 1}
    assert {p: plan.parts for p, plan in plans.items()} == expected
    assert K.explain("matmul", (64, 256), (256, 64), dtype=np.float64, precision="bfloat16").parts == 0
    exact = reference.matmul(a, b)
    error = {p: float(np.abs(K.matmul(a, b, precision=p) - exact).max()) for p in PRECISIONS}
    if unit == "none":
        assert len(set(error.values())) == 1
    else:
        assert error["float32"] < error["bfloat16"] / 1000
        assert error["high"] < error["bfloat16"] / 100


@pytest.mark.skipif(not backends.ON_CPU, reason="it tests the CPU kernels")
@pytest.mark.parametrize("shape", [(130, 1100, 260), (40, 2000, 70), (1000, 130, 33)], ids=str)
def test_no_precision_depends_on_the_number_of_threads(rng, shape):
    m, k, n = shape
    a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
    for precision in ("high", "bfloat16"):
        products = [K.matmul(a, b, precision=precision).tobytes() for _ in on_each_number_of_threads()]
        assert products[1:] == products[:1] * 3


@pytest.mark.skipif(backends.ON_CPU, reason="the CPU computes in float32 at every precision")
def test_the_precision_that_was_asked_for_is_the_one_that_runs(rng):
    a, b = (
        rng.standard_normal((64, 256)).astype(np.float32),
        rng.standard_normal((256, 64)).astype(np.float32),
    )
    exact = reference.matmul(a, b)
    error = {p: float(np.abs(K.matmul(a, b, precision=p) - exact).max()) for p in PRECISIONS}
    assert error["high"] < 4 * error["float32"]  # tf32 parts
    assert 100 * error["float32"] < error["tf32"] < error["bfloat16"] / 4


@pytest.mark.skipif(not backends.STANDIN, reason="only the stand-in reports kernel plans")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_tiles_and_parts_are_tested(precision):
    gemm_plan = backends.load_standin().gemm_plan
    plans = {gemm_plan(*shape, precision=precision) for shape in SHAPES}
    assert {kind for kind, _ in plans} == {"small", "medium", "large"}
    assert any(parts > 1 for _, parts in plans)
