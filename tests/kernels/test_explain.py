"""The plans of matrix products: what `explain` says, and that products are right on every path that it names."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import assert_close, on_each_number_of_threads

import steepest
from steepest import kernels as K

pytestmark = pytest.mark.cpu_only("the plans are the CPU's")

# (left shape, is its array transposed, right shape, is its array transposed) -> what the plan has to say
PATHS = {
    "tiles in place": ((20, 40), False, (40, 30), False, {"form": "tiles", "packed": (), "blocks": 1}),
    "one row, small right": ((1, 60), False, (60, 60), False, {"form": "tiles"}),
    "one row, blocks": ((1, 1100), False, (1100, 70), False, {"form": "stream", "blocks": 3}),
    "one row, many columns": ((1, 9), False, (9, 4500), False, {"form": "stream"}),
    "two rows": ((2, 515), False, (515, 300), False, {"form": "stream", "blocks": 2}),
    "three rows": ((3, 1030), False, (1030, 301), False, {"form": "stream"}),
    "three rows, transposed": ((3, 1030), True, (1030, 301), False, {"form": "stream"}),
    "four rows": ((4, 1030), False, (1030, 301), False, {"form": "tiles"}),
    "inner products of a column": ((50, 700), False, (700, 1), False, {"form": "dots", "blocks": 2}),
    "inner products of two rows": ((2, 700), False, (700, 21), True, {"form": "dots"}),
    "columns of four rows are packed": (
        (4, 700),
        False,
        (700, 21),
        True,
        {"form": "tiles", "packed": ("right",)},
    ),
    "wide": ((3, 40), False, (40, 9), True, {"form": "dots"}),
    "both packed": ((260, 512), False, (512, 150), False, {"form": "tiles", "packed": ("left", "right")}),
    "many transposed tiles": (
        (300, 520),
        True,
        (520, 150),
        False,
        {"packed": ("left", "right"), "blocks": 2},
    ),
    # Four threads take 15 and 7 rows each, in tiles of less than half a vector of rows.
    "low transposed tiles": ((60, 128), True, (128, 256), False, {"form": "tiles"}),
    "lower transposed tiles": ((28, 128), True, (128, 256), False, {"form": "tiles"}),
    # Fewer columns than a vector has lanes; how many that is depends on the instruction set.
    "turned": ((70, 1100), True, (1100, 1), False, {"turned": True, "blocks": 3}),
    "turned, ten columns": ((64, 256), True, (256, 10), False, {"form": "tiles"}),
    "turned, columns in memory": ((300, 1100), True, (1100, 5), True, {"form": "tiles", "blocks": 3}),
    "fetched ahead": ((5, 300), False, (300, 4000), False, {"form": "tiles", "packed": ()}),
}


def operands(rng, dtype, path):
    left, left_turned, right, right_turned, _ = PATHS[path]
    a = rng.standard_normal(left[::-1] if left_turned else left).astype(dtype)
    b = rng.standard_normal(right[::-1] if right_turned else right).astype(dtype)
    return a.T if left_turned else a, b.T if right_turned else b


@pytest.mark.parametrize("path", PATHS)
def test_each_path_is_taken_and_right(rng, dtype, threads, path):
    a, b = operands(rng, dtype, path)
    plan = K.explain("matmul", a, b)
    said = PATHS[path][-1]
    assert {name: getattr(plan, name) for name in said} == said
    assert 1 <= plan.threads <= threads
    product = K.matmul(a, b)
    assert_close(product, reference.matmul(a, b), tolerances.matmul(dtype, a, b), path)
    columns = np.full((a.shape[0], 2 * b.shape[1]), np.nan, dtype)[:, ::2]
    assert K.matmul(a, b, out=columns).tobytes() == product.tobytes()


@pytest.mark.parametrize("path", PATHS)
def test_epilogues_and_sums_on_each_path(rng, dtype, threads, path):
    # linear: bias and activation. linear_backward adds a.T.T @ b to what is there.
    a, b = operands(rng, dtype, path)
    bias = rng.standard_normal(b.shape[1]).astype(dtype)
    y = reference.linear(a, b, bias, "relu")
    assert_close(K.linear(a, b, bias, "relu"), y, tolerances.linear(dtype, a, b, bias, y, 1.0), path)
    before = rng.standard_normal((a.shape[0], b.shape[1])).astype(dtype)
    d_w, d_b = before.copy(), np.zeros(b.shape[1], dtype)
    K.linear_backward(b, a.T, before, input_grad=False, d_w=d_w, d_b=d_b, accumulate=True)
    limit = tolerances.matmul(dtype, a, b) + np.finfo(dtype).eps * np.abs(before)
    assert_close(d_w, before + reference.matmul(a, b), limit + np.finfo(dtype).eps * np.abs(d_w), path)


@pytest.mark.parametrize("path", PATHS)
def test_no_path_depends_on_the_number_of_threads(rng, path):
    a, b = operands(rng, np.float32, path)
    products = [K.matmul(a, b).tobytes() for _ in on_each_number_of_threads()]
    assert products[1:] == products[:1] * 3


def test_large_right_operands_are_fetched_ahead():
    beyond = (16, 4096), (4096, 4096)
    assert K.explain("matmul", *beyond).prefetched
    assert not K.explain("matmul", (16, 64), (64, 64)).prefetched


def test_shapes_and_arrays_have_one_plan(rng):
    for dtype in (np.float32, np.float64):
        a, b = rng.standard_normal((300, 512)).astype(dtype), rng.standard_normal((512, 200)).astype(dtype)
        assert K.explain("matmul", a, b) == K.explain("matmul", (np.int64(300), 512), b.shape, dtype=dtype)


def test_threads_divide_rows_columns_or_sums():
    before = steepest.get_num_threads()
    try:
        steepest.set_num_threads(2)
        plans = [
            K.explain("matmul", (2000, 64), (64, 64)),
            K.explain("matmul", (100, 400), (400, 3000)),
            K.explain("matmul", (32, 1024), (1024, 256)),
            K.explain("matmul", (4, 8), (8, 4)),
        ]
    finally:
        steepest.set_num_threads(before)
    assert [(p.rows, p.columns, p.inner) for p in plans] == [(2, 1, 1), (1, 2, 1), (1, 1, 2), (1, 1, 1)]


@pytest.mark.parametrize(
    ("operands", "error", "message"),
    [
        (((2, 3), (4, 5)), ValueError, r"left has shape \(2, 3\) and right has shape \(4, 5\)"),
        ((3, (3, 4)), TypeError, "left must be a NumPy array, not int"),
        (((2, 3), np.zeros((3, 2), int)), TypeError, "right has dtype int64"),
        (((2, 3), np.zeros((3, 2))), TypeError, "right has dtype float64, but left has float32"),
        (((-2, 3), (3, 4)), ValueError, r"left has the negative length -2"),
        (
            ((2, 3, 4), (3, 4)),
            TypeError,
            r"left must be a matrix or its shape \(rows, columns\), not \(2, 3, 4\)",
        ),
        (((2, 3), (3.5, 4)), TypeError, r"right must be a matrix or its shape"),
        (((10**12, 10**12), (3, 4)), ValueError, "left of shape .* would be too large for any memory"),
        ((np.zeros(3), (3, 4)), ValueError, "left must be 2-D"),
    ],
)
def test_bad_operands(operands, error, message):
    with pytest.raises(error, match=rf"^\[explain\] {message}"):
        K.explain("matmul", *operands)


def test_other_operations_have_no_plan():
    with pytest.raises(ValueError, match=r"^\[explain\] operation 'linear' is not 'matmul'"):
        K.explain("linear", (2, 3), (3, 4))
