"""`add`, `multiply` and `copy` against NumPy: sizes, strides, broadcasting, what may overlap, threads, replay."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, GuardedOutput, assert_close, check, identical, lay_out

import steepest
from steepest import kernels as K

FORMULAS = ("add", "multiply")


def tolerance_of(name, *operands):
    return getattr(tolerances, name)(operands[0].dtype, *operands)


def layouts_of(shape):
    """The transposed slice is one of a matrix."""
    return [layout for layout in LAYOUTS if len(shape) < 3 or layout != "transposed_slice"]


def check_pair(name, a, b, layouts=None):
    layouts = layouts_of(a.shape) if layouts is None else layouts
    expected = getattr(reference, name)(a, b)
    check(getattr(K, name), (a, b), ("out",), [expected], [tolerance_of(name, a, b)], layouts=layouts)


def accumulated(a, b, out):
    return K.multiply(a, b, out=out, accumulate=True)


# ------------------------------------------------------------------------------------------- sums and products


@pytest.mark.parametrize("name", FORMULAS)
def test_sizes(rng, dtype, name):
    for n in (*SIZES, 1000, 1025, 4099):
        a, b = (rng.standard_normal(n).astype(dtype) for _ in range(2))
        check_pair(name, a, b, layouts=LAYOUTS if n < 40 else ("c", "offset", "strided"))


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (7, 5), (33, 17), (3, 130), (2, 3, 5), (4, 1, 17), (2, 3, 4, 5), (2, 1, 3, 2, 9)],
    ids=str,
)
def test_layouts(rng, dtype, name, shape):
    check_pair(name, *(rng.standard_normal(shape).astype(dtype) for _ in range(2)))


BROADCAST = [
    ((7, 5), (5,)),
    ((7, 5), (1, 5)),
    ((7, 5), (7, 1)),
    ((7, 5), (1, 1)),
    ((7, 5), (1,)),
    ((7, 5), ()),
    ((70, 33), (33,)),
    ((20, 128), (128,)),
    ((20, 129), (129,)),
    ((3, 2050), (2050,)),
    ((3, 2050), (3, 1)),
    ((4, 6, 10), (10,)),
    ((4, 6, 10), (1, 1, 10)),
    ((4, 6, 10), (6, 1)),
    ((4, 6, 10), (4, 1, 10)),
    ((4, 6, 10), (4, 6, 1)),
    ((2, 3, 4, 5, 6), (3, 1, 5, 1)),
    ((2, 3, 4, 5, 6), (2, 1, 4, 1, 6)),
    ((0, 5), (1, 5)),
    ((5, 0), (1,)),
]


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(("shape", "of_b"), BROADCAST, ids=str)
def test_broadcasting(rng, dtype, name, shape, of_b):
    a, b = (rng.standard_normal(s).astype(dtype) for s in (shape, of_b))
    check_pair(name, a, b, layouts=("c", "strided", "reversed") if 0 not in shape else ("c",))


def test_accumulate(rng, dtype):
    for shape, of_b in [((50,), (50,)), *BROADCAST]:
        a, b, out = (rng.standard_normal(s).astype(dtype) for s in (shape, of_b, shape))
        for layout in ("c", "strided", "fortran") if 0 not in shape else ("c",):
            held = lay_out(out, layout)
            assert accumulated(lay_out(a, layout), lay_out(b, layout), held) is held
            expected = reference.multiply(a, b, out)
            assert_close(held, expected, tolerances.multiply(dtype, a, b, out), f"{shape} {of_b} {layout}")


@pytest.mark.parametrize("shape", [(9, 37), (4, 32), (3, 600)], ids=str)
def test_layouts_change_no_bit(rng, dtype, shape):
    """Each operand in its own layout: strided items go through the formula that contiguous ones do."""
    operands = [rng.standard_normal(shape).astype(dtype) for _ in range(3)]
    for function in (K.add, K.multiply, accumulated):
        expected = function(*(x.copy() for x in operands))
        for layouts in itertools.product(("c", "offset", "fortran", "strided", "reversed"), repeat=3):
            laid = [lay_out(x, layout) for x, layout in zip(operands, layouts, strict=True)]
            assert np.array_equal(function(*laid), expected), layouts


def test_not_finite(dtype):
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], dtype)
    a, b = (x.copy() for x in np.meshgrid(special, special))
    with np.errstate(invalid="ignore"):
        for name in FORMULAS:
            np.testing.assert_array_equal(getattr(K, name)(a, b), getattr(np, name)(a, b))


# ----------------------------------------------------------------------------------------------------- copies

# Items of each size, and bool, whose arrays hold nothing but 0 and 1.
COPIED = (np.float32, np.float64, np.bool_, np.int8, np.uint16, np.int32, np.uint64)


def random_bits(rng, shape, dtype):
    dtype = np.dtype(dtype)
    raw = rng.integers(0, 256, (*shape, dtype.itemsize), dtype=np.uint8)
    return (raw % 2 if dtype.kind == "b" else raw).view(dtype)[..., 0]


def same_bits(first, second):
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


@pytest.mark.parametrize("copied", COPIED)
@pytest.mark.parametrize("shape", [(1,), (37,), (13, 37), (2, 2100), (3, 4, 9), (2, 3, 1, 4, 5)], ids=str)
def test_copies_between_all_layouts(rng, copied, shape):
    x = random_bits(rng, shape, copied)
    assert same_bits(K.copy(x), x)
    for source, target in itertools.product(layouts_of(shape), repeat=2):
        out = GuardedOutput(shape, x.dtype, target)
        assert K.copy(lay_out(x, source), out=out.view) is out.view
        out.assert_margin_untouched()
        assert same_bits(out.view, x), (source, target)


@pytest.mark.parametrize("copied", [np.int8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(3, 100), (16, 16), (31, 33), (64, 65), (129, 127), (1, 300), (7, 8)], ids=str
)
def test_transpositions(rng, copied, shape):
    """Around tiles and the vectors within them."""
    x = random_bits(rng, shape, copied)
    for layout in ("c", "columns", "offset", "strided"):
        source, out = lay_out(x, layout), GuardedOutput(shape[::-1], x.dtype, layout)
        K.copy(source.T, out=out.view)
        out.assert_margin_untouched()
        assert same_bits(out.view, x.T), layout


@pytest.mark.parametrize("shape", [(2, 33, 17), (4, 3, 9, 10), (2, 3, 4, 5, 6)], ids=str)
def test_permutations_of_axes(rng, dtype, shape):
    x = random_bits(rng, shape, dtype)
    for axes in itertools.permutations(range(len(shape))):
        y = x.transpose(axes)
        assert same_bits(K.copy(y), y), axes
        assert same_bits(K.copy(y[::-1, ..., ::2]), y[::-1, ..., ::2]), axes


def test_parts_of_larger_arrays(rng, dtype):
    """Concatenation, cropping and padding, with words wider than an item where the parts allow them."""
    a, b = (random_bits(rng, (4, n, 6), dtype) for n in (3, 5))
    joined = np.zeros((4, 8, 6), dtype)
    K.copy(a, out=joined[:, :3])
    K.copy(b, out=joined[:, 3:])
    assert same_bits(joined, np.concatenate([a, b], axis=1))
    assert same_bits(K.copy(joined[1:, 2:5, 1:]), joined[1:, 2:5, 1:])
    padded = np.zeros((4, 5, 8), dtype)
    K.copy(a, out=padded[:, 1:4, 1:7])
    assert same_bits(padded, np.pad(a, [(0, 0), (1, 1), (1, 1)]))
    assert same_bits(K.copy(np.broadcast_to(a[:, :1], b.shape)), np.broadcast_to(a[:, :1], b.shape))


# --------------------------------------------------------------------------------- empty, large, and overlapping


def test_empty_and_single(dtype):
    for shape in ((0,), (0, 3), (3, 0), (2, 0, 3), (0, 0, 0, 0, 0)):
        empty = np.ones(shape, dtype)
        for result in (K.add(empty, empty), K.multiply(empty, np.ones((), dtype)), K.copy(empty)):
            assert result.shape == shape
    single = np.array(3.0, dtype)
    assert K.add(single, single) == 6.0
    assert K.multiply(single, single, out=single, accumulate=True) == 12.0
    assert K.copy(single) == 12.0


@pytest.mark.not_when_slow("the same loops run on smaller arrays in test_sizes")
def test_results_that_go_past_the_caches(rng):
    """Of more than 32 MB, whose first item is not the first of a vector."""
    a, b, out = (np.empty(8_500_001, np.float32)[1:] for _ in range(3))
    a[...], b[...] = (rng.standard_normal(a.size, dtype=np.float32) for _ in range(2))
    assert (K.add(a, b, out=out) == a + b).all()
    assert (K.multiply(a, b[:1], out=out) == a * b[0]).all()
    assert (K.copy(a, out=out) == a).all()
    rows = [x[:8_400_000].reshape(1200, 7000)[:, :6999] for x in (a, b, out)]
    assert (K.multiply(*rows) == rows[0] * rows[1]).all()


def test_in_place(rng, dtype):
    a, b = (rng.standard_normal((6, 5, 21)).astype(dtype) for _ in range(2))
    for layout in ("c", "fortran", "strided", "reversed"):
        for function in (K.add, K.multiply):
            expected = function(a, b)
            for which in (0, 1):
                given = [lay_out(a, layout), lay_out(b, layout)]
                assert function(*given, out=given[which]) is given[which]
                assert np.array_equal(given[which], expected)
        both = lay_out(a, layout)
        assert np.array_equal(K.add(both, both, out=both), a + a)
        K.multiply(both, both, out=both, accumulate=True)
        assert_close(
            both, reference.multiply(a + a, a + a, a + a), tolerances.multiply(dtype, a + a, a + a, a + a)
        )
        x = lay_out(a, layout)
        assert identical(K.copy(x, out=x), a)
    with pytest.raises(ValueError, match=r"^\[add\] out overlaps b in memory"):
        K.add(a, a[0], out=a)


def overlapping(dtype):
    """Pairs of parts of one array that share items, or lie so that only some come in place."""
    x = np.arange(6 * 8 * 10, dtype=dtype).reshape(6, 8, 10)
    yield x[1:], x[:-1]
    yield x[:, 1:], x[:, :-1]
    yield x[..., 1:], x[..., :-1]
    yield x[:, :8, :8], x[:, :8, :8].transpose(0, 2, 1)
    yield x[::-1], x
    yield x[:, 2:6, 1:5], x[:, 4:8, 4:8]
    yield x[:, ::2, :4], x[:, :4, 2:6]


def apart(dtype):
    """Pairs of parts that share none, however they are interleaved."""
    x = np.arange(6 * 8 * 10, dtype=dtype).reshape(6, 8, 10)
    yield x[:, :4], x[:, 4:]
    yield x[..., :5], x[..., 5:]
    yield x[:, :4, :5], x[:, 4:, 5:]
    yield x[:, :4, :5], x[:, 4:, :5]
    yield x[:, :, 1:2], x[:, :, :1]
    yield x[::2, 1:-1, 1:-1], x[1::2, 1:-1, 1:-1]
    yield x[:, ::2, 3:6], x[:, 1::2, 3:6]
    yield x[:3, :, ::-1], x[3:]
    yield x[..., ::2], x[..., 1::2]


def test_overlapping_parts_are_refused(dtype):
    for source, target in overlapping(dtype):
        before = source.base.copy()
        for call in (K.copy, lambda x, out: K.add(x, np.ones((), dtype), out=out)):
            with pytest.raises(ValueError, match=r"^\[(copy|add)\] out overlaps [xa] in memory"):
                call(source, target)
        assert identical(source.base, before)


def test_parts_that_lie_apart_are_taken(dtype):
    for source, target in apart(dtype):
        expected = source.copy()
        K.copy(source, out=target)
        assert np.array_equal(target, expected)


# ------------------------------------------------------------------------------------------- threads and graphs


@pytest.mark.cpu_only("a GPU has no teams")
def test_threads_change_nothing(rng, dtype):
    before = steepest.get_num_threads()
    a, b = (rng.standard_normal((6, 140, 401)).astype(dtype) for _ in range(2))
    calls = [
        lambda: K.add(a, b),
        lambda: K.multiply(a, b[0, 0]),
        lambda: K.multiply(a.reshape(6, -1), b[:, :1, 0]),
        lambda: K.add(a.reshape(6, -1), b.reshape(6, -1)[:, ::-1]),
        lambda: K.add(a.reshape(-1, 10), b[0, 0, :10]),
        lambda: K.multiply(a[:2], b[:2, :, :1], out=a[:2].copy(), accumulate=True),
        lambda: K.add(a.T, b.T[:, :, :1]),
        lambda: K.copy(a.T),
        lambda: K.copy(a.transpose(0, 2, 1)),
        lambda: K.copy(a.view(np.uint16).T),
        lambda: K.copy(a[:, :, 1:]),
    ]
    try:
        for call in calls:
            results = []
            for threads in (1, 2, 3, 7):
                steepest.set_num_threads(threads)
                results.append(call())
            assert all(identical(r, results[0]) for r in results)
    finally:
        steepest.set_num_threads(before)


def test_replay(rng, dtype):
    a, b = rng.standard_normal((4, 3, 50)).astype(dtype), rng.standard_normal(50).astype(dtype)
    y, total = np.zeros((4, 50, 5), dtype), np.zeros((4, 3, 50), dtype)
    with steepest.capture() as graph:
        z = K.add(a, b)
        K.multiply(z, b, out=total, accumulate=True)
        K.copy(total.transpose(0, 2, 1), out=y[:, :, :3])
        K.copy(y[:, :, 1:3], out=y[:, :, 3:])
    assert tuple(graph.operations) == ("add", "multiply", "copy", "copy")
    a[...] = rng.standard_normal(a.shape)
    graph.replay(2)
    expected = K.add(a, b)
    assert identical(z, expected)
    sums = np.zeros_like(total)
    for _ in range(2):
        K.multiply(expected, b, out=sums, accumulate=True)
    assert identical(total, sums)
    assert np.array_equal(y[:, :, :3], sums.transpose(0, 2, 1))
    assert np.array_equal(y[:, :, 3:], y[:, :, 1:3])


# ------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("function", [K.add, K.multiply])
@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 4), (3,)), ((3, 4), (4, 1)), ((3, 4), (2, 3, 4)), ((1, 4), (3, 4)), ((), (1,)), ((3, 4), (0,))],
)
def test_shapes_that_do_not_broadcast(function, a, b):
    message = f"[{function.__name__}] b has shape {b}, which does not broadcast to the shape {a} of a"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        function(np.ones(a), np.ones(b))


X = np.ones((4, 6), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: K.add(np.ones((1,) * 6), np.ones(1)), ValueError, r"\[add\] a has shape .* at most 5"),
        (lambda: K.copy(np.ones((1,) * 6)), ValueError, r"\[copy\] x has shape .* at most 5"),
        (lambda: K.add(X, X, out=np.ones((4, 5), np.float32)), ValueError, r"\[add\] out has shape"),
        (lambda: K.add(X, X.astype(np.float64)), TypeError, r"\[add\] b has dtype"),
        (lambda: K.multiply(X, 2.0), TypeError, r"\[multiply\] b must be"),
        (lambda: K.multiply(X, X, accumulate=True), ValueError, r"\[multiply\] out is needed to add to"),
        (lambda: K.copy(X, out=np.ones((6, 4), np.float32)), ValueError, r"\[copy\] out has shape"),
        (lambda: K.copy(X, out=np.ones((4, 6))), TypeError, r"\[copy\] out has dtype"),
        (lambda: K.copy(X > 0, out=np.ones((4, 6), np.uint8)), TypeError, r"\[copy\] out has dtype"),
        (lambda: K.copy(X.astype(np.int8), out=X > 0), TypeError, r"\[copy\] out has dtype"),
        (lambda: K.copy(X.astype(np.complex64)), TypeError, r"\[copy\] x has dtype"),
        (lambda: K.copy(X.astype(object)), TypeError, r"\[copy\] x has dtype"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()
