"""`linear_cross_entropy`: a linear layer and softmax cross-entropy in blocks of rows, and parts of a batch."""

from __future__ import annotations

import importlib
import tracemalloc

import numpy as np
import pytest
import reference
import tolerances
from backends import aligned_empty, assert_close, check, identical, layouts_beside
from test_softmax_cross_entropy import INTEGERS

import steepest
from steepest import kernels as K

OUTPUTS = ("loss", "d_x", "d_w", "d_b")


def make(rng, dtype, n=23, n_in=9, c=37):
    """(x, w, b, labels): logits of a few units, and some rows whose label is -1."""
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((n, n_in), (n_in, c), (c,)))
    labels = rng.integers(0, c, n)
    labels[1::6] = -1
    return x, w, b, labels


def expected_and_tolerance(x, w, b, labels, sample_weight=None, ignore_label=None, l2=0.0):
    """The four results from the equations, and how far rounding may move them.

    An error of the logits moves a loss by at most twice as much, and w_i (softmax - target) by w_i softmax times as
    much, twice; the products take these errors along beside their own.
    """
    dtype, (n, c) = x.dtype, (len(x), w.shape[1])
    z = reference.linear(x, w, b)
    loss, d = reference.softmax_cross_entropy(z, labels, sample_weight, ignore_label)
    expected = (loss, *reference.linear_backward(d, x, w, l2=l2))
    weight = reference.row_weights(n, sample_weight, labels, ignore_label)
    target = reference.one_hot(labels, c)
    own_loss, own_d = tolerances.softmax_cross_entropy(dtype, z, target, weight, loss)
    z_error = tolerances.linear(dtype, x, w, b, z, 1.0)
    softmax = np.exp(z - z.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    row_error = z_error.max(axis=1, keepdims=True)
    d_error = own_d + 2 * weight[:, None] * softmax * row_error
    products = tolerances.linear_backward(dtype, d, x, w, l2, np.ones_like(x))
    carried = d_error @ np.abs(w).T, np.abs(x).T @ d_error, d_error.sum(axis=0)
    # Blocks are added up one by one: at most n roundings of the largest partial sum.
    sums = 0.0, np.abs(x).T @ np.abs(d), np.abs(d).sum(axis=0)
    added = [n * tolerances.eps(dtype) * s for s in sums]
    gradients = [sum(parts) for parts in zip(products, carried, added, strict=True)]
    return expected, (own_loss + 2 * float((weight * row_error[:, 0]).sum()), *gradients)


@pytest.mark.parametrize("rows", [1, 4, 22, 23, 40])
@pytest.mark.parametrize("options", [{}, {"ignore_label": -1}, {"ignore_label": 3, "l2": 0.3}], ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_against_the_whole(rng, dtype, rows, options, weighted):
    x, w, b, labels = make(rng, dtype)
    if options.get("ignore_label") != -1:
        labels = np.abs(labels)
    weight = rng.random(23).astype(dtype) if weighted else None
    expected, tolerance = expected_and_tolerance(x, w, b, labels, weight, **options)
    # Every layout of the arrays; `logits` is memory of the caller.
    check(
        K.linear_cross_entropy,
        (x, w, b, labels, weight),
        OUTPUTS,
        expected,
        tolerance,
        layouts=layouts_beside(rows),
        logits=np.empty((rows, 37), dtype),
        **options,
    )


def test_blocks_by_default(rng, dtype, monkeypatch):
    """More logits than a block holds, and a vocabulary of which a block holds the least number of rows."""
    module = importlib.import_module("steepest.kernels.linear_cross_entropy")
    monkeypatch.setattr(module, "_BLOCK_ITEMS", 1000)
    monkeypatch.setattr(module, "_LEAST_ROWS", 5)
    for c in (40, 900):
        x, w, b, labels = make(rng, dtype, 61, 4, c)
        expected, tolerance = expected_and_tolerance(x, w, b, labels, ignore_label=-1)
        check(
            K.linear_cross_entropy,
            (x, w, b, labels),
            OUTPUTS,
            expected,
            tolerance,
            layouts=("c",),
            ignore_label=-1,
        )


@pytest.mark.parametrize("integer", INTEGERS, ids=lambda t: t.__name__)
def test_class_ids_of_any_width(rng, dtype, integer):
    x, w, b, labels = make(rng, dtype)
    given = np.abs(labels).astype(integer)
    expected, tolerance = expected_and_tolerance(x, w, b, given)
    results = K.linear_cross_entropy(x, w, b, given, logits=np.empty((5, 37), dtype))
    for i, name in enumerate(OUTPUTS):
        assert_close(results[i], expected[i], tolerance[i], name)


def test_gradients_are_slopes(rng):
    """Central differences of the loss along a direction in x, w and b, in float64."""
    x, w, b, labels = make(rng, np.float64)
    weight = rng.random(23)
    options = {"ignore_label": -1, "logits": np.empty((5, 37))}
    gradients = K.linear_cross_entropy(x, w, b, labels, weight, **options)[1:]
    h, moves = 1e-5, [rng.standard_normal(a.shape) for a in (x, w, b)]
    ends = [
        float(
            K.linear_cross_entropy(
                *(a + s * h * v for a, v in zip((x, w, b), moves, strict=True)), labels, weight, **options
            )[0]
        )
        for s in (1, -1)
    ]
    along = sum((g * v).sum() for g, v in zip(gradients, moves, strict=True))
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), along, rtol=1e-7)


def test_gradients_that_are_added_to(rng, dtype):
    """The table of an embedding is the weights, transposed, and its gradient and that of the biases go on a sum."""
    x, w, b, labels = make(rng, dtype)
    table = np.ascontiguousarray(w.T)
    expected, tolerance = expected_and_tolerance(x, w, b, labels, None, -1, 0.2)
    before = rng.standard_normal(table.shape).astype(dtype), rng.standard_normal(37).astype(dtype)
    d_table, d_b = (a.copy() for a in before)
    given = {"ignore_label": -1, "l2": 0.2, "logits": np.empty((6, 37), dtype), "input_grad": False}
    _, d_x, d_w, _ = K.linear_cross_entropy(
        x, table.T, b, labels, d_w=d_table.T, d_b=d_b, accumulate=True, **given
    )
    assert d_x is None
    assert d_w.base is d_table
    slack = [
        tolerances.added_to(dtype, a, e, 4) for a, e in zip(before, (expected[2].T, expected[3]), strict=True)
    ]
    assert_close(d_table, before[0] + expected[2].T, tolerance[2].T + slack[0], "d_table")
    assert_close(d_b, before[1] + expected[3], tolerance[3] + slack[1], "d_b")


def test_without_biases_and_without_a_gradient_of_the_input(rng, dtype):
    x, w, _, labels = make(rng, dtype)
    expected, tolerance = expected_and_tolerance(x, w, None, labels, None, -1)
    given = {"ignore_label": -1, "logits": np.empty((6, 37), dtype)}
    results = K.linear_cross_entropy(x, w, None, labels, input_grad=False, **given)
    assert results[1] is results[3] is None
    d_w = np.zeros_like(w)
    for _ in range(2):  # and added to what is there
        twice = K.linear_cross_entropy(x, w, None, labels, d_w=d_w, accumulate=True, **given)
        assert twice[2] is d_w
    for i in (0, 2):
        assert_close(results[i], expected[i], tolerance[i], OUTPUTS[i])
    slack = tolerances.added_to(dtype, expected[2], expected[2], 8)
    assert_close(d_w, 2 * expected[2], 2 * tolerance[2] + slack, "d_w")


def test_nothing_counts(rng, dtype):
    x, w, b, _ = make(rng, dtype)
    results = K.linear_cross_entropy(x, w, b, np.full(23, 2), ignore_label=2, logits=np.empty((6, 37), dtype))
    assert all((np.asarray(a) == 0).all() for a in results)


def test_threads_and_replays_change_no_bit(rng, dtype, threads):
    x, w, b, labels = make(rng, dtype, 300, 40, 130)
    given = {"ignore_label": -1, "logits": aligned_empty((64, 130), dtype)}
    with steepest.capture() as graph:
        results = K.linear_cross_entropy(x, w, b, labels, **given)
    for _ in range(2):
        graph.replay(2)
        expected = K.linear_cross_entropy(x, w, b, labels, **given)
        assert all(identical(a, e) for a, e in zip(results, expected, strict=True))
        x *= -1


@pytest.mark.not_when_slow("memory is that of NumPy arrays, on any device")
def test_memory_is_that_of_a_block(rng):
    n, n_in, c = 4096, 8, 4000
    x, w, b, labels = make(rng, np.float32, n, n_in, c)
    tracemalloc.start()
    K.linear_cross_entropy(x, w, b, labels, ignore_label=-1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All logits would take 65 MB. A block, the gradients of x, w and b, and little else:
    assert peak < 4 * ((1 << 22) + n * n_in + n_in * c + c) + (1 << 20)


# ------------------------------------------------------------------------------------------- parts of a batch


@pytest.mark.parametrize("c", [3, 40, 3000])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_parts_of_a_batch(rng, dtype, c, weighted):
    """Gradients are those of the whole batch to the bit, and the losses add up."""
    n = 50
    logits, labels = rng.standard_normal((n, c)).astype(dtype), rng.integers(0, c, n)
    labels[[0, 20, 49]] = -7
    weight = rng.random(n).astype(dtype) if weighted else None
    value, gradient = K.softmax_cross_entropy(logits, labels, weight, -7)
    loss, parts = np.full((), np.nan), np.empty_like(logits)
    for first, end in ((0, 17), (17, 18), (18, 50)):
        K.softmax_cross_entropy(logits[first:end], labels, weight, -7, loss, parts[first:end], first)
    assert identical(parts, gradient)
    assert abs(loss - value) <= 8 * np.finfo(np.float64).eps * value


def test_a_label_of_another_part_is_looked_at_first():
    logits, labels = np.zeros((4, 3)), np.array([0, 1, 2, 9])
    loss, d = np.array(5.0), np.full((2, 3), 7.0)
    with pytest.raises(ValueError, match=r"^\[softmax_cross_entropy\] label 9 at row 3 is outside 0\.\.2"):
        K.softmax_cross_entropy(logits[:2], labels, loss=loss, d_logits=d, first=0)
    assert loss == 5
    assert (d == 7).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": 3}, r"labels have shape \(4,\), which 2 rows of logits from row 3 on do not fit"),
        ({"first": -1}, r"labels have shape \(4,\), which 2 rows of logits from row -1 on do not fit"),
        ({"first": 1, "loss": None}, "first is 1: pass the loss to add to"),
        ({"labels": np.full((2, 3), 0.5)}, "first requires class ids, but labels are probabilities"),
        ({"sample_weight": np.ones(2)}, r"sample_weight has shape \(2,\), but the batch has 4 rows"),
    ],
)
def test_parts_that_do_not_fit(change, message):
    given = {"labels": np.arange(4) % 3, "loss": np.zeros(()), "first": 2, **change}
    with pytest.raises(ValueError, match=rf"^\[softmax_cross_entropy\] {message}"):
        K.softmax_cross_entropy(np.zeros((2, 3)), **given)


# ------------------------------------------------------------------------------------------------- bad input


def test_a_label_outside_of_the_vocabulary_changes_nothing(rng, dtype):
    x, w, b, labels = make(rng, dtype)
    labels = np.abs(labels)
    labels[22] = 37
    outputs = {
        "loss": np.full((), 7.0),
        "d_x": np.full_like(x, 7),
        "d_w": np.full_like(w, 7),
        "d_b": np.full_like(b, 7),
    }
    with pytest.raises(ValueError, match=r"label 37 at row 22 is outside 0\.\.36"):
        K.linear_cross_entropy(x, w, b, labels, logits=np.empty((4, 37), dtype), **outputs)
    assert all((a == 7).all() for a in outputs.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros(3)}, "x must be a matrix"),
        ({"w": np.zeros((2, 3, 4))}, "w must be a matrix"),
        ({"labels": np.zeros(5, int)}, r"labels must be 4 class ids, integers of shape \(4,\)"),
        ({"labels": np.zeros(4)}, "labels must be 4 class ids"),
        ({"x": np.zeros((0, 2)), "labels": np.zeros(0, int)}, ".* an empty batch has no mean loss"),
        ({"accumulate": True}, "accumulate adds to d_w and d_b: pass both"),
        (
            {"accumulate": True, "b": np.zeros(3), "d_w": np.zeros((2, 3))},
            "accumulate adds to d_w and d_b: pass both",
        ),
        ({"d_x": np.zeros((4, 3))}, r"d_x has shape \(4, 3\), but x \(4, 2\)"),
        ({"logits": np.zeros((2, 4))}, r"logits has shape \(2, 4\): it must hold rows of 3 logits"),
        ({"logits": np.zeros((0, 3))}, r"logits has shape \(0, 3\)"),
    ],
)
def test_arguments_that_do_not_fit(change, message):
    given = {"x": np.zeros((4, 2)), "w": np.zeros((2, 3)), "b": None, "labels": np.zeros(4, int), **change}
    with pytest.raises(ValueError, match=rf"^\[linear_cross_entropy\] {message}"):
        K.linear_cross_entropy(**given)
