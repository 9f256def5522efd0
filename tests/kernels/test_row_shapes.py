"""Row-wise CUDA kernels at the widths and heights where their dispatch changes.

The sizes straddle the boundaries of the number of threads for a row, of rows kept in registers, and of label checks
within a single block.
"""

from __future__ import annotations

import backends
import numpy as np
import pytest
import test_pointwise_loss as pointwise
import test_reduce
import test_softmax
import test_softmax_backward
import test_softmax_cross_entropy as cross_entropy
import test_zero_one_loss
from backends import LAYOUTS, assert_close, lay_out

from steepest import kernels as K

pytestmark = pytest.mark.skipif(
    backends.ON_CPU, reason="these are the dispatch boundaries of the CUDA kernels"
)

WIDTHS = (4, 16, 17, 64, 65, 68, 256, 257, 260, 1023, 1024, 1028, 4097, 8192, 8196, 32768, 32769, 40001)


def rows_of(width):
    return 5 if width < 8000 else 3


def some_layouts(width):
    return ("c", "at_end", "reversed") if width < 3000 else ("c", "offset")


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_of_wide_rows(rng, dtype, c):
    logits = test_softmax.spiked_logits(rng, dtype, rows_of(c), c)
    for name in test_softmax.FUNCTIONS:
        test_softmax.check_rows(name, logits, layouts=some_layouts(c))


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_backward_of_wide_rows(rng, dtype, c):
    test_softmax_backward.check_backward(
        *test_softmax_backward.make(rng, dtype, rows_of(c), c), layouts=some_layouts(c)
    )


@pytest.mark.parametrize("c", WIDTHS)
def test_cross_entropy_of_wide_rows(rng, dtype, c):
    n = rows_of(c)
    logits = cross_entropy.finite_logits(rng, dtype, n, c)
    weight = rng.random(n).astype(dtype)
    weight[1] = 0
    cross_entropy.check_loss(logits, rng.integers(0, c, n), weight, layouts=some_layouts(c))
    probabilities = cross_entropy.probabilities(rng, dtype, n, c)
    cross_entropy.check_loss(logits, probabilities, layouts=some_layouts(c))
    cross_entropy.check_loss(logits, (2 * rng.random((n, c))).astype(dtype), layouts=("c",))
    ends = np.array([-1, c - 1, 0, c // 2, c - 1])[:n]
    cross_entropy.check_loss(logits, ends, None, -1, layouts=("c",))


@pytest.mark.parametrize("c", [17, 1000, 40001])
def test_cross_entropy_in_place(rng, dtype, c):
    logits = cross_entropy.finite_logits(rng, dtype, 5, c)
    labels = np.array([0, c - 1, c // 2, 0, c - 1])
    (loss, gradient), (loss_tolerance, gradient_tolerance) = cross_entropy.expected_and_tolerance(
        logits, labels
    )
    own = logits.copy()
    value, _ = K.softmax_cross_entropy(own, labels, d_logits=own)
    assert_close(value, loss, loss_tolerance)
    assert_close(own, gradient, gradient_tolerance)


@pytest.mark.parametrize("c", [8193, 32769])
def test_special_values_in_long_rows(dtype, c):
    x = np.zeros((6, c), dtype)
    x[0], x[1, c - 1], x[2, 5000], x[3, : c - 1], x[4, 1:] = -np.inf, np.nan, np.inf, -np.inf, -np.inf
    for name in test_softmax.FUNCTIONS:
        test_softmax.check_rows(name, x, layouts=("c",))
    half = np.zeros((2, c), dtype)
    half[:, : c // 2] = -np.inf
    cross_entropy.check_loss(half, np.array([c - 1, c // 2]), layouts=("c",))
    cross_entropy.check_loss(half, np.eye(1, c, c - 1, dtype=dtype).repeat(2, 0), layouts=("c",))
    weight = np.array([0, 0, 0, 0, 0, 1], dtype)
    _, gradient = cross_entropy.check_loss(x, np.full(6, 3), weight, layouts=("c",))
    assert (gradient[:5] == 0).all()


HEIGHTS = ((64, 10), (65, 10), (4096, 10), (4097, 10), (9000, 3), (4096, 65), (700, 300))


@pytest.mark.parametrize(("n", "c"), HEIGHTS, ids=str)
def test_losses_of_many_rows(rng, dtype, n, c):
    logits = cross_entropy.finite_logits(rng, dtype, n, c)
    labels, weight = rng.integers(0, c, n), rng.random(n).astype(dtype)
    cross_entropy.check_loss(logits, labels, layouts=("c",))
    labels[::7] = -1
    cross_entropy.check_loss(logits, labels, weight, ignore_label=-1, layouts=("c", "fortran"))
    cross_entropy.check_loss(logits, cross_entropy.probabilities(rng, dtype, n, c), weight, layouts=("c",))
    for name, w in (("squared_error", None), ("log_loss", weight)):
        pointwise.check_loss(name, *pointwise.make(rng, dtype, name, n, c), w, layouts=("c", "columns"))
    scores, classes = test_zero_one_loss.make(rng, dtype, n, c)
    classes[::5] = -1
    test_zero_one_loss.check_loss(scores, classes, -1, layouts=("c",))


@pytest.mark.parametrize("shape", [(3, 5000), (7, 1024), (64, 1), (2048, 1), (2, 9000)], ids=str)
def test_pointwise_losses_of_other_shapes(rng, dtype, shape):
    for weight in (None, rng.random(shape[0]).astype(dtype)):
        for name in ("squared_error", "log_loss"):
            pair = pointwise.make(rng, dtype, name, *shape)
            pointwise.check_loss(name, *pair, weight, layouts=("c", "fortran", "offset"))


@pytest.mark.parametrize("n", [64, 4096, 4097, 9000])
@pytest.mark.parametrize("c", [10, 100])
def test_the_first_bad_label_is_reported_and_nothing_written(rng, n, c):
    logits = cross_entropy.finite_logits(rng, np.float32, n, c)
    loss, gradient = np.array(-77.25), np.full((n, c), -77.25, np.float32)
    for bad in ([n - 1], [3, n // 2, n - 1], [63]):
        labels = rng.integers(0, c, n)
        labels[bad] = [c + 1 + row for row in bad]
        message = rf"label {c + 1 + bad[0]} at row {bad[0]} is outside 0..{c - 1}$"
        for function, outputs in (
            (K.softmax_cross_entropy, {"loss": loss, "d_logits": gradient}),
            (K.zero_one_loss, {"out": loss}),
        ):
            with pytest.raises(ValueError, match=message):
                function(logits, labels, **outputs)
            assert loss == -77.25
            assert (gradient == -77.25).all()
        labels[bad] = 0
        K.softmax_cross_entropy(logits, labels)  # valid labels work again


def test_labels_of_many_rows_as_the_first_work_of_a_process():
    """A first call allocates the scratch memory, so that sanitizers see if it is too small; later calls reuse more."""
    code = """
import backends
backends.route_kernels()
import numpy as np
from steepest import kernels as K
x, w, labels = np.zeros((9000, 3)), np.zeros((3, 2)), np.arange(9000) % 2
loss, *_ = K.linear_loss(x, w, np.zeros(2), labels, kind="softmax_cross_entropy")
np.testing.assert_allclose(loss, np.log(2), rtol=1e-12)
"""
    backends.run_python(code)


@pytest.mark.parametrize("n", [300, 4096, 4097, 9000])
def test_the_first_bad_index_is_reported_and_nothing_written(rng, dtype, n):
    x, indices = rng.standard_normal((50, 9)).astype(dtype), rng.integers(0, 50, n + 5)
    out = np.full((n, 9), -77.25, dtype)
    for bad in ([n + 4], [5 + n // 2, n + 4], [5]):
        wrong = indices.copy()
        wrong[bad] = [50 + i for i in bad]
        with pytest.raises(IndexError, match=rf"index {50 + bad[0]} at position {bad[0]} is outside 0..49$"):
            K.take_rows(x, wrong, out, start=5)
        assert (out == -77.25).all()
    with pytest.raises(IndexError, match=rf"{n} rows from position 6 on are not within the {n + 5} indices"):
        K.take_rows(x, indices, out, start=6)
    assert (out == -77.25).all()
    np.testing.assert_array_equal(K.take_rows(x, indices, out, start=5), x[indices[5:]])


REDUCED = ((1, 5000), (3, 40000), (700, 301), (5000, 3), (20000, 1), (300, 1028), (2001, 128))


@pytest.mark.parametrize("shape", REDUCED, ids=str)
@pytest.mark.parametrize("axis", test_reduce.AXES)
def test_reductions(rng, dtype, shape, axis):
    x = rng.standard_normal(shape).astype(dtype)
    large = x.size > 30000
    for i, name in enumerate(test_reduce.SUMS):
        layouts = ("c", ("fortran", "columns")[i % 2]) if large else LAYOUTS
        test_reduce.check_sum(name, x, axis, layouts=layouts)
    for i, name in enumerate(test_reduce.EXTREMA):
        layouts = (("fortran", "columns")[i % 2],) if large else LAYOUTS
        expected = getattr(np, name)(x, axis=axis)
        backends.check(getattr(K, name), (x,), ("out",), (expected,), (0.0,), axis=axis, layouts=layouts)
    x[shape[0] // 2, shape[1] // 2] = np.nan
    for name in test_reduce.EXTREMA:
        assert_close(getattr(K, name)(x, axis=axis), getattr(np, name)(x, axis=axis), 0.0)


@pytest.mark.parametrize("c", WIDTHS)
def test_argmax(rng, dtype, c):
    x = rng.integers(0, 4, (9, c)).astype(dtype)
    x[3, c // 2], x[4], x[5], x[6, c // 3 :] = np.nan, -np.inf, -np.inf, np.nan
    x[5, c - 1] = -1
    for layout in ("c", "fortran", "reversed"):
        assert K.argmax(lay_out(x, layout)).tolist() == x.argmax(1).tolist()
