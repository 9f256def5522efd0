"""`class_scatter`: weights, sums and scatter of classes, against plain float64."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
from backends import assert_close, check, identical

import steepest
from steepest import kernels as K

OUTPUTS = ("weights", "sums", "scatter")


def make(rng, dtype, n, d, k, offset=0.0):
    labels = rng.integers(0, k, n)
    centre = (offset + rng.standard_normal((k, d))).astype(dtype)
    x = (centre[labels] + rng.standard_normal((n, d))).astype(dtype)
    return x, labels, centre, rng.uniform(0.0, 2.0, n).astype(dtype)


def oracle(x, labels, centre, sample_weight=None):
    """The three results, and the tolerances of the last two."""
    s = np.ones(len(x)) if sample_weight is None else sample_weight.astype(np.float64)
    labels = np.zeros(len(x), int) if labels is None else labels
    deviations = x.astype(np.float64) - centre.astype(np.float64)[labels]
    of_class = np.arange(len(centre))[:, None] == labels
    sums, scatter = tolerances.class_scatter(x.dtype, deviations, s)
    weights = of_class @ s
    expected = [weights, of_class @ (s[:, None] * deviations), (s[:, None] * deviations).T @ deviations]
    close = [1e-13 * (1.0 + weights), np.broadcast_to(sums, centre.shape), scatter]
    return expected, [t + 1e-300 for t in close]


def assert_agrees(results, *data):
    expected, close = oracle(*data)
    for name, got, want, tolerance in zip(OUTPUTS, results, expected, close, strict=True):
        assert got.dtype == np.float64
        assert_close(got, want, tolerance, name)
    assert identical(results[2], np.ascontiguousarray(results[2].T))


@pytest.mark.parametrize("shape", [(1, 1, 1), (70, 17, 3), (300, 33, 5)], ids=str)
def test_layouts(rng, dtype, shape):
    data = make(rng, dtype, *shape)
    check(K.class_scatter, data, OUTPUTS, *oracle(*data))


@pytest.mark.parametrize("d", [1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100])
def test_widths(rng, dtype, d):
    for n in (40, 300):
        data = make(rng, dtype, n, d, 4)
        assert_agrees(K.class_scatter(*data), *data)


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 511, 513, 2049, 4097])
def test_blocks_of_samples(rng, dtype, n):
    data = make(rng, dtype, n, 5, 3)
    assert_agrees(K.class_scatter(*data), *data)


@pytest.mark.parametrize("d", [360, 420])
def test_wide_samples(rng, dtype, d):
    """Samples so wide that the partial sums of several chunks would take too much memory."""
    data = make(rng, dtype, 530, d, 3)
    assert_agrees(K.class_scatter(*data), *data)


def test_many_classes(rng, dtype):
    data = make(rng, dtype, 3000, 9, 1500)
    assert_agrees(K.class_scatter(*data), *data)


def test_without_labels_or_weights(rng, dtype):
    x, labels, centre, weight = make(rng, dtype, 300, 12, 1)
    assert_agrees(K.class_scatter(x, None, centre), x, None, centre)
    assert_agrees(K.class_scatter(x, labels.astype(np.uint8), centre), x, None, centre)
    assert_agrees(K.class_scatter(x, None, centre, weight), x, None, centre, weight)


def test_integer_weights_are_repeated_rows(rng, dtype):
    x, labels, centre, _ = make(rng, dtype, 200, 12, 3)
    times = rng.integers(0, 4, 200)
    weighted = K.class_scatter(x, labels, centre, times.astype(dtype))
    repeated = K.class_scatter(x.repeat(times, 0), labels.repeat(times), centre)
    _, close = oracle(x, labels, centre, times.astype(dtype))
    for a, b, tolerance in zip(weighted, repeated, close, strict=True):
        assert_close(a, b, 2 * tolerance, "weighted")


def test_samples_of_no_weight_may_hold_anything(rng, dtype):
    x, labels, centre, weight = make(rng, dtype, 300, 12, 3)
    weight[::3] = 0
    without = K.class_scatter(x, labels, centre, weight)
    x[::3] = np.resize([np.nan, np.inf, -np.inf], (100, 12))
    assert all(
        identical(a, b) for a, b in zip(without, K.class_scatter(x, labels, centre, weight), strict=True)
    )


def test_large_means_cost_nothing_where_the_centres_are_near(rng):
    """Variances stay accurate for float32 data whose means are 1e5 standard deviations."""
    x, labels, centre, _ = make(rng, np.float32, 4000, 6, 2, offset=1e5)
    weights, sums, scatter = K.class_scatter(x, labels, centre)
    within = scatter - np.einsum("ci,cj,c->ij", sums, sums, 1 / weights)
    exact = x.astype(np.float64)
    exact -= np.stack([exact[labels == c].mean(0) for c in range(2)])[labels]
    np.testing.assert_allclose(within, exact.T @ exact, rtol=0, atol=1e-6 * np.abs(exact.T @ exact).max())


@pytest.mark.parametrize("d", [20, 420])
def test_chunks_add_up(rng, dtype, d):
    x, labels, centre, weight = make(rng, dtype, 700, d, 3)
    parts = K.class_scatter(x[:311], labels[:311], centre, weight[:311])
    whole = K.class_scatter(
        x[311:], labels[311:], centre, weight[311:], accumulate=True, **dict(zip(OUTPUTS, parts, strict=True))
    )
    assert all(a is b for a, b in zip(whole, parts, strict=True))
    assert_agrees(whole, x, labels, centre, weight)


@pytest.mark.cpu_only("threads are the CPU's")
@pytest.mark.parametrize("shape", [(3000, 20, 4), (600, 420, 3), (2000, 9, 1500)], ids=str)
def test_threads_change_nothing(rng, dtype, shape):
    data = make(rng, dtype, *shape)
    before = steepest.get_num_threads()
    results = []
    for threads in (1, 2, 3, 5):
        steepest.set_num_threads(threads)
        results.append(K.class_scatter(*data))
    steepest.set_num_threads(before)
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], other, strict=True))


def test_not_a_number_stays(rng, dtype):
    x, labels, centre, _ = make(rng, dtype, 50, 5, 2)
    x[17, 3] = np.nan
    _, sums, scatter = K.class_scatter(x, labels, centre)
    assert np.isnan(scatter[3]).all()
    assert np.isnan(scatter).sum() == 9
    assert np.isnan(sums).sum() == 1


# ---------------------------------------------------------------------------------------------------- bad input


def arguments():
    return {"x": np.ones((10, 3)), "labels": np.arange(10) % 2, "centre": np.zeros((2, 3))}


@pytest.mark.parametrize(("label", "row"), [(2, 3), (-1, 0), (2**62, 9)])
def test_bad_label(label, row):
    given = arguments()
    given["labels"][row] = label
    scatter = np.full((3, 3), 7.0)
    with pytest.raises(ValueError, match=rf"^\[class_scatter\] label {label} at row {row} is outside 0\.\.1"):
        K.class_scatter(**given, scatter=scatter)
    assert (scatter == 7.0).all()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"centre": np.zeros((2, 4))}, ValueError),
        ({"centre": np.zeros((0, 3))}, ValueError),
        ({"centre": np.zeros(3)}, ValueError),
        ({"centre": np.zeros((2, 3), np.float32)}, TypeError),
        ({"labels": None}, ValueError),
        ({"labels": np.zeros(9, int)}, ValueError),
        ({"labels": np.zeros(10)}, TypeError),
        ({"sample_weight": np.ones(9)}, ValueError),
        ({"sample_weight": np.ones(10, np.float32)}, TypeError),
        ({"accumulate": True}, ValueError),
        ({"weights": np.zeros(3)}, ValueError),
        ({"sums": np.zeros((2, 4))}, ValueError),
        ({"scatter": np.zeros((2, 2))}, ValueError),
        ({"scatter": np.zeros((3, 3), np.float32)}, TypeError),
    ],
    ids=str,
)
def test_bad_arguments(changes, error):
    with pytest.raises(error, match=r"^\[class_scatter\] "):
        K.class_scatter(**{**arguments(), **changes})
