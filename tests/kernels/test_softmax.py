"""`softmax` and `log_softmax` over the last axis, with logits that overflow a naive formula."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, assert_close, check, lay_out
from hypothesis import given
from hypothesis import strategies as st

from steepest import kernels as K

FUNCTIONS = ("softmax", "log_softmax")


def spiked_logits(rng, dtype, n, c):
    """Normal logits; if the shape allows, with rows at +1e3 and -1e3, one with a single large logit, one with -inf."""
    x = 3.0 * rng.standard_normal((n, c))
    if n >= 5:
        x[0] += 1e3
        x[1] -= 1e3
        x[2, c // 2] = 1e3
        x[3, :: max(2, c // 3)] = -1e3
        if c > 1:
            x[4, c - 1] = -np.inf
    return x.astype(dtype)


def expected_and_tolerance(name, x):
    expected = getattr(reference, name)(x)
    if name == "softmax":
        return expected, tolerances.softmax(x.dtype, x, expected)
    return expected, tolerances.log_softmax(x.dtype, x)


def check_rows(name, x, **kwargs):
    expected, tolerance = expected_and_tolerance(name, x)
    return check(getattr(K, name), (x,), ("out",), (expected,), (tolerance,), **kwargs)[0]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 10), (6, 3), (33, 10), (17, 64), (5, 1000)], ids=str)
def test_layouts(rng, dtype, name, shape):
    check_rows(name, spiked_logits(rng, dtype, *shape))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_number_of_classes(rng, dtype, name):
    for c in SIZES:
        check_rows(name, spiked_logits(rng, dtype, 7, c), layouts=("c", "at_end"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_threads(rng, dtype, threads, name):
    check_rows(name, spiked_logits(rng, dtype, 3001, 37), layouts=("c",))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("c", [2, 10, 33])
def test_nan_stays_in_its_row(rng, dtype, name, c):
    x = spiked_logits(rng, dtype, 20, c)
    for column in range(c):
        x[11] = 0.0
        x[11, column] = np.nan
        result = check_rows(name, x, layouts=("c", "fortran"))
        assert np.isnan(result[11]).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_row_of_minus_infinity_is_nan(dtype, name):
    # A row of -inf gives 0 / 0 = NaN; its neighbour is not affected.
    x = np.full((3, 12), -np.inf, dtype)
    x[1] = 2.0
    result = check_rows(name, x, layouts=("c",))
    assert np.isnan(result[[0, 2]]).all()


def test_rows_sum_to_one(rng, dtype):
    p = K.softmax(spiked_logits(rng, dtype, 50, 77))
    # Each of 77 terms has a relative error of at most (4 + sqrt(77) + |x - max|) eps, and |x - max| p < 25 p here.
    assert_close(p.astype(np.float64).sum(axis=1), np.ones(50), 40 * tolerances.eps(dtype), "sum of softmax")


@pytest.mark.parametrize("c", [32_000, 1_000_000])
def test_sums_of_many_equal_items_do_not_drift(c):
    """A running float32 sum would be off by 3e-4 after a million items; the error here is a few eps."""
    x = np.zeros((1, c), np.float32)
    x[0, 0] = 2
    eps = tolerances.eps(np.float32)
    total = 1 + (c - 1) * np.exp(-2.0)
    # The exponential is within 2 eps before rounding; the sum and its logarithm are rounded.
    assert abs(float(K.softmax(x)[0, 0]) * total - 1) < 6 * eps
    assert abs(float(K.log_softmax(x)[0, 0]) + np.log(total)) < 6 * eps + 2 * eps * np.log(total)
    loss, d = K.softmax_cross_entropy(x, np.zeros(1, int))
    assert abs(float(loss) - np.log(total)) < 6 * eps + 2 * eps * np.log(total)
    assert abs(float(d[0, 1]) * np.exp(2.0) * total - 1) < 6 * eps


def test_adding_a_constant_changes_nothing_where_it_is_exact(dtype):
    # Multiples of 1/8 up to 1e3 are exact in either dtype, so the shifted rows are the same.
    x = (np.arange(60).reshape(4, 15) % 17 / 8.0).astype(dtype)
    for name in FUNCTIONS:
        function = getattr(K, name)
        assert function(x).tobytes() == function(x + dtype(1000)).tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_place(rng, dtype, name, layout):
    x = spiked_logits(rng, dtype, 9, 21)
    expected, tolerance = expected_and_tolerance(name, x)
    view = lay_out(x, layout)
    assert getattr(K, name)(view, out=view) is view
    assert_close(view, expected, tolerance, f"{name} in place")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_empty(dtype, name):
    assert getattr(K, name)(np.ones((0, 5), dtype)).shape == (0, 5)


@given(
    st.integers(1, 40),
    st.integers(1, 150),
    st.sampled_from(FUNCTIONS),
    st.sampled_from([np.float32, np.float64]),
)
def test_random_shapes(n, c, name, dtype):
    x = spiked_logits(np.random.default_rng(n * 1000 + c), dtype, n, c)
    expected, tolerance = expected_and_tolerance(name, x)
    assert_close(getattr(K, name)(x), expected, tolerance, f"{name} ({n}, {c})")
