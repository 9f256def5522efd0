"""Pointwise losses, for every entry of the registry."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, assert_close, check, lay_out

from steepest import _cpu
from steepest import kernels as K

NAMES = tuple(_cpu.POINTWISE_LOSSES)
OUTPUTS = ("loss", "d_prediction")
ORACLES = reference.POINTWISE_LOSSES


def parameters_of(name):
    """Keywords of a call: none for the default parameter, and one set for each other value."""
    keyword = _cpu.POINTWISE_LOSSES[name][1]
    return [{}, *({keyword: value} for value in ORACLES[name].others)]


CASES = [(name, options) for name in NAMES for options in parameters_of(name)]
case_ids = ["-".join([name, *map(str, options.values())]) for name, options in CASES]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=case_ids)
every_loss = pytest.mark.parametrize("name", NAMES)
reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])


def targets(rng, name, shape):
    """Random targets of a pointwise loss, or normal numbers for other losses."""
    return ORACLES.get(name, ORACLES["squared_error"]).targets.draw(rng, shape)


def make(rng, dtype, name, n, m):
    z = rng.standard_normal((n, m))
    if n > 3:
        z[3] *= ORACLES[name].far
    return z.astype(dtype), targets(rng, name, (n, m)).astype(dtype)


def expected_and_tolerance(name, z, t, sample_weight=None, reduction="mean", **options):
    parameter = next(iter(options.values()), _cpu.POINTWISE_LOSSES[name][2])
    expected = reference.pointwise_loss(name, z, t, sample_weight, parameter, reduction)
    items = reference.pointwise_items(name, z, t, parameter)
    w = reference.row_weights(len(z), sample_weight)
    return expected, tolerances.pointwise_loss(z.dtype, name, z, t, w, *items, parameter, reduction)


def check_loss(name, z, t, sample_weight=None, reduction="mean", layouts=LAYOUTS, **options):
    expected, tolerance = expected_and_tolerance(name, z, t, sample_weight, reduction, **options)
    loss, gradient = check(
        getattr(K, name),
        (z, t, sample_weight),
        OUTPUTS,
        expected,
        tolerance,
        layouts=layouts,
        reduction=reduction,
        **options,
    )
    assert loss.dtype == np.float64
    assert loss.shape == ()
    assert gradient.dtype == z.dtype
    return loss, gradient


def test_oracle_covers_the_registry():
    assert set(NAMES) == set(ORACLES)
    assert set(K.LOSSES) == {*NAMES, "gaussian", "softmax_cross_entropy"}
    assert all(callable(getattr(K, name)) for name in K.LOSSES)
    assert set(K.LOSSES.values()) == {*reference.DISTRIBUTIONS, "laplace", None} - {
        "gaussian_learned_variance"
    }
    for name, (distribution, keyword, default) in _cpu.POINTWISE_LOSSES.items():
        assert K.LOSSES[name] == distribution
        if keyword:
            assert inspect.signature(getattr(K, name)).parameters[keyword].default == default


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("shape", [(1, 1), (9, 1), (600, 1), (1, 17), (33, 10), (5, 784)], ids=str)
@every_case
def test_layouts(rng, dtype, name, options, shape, weighted):
    z, t = make(rng, dtype, name, *shape)
    weight = (0.1 + rng.random(len(z))).astype(dtype) if weighted else None
    if weighted and len(z) > 2:
        weight[1] = 0.0
    layouts = LAYOUTS if not options else ("c", "strided")
    check_loss(name, z, t, weight, layouts=layouts, **options)


@every_loss
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_sum_over_the_outputs(rng, dtype, name, weighted):
    for shape in [(7, 1), (12, 9), (3, 100)]:
        z, t = make(rng, dtype, name, *shape)
        weight = rng.random(len(z)).astype(dtype) if weighted else None
        check_loss(name, z, t, weight, reduction="sum", layouts=("c", "fortran"))


@every_loss
def test_every_width(rng, dtype, name):
    weight = rng.random(7).astype(dtype)
    for m in SIZES:
        check_loss(name, *make(rng, dtype, name, 7, m), layouts=("c", "at_end"))
        check_loss(name, *make(rng, dtype, name, 7, m), weight, layouts=("c",))


@every_loss
def test_every_height_of_a_column(rng, dtype, name):
    # With one output the kernel walks down the column, in blocks of 512 items if it is strided.
    for n in (*SIZES, 511, 512, 513, 1025, 3001):
        weight = rng.random(n).astype(dtype)
        weight[n // 2] = 0.0
        z, t = make(rng, dtype, name, n, 1)
        check_loss(name, z, t, weight, layouts=("c", "strided"))
        check_loss(name, z, t, layouts=("at_end",))


@every_loss
@pytest.mark.not_when_slow("test_row_shapes.py has losses of many rows")
def test_threads(rng, dtype, name, threads):
    for shape in ((3001, 133), (5001, 10), (70001, 1)):
        z, t = make(rng, dtype, name, *shape)
        check_loss(name, z, t, rng.random(len(z)).astype(dtype), layouts=("c",))
        check_loss(name, z, t, layouts=("c",))


def test_many_short_rows_with_weights(rng):
    # The kernel expands the weights of some rows at a time into a buffer.
    z, t = make(rng, np.float32, "squared_error", 20001, 60)
    check_loss("squared_error", z, t, rng.random(len(z)).astype(np.float32), layouts=("c",))


def test_half_is_half(rng, dtype):
    z, t = make(rng, dtype, "squared_error", 20, 30)
    loss, gradient = K.squared_error(z, t)
    half_loss, half_gradient = K.squared_error(z, t, half=True)
    assert half_loss == 0.5 * loss
    assert (half_gradient == dtype(0.5) * gradient).all()


@every_loss
def test_zero_weights(rng, dtype, name):
    for m in (1, 3):
        loss, gradient = check_loss(name, *make(rng, dtype, name, 5, m), np.zeros(5, dtype))
        assert loss == 0.0
        assert (gradient == 0).all()


@every_loss
@pytest.mark.parametrize("m", [1, 19])
def test_rows_without_weight_may_hold_anything(rng, dtype, name, m):
    z, t = make(rng, dtype, name, 40, m)
    weight = np.ones(40, dtype)
    weight[[1, 4, 39]] = 0
    z[1] = np.nan
    z[4] = np.inf
    t[39] = -np.inf
    loss, gradient = check_loss(name, z, t, weight)
    assert np.isfinite(loss)
    assert (gradient[[1, 4, 39]] == 0).all()


@every_loss
@pytest.mark.parametrize("m", [1, 40])
@pytest.mark.parametrize("of", ["prediction", "target"])
def test_nan_reaches_loss_and_gradient_but_no_other_item(rng, dtype, name, m, of):
    z, t = make(rng, dtype, name, 50, m)
    (z if of == "prediction" else t)[33, m - 1] = np.nan
    for weight in (None, np.ones(50, dtype)):
        loss, gradient = getattr(K, name)(z, t, weight)
        assert np.isnan(loss)
        assert np.isnan(gradient[33, m - 1])
        assert np.isnan(gradient).sum() == 1


EXTREMES = (0.0, 1e-30, -1e-30, 1.0, 15.0, -15.0, 40.0, -40.0, 88.0, -88.0, 1e3, -1e3, np.inf, -np.inf)


@every_case
def test_extreme_predictions(dtype, name, options):
    # One item at a time, so that a large loss does not hide errors of the others.
    for value, target in itertools.product(EXTREMES, ORACLES[name].targets.extreme):
        z, t = np.full((1, 1), value, dtype), np.full((1, 1), target, dtype)
        expected, tolerance = expected_and_tolerance(name, z, t, **options)
        for m in (1, 3):  # a vector lane along a column, and along a row
            results = getattr(K, name)(np.repeat(z, m, 1), np.repeat(t, m, 1), reduction="sum", **options)
            what = f"{name} at {value} for {target}"
            assert_close(results[0] / m, expected[0], tolerance[0] + 2 * m * np.finfo(float).eps, what)
            assert_close(results[1][:, :1], expected[1], tolerance[1], what)


def test_logits_far_on_the_right_side_keep_their_small_loss(dtype):
    # log(1 + e^-z) and its slope must not cancel in 1 - p: they are accurate wherever e^-z is a normal number.
    z = np.linspace(0, 80, 161)[:, None]
    for sign in (1, -1):
        t = np.full_like(z, (1 + sign) / 2)
        for logit, target in zip((sign * z).astype(dtype), t.astype(dtype), strict=True):
            loss, gradient = K.log_loss(logit[:, None], target[:, None])
            rest = np.exp(-np.abs(logit.astype(np.float64)))
            assert abs(loss - np.log1p(rest)[0]) <= 8 * tolerances.eps(dtype) * loss
            slope = rest / (1 + rest)
            assert abs(-sign * gradient[0, 0] - slope[0]) <= 8 * tolerances.eps(dtype) * slope[0]


@pytest.mark.parametrize(
    ("name", "z", "t"),
    [("absolute_error", 2.0, 2.0), ("quantile", -3.0, -3.0), ("hinge", 1.0, 1.0), ("hinge", -1.0, -1.0)],
)
def test_derivative_at_a_kink_is_zero(dtype, name, z, t):
    for m in (1, 19):
        loss, gradient = getattr(K, name)(np.full((2, m), z, dtype), np.full((2, m), t, dtype))
        assert loss == 0.0
        assert (gradient == 0).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@every_loss
def test_gradient_in_place_of_the_prediction(rng, dtype, name, layout):
    for shape in ((11, 19), (30, 1)):
        z, t = make(rng, dtype, name, *shape)
        for weight in (None, rng.random(shape[0]).astype(dtype)):
            expected, tolerance = expected_and_tolerance(name, z, t, weight)
            view = lay_out(z, layout)
            loss, gradient = getattr(K, name)(view, t, weight, d_prediction=view)
            assert gradient is view
            assert_close(loss, expected[0], tolerance[0], "loss")
            assert_close(gradient, expected[1], tolerance[1], "d_prediction")


@reductions
@every_case
def test_oracle_by_finite_differences(rng, name, options, reduction):
    z, t, weight = rng.standard_normal((5, 3)), targets(rng, name, (5, 3)), rng.random(5)
    parameter = next(iter(options.values()), _cpu.POINTWISE_LOSSES[name][2])
    _, gradient = reference.pointwise_loss(name, z, t, weight, parameter, reduction)
    difference = reference.finite_difference(
        lambda x: reference.pointwise_loss(name, x, t, weight, parameter, reduction)[0], z
    )
    np.testing.assert_allclose(gradient, difference, atol=1e-7)


def test_quantile_loss_is_smallest_at_the_quantile(rng):
    t = rng.standard_normal(999)[:, None]
    for q in (0.1, 0.5, 0.9):
        best = np.quantile(t, q, method="inverted_cdf")
        here = K.quantile(np.full_like(t, best), t, quantile=q)[0]
        for other in best + np.array([-0.3, -0.01, 0.01, 0.3]):
            assert here <= K.quantile(np.full_like(t, other), t, quantile=q)[0]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("huber", delta) for delta in (0.0, -1.0, np.nan, np.inf)),
        *(("squared_epsilon_insensitive", epsilon) for epsilon in (0.0, -1.0, np.nan)),
        *(("quantile", q) for q in (0.0, 1.0, -0.5, np.nan)),
        *(("hinge", margin) for margin in (np.nan, np.inf)),
    ],
)
def test_wrong_parameter(name, bad):
    keyword = _cpu.POINTWISE_LOSSES[name][1]
    z, out = np.ones((2, 3)), np.full((2, 3), -7.0)
    with pytest.raises(ValueError, match=rf"^\[{name}\] {keyword} is .*; it must lie strictly between"):
        getattr(K, name)(z, z, d_prediction=out, **{keyword: bad})
    with pytest.raises(TypeError, match=rf"^\[{name}\] {keyword} must be a number"):
        getattr(K, name)(z, z, d_prediction=out, **{keyword: "1"})
    assert (out == -7.0).all()


@every_loss
def test_unknown_reduction(name):
    z = np.ones((2, 3))
    with pytest.raises(ValueError, match=rf"^\[{name}\] reduction 'none' is not one of: mean, sum"):
        getattr(K, name)(z, z, reduction="none")
    with pytest.raises(TypeError, match=rf"^\[{name}\] reduction must be a string"):
        getattr(K, name)(z, z, reduction=None)


def test_unknown_kind_and_a_parameter_too_many():
    z = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"^\[pointwise_loss\] kind 'cosine' is not one of: squared_error, "):
        _cpu.pointwise_loss("cosine", z, z)
    with pytest.raises(ValueError, match=r"^\[poisson\] this loss has no parameter"):
        _cpu.pointwise_loss("poisson", z, z, parameter=1.0)


def test_agreement_with_scikit_learn(rng):
    # scikit-learn's losses take raw predictions too, but sum over weighted samples, whereas ours average.
    from sklearn._loss import loss as peers

    z, weight = rng.standard_normal(50), 0.1 + rng.random(50)
    pairs = [
        ("squared_error", peers.HalfSquaredError(), {"half": True}),
        ("absolute_error", peers.AbsoluteError(), {}),
        ("huber", peers.HuberLoss(delta=0.7), {"delta": 0.7}),
        ("quantile", peers.PinballLoss(quantile=0.3), {"quantile": 0.3}),
        ("log_loss", peers.HalfBinomialLoss(), {}),
        ("poisson", peers.HalfPoissonLoss(), {}),
    ]
    for name, peer, options in pairs:
        t = targets(rng, name, 50)
        value, gradient = peer.loss_gradient(t, z, sample_weight=weight)
        loss, d = getattr(K, name)(z[:, None], t[:, None], weight, **options)
        total = weight.sum()
        np.testing.assert_allclose(loss, value.sum() / total, rtol=1e-13, atol=1e-14, err_msg=name)
        np.testing.assert_allclose(d[:, 0], gradient / total, rtol=1e-12, atol=1e-15, err_msg=name)
