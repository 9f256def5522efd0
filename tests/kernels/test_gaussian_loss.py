"""`gaussian`: the negative log-likelihood of targets whose mean and variance are both predicted."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, assert_close, check, lay_out

from steepest import kernels as K


def make(rng, dtype, n, m):
    prediction = rng.standard_normal((n, 2 * m))
    prediction[:, m:] *= 3.0
    if n > 3:
        prediction[3, :m] *= 1e2
    return prediction.astype(dtype), rng.standard_normal((n, m)).astype(dtype)


def expected_and_tolerance(prediction, target, sample_weight=None, reduction="mean"):
    expected = reference.gaussian(prediction, target, sample_weight, reduction)
    items = reference.gaussian_items(prediction, target)
    w = reference.row_weights(len(prediction), sample_weight)
    return expected, tolerances.gaussian(prediction.dtype, prediction, target, w, *items, reduction)


def check_loss(prediction, target, sample_weight=None, reduction="mean", layouts=LAYOUTS):
    expected, tolerance = expected_and_tolerance(prediction, target, sample_weight, reduction)
    inputs = (prediction, target, sample_weight)
    names = ("loss", "d_prediction")
    return check(K.gaussian, inputs, names, expected, tolerance, layouts=layouts, reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("shape", [(1, 1), (600, 1), (1, 17), (33, 10), (5, 300)], ids=str)
def test_layouts(rng, dtype, shape, weighted, reduction):
    prediction, target = make(rng, dtype, *shape)
    weight = (0.1 + rng.random(len(target))).astype(dtype) if weighted else None
    if weighted and len(target) > 2:
        weight[1] = 0.0
    check_loss(prediction, target, weight, reduction)


def test_every_width(rng, dtype):
    for m in SIZES:
        check_loss(*make(rng, dtype, 7, m), layouts=("c", "at_end"))


def test_threads(rng, dtype, threads):
    for shape in ((3001, 17), (30001, 1)):
        prediction, target = make(rng, dtype, *shape)
        check_loss(prediction, target, rng.random(len(target)).astype(dtype), layouts=("c",))


@pytest.mark.parametrize("m", [1, 3])
def test_rows_without_weight_may_hold_anything(rng, dtype, m):
    prediction, target = make(rng, dtype, 30, m)
    weight = np.ones(30, dtype)
    weight[[1, 4, 29]] = 0
    prediction[1] = np.nan
    prediction[4] = -np.inf
    target[29] = np.inf
    loss, gradient = check_loss(prediction, target, weight)
    assert np.isfinite(loss)
    assert (gradient[[1, 4, 29]] == 0).all()
    loss, gradient = check_loss(prediction, target, np.zeros(30, dtype))
    assert loss == 0
    assert (gradient == 0).all()


def test_extreme_variances(dtype):
    # Huge errors with a huge variance, and exact means with a vanishing variance.
    rows = [
        (1e18, 82.0, 0.0),
        (-1e18, 82.0, 0.0),
        (1e-15, -68.0, 0.0),
        (3.0, -1000.0, 3.0),
        (3.0, 1000.0, 3.0),
        (3.0, 1000.0, -5.0),
        (3.0, -1000.0, -5.0),
        (3.0, np.inf, -5.0),
    ]
    for mean, log_variance, t in rows:
        prediction = np.array([[mean, log_variance]], dtype)
        target = np.array([[t]], dtype)
        expected, tolerance = expected_and_tolerance(prediction, target)
        if dtype == np.float32:  # values beyond float32 become infinite
            expected = tuple(np.asarray(x).astype(np.float32).astype(np.float64) for x in expected)
        loss, gradient = K.gaussian(prediction, target)
        if np.isfinite(expected[0]):
            assert_close(loss, expected[0], tolerance[0], f"{mean, log_variance, t}")
        else:
            assert loss == expected[0]
        assert_close(gradient, expected[1], tolerance[1], f"{mean, log_variance, t}")


def test_nan_reaches_the_loss(rng, dtype):
    for where in (0, 3):
        prediction, target = make(rng, dtype, 6, 3)
        prediction[2, where] = np.nan
        loss, gradient = K.gaussian(prediction, target)
        assert np.isnan(loss)
        assert np.isnan(gradient[2, [0, 3]]).all()
        assert np.isnan(gradient).sum() == 2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(11, 19), (30, 1)], ids=str)
def test_gradient_in_place_of_the_prediction(rng, dtype, layout, shape):
    prediction, target = make(rng, dtype, *shape)
    expected, tolerance = expected_and_tolerance(prediction, target)
    view = lay_out(prediction, layout)
    loss, gradient = K.gaussian(view, target, d_prediction=view)
    assert gradient is view
    assert_close(loss, expected[0], tolerance[0], "loss")
    assert_close(gradient, expected[1], tolerance[1], "d_prediction")


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_oracle_by_finite_differences(rng, reduction):
    prediction, target, weight = rng.standard_normal((5, 6)), rng.standard_normal((5, 3)), rng.random(5)
    _, gradient = reference.gaussian(prediction, target, weight, reduction)
    difference = reference.finite_difference(
        lambda x: reference.gaussian(x, target, weight, reduction)[0], prediction
    )
    np.testing.assert_allclose(gradient, difference, atol=1e-7)


def test_it_is_a_negative_log_likelihood(rng):
    from scipy import stats

    prediction, target = rng.standard_normal((40, 2)), rng.standard_normal((40, 1))
    density = stats.norm(prediction[:, :1], np.exp(0.5 * prediction[:, 1:]))
    expected = -density.logpdf(target).mean() - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(K.gaussian(prediction, target)[0], expected, rtol=1e-13)


@pytest.mark.parametrize(
    "shapes", [((3, 4), (3, 4)), ((3, 5), (3, 2)), ((3, 4), (4, 2)), ((3, 4), (3,))], ids=str
)
def test_shapes_that_do_not_match(shapes):
    with pytest.raises(ValueError, match=r"^\[gaussian\] "):
        K.gaussian(*(np.ones(s) for s in shapes))
    with pytest.raises(ValueError, match=r"^\[gaussian\] .*empty"):
        K.gaussian(np.ones((0, 4)), np.ones((0, 2)))
