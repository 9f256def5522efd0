"""`squared_error`: weighted mean squared error and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, assert_close, check, lay_out

from steepest import kernels as K


def check_loss(p, t, sample_weight=None, half=False, **kwargs):
    expected = reference.squared_error(p, t, sample_weight, half)
    w = reference.row_weights(len(p), sample_weight)
    tolerance = tolerances.squared_error(p.dtype, p, t, w, half)
    names = ("loss", "d_prediction")
    loss, gradient = check(
        K.squared_error, (p, t, sample_weight), names, expected, tolerance, half=half, **kwargs
    )
    assert loss.dtype == np.float64
    assert loss.shape == ()
    return loss, gradient


def make(rng, dtype, n, m):
    p = rng.standard_normal((n, m)).astype(dtype)
    t = rng.standard_normal((n, m)).astype(dtype)
    if n > 3:
        p[3] *= dtype(1e3)
    return p, t


@pytest.mark.every_isa
@pytest.mark.parametrize("half", [False, True], ids=["whole", "half"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("shape", [(1, 1), (9, 1), (1, 17), (33, 10), (5, 784)], ids=str)
def test_layouts(rng, dtype, shape, weighted, half):
    p, t = make(rng, dtype, *shape)
    weight = rng.random(len(p)).astype(dtype) if weighted else None
    if weighted and len(p) > 2:
        weight[1] = 0.0
    check_loss(p, t, weight, half)


def test_every_width(rng, dtype):
    for m in SIZES:
        check_loss(*make(rng, dtype, 7, m), layouts=("c", "offset"))


def test_threads(rng, dtype, threads):
    p, t = make(rng, dtype, 3001, 33)
    check_loss(p, t, rng.random(3001).astype(dtype), layouts=("c",))


def test_half_is_half(rng, dtype):
    p, t = make(rng, dtype, 20, 30)
    loss, gradient = K.squared_error(p, t)
    half_loss, half_gradient = K.squared_error(p, t, half=True)
    assert half_loss == 0.5 * loss
    assert (half_gradient == dtype(0.5) * gradient).all()


def test_zero_weights(rng, dtype):
    p, t = make(rng, dtype, 5, 3)
    loss, gradient = check_loss(p, t, np.zeros(5, dtype))
    assert loss == 0.0
    assert (gradient == 0).all()


def test_rows_without_weight_may_hold_anything(rng, dtype):
    p, t = make(rng, dtype, 6, 19)
    weight = np.array([1, 0, 2, 0, 1, 1], dtype)
    p[1] = np.nan
    t[3] = np.inf
    loss, gradient = check_loss(p, t, weight)
    assert np.isfinite(loss)
    assert (gradient[[1, 3]] == 0).all()


def test_nan_reaches_the_loss_but_not_other_rows(rng, dtype):
    p, t = make(rng, dtype, 6, 40)
    p[2, 33] = np.nan
    loss, gradient = K.squared_error(p, t)
    assert np.isnan(loss)
    assert np.isnan(gradient[2, 33])
    assert np.isnan(gradient).sum() == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_in_place_of_the_prediction(rng, dtype, layout):
    p, t = make(rng, dtype, 11, 19)
    expected = reference.squared_error(p, t)
    tolerance = tolerances.squared_error(dtype, p, t, reference.row_weights(len(p)))
    view = lay_out(p, layout)
    loss, gradient = K.squared_error(view, t, d_prediction=view)
    assert gradient is view
    assert_close(loss, expected[0], tolerance[0], "loss")
    assert_close(gradient, expected[1], tolerance[1], "d_prediction")


@pytest.mark.parametrize("half", [False, True], ids=["whole", "half"])
def test_oracle_by_finite_differences(rng, half):
    p, t, weight = rng.standard_normal((5, 3)), rng.standard_normal((5, 3)), rng.random(5)
    _, gradient = reference.squared_error(p, t, weight, half)
    difference = reference.finite_difference(lambda x: reference.squared_error(x, t, weight, half)[0], p)
    np.testing.assert_allclose(gradient, difference, atol=1e-8)
