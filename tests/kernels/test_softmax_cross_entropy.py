"""`softmax_cross_entropy`: loss and gradient, for class ids and for probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, assert_close, check, lay_out
from test_softmax import spiked_logits

from steepest import kernels as K

INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
OUTPUTS = ("loss", "d_logits")


def expected_and_tolerance(logits, labels, sample_weight=None, ignore_label=None):
    expected = reference.softmax_cross_entropy(logits, labels, sample_weight, ignore_label)
    n, c = logits.shape
    by_id = np.ndim(labels) == 1
    target = reference.one_hot(labels, c) if by_id else labels
    w = reference.row_weights(n, sample_weight, labels if by_id else None, ignore_label if by_id else None)
    return expected, tolerances.softmax_cross_entropy(logits.dtype, logits, target, w, expected[0])


def check_loss(logits, labels, sample_weight=None, ignore_label=None, **kwargs):
    expected, tolerance = expected_and_tolerance(logits, labels, sample_weight, ignore_label)
    inputs = (logits, labels, sample_weight)
    loss, d_logits = check(
        K.softmax_cross_entropy, inputs, OUTPUTS, expected, tolerance, ignore_label=ignore_label, **kwargs
    )
    assert loss.dtype == np.float64
    assert loss.shape == ()
    assert d_logits.dtype == logits.dtype
    return loss, d_logits


def finite_logits(rng, dtype, n, c):
    x = spiked_logits(rng, dtype, n, c)
    return np.where(np.isinf(x), -20.0, x).astype(dtype)


def probabilities(rng, dtype, n, c):
    """Target probabilities, some of them one-hot, whose rows sum to 1 up to rounding."""
    t = rng.dirichlet(np.ones(c), n)
    t[::3] = reference.one_hot(rng.integers(0, c, len(t[::3])), c)
    return t.astype(dtype)


@pytest.mark.parametrize("targets", ["ids", "probabilities"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 10), (6, 2), (33, 10), (17, 64), (130, 3), (5, 1000)], ids=str)
def test_layouts(rng, dtype, targets, weighted, shape):
    n, c = shape
    logits = finite_logits(rng, dtype, n, c)
    labels = rng.integers(0, c, n) if targets == "ids" else probabilities(rng, dtype, n, c)
    weight = rng.random(n).astype(dtype) + dtype(0.25) if weighted else None
    if weighted and n > 2:
        weight[1] = 0.0
    check_loss(logits, labels, weight)


def test_every_number_of_classes(rng, dtype):
    for c in SIZES:
        logits = finite_logits(rng, dtype, 7, c)
        check_loss(logits, rng.integers(0, c, 7), layouts=("c", "at_end"))
        check_loss(logits, probabilities(rng, dtype, 7, c), layouts=("c", "at_end"))


@pytest.mark.parametrize("integer", INTEGERS, ids=lambda t: t.__name__)
def test_every_integer_dtype(rng, dtype, integer):
    logits = finite_logits(rng, dtype, 40, 100)
    check_loss(logits, rng.integers(0, 100, 40).astype(integer), layouts=("c", "strided", "reversed"))


def test_threads(rng, dtype, threads):
    logits = finite_logits(rng, dtype, 3001, 37)
    labels = rng.integers(0, 37, 3001)
    labels[::7] = -1
    weight = rng.random(3001).astype(dtype)
    check_loss(logits, labels, weight, ignore_label=-1, layouts=("c",))
    check_loss(logits, probabilities(rng, dtype, 3001, 37), weight, layouts=("c",))


@pytest.mark.parametrize("ignore_label", [-1, -100, 3, 255])
def test_ignored_rows(rng, dtype, ignore_label):
    logits = finite_logits(rng, dtype, 50, 10)
    labels = rng.integers(0, 10, 50)
    labels[[0, 7, 49]] = ignore_label
    _, d_logits = check_loss(logits, labels, None, ignore_label)
    assert (d_logits[labels == ignore_label] == 0).all()
    check_loss(logits, labels, rng.random(50).astype(dtype), ignore_label)


@pytest.mark.parametrize("how", ["ignored", "zero_weight", "zero_weight_probabilities"])
def test_rows_that_do_not_count_may_hold_anything(rng, dtype, how):
    logits = finite_logits(rng, dtype, 12, 5)
    labels = rng.integers(0, 5, 12)
    logits[2] = np.nan
    logits[6] = np.inf
    if how == "ignored":
        labels[[2, 6]] = -1
        loss, d_logits = check_loss(logits, labels, None, -1)
    else:
        weight = np.ones(12, dtype)
        weight[[2, 6]] = 0.0
        targets = labels if how == "zero_weight" else np.eye(5, dtype=dtype)[labels]
        loss, d_logits = check_loss(logits, targets, weight)
    assert np.isfinite(loss)
    assert (d_logits[[2, 6]] == 0).all()


@pytest.mark.parametrize("how", ["ignored", "zero_weight"])
def test_nothing_counts(rng, dtype, how):
    logits = finite_logits(rng, dtype, 9, 4)
    if how == "ignored":
        loss, d_logits = check_loss(logits, np.full(9, 2), None, 2)
    else:
        loss, d_logits = check_loss(logits, np.full(9, 2), np.zeros(9, dtype))
    assert loss == 0.0
    assert (d_logits == 0).all()


def test_impossible_label_has_infinite_loss(dtype):
    logits = np.zeros((3, 20), dtype)
    logits[1, 4] = -np.inf
    loss, d_logits = K.softmax_cross_entropy(logits, np.array([0, 4, 1]))
    assert loss == np.inf
    expected, tolerance = expected_and_tolerance(logits, np.array([0, 4, 1]))
    assert_close(d_logits, expected[1], tolerance[1], "d_logits")


@pytest.mark.parametrize("targets", ["ids", "probabilities"])
def test_masked_class_costs_nothing(rng, dtype, targets):
    # A class with a logit of -inf and a target of 0 counts as absent.
    logits = finite_logits(rng, dtype, 6, 20)
    logits[:, 13] = -np.inf
    labels = np.array([0, 1, 19, 12, 14, 5])
    if targets == "probabilities":
        labels = np.eye(20)[labels].astype(dtype)
    loss, d_logits = check_loss(logits, labels)
    assert np.isfinite(loss)
    assert (d_logits[:, 13] == 0).all()


@pytest.mark.parametrize("targets", ["ids", "probabilities"])
def test_nan_reaches_the_loss_but_not_other_rows(rng, dtype, targets):
    labels = np.arange(8) if targets == "ids" else np.eye(8, 20).astype(dtype)
    for column in (0, 3, 19):
        logits = finite_logits(rng, dtype, 8, 20)
        logits[5, column] = np.nan
        loss, d_logits = K.softmax_cross_entropy(logits, labels)
        assert np.isnan(loss)
        assert np.isnan(d_logits[5]).all()
        assert np.isfinite(np.delete(d_logits, 5, axis=0)).all()


def test_large_offset_cancels_exactly(dtype):
    # Multiples of 1/8 up to 1e3 are exact, so a common offset does not change loss and gradient.
    logits = (np.arange(60).reshape(4, 15) % 17 / 8.0).astype(dtype)
    for labels in (np.array([0, 14, 7, 3]), np.full((4, 15), 1 / 16, dtype)):
        loss, d_logits = K.softmax_cross_entropy(logits, labels)
        shifted, d_shifted = K.softmax_cross_entropy(logits + dtype(1000), labels)
        assert d_logits.tobytes() == d_shifted.tobytes()
        assert abs(shifted - loss) <= 4 * tolerances.eps(dtype) * loss


@pytest.mark.parametrize("targets", ["ids", "probabilities"])
@pytest.mark.parametrize("offset", [1e3, -1e3])
def test_large_offset_costs_no_accuracy(rng, dtype, offset, targets):
    # The bound contains |x - max|, not |x|: the kernel must subtract the maximum before it rounds anything.
    logits = (rng.standard_normal((40, 11)) + offset).astype(dtype)
    labels = rng.integers(0, 11, 40) if targets == "ids" else rng.dirichlet(np.ones(11), 40).astype(dtype)
    check_loss(logits, labels, layouts=("c", "fortran"))


def test_targets_that_do_not_sum_to_one(rng, dtype):
    check_loss(
        finite_logits(rng, dtype, 20, 9), (2.0 * rng.random((20, 9))).astype(dtype), layouts=("c", "fortran")
    )


def test_confident_rows_keep_their_small_loss(dtype):
    # log(1 + e^-10) must not cancel in 1 - p.
    logits = np.array([[10.0, 0.0], [0.0, 10.0]], dtype)
    loss, _ = K.softmax_cross_entropy(logits, np.array([0, 1]))
    # logsumexp(z) - max = log1p(e^-10), but the sum 1 + e^-10 is rounded to eps.
    assert abs(loss - np.log1p(np.exp(-10.0))) <= 2 * tolerances.eps(dtype)


@pytest.mark.parametrize("targets", ["ids", "probabilities"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_in_place_of_the_logits(rng, dtype, layout, targets):
    logits = finite_logits(rng, dtype, 21, 13)
    labels = rng.integers(0, 13, 21) if targets == "ids" else probabilities(rng, dtype, 21, 13)
    expected, tolerance = expected_and_tolerance(logits, labels)
    view = lay_out(logits, layout)
    loss, d_logits = K.softmax_cross_entropy(view, labels, d_logits=view)
    assert d_logits is view
    assert_close(loss, expected[0], tolerance[0], "loss")
    assert_close(d_logits, expected[1], tolerance[1], "d_logits")


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("targets", ["ids", "ignored", "probabilities"])
def test_oracle_by_finite_differences(rng, targets, weighted):
    logits = rng.standard_normal((6, 4))
    labels = rng.random((6, 4)) if targets == "probabilities" else np.array([0, 3, 1, 1, 2, 0])
    ignore = 1 if targets == "ignored" else None
    weight = rng.random(6) if weighted else None
    _, gradient = reference.softmax_cross_entropy(logits, labels, weight, ignore)
    difference = reference.finite_difference(
        lambda x: reference.softmax_cross_entropy(x, labels, weight, ignore)[0], logits
    )
    np.testing.assert_allclose(gradient, difference, atol=1e-8)


@pytest.mark.parametrize("logits_dtype", [np.float32, np.float64])
def test_class_ids_that_are_floats(logits_dtype):
    logits, labels = np.zeros((3, 4), logits_dtype), np.array([0.0, 1.0, 2.0])
    message = r"^\[softmax_cross_entropy\] labels of shape \(3,\) are class ids, which must be integers"
    with pytest.raises(TypeError, match=message):
        K.softmax_cross_entropy(logits, labels)
    for other in (np.zeros((3, 4), np.float16), np.array([0, 1, 4])):
        with pytest.raises((TypeError, ValueError)) as caught:
            K.softmax_cross_entropy(logits, other)
        assert "class ids" not in str(caught.value)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "zero_one_loss"])
def test_a_label_beyond_int64_is_none_that_is_ignored(name):
    labels = np.array([0, 2**64 - 1], np.uint64)
    with pytest.raises(ValueError, match=rf"^\[{name}\] label \S+ at row 1 is outside 0\.\.2"):
        getattr(K, name)(np.ones((2, 3)), labels, ignore_label=-1)


@pytest.mark.parametrize("integer", [np.int8, np.uint8, np.int16, np.int32, np.int64])
def test_labels_beside_the_gradient_in_one_buffer(integer):
    """Adjacent arrays in one buffer do not count as overlapping, for every item size."""
    memory = np.zeros(64, np.uint8)
    width = 2 * np.dtype(integer).itemsize
    start = max(width, 8)
    labels = memory[start - width : start].view(integer)
    K.softmax_cross_entropy(
        np.ones((2, 3)), labels, d_logits=memory[start : start + 48].view(float).reshape(2, 3)
    )
