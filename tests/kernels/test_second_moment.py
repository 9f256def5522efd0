"""`second_moment`: weighted means of outer products of rows and their moving averages, against float64 products."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import ON_CPU, STANDIN, assert_close, check, identical, lay_out

import steepest
from steepest import kernels as K


def symmetric(rng, dtype, size):
    a = rng.standard_normal((size, size))
    return (a + a.T).astype(dtype)


def assert_agrees(x, weight=None, **options):
    given = dict(options)
    if "out" in given:
        given["out"] = given["out"].copy()
    out = K.second_moment(x, weight, **options)
    assert out.dtype == x.dtype
    expected = reference.second_moment(x, weight, **given)
    assert_close(out, expected, tolerances.second_moment(x.dtype, x, weight, **given), "out")
    assert identical(out, np.ascontiguousarray(out.T))
    return out


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ones", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (5, 17), (41, 33), (130, 90)], ids=str)
def test_layouts(rng, dtype, shape, ones, weighted):
    """All memory layouts, of shapes whose rows the kernel packs into a copy and of shapes that it reads in place."""
    x = rng.standard_normal(shape).astype(dtype)
    weight = rng.random(len(x)).astype(dtype) if weighted else None
    expected = reference.second_moment(x, weight, ones)
    tolerance = tolerances.second_moment(dtype, x, weight, ones)
    check(K.second_moment, (x, weight), ("out",), [expected], [tolerance], ones=ones)


@pytest.mark.parametrize("ones", [False, True])
@pytest.mark.parametrize("d", [1, 2, 4, 6, 7, 13, 14, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 97])
def test_widths(rng, dtype, d, ones):
    """Widths around tiles and vectors, with many rows and with so few that the kernel makes no copy."""
    for n in (9, 70):
        assert_agrees(rng.standard_normal((n, d)).astype(dtype), ones=ones)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 63, 64, 65, 511, 512, 513, 1024, 1025])
def test_heights(rng, dtype, n):
    """Numbers of rows around the blocks that are summed; the first block includes decay * out."""
    x, weight = rng.standard_normal((n, 37)).astype(dtype), rng.random(n).astype(dtype)
    assert_agrees(x, weight, ones=True, scale=0.3, decay=0.7, out=symmetric(rng, dtype, 38))


@pytest.mark.parametrize("d", [255, 256, 257, 300, 513])
def test_groups_of_columns(rng, dtype, d):
    x = rng.standard_normal((20, d)).astype(dtype)
    assert_agrees(x, ones=True)
    assert_agrees(x[:, : d - 1], scale=2.0)


@pytest.mark.skipif(ON_CPU, reason="the CPU never splits rows over blocks")
def test_rows_are_shared_out(rng, dtype):
    """With few tiles and many rows, several blocks sum up one tile."""
    for n, d in ((255, 5), (256, 5), (257, 30), (1999, 31), (1000, 40)):
        x, weight = rng.standard_normal((n, d)).astype(dtype), rng.random(n).astype(dtype)
        assert_agrees(x, ones=True)
        assert_agrees(x, weight, ones=True, decay=0.5, out=symmetric(rng, dtype, d + 1))


@pytest.mark.skipif(not STANDIN, reason="only the stand-in can set the number of multiprocessors")
@pytest.mark.parametrize("multiprocessors", [1, 108], indirect=True)
def test_large_tiles(rng, dtype, multiprocessors):
    """Devices with one and with many multiprocessors split the same shapes differently."""
    for n, d in ((50, 70), (700, 20), (33, 130)):
        assert_agrees(rng.standard_normal((n, d)).astype(dtype), rng.random(n).astype(dtype), ones=True)


@pytest.mark.parametrize("layout", ["fortran", "strided", "reversed", "columns"])
def test_averages_any_layout(rng, dtype, layout):
    start = symmetric(rng, dtype, 50)
    out = lay_out(start, layout)
    x = rng.standard_normal((600, 50)).astype(dtype)
    assert K.second_moment(x, scale=0.25, decay=0.75, out=out) is out
    expected = reference.second_moment(x, scale=0.25, decay=0.75, out=start)
    tolerance = tolerances.second_moment(dtype, x, scale=0.25, decay=0.75, out=start)
    assert_close(out, expected, tolerance, "out")
    contiguous = K.second_moment(x, scale=0.25, decay=0.75, out=start)
    assert identical(np.ascontiguousarray(out), contiguous)


@pytest.mark.parametrize("decay", [0.0, np.array(0.0)], ids=["number", "array"])
@pytest.mark.parametrize("n", [3, 600])
def test_without_decay_out_does_not_matter(rng, dtype, n, decay):
    x = rng.standard_normal((n, 20)).astype(dtype)
    out = np.full((21, 21), np.nan, dtype)
    K.second_moment(x, ones=True, decay=decay, out=out)
    assert identical(out, K.second_moment(x, ones=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_of_no_weight_may_hold_anything(rng, dtype, bad):
    x, weight = rng.standard_normal((90, 40)).astype(dtype), rng.random(90).astype(dtype)
    weight[::3] = 0
    expected = K.second_moment(x, weight, ones=True)
    x[::3] = bad
    assert identical(assert_agrees(x, weight, ones=True), expected)


@pytest.mark.parametrize("ones", [False, True])
def test_no_weight_at_all(dtype, ones):
    x, weight = np.full((4, 3), np.nan, dtype), np.zeros(4, dtype)
    assert (K.second_moment(x, weight, ones=ones) == 0).all()
    out = np.ones((3 + ones, 3 + ones), dtype)
    K.second_moment(x, weight, ones=ones, decay=0.5, out=out)
    assert (out == 0.5).all()


def test_weights_are_shares(rng, dtype):
    """Weights of any scale are normalised without overflow or underflow, in products with x too."""
    x, weight = rng.standard_normal((50, 6)).astype(dtype), rng.random(50).astype(dtype)
    for factor in (1e-30, 1e30):
        assert_agrees(x, (weight * factor).astype(dtype), ones=True)


def test_not_a_number_stays(rng, dtype):
    x = rng.standard_normal((70, 40)).astype(dtype)
    x[3, 17] = np.nan
    found = np.isnan(K.second_moment(x))
    is_there = np.arange(40) == 17
    assert (found == (is_there[:, None] | is_there)).all()


def test_of_ones(rng, dtype):
    """With `ones` the last row is the mean of x, and its last item is exactly 1."""
    x = rng.standard_normal((77, 12)).astype(dtype)
    out = K.second_moment(x, ones=True)
    assert_close(out[-1, :-1], x.astype(np.float64).mean(axis=0), tolerances.dot(dtype, 77, 1.0), "mean")
    assert out[-1, -1] == 1.0


@pytest.mark.parametrize("ones", [False, True])
def test_no_columns(dtype, ones):
    out = K.second_moment(np.ones((5, 0), dtype), ones=ones, scale=3.0)
    assert out.shape == (ones, ones)
    assert (out == 3.0).all()


@pytest.mark.cpu_only("threads are the CPU's")
@pytest.mark.parametrize(("n", "d"), [(60, 40), (512, 300), (1100, 130)])
def test_threads_change_nothing(rng, dtype, n, d):
    x, weight = rng.standard_normal((n, d)).astype(dtype), rng.random(n).astype(dtype)
    start = symmetric(rng, dtype, d + 1)
    before = steepest.get_num_threads()
    results = []
    for threads in (1, 2, 3, 5):
        steepest.set_num_threads(threads)
        results.append(K.second_moment(x, weight, ones=True, decay=0.5, out=start.copy()))
    steepest.set_num_threads(before)
    for other in results[1:]:
        assert identical(results[0], other)


def test_captured_decay_is_read_at_replay(rng, dtype):
    x, decay = rng.standard_normal((30, 8)).astype(dtype), np.array(0.0)
    out = np.full((8, 8), np.nan, dtype)
    with steepest.capture() as graph:
        K.second_moment(x, scale=0.5, decay=decay, out=out)
    graph.replay(1)
    first = K.second_moment(x, scale=0.5)
    assert identical(out, first)
    decay[...] = 0.5
    graph.replay(2)
    np.testing.assert_allclose(out, 1.75 * first.astype(np.float64), rtol=8 * tolerances.eps(dtype))


# ---------------------------------------------------------------------------------------------------- bad input


def arguments():
    return {"x": np.ones((4, 3)), "out": np.zeros((3, 3))}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"x": np.ones((0, 3))}, ValueError),
        ({"x": np.ones(4)}, ValueError),
        ({"x": np.ones((4, 3), int)}, TypeError),
        ({"sample_weight": np.ones(3)}, ValueError),
        ({"sample_weight": np.ones(4, np.float32)}, TypeError),
        ({"decay": 1.0}, ValueError),
        ({"decay": -0.1}, ValueError),
        ({"decay": np.nan}, ValueError),
        ({"decay": np.zeros(1)}, TypeError),
        ({"decay": np.array(0.5, np.float32)}, TypeError),
        ({"decay": 0.5, "out": None}, ValueError),
        ({"decay": np.array(0.5), "out": None}, ValueError),
        ({"ones": True}, ValueError),
        ({"out": np.zeros((4, 4))}, ValueError),
        ({"out": np.zeros((3, 3), np.float32)}, TypeError),
    ],
    ids=str,
)
def test_bad_arguments(changes, error):
    with pytest.raises(error, match=r"^\[second_moment\] "):
        K.second_moment(**{**arguments(), **changes})


@pytest.mark.parametrize("name", ["x", "sample_weight", "decay"])
def test_result_over_inputs(name):
    memory = np.zeros((3, 3))
    given = {"x": np.ones((3, 3)), "out": memory}
    given[name] = {"x": memory, "sample_weight": memory[0], "decay": memory[1, 1, ...]}[name]
    with pytest.raises(ValueError, match=rf"^\[second_moment\] out overlaps {name}"):
        K.second_moment(**given)
