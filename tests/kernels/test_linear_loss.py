"""`linear_loss`: the losses of linear models and their gradients in one pass."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, assert_close, check, identical, lay_out, one_where_slow

import steepest
from steepest import kernels as K

KINDS = tuple(reference.POINTWISE_LOSSES)
PARAMETERS = {name: loss.parameter for name, loss in reference.POINTWISE_LOSSES.items()}
# Sizes around blocks of rows (64), groups of rows (4), vectors of the gradient (8 of 4, 8 or 16 items), and chunks.
ROWS = (1, 2, 3, 4, 5, 63, 64, 65, 127, 129, 200)
WIDTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 257)


def make(rng, dtype, n, d, k, kind):
    """Samples, weights and targets, scaled for scores of about 1."""
    x = rng.standard_normal((n, d)).astype(dtype)
    w = (rng.standard_normal((d, k)) / np.sqrt(d)).astype(dtype)
    b = rng.standard_normal(k).astype(dtype)
    if kind == "softmax_cross_entropy":
        return x, w, b, rng.integers(0, k, n)
    target = reference.POINTWISE_LOSSES[kind].targets.draw(rng, (n, k))
    return x, w, b, target.astype(dtype)


def expected_and_tolerance(x, w, b, target, kind, sample_weight=None, l2=0.0, reduction="mean"):
    options = {"parameter": PARAMETERS.get(kind), "reduction": reduction, "l2": l2}
    expected = reference.linear_loss(x, w, b, target, kind, sample_weight, **options)
    scores = reference.linear(x, w, b)
    magnitude = np.abs(x.astype(np.float64)) @ np.abs(w) + (0.0 if b is None else np.abs(b))
    error = tolerances.dot(x.dtype, x.shape[1] + 1, magnitude)
    share = reference.row_weights(len(x), sample_weight) / (w.shape[1] if reduction == "mean" else 1)

    def items(z):
        if kind == "softmax_cross_entropy":
            log_p, target_p = reference.log_softmax(z), reference.one_hot(target, w.shape[1])
            return -(target_p * log_p), np.exp(log_p) - target_p
        t = target.astype(np.float64).reshape(z.shape)
        return reference.pointwise_items(kind, z, t, PARAMETERS.get(kind))

    if kind == "softmax_cross_entropy":
        share = reference.row_weights(len(x), sample_weight)
    else:
        error = error + tolerances.eps(x.dtype) * (np.abs(scores) + np.abs(target.reshape(scores.shape)))
    d_penalty = l2 * w.astype(np.float64)
    penalty = 0.5 * float((d_penalty * w).sum())
    return expected, tolerances.linear_loss(x.dtype, x, scores, error, items, share, penalty, d_penalty)


def check_loss(x, w, b, target, kind, sample_weight=None, l2=0.0, reduction="mean", **options):
    expected, tolerance = expected_and_tolerance(x, w, b, target, kind, sample_weight, l2, reduction)
    parameter = PARAMETERS.get(kind)
    return check(
        K.linear_loss,
        (x, w, b, target, sample_weight),
        ("loss", "d_w", "d_b"),
        expected,
        tolerance,
        kind=kind,
        parameter=parameter,
        l2=l2,
        reduction=reduction,
        **options,
    )


@pytest.mark.parametrize("kind", [*KINDS, "softmax_cross_entropy"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (65, 17, 1), (70, 9, 3)], ids=str)
def test_layouts(rng, dtype, shape, kind):
    x, w, b, target = make(rng, dtype, *shape, kind)
    weight = rng.random(shape[0]).astype(dtype)
    check_loss(x, w, b, target, kind, weight, 0.3)


@pytest.mark.parametrize("kind", ["squared_error", "log_loss", "softmax_cross_entropy"])
def test_edges(rng, dtype, kind):
    for i, d in enumerate(WIDTHS):
        n, k = ROWS[(3 * i + 2) % len(ROWS)], (1, 2, 5)[i % 3]
        check_loss(*make(rng, dtype, n, d, k, kind), kind, layouts=("c",))
    for i, n in enumerate(ROWS):
        d, k = WIDTHS[(5 * i + 1) % len(WIDTHS)], (2, 1, 4)[i % 3]
        check_loss(*make(rng, dtype, n, d, k, kind), kind, layouts=("c", "strided"))


@pytest.mark.parametrize("kind", one_where_slow(["softmax_cross_entropy", "squared_error", "hinge"]))
@pytest.mark.parametrize("shape", [(5000, 100, 1), (700, 1500, 3), (9, 9001, 1)], ids=str)
def test_large(rng, dtype, threads, shape, kind):
    x, w, b, target = make(rng, dtype, *shape, kind)
    check_loss(x, w, b, target, kind, rng.random(shape[0]).astype(dtype), 0.1, layouts=("c",))


@pytest.mark.cpu_only("threads are the CPU's")
def test_threads_change_nothing(rng, dtype):
    x, w, b, target = make(rng, dtype, 3001, 77, 2, "log_loss")
    before = steepest.get_num_threads()
    results = []
    for n in (1, 2, 3):
        steepest.set_num_threads(n)
        results.append(K.linear_loss(x, w, b, target))
    steepest.set_num_threads(before)
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("kind", ["squared_error", "softmax_cross_entropy"])
def test_without_biases(rng, dtype, kind):
    x, w, _, target = make(rng, dtype, 50, 7, 3, kind)
    expected, tolerance = expected_and_tolerance(x, w, None, target, kind)
    results = K.linear_loss(x, w, None, target, kind=kind)
    for actual, e, t in zip(results, expected, tolerance, strict=True):
        assert_close(actual, e, t, kind)


@pytest.mark.parametrize("kind", ["squared_error", "softmax_cross_entropy"])
def test_loss_alone(rng, dtype, kind):
    x, w, b, target = make(rng, dtype, 150, 21, 3, kind)
    loss, d_w, d_b = K.linear_loss(x, w, b, target, kind=kind, gradient=False, l2=0.2)
    assert identical(loss, K.linear_loss(x, w, b, target, kind=kind, l2=0.2)[0])
    assert d_w is None
    assert d_b is None


def test_half_and_sum(rng, dtype):
    x, w, b, target = make(rng, dtype, 40, 6, 4, "squared_error")
    whole = K.linear_loss(x, w, b, target, kind="squared_error")
    half = K.linear_loss(x, w, b, target, kind="squared_error", half=True)
    for a, c in zip(whole, half, strict=True):
        assert (a == 2 * c).all()
    check_loss(x, w, b, target, "squared_error", reduction="sum", layouts=("c",))


def test_targets_of_one_output_may_be_a_vector(rng, dtype):
    x, w, b, target = make(rng, dtype, 40, 6, 1, "log_loss")
    flat = K.linear_loss(x, w, b, lay_out(target[:, 0], "strided"))
    for a, c in zip(flat, K.linear_loss(x, w, b, target), strict=True):
        assert identical(a, c)


@pytest.mark.parametrize("kind", ["squared_error", "softmax_cross_entropy"])
def test_rows_without_weight_count_for_nothing(rng, dtype, kind):
    x, w, b, target = make(rng, dtype, 90, 5, 3, kind)
    weight = (rng.random(90) > 0.4).astype(dtype)
    x[weight == 0] = 1e30 if dtype == np.float32 else 1e200
    kept = weight > 0
    expected, tolerance = expected_and_tolerance(x[kept], w, b, target[kept], kind)
    results = K.linear_loss(x, w, b, target, weight, kind=kind)
    for actual, e, t in zip(results, expected, tolerance, strict=True):
        assert_close(actual, e, t, kind)
    loss, d_w, d_b = K.linear_loss(x, w, b, target, np.zeros(90, dtype), kind=kind)
    assert loss == 0
    assert (d_w == 0).all()
    assert (d_b == 0).all()


def test_nan_is_seen(rng, dtype):
    x, w, b, target = make(rng, dtype, 70, 5, 2, "squared_error")
    x[3, 1] = np.nan
    loss, d_w, d_b = K.linear_loss(x, w, b, target, kind="squared_error")
    assert np.isnan(loss)
    assert np.isnan(d_w).all()
    assert np.isnan(d_b).all()


@pytest.mark.parametrize(("label", "row"), [(3, 60), (-1, 0), (2**40, 69)])
def test_bad_label(rng, dtype, label, row):
    x, w, b, target = make(rng, dtype, 70, 5, 3, "softmax_cross_entropy")
    target[row] = label
    d_w = np.full_like(w, 7.0)
    with pytest.raises(ValueError, match=rf"^\[linear_loss\] label {label} at row {row} is outside 0\.\.2"):
        K.linear_loss(x, w, b, target, kind="softmax_cross_entropy", d_w=d_w)
    assert (d_w == 7.0).all()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": "gaussian"}, ValueError),
        ({"kind": 3}, TypeError),
        ({"parameter": 1.0}, ValueError),
        ({"kind": "huber", "parameter": 0.0}, ValueError),
        ({"reduction": "max"}, ValueError),
        ({"l2": -1.0}, ValueError),
        ({"l2": np.nan}, ValueError),
        ({"target": np.zeros(9)}, ValueError),
        ({"target": np.zeros((10, 2))}, ValueError),
        ({"target": np.zeros(10, np.int64)}, TypeError),
        ({"target": np.zeros(10), "kind": "softmax_cross_entropy"}, TypeError),
        ({"target": np.zeros(9, np.int64), "kind": "softmax_cross_entropy"}, ValueError),
        ({"target": np.zeros(10, np.int64), "kind": "softmax_cross_entropy", "half": True}, ValueError),
        ({"x": np.zeros((10, 4))}, ValueError),
        ({"x": np.zeros((0, 3)), "target": np.zeros(0)}, ValueError),
        ({"b": np.zeros(2)}, ValueError),
        ({"sample_weight": np.zeros(9)}, ValueError),
        ({"d_b": np.zeros(2)}, ValueError),
    ],
    ids=str,
)
def test_bad_arguments(changes, error):
    arguments = {
        "x": np.ones((10, 3)),
        "w": np.ones((3, 1)),
        "b": np.ones(1),
        "target": np.ones(10),
        **changes,
    }
    d_w = np.full((3, 1), 7.0)
    with pytest.raises(error, match=r"^\[linear_loss\] "):
        K.linear_loss(**arguments, d_w=d_w)
    assert (d_w == 7.0).all()


def test_gradient_over_an_input():
    x = np.ones((5, 3))
    w = np.ones((3, 1))
    with pytest.raises(ValueError, match=r"^\[linear_loss\] d_w overlaps w"):
        K.linear_loss(x, w, np.ones(1), np.ones(5), d_w=w)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_into_any_layout(rng, dtype, layout):
    x, w, b, target = make(rng, dtype, 66, 18, 3, "squared_error")
    expected = K.linear_loss(x, w, b, target, kind="squared_error")
    d_w = lay_out(np.zeros_like(w), layout)
    K.linear_loss(x, w, b, target, kind="squared_error", d_w=d_w)
    assert identical(np.ascontiguousarray(d_w), expected[1])
