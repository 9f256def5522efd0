"""Reductions: sums accumulated in float64, extrema, argmax; and the two counters of captured graphs."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
from backends import LAYOUTS, SIZES, assert_close, check, lay_out

import steepest
from steepest import kernels as K

SUMS = ("sum", "mean", "sum_squares")
EXTREMA = ("max", "min")
AXES = (None, 0, 1)


def oracle(name, x, axis):
    """(result, sum of the magnitudes of its terms, number of terms)."""
    x = x.astype(np.float64)
    terms = x * x if name == "sum_squares" else x
    count = x.size if axis is None else x.shape[axis]
    scale = 1.0 / count if name == "mean" else 1.0
    return scale * terms.sum(axis=axis), scale * np.abs(terms).sum(axis=axis), count


def check_sum(name, x, axis, **kwargs):
    expected, magnitude, count = oracle(name, x, axis)
    tolerance = tolerances.reduction(x.dtype, count, magnitude)
    check(getattr(K, name), (x,), ("out",), (expected,), (tolerance,), axis=axis, **kwargs)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 33), (33, 1), (17, 65), (129, 10)], ids=str)
def test_sums(rng, dtype, name, axis, shape):
    check_sum(name, rng.standard_normal(shape).astype(dtype), axis)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", SUMS)
def test_sums_of_every_width(rng, dtype, name, axis):
    for n in SIZES:
        check_sum(name, rng.standard_normal((9, n)).astype(dtype), axis, layouts=("c", "at_end"))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", SUMS)
def test_sums_with_threads(rng, dtype, threads, name, axis):
    check_sum(name, (1.0 + rng.standard_normal((2001, 301))).astype(dtype), axis, layouts=("c", "fortran"))


@pytest.mark.cpu_only("on a GPU no thread sums so many items")
def test_a_long_running_sum_does_not_stick():
    # A float32 sum would stop growing at 2^24.
    x = np.ones((1, 2**24 + 2**10), np.float32)
    for axis in AXES:
        assert float(np.squeeze(K.sum(x, axis=axis)).max()) == (2**24 + 2**10 if axis != 0 else 1.0)


def test_accumulation_is_wider_than_the_input():
    # The terms cancel exactly only in a float64 sum.
    y = np.array([[1e8, 1.0, -1e8, 1.0]], np.float32)
    assert float(K.sum(y)) == 2.0
    # Squares are computed in float64 too.
    assert float(K.sum_squares(np.full((1, 1), 1.0 + 2.0**-20, np.float64))) == (1.0 + 2.0**-20) ** 2


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", EXTREMA)
@pytest.mark.parametrize("shape", [(1, 1), (1, 33), (33, 1), (17, 65), (700, 301)], ids=str)
def test_extrema(rng, dtype, name, axis, shape):
    x = rng.standard_normal(shape).astype(dtype)
    check(getattr(K, name), (x,), ("out",), (getattr(np, name)(x, axis=axis),), (0.0,), axis=axis)
    # All items have one sign, which reveals a wrong initial value of 0.
    for y in (np.abs(x) + dtype(1), -np.abs(x) - dtype(1)):
        check(
            getattr(K, name),
            (y,),
            ("out",),
            (getattr(np, name)(y, axis=axis),),
            (0.0,),
            axis=axis,
            layouts=("c",),
        )


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", [*SUMS, *EXTREMA])
def test_nan_and_infinities(rng, dtype, name, axis):
    numpy_function = {"sum_squares": lambda a, axis: (a * a).sum(axis=axis)}.get(name) or getattr(np, name)
    for spike in ([np.nan], [np.inf], [-np.inf], [np.nan, np.inf]):
        for at in (0, 7, 16, 39):
            x = rng.standard_normal((5, 40)).astype(dtype)
            x[2, at : at + len(spike)] = spike[: 40 - at]
            expected = numpy_function(x.astype(np.float64), axis=axis)
            finite = np.where(np.isfinite(x), np.abs(x.astype(np.float64)), 0.0)
            magnitude = (finite * finite + finite).sum(axis=axis)
            actual = getattr(K, name)(x, axis=axis)
            assert_close(
                actual, expected, tolerances.reduction(dtype, 200, magnitude), f"{name} of {spike} at {at}"
            )


@pytest.mark.parametrize("shape", [(1, 1), (9, 2), (33, 10), (17, 129), (1000, 5)], ids=str)
def test_argmax(rng, dtype, shape):
    # Few distinct values give many ties; argmax returns the first.
    x = rng.integers(0, 4, shape).astype(dtype)
    result = check(K.argmax, (x,), ("out",), (x.argmax(axis=1),), (0.0,))[0]
    assert result.dtype == np.int64


def test_argmax_of_special_rows(dtype):
    x = np.full((5, 20), -np.inf, dtype)
    x[1, 19] = -1e3
    x[2, [4, 9]] = np.inf
    x[3, [6, 11]] = np.nan
    x[4] = 0.0
    x[4, 7], x[4, 13] = np.inf, np.nan
    assert K.argmax(x).tolist() == np.argmax(x, axis=1).tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_match_for_every_layout(rng, dtype, layout):
    x = rng.integers(-8, 9, (23, 31)).astype(dtype)  # integers: the sums are exact
    for name in (*SUMS[:1], *EXTREMA):
        for axis in AXES:
            expected = getattr(np, name)(x, axis=axis)
            assert (np.asarray(getattr(K, name)(lay_out(x, layout), axis=axis)) == expected).all()


def test_empty(dtype):
    assert K.sum(np.ones((0, 3), dtype)) == 0
    assert K.sum(np.ones((0, 3), dtype), axis=0).tolist() == [0.0, 0.0, 0.0]
    assert K.sum_squares(np.ones((3, 0), dtype), axis=1).tolist() == [0.0, 0.0, 0.0]
    assert K.argmax(np.ones((0, 3), dtype)).shape == (0,)


@pytest.mark.parametrize("name", ["mean", *EXTREMA])
def test_nothing_to_reduce(dtype, name):
    with pytest.raises(ValueError, match=rf"^\[{name}\] "):
        getattr(K, name)(np.ones((0, 3), dtype))


def test_increment():
    counter = np.array(40)
    K.increment(counter)
    assert counter == 41
    K.increment(counter, by=-64)
    assert counter == -23


def test_accumulate():
    total, value = np.array(1.5), np.array(4.0)
    K.accumulate(total, value)
    K.accumulate(total, value, scale=0.25)
    assert total == 6.5
    assert value == 4.0


def test_require_finite():
    K.require_finite(np.array(1e308))
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(steepest.DivergenceError, match=r"^\[require_finite\] ") as caught:
            K.require_finite(np.array(bad))
        assert caught.value.step == 0
    assert issubclass(steepest.DivergenceError, FloatingPointError)
