"""Functions of one item against NumPy and SciPy, for every entry of the registry."""

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
    identical,
    lay_out,
    on_each_number_of_threads,
)

import steepest
from steepest import _cpu
from steepest import kernels as K

NAMES = tuple(entry["name"] for entry in _cpu.UNARY_FUNCTIONS)
EXACT = tuple(name for name in NAMES if reference.UNARY_FUNCTIONS[name].ulps == 0.5)


def arguments(rng, dtype, shape):
    """Numbers of either sign where the functions are curved."""
    return (3.0 * rng.standard_normal(shape)).astype(dtype)


def patterns(rng, dtype, count):
    """Random bits: numbers of all magnitudes, subnormal ones among them, infinities and NaN."""
    dtype = np.dtype(dtype)
    bits = rng.integers(0, 256, count * dtype.itemsize, dtype=np.uint8).view(dtype)
    tiny = np.finfo(dtype).smallest_subnormal * rng.integers(-(1 << 22), 1 << 22, count // 8).astype(dtype)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, np.finfo(dtype).max, np.finfo(dtype).tiny]
    return np.concatenate([bits, tiny, np.array(special, dtype)])


def close(actual, x, name):
    y = reference.unary(x, name)
    assert_close(actual, y, tolerances.unary(x.dtype, y, name), name)


def check_layouts(x, name, layouts):
    y = reference.unary(x, name)
    check(getattr(K, name), (x,), ("out",), (y,), (tolerances.unary(x.dtype, y, name),), layouts=layouts)


def test_registry():
    assert set(NAMES) == set(reference.UNARY_FUNCTIONS)


# ------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("name", NAMES)
def test_all_magnitudes(rng, dtype, name):
    x = patterns(rng, dtype, 1 << 16)
    close(getattr(K, name)(x), x, name)


@pytest.mark.parametrize("name", NAMES)
def test_fine_grid(dtype, name):
    """Dense where the functions are curved, where exp overflows or is subnormal, and around 1, where log is small."""
    ends = (-104.0, 89.0) if dtype == np.float32 else (-746.0, 710.0)
    grids = [np.linspace(-7.0, 7.0, 40_001), np.linspace(*ends, 40_001), 1.0 + np.linspace(-1e-3, 1e-3, 2001)]
    grids += [end + np.linspace(-1.0, 1.0, 2001) for end in ends]
    x = np.concatenate(grids).astype(dtype)
    close(getattr(K, name)(x), x, name)


@pytest.mark.parametrize("name", EXACT)
def test_exactly_rounded(rng, dtype, name):
    x = patterns(rng, dtype, 1 << 16)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    actual, numbers = getattr(K, name)(x), ~np.isnan(expected)
    assert (np.isnan(actual) == ~numbers).all()
    assert identical(actual[numbers], expected[numbers])


INF, NAN = np.inf, np.nan
SPECIAL = {
    "exp": [(-INF, 0.0), (INF, INF), (0.0, 1.0), (-0.0, 1.0), (1000.0, INF), (-1000.0, 0.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (-1e-30, NAN), (-1.0, NAN), (-INF, NAN), (INF, INF), (1.0, 0.0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (100.0, 1.0), (-100.0, -1.0)],
    "sqrt": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, NAN), (-1.0, NAN), (4.0, 2.0)],
    "square": [(0.0, 0.0), (-0.0, 0.0), (INF, INF), (-INF, INF), (-3.0, 9.0)],
    "reciprocal": [(0.0, INF), (-0.0, -INF), (INF, 0.0), (-INF, -0.0), (-4.0, -0.25)],
}


@pytest.mark.parametrize("name", NAMES)
def test_special_values(dtype, name):
    x, y = np.array([*SPECIAL[name], (NAN, NAN)] * 9, dtype).T  # in whole vectors and in a part of one
    actual = getattr(K, name)(x)
    np.testing.assert_array_equal(actual, y)
    assert (np.signbit(actual) == np.signbit(y))[y == 0].all()


# --------------------------------------------------------------------------------------------- sizes and layouts


@pytest.mark.parametrize("name", NAMES)
def test_sizes(rng, dtype, name):
    for n in (*SIZES, 255, 256, 257, 1000, 4099):
        check_layouts(
            arguments(rng, dtype, n), name, ("c", "at_end", "strided") if n < 260 else ("c", "offset")
        )


@pytest.mark.parametrize("shape", [(7, 5), (3, 130), (2, 3, 5), (2, 3, 4, 5), (2, 1, 3, 2, 9)], ids=str)
def test_layouts(rng, dtype, shape):
    layouts = [layout for layout in LAYOUTS if len(shape) < 3 or layout != "transposed_slice"]
    for name in NAMES:
        check_layouts(arguments(rng, dtype, shape), name, layouts)


@pytest.mark.parametrize("name", NAMES)
def test_layouts_change_no_bit(rng, dtype, name):
    """Strided items go through the formula that contiguous ones do, and nothing else is written."""
    for shape in ((9, 37), (3, 600)):
        x = arguments(rng, dtype, shape)
        expected = getattr(K, name)(x)
        for source in LAYOUTS:
            for target in ("c", "offset", "fortran", "strided", "reversed"):
                out = GuardedOutput(shape, dtype, target)
                getattr(K, name)(lay_out(x, source), out=out.view)
                out.assert_margin_untouched()
                np.testing.assert_array_equal(out.view, expected, f"{source} {target}")


def test_one_item_for_many(rng, dtype):
    x = arguments(rng, dtype, (4, 1, 3))
    assert identical(K.exp(np.broadcast_to(x, (4, 50, 3))), np.repeat(K.exp(x), 50, axis=1))


@pytest.mark.parametrize("name", NAMES)
def test_in_place(rng, dtype, name):
    x = arguments(rng, dtype, (6, 5, 21))
    for layout in ("c", "fortran", "strided", "reversed"):
        laid = lay_out(x, layout)
        assert getattr(K, name)(laid, out=laid) is laid
        np.testing.assert_array_equal(laid, getattr(K, name)(x), layout)


@pytest.mark.parametrize("name", NAMES)
def test_empty_and_single(dtype, name):
    for shape in ((0,), (0, 3), (3, 0), (2, 0, 3), (0, 0, 0, 0, 0)):
        assert getattr(K, name)(np.ones(shape, dtype)).shape == shape
    single = np.array(4.0, dtype)
    assert getattr(K, name)(single).shape == ()
    close(getattr(K, name)(single), single, name)


@pytest.mark.not_when_slow("the same loops run on smaller arrays in test_sizes")
def test_results_that_go_past_the_caches(rng):
    """Of more than 32 MB, whose first item is not the first of a vector."""
    x, out = (np.empty(8_500_001, np.float32)[1:] for _ in range(2))
    x[...] = rng.standard_normal(x.size, dtype=np.float32)
    assert (K.square(x, out=out) == x * x).all()
    rows, results = (a[:8_400_000].reshape(1200, 7000)[:, :6999] for a in (x, out))
    assert (K.square(rows, out=results) == rows * rows).all()
    assert (out[6999:8_400_000:7000] == x[6999:8_400_000:7000] ** 2).all()


# ---------------------------------------------------------------------------------- threads, graphs, and errors


@pytest.mark.cpu_only("a GPU has no teams")
def test_threads_change_nothing(rng, dtype):
    x = arguments(rng, dtype, (6, 140, 401))
    for given in (x, x.T, x[:, ::2], x.reshape(6, -1)[:2]):
        results = [
            [getattr(K, name)(given) for name in NAMES] for _ in on_each_number_of_threads((1, 2, 3, 7))
        ]
        for others in results[1:]:
            assert all(map(identical, results[0], others))


def test_replay(rng, dtype):
    x = arguments(rng, dtype, (4, 3, 50))
    with steepest.capture() as graph:
        results = [getattr(K, name)(x.transpose(0, 2, 1)) for name in NAMES]
    assert tuple(graph.operations) == NAMES
    x[...] = arguments(rng, dtype, x.shape)
    graph.replay(2)
    assert all(
        identical(y, getattr(K, name)(x.transpose(0, 2, 1))) for y, name in zip(results, NAMES, strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
def test_errors(dtype, name):
    function, x = getattr(K, name), np.ones((4, 6), dtype)
    for call, error, message in [
        (lambda: function(np.ones((1,) * 6, dtype)), ValueError, "x has shape .* at most 5"),
        (lambda: function(x, out=np.ones((6, 4), dtype)), ValueError, "out has shape"),
        (lambda: function(x[1:], out=x[:-1]), ValueError, "out overlaps x in memory"),
        (lambda: function(x.astype(np.int64)), TypeError, "x has dtype int64"),
        (lambda: function(2.0), TypeError, "x must be"),
    ]:
        with pytest.raises(error, match=rf"^\[{name}\] {message}"):
            call()
    assert (x == 1).all()
