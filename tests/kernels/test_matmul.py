"""`matmul` against float64 NumPy, over shapes that straddle every blocking, and over strides."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import SIZES, assert_close, check, lay_out
from hypothesis import given
from hypothesis import strategies as st

from steepest import kernels as K


def check_matmul(a, b, **kwargs):
    return check(
        K.matmul, (a, b), ("out",), (reference.matmul(a, b),), (tolerances.matmul(a.dtype, a, b),), **kwargs
    )


@pytest.mark.parametrize("m", SIZES)
def test_edges(rng, dtype, m):
    # Every size of the list is used for m and n in all pairs, and for k in turn.
    for i, n in enumerate(SIZES):
        k = SIZES[(i * 7 + m) % len(SIZES)]
        check_matmul(
            rng.standard_normal((m, k)).astype(dtype),
            rng.standard_normal((k, n)).astype(dtype),
            layouts=("c",),
        )


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (17, 9, 33), (33, 64, 17), (5, 129, 7), (1, 70, 40), (40, 70, 1), (64, 1, 64)],
    ids=str,
)
def test_layouts(rng, dtype, shape):
    m, k, n = shape
    check_matmul(rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype))


@pytest.mark.parametrize("k", [255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1100])
def test_long_inner_dimension(rng, dtype, k):
    check_matmul(
        rng.standard_normal((19, k)).astype(dtype),
        rng.standard_normal((k, 35)).astype(dtype),
        layouts=("c", "fortran", "strided"),
    )


LARGE = [
    pytest.param((300, 500, 700), marks=pytest.mark.not_when_slow("the other two cover the same tiles")),
    (128, 784, 512),
    (1030, 20, 260),
]


@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_large(rng, dtype, threads, shape):
    m, k, n = shape
    check_matmul(
        rng.standard_normal((m, k)).astype(dtype),
        rng.standard_normal((k, n)).astype(dtype),
        layouts=("c", "transposed_slice"),
    )


@pytest.mark.parametrize("layout_a", ["c", "fortran", "reversed"])
@pytest.mark.parametrize("layout_b", ["c", "fortran", "strided"])
@pytest.mark.parametrize("layout_out", ["c", "fortran", "columns"])
def test_mixed_layouts(rng, dtype, layout_a, layout_b, layout_out):
    a = rng.standard_normal((37, 70)).astype(dtype)
    b = rng.standard_normal((70, 45)).astype(dtype)
    out = lay_out(np.full((37, 45), 3.0, dtype), layout_out)
    assert K.matmul(lay_out(a, layout_a), lay_out(b, layout_b), out=out) is out
    assert_close(out, reference.matmul(a, b), tolerances.matmul(dtype, a, b), "matmul")


def test_broadcast_strides(rng, dtype):
    row = rng.standard_normal(40).astype(dtype)
    a = np.broadcast_to(row, (33, 40))
    across = np.broadcast_to(rng.standard_normal((40, 1)).astype(dtype), (40, 21))
    down = np.broadcast_to(rng.standard_normal(42).astype(dtype)[::2], (40, 21))
    for b in (across, down):
        assert_close(
            K.matmul(a, b), reference.matmul(a, b), tolerances.matmul(dtype, a, b), "matmul of broadcasts"
        )


def test_same_array_twice(rng, dtype):
    a = rng.standard_normal((50, 50)).astype(dtype)
    assert_close(K.matmul(a, a.T), reference.matmul(a, a.T), tolerances.matmul(dtype, a, a.T), "a @ a.T")


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)], ids=str)
def test_empty(dtype, shape):
    m, k, n = shape
    out = np.full((m, n), 5.0, dtype)
    K.matmul(np.ones((m, k), dtype), np.ones((k, n), dtype), out=out)
    # An empty sum is zero, so k == 0 clears out.
    assert (out == 0).all()
    assert K.matmul(np.ones((m, k), dtype), np.ones((k, n), dtype)).shape == (m, n)


def test_out_is_overwritten_whatever_it_held(rng, dtype):
    a, b = rng.standard_normal((20, 600)).astype(dtype), rng.standard_normal((600, 20)).astype(dtype)
    out = np.full((20, 20), np.nan, dtype)
    K.matmul(a, b, out=out)
    assert identical_to(out, K.matmul(a, b))


def identical_to(a, b):
    return a.tobytes() == b.tobytes()


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 1e3])
def test_special_values_stay_in_their_row(rng, dtype, special):
    a = rng.standard_normal((34, 65)).astype(dtype)
    b = (1.0 + rng.random((65, 31))).astype(dtype)  # no zeros: inf * 0 would be NaN
    a[17, 33] = special
    check_matmul(a, b, layouts=("c", "fortran"))


def test_dtype_is_kept(dtype):
    assert K.matmul(np.ones((2, 3), dtype), np.ones((3, 2), dtype)).dtype == dtype


@given(
    st.integers(0, 70),
    st.integers(0, 300),
    st.integers(0, 70),
    st.booleans(),
    st.sampled_from([np.float32, np.float64]),
)
def test_random_shapes(m, k, n, transpose, dtype):
    rng = np.random.default_rng(m * 10007 + k * 101 + n)
    a = rng.standard_normal((m, k)).astype(dtype)
    b = (
        rng.standard_normal((n, k)).astype(dtype).T
        if transpose
        else rng.standard_normal((k, n)).astype(dtype)
    )
    assert_close(K.matmul(a, b), reference.matmul(a, b), tolerances.matmul(dtype, a, b), f"{m} x {k} x {n}")
