"""Linear discriminant analysis of difficult data: rounding, overflow, constant and collinear features."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.sparse
from discriminants import SOLVERS, centred, data, functions, within
from sklearn import discriminant_analysis as theirs

from steepest.discriminant_analysis import LinearDiscriminantAnalysis, _fitting, _solution


def test_a_constant_feature_tells_nothing(rng, dtype):
    """Its computed deviation is a rounding error instead of 0, whose inverse must not become a coefficient."""
    X, y = data(rng, 300, 5, 3)
    for value in (3.14, 1e6 / 3, 0.0):
        wide = np.c_[X, np.full(300, value)].astype(dtype)
        for solver in SOLVERS:
            with pytest.warns(UserWarning, match=r"Feature 5 is constant within the classes"):
                model = LinearDiscriminantAnalysis(solver).fit(wide, y)
            assert (model.coef_[:, 5] == 0).all()
            before = model.predict(wide)
            wide[:, 5] *= 1 + 1e-9
            np.testing.assert_array_equal(model.predict(wide), before)


@pytest.mark.parametrize(
    ("std", "gap"), [(10, 2.0), (3, 2.6), (3, 3.0), (0.15, 3.0)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("options", [{}, {"shrinkage": 0.0}, {"shrinkage": "auto"}], ids=str)
@pytest.mark.parametrize("few", [False, True])
def test_float32_features_that_vary_by_few_roundings(rng, std, gap, options, few):
    """Features with large means, such as Unix times, work even if they vary by a few float32 steps (0.06 at 1e6)."""
    n = 40 if few else 2000
    y = np.arange(n) % 2
    X = np.c_[1e6 + std * (rng.standard_normal(n) + gap * y), rng.standard_normal(n) + 1.5 * y]
    if few:
        X = np.c_[X, rng.standard_normal((n, 60))]
        options = {"shrinkage": 0.01} if options.get("shrinkage") == 0.0 else options
    X = X.astype(np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*fewer samples than features")
        single, double = (
            LinearDiscriminantAnalysis(**options).fit(X.astype(dtype), y)
            for dtype in (np.float32, np.float64)
        )
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=0, atol=1e-4 * np.abs(double.coef_).max())
    losses = [
        -model.predict_log_proba(X.astype(model.coef_.dtype))[np.arange(n), y].mean()
        for model in (single, double)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2, abs=1e-3)


def test_float32_cannot_tell_a_constant_from_its_neighbours(rng):
    """A feature with two neighbouring float32 values may be a rounded constant, unless it separates the classes."""
    y = np.arange(400) % 2
    step = np.spacing(np.float32(1e6))
    X = np.c_[1e6 + step * (rng.random(400) < 0.3), rng.standard_normal(400) + y].astype(np.float32)
    with pytest.warns(
        UserWarning, match="Feature 0 is constant within the classes, to the precision of float32"
    ):
        model = LinearDiscriminantAnalysis().fit(X, y)
    assert model.coef_[0, 0] == 0
    X[:, 0] = 1e6 + step * (4 * y + (rng.random(400) < 0.3))
    with pytest.warns(UserWarning, match="to the precision of float32"):
        parted = LinearDiscriminantAnalysis().fit(X, y)
    assert parted.score(X, y) == 1
    assert np.abs(parted.coef_).max() < 1e3


def test_shrinkage_makes_no_feature_constant(rng):
    """A varying feature with a large mean is used, however small the mean variance of all features."""
    y = np.arange(200) % 2
    X = np.c_[1e3 + 3e-4 * rng.standard_normal(200), 1e-5 * (rng.standard_normal((200, 9)) + y[:, None])]
    X = X.astype(np.float32)
    model = LinearDiscriminantAnalysis(shrinkage=1.0).fit(X, y)
    W, means = within(X, y)
    mean_variance = np.trace(W) / 10
    expected = (means[1] - means[0]) / mean_variance
    np.testing.assert_allclose(model.coef_[0], expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_small_units_in_float32(rng):
    """Squares that overflow or underflow in float32 are computed in float64."""
    y = np.arange(200) % 3
    X = rng.standard_normal((200, 6)) + y[:, None]
    expected = LinearDiscriminantAnalysis().fit(X.astype(np.float32), y)
    units = np.float32(10.0) ** np.array([0, 0, 0, -23, 0, 17], np.float32)
    model = LinearDiscriminantAnalysis().fit(X.astype(np.float32) * units, y)
    np.testing.assert_allclose(model.coef_ * units, expected.coef_, rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_nearly_collinear_features_keep_their_digits(rng, dtype, weighted, sparse):
    """X^T X would square the condition number, here 1e10; a QR decomposition does not."""
    X, y = data(rng, 900, 4, 3)
    X = np.round(64 * X * (np.abs(X) > 0.5)) / 64  # sums of these are exact in either dtype
    last = rng.integers(0, 2, 900)
    weight = rng.integers(0, 3, 900) if weighted else None
    given = np.c_[X, X.sum(axis=1) + 2.0**-14 * last].astype(dtype)
    model, expected = (
        LinearDiscriminantAnalysis(unbiased=True).fit(form, y, sample_weight=weight).coef_
        for form in (scipy.sparse.csr_array(given) if sparse else given, np.c_[X, last])
    )
    # Express the coefficients in the features of `given`, whose last feature is the sum plus the scaled `last`.
    own = 2.0**14 * expected[:, 4:]
    expected = np.c_[expected[:, :4] - own, own]
    atol = (1e-8 if dtype == np.float64 else 3e-7) * np.abs(expected).max()
    np.testing.assert_allclose(model, expected, rtol=0, atol=atol)


def test_names_of_constant_features(rng):
    X, y = data(rng)
    frame = pd.DataFrame(np.c_[X, np.full(200, 0.1)], columns=[*"abcdef", "height"])
    with pytest.warns(UserWarning, match=r"Feature 'height' is constant within the classes"):
        LinearDiscriminantAnalysis().fit(frame, y)


@pytest.mark.parametrize("solver", SOLVERS)
def test_collinear_features(rng, dtype, solver):
    X, y = data(rng, 400, 4, 3)
    wide = np.c_[X, X[:, 0] - 2 * X[:, 2], X[:, 3]].astype(dtype)
    with pytest.warns(UserWarning, match=r"Features 0, 2, 3, 4, 5 are collinear with others"):
        model = LinearDiscriminantAnalysis(solver).fit(wide, y)
    expected = LinearDiscriminantAnalysis().fit(X, y)
    assert np.abs(model.coef_).max() < 10 * np.abs(expected.coef_).max()
    np.testing.assert_allclose(
        model.predict_proba(wide),
        expected.predict_proba(X),
        rtol=0,
        atol=2e-3 if dtype == np.float32 else 1e-8,
    )


def test_a_nearly_collinear_feature_may_tell_the_classes_apart(rng):
    """The direction of the difference has a tiny variance but separates the classes."""
    common, y = 1e4 * rng.standard_normal(1000), rng.integers(0, 2, 1000)
    X = np.c_[common, common + y + 0.3 * rng.standard_normal(1000)]
    assert theirs.LinearDiscriminantAnalysis().fit(X, y).score(X, y) < 0.6
    assert LinearDiscriminantAnalysis().fit(X, y).score(X, y) > 0.93


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.filterwarnings("ignore:.*constant within:UserWarning")
def test_classes_that_a_feature_parts_exactly(solver):
    X, y = np.array([[0.0], [1.0], [1.0]]), np.array([0, 1, 1])
    model = LinearDiscriminantAnalysis(solver).fit(X, y)
    assert np.isfinite(model.coef_).all()
    np.testing.assert_array_equal(model.predict(X), y)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.filterwarnings("ignore:.*collinear:UserWarning")
def test_fewer_samples_than_features(rng, solver):
    X, y = data(rng, 30, 60, 3)
    model = LinearDiscriminantAnalysis(solver).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), y)
    shrunk = LinearDiscriminantAnalysis(solver, shrinkage=0.5).fit(X, y)
    other = theirs.LinearDiscriminantAnalysis("lsqr", shrinkage=0.5).fit(X, y)
    expected = centred(other.decision_function(X))
    np.testing.assert_allclose(centred(shrunk.decision_function(X)), expected, rtol=0, atol=1e-9)


def test_shares_of_shrunk_axes_add_up(rng):
    """Ratios are positive and sum to 1, although total minus within-class covariance, both shrunk, need not be PSD."""
    X, y = data(rng, 120, 40, 6)
    model = LinearDiscriminantAnalysis("eigen", shrinkage="auto").fit(X, y)
    assert model.explained_variance_ratio_.shape == (5,)
    assert (model.explained_variance_ratio_ > 0).all()
    np.testing.assert_allclose(model.explained_variance_ratio_.sum(), 1.0, rtol=1e-12)


@pytest.mark.parametrize("offset", [1e4, 1e5])
def test_large_means_in_float32(rng, offset):
    X, y = data(rng, 2000, 6, 3, np.float32, offset)
    single = LinearDiscriminantAnalysis().fit(X, y)
    double = LinearDiscriminantAnalysis().fit(X.astype(np.float64), y)
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=0, atol=1e-4)
    assert (single.predict(X) != double.predict(X.astype(np.float64))).sum() == 0


def test_log_probabilities_are_not_cut_off(rng):
    X, y = data(rng, k=2)
    model = LinearDiscriminantAnalysis().fit(X, y)
    far = 1e3 * model.coef_ / np.linalg.norm(model.coef_)
    decision = float(model.decision_function(far)[0])
    assert decision > 1000
    np.testing.assert_allclose(model.predict_log_proba(far)[0], [-decision, 0.0], rtol=1e-12)


def test_signs_do_not_depend_on_the_solver_or_the_order(rng):
    X, y = data(rng, 200, 5, 4)
    reference = LinearDiscriminantAnalysis().fit(X, y).scalings_
    order = rng.permutation(200)
    for solver, shrinkage in (("svd", None), ("eigen", None), ("eigen", 0.0)):
        model = LinearDiscriminantAnalysis(solver, shrinkage=shrinkage).fit(X[order], y[order])
        np.testing.assert_allclose(model.scalings_, reference, rtol=0, atol=1e-10)


def test_solvers_agree_on_priors_that_are_not_the_shares(rng):
    X, y = data(rng)
    priors = [0.7, 0.2, 0.1]
    W, means = within(X, y)
    coef, _ = functions(W, means, np.array(priors))
    for solver in SOLVERS:
        model = LinearDiscriminantAnalysis(solver, priors=priors).fit(X, y)
        np.testing.assert_allclose(centred(model.coef_.T), centred(coef.T), rtol=0, atol=1e-9)


@pytest.mark.cpu_only("it measures host memory")
@pytest.mark.parametrize("shrinkage", [None, 0.1])
def test_many_classes_need_no_covariance_each(rng, shrinkage):
    k, d = 2000, 100
    y = np.repeat(np.arange(k), 2)
    X = rng.standard_normal((2 * k, d))
    tracemalloc.start()
    LinearDiscriminantAnalysis("lsqr", shrinkage).fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < k * d**2 * 8 / 5


def test_float32_that_its_products_cannot_tell(rng, monkeypatch):
    """Samples near a plane, where sums of float32 products give only noise in the normal direction."""
    X, y = data(rng, 500, 3, 2)
    X = np.c_[X, X.sum(axis=1) + 1e-3 * rng.standard_normal(500) + 3e-3 * y].astype(np.float32)
    model = LinearDiscriminantAnalysis(tol=1e-6).fit(X, y)
    exact = LinearDiscriminantAnalysis(tol=1e-6).fit(X.astype(np.float64), y)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-5)
    monkeypatch.setattr(_fitting, "_CLEAR_OF_ROUNDING", 0.0)
    rounded = LinearDiscriminantAnalysis(tol=1e-6).fit(X, y)
    assert np.abs(rounded.coef_ / exact.coef_ - 1).max() > 1e-3


def test_squares_that_overflow(rng):
    X, y = data(rng)
    model = LinearDiscriminantAnalysis().fit(X, y)
    large = LinearDiscriminantAnalysis().fit((X * 1e25).astype(np.float32), y)
    np.testing.assert_array_equal(large.predict((X * 1e25).astype(np.float32)), model.predict(X))
    with pytest.raises(ValueError, match="squares of X overflow"):
        LinearDiscriminantAnalysis().fit(X * 1e200, y)


def test_cholesky_and_eigenvectors_agree(rng):
    X, y = data(rng)
    W, means = within(X, y)
    deviations, equal = np.sqrt(np.diag(W)), np.full(3, 1 / 3)
    fast = _solution.solve(W, means, equal, equal, 1e-4, X.dtype)
    # A singular smallest direction rules out the Cholesky factor, so the solver uses eigenvectors.
    slow = _solution.solve(W, means, equal, equal, 0.999999 * fast.smallest, X.dtype)
    np.testing.assert_allclose(slow.coef, fast.coef, rtol=0, atol=1e-10)
    assert fast.smallest <= np.sqrt(
        np.divide(*np.linalg.eigvalsh(W / np.outer(deviations, deviations))[[0, -1]])
    )
