"""Linear discriminant analysis: the textbook's equations, scikit-learn's answers where these are right, its faults."""

from __future__ import annotations

import itertools
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.sparse
from linear_models import SCIKIT_LEARN
from sklearn import covariance as sklearn_covariance
from sklearn import datasets
from sklearn import discriminant_analysis as theirs
from sklearn.utils.estimator_checks import estimator_checks_generator

from steepest._estimators.class_statistics import ClassStatistics
from steepest.discriminant_analysis import LinearDiscriminantAnalysis, _fitting, _solution

SOLVERS = ("svd", "lsqr", "eigen")
CHECKED = [{}, {"shrinkage": 0.3}, {"solver": "eigen", "shrinkage": "auto"}]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        case
        for options in CHECKED
        for case in estimator_checks_generator(LinearDiscriminantAnalysis(**options))
    ],
    ids=lambda value: repr(value) if hasattr(value, "fit") else value.func.__name__,
)
def test_scikit_learn(estimator, check):
    check(estimator)


def data(rng, n=200, d=6, k=3, dtype=np.float64, offset=0.0):
    """Correlated samples of overlapping classes, of unequal sizes."""
    y = np.minimum(rng.integers(0, k + 1, n), k - 1)
    mixing = rng.standard_normal((d, d)) / np.sqrt(d) + np.eye(d)
    X = rng.standard_normal((k, d))[y] + rng.standard_normal((n, d)) @ mixing + offset
    return X.astype(dtype), y


def within(X, y, weight=None):
    """The maximum-likelihood covariance within classes, and the class means, by the formulas."""
    X, weight = X.astype(np.float64), np.ones(len(X)) if weight is None else weight.astype(np.float64)
    means = np.stack([np.average(X[y == c], axis=0, weights=weight[y == c]) for c in np.unique(y)])
    deviations = X - means[y]
    return (weight[:, None] * deviations).T @ deviations / weight.sum(), means


def functions(W, means, priors):
    """Coefficients and intercepts of the discriminant functions, by a solution of linear equations."""
    coef = np.linalg.solve(W, means.T).T
    return coef, np.log(priors) - 0.5 * np.einsum("cj,cj->c", coef, means)


def decisions(X, coef, intercept):
    scores = X @ coef.T + intercept
    return scores[:, 1] - scores[:, 0] if len(coef) == 2 else scores - scores.mean(axis=1, keepdims=True)


def centred(scores):
    return scores if scores.ndim == 1 else scores - scores.mean(axis=1, keepdims=True)


# ------------------------------------------------------------------------------------------------- the equations


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_discriminant_functions(rng, solver, k, weighted):
    X, y = data(rng, k=k)
    weight = rng.uniform(0.2, 2.0, len(X)) if weighted else None
    priors = rng.dirichlet(np.ones(k))
    W, means = within(X, y, weight)
    for given in (None, priors):
        model = LinearDiscriminantAnalysis(solver, priors=given).fit(X, y, sample_weight=weight)
        shares = np.bincount(y, weight) / (len(X) if weight is None else weight.sum())
        expected = decisions(X, *functions(W, means, shares if given is None else priors))
        np.testing.assert_allclose(centred(model.decision_function(X)), expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(model.priors_, shares if given is None else priors, rtol=1e-12)
        np.testing.assert_allclose(model.means_, means, rtol=1e-12)


@pytest.mark.parametrize("shape", [(200, 6, 4), (60, 12, 3), (100, 2, 4), (50, 3, 2)], ids=str)
def test_axes_solve_the_generalised_eigenproblem(rng, shape):
    X, y = data(rng, *shape)
    model = LinearDiscriminantAnalysis(tol=1e-10).fit(X, y)
    W, means = within(X, y)
    roots = np.sqrt(model.priors_)[:, None] * (means - model.priors_ @ means)
    B, most = roots.T @ roots, min(shape[2] - 1, shape[1])
    largest = scipy.linalg.eigh(B, W, eigvals_only=True)[::-1][:most]
    axes = model.scalings_
    assert axes.shape == (shape[1], most)
    np.testing.assert_allclose(axes.T @ W @ axes, np.eye(most), rtol=0, atol=1e-10)
    np.testing.assert_allclose(axes.T @ B @ axes, np.diag(largest), rtol=0, atol=1e-10 * largest[0])
    np.testing.assert_allclose(model.explained_variance_ratio_, largest / largest.sum(), rtol=1e-9)


def test_two_classes_by_fishers_formula(rng):
    X, y = data(rng, k=2)
    W, means = within(X, y)
    axis = np.linalg.solve(W, means[1] - means[0])
    model = LinearDiscriminantAnalysis().fit(X, y)
    np.testing.assert_allclose(model.coef_[0], axis, rtol=1e-9)
    found = model.scalings_[:, 0]
    np.testing.assert_allclose(np.abs(found @ axis), np.linalg.norm(found) * np.linalg.norm(axis), rtol=1e-12)


@pytest.mark.parametrize(
    ("load", "errors"),
    [
        (datasets.load_iris, 3),
        (datasets.load_wine, 0),
        (datasets.load_breast_cancer, 20),
        (datasets.load_digits, 65),
    ],
)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.filterwarnings("ignore:.*constant within:UserWarning")
def test_errors_of_known_data(load, errors, solver):
    X, y = load(return_X_y=True)
    model = LinearDiscriminantAnalysis(solver).fit(X, y)
    assert (model.predict(X) != y).sum() == errors


@pytest.mark.skipif(SCIKIT_LEARN < (1, 9), reason="scikit-learn's covariance was divided by n - k until 1.8")
def test_answers_are_those_of_scikit_learn(rng, dtype):
    X, y = data(rng, 300, 8, 4)
    X = X.astype(dtype)
    ours = LinearDiscriminantAnalysis(store_covariance=True).fit(X, y)
    other = theirs.LinearDiscriminantAnalysis(store_covariance=True).fit(X.astype(np.float64), y)
    relative = 1e-4 if dtype == np.float32 else 1e-10

    def assert_agrees(got, expected, name):
        atol = relative * np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol, err_msg=name)

    for name in (
        "coef_",
        "intercept_",
        "means_",
        "priors_",
        "xbar_",
        "covariance_",
        "explained_variance_ratio_",
    ):
        assert getattr(ours, name).dtype == dtype
        assert_agrees(getattr(ours, name), getattr(other, name), name)
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        assert_agrees(getattr(ours, name)(X), getattr(other, name)(X), name)
    assert_agrees(np.abs(ours.transform(X)), np.abs(other.transform(X)), "transform")


# ------------------------------------------------------------------------------------------------------ shrinkage


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shrinkage", [0.0, 0.2, 1.0, "auto"])
def test_shrinkage_of_every_solver(rng, solver, shrinkage):
    X, y = data(rng)
    other = theirs.LinearDiscriminantAnalysis("lsqr", shrinkage=shrinkage).fit(X, y)
    ours = LinearDiscriminantAnalysis(solver, shrinkage=shrinkage, store_covariance=True).fit(X, y)
    np.testing.assert_allclose(ours.covariance_, other.covariance_, rtol=0, atol=1e-12)
    expected = centred(other.decision_function(X))
    np.testing.assert_allclose(centred(ours.decision_function(X)), expected, rtol=0, atol=1e-9)


def test_ledoit_wolf_with_weights_is_that_of_repeated_rows(rng):
    X, y = data(rng, 90, 5, 2)
    times = rng.integers(0, 4, 90)
    repeated = LinearDiscriminantAnalysis(shrinkage="auto").fit(X.repeat(times, 0), y.repeat(times))
    weighted = LinearDiscriminantAnalysis(shrinkage="auto").fit(X, y, sample_weight=times)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_covariance_estimators(rng, solver):
    X, y = data(rng, 120, 4, 3)
    estimator = sklearn_covariance.OAS()
    ours = LinearDiscriminantAnalysis(solver, covariance_estimator=estimator, store_covariance=True).fit(X, y)
    expected = sum((y == c).mean() * sklearn_covariance.OAS().fit(X[y == c]).covariance_ for c in range(3))
    np.testing.assert_allclose(ours.covariance_, expected, rtol=1e-12)
    assert not hasattr(estimator, "covariance_")


# ----------------------------------------------------------------------------------------------------- statistics


def assert_same_model(a, b, atol=1e-9):
    np.testing.assert_array_equal(a.classes_, b.classes_)
    for name in ("coef_", "intercept_", "means_", "priors_", "scalings_", "explained_variance_ratio_"):
        got, expected = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("cuts", [(1,), (50, 51, 120), (7, 199), range(1, 200)], ids=str)
@pytest.mark.parametrize("sparse", [False, True])
def test_parts_are_the_whole(rng, cuts, sparse):
    X, y = data(rng)
    weight = rng.uniform(0.0, 2.0, len(X))
    weight[5] = 0
    edges = [0, *cuts, len(X)]
    model = LinearDiscriminantAnalysis()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first parts may be too few for any direction
        for a, b in itertools.pairwise(edges):
            part = scipy.sparse.csr_array(X[a:b]) if sparse else X[a:b]
            model.partial_fit(part, y[a:b], classes=[0, 1, 2], sample_weight=weight[a:b] + 1e-9)
    assert_same_model(model, LinearDiscriminantAnalysis().fit(X, y, sample_weight=weight + 1e-9))


def test_merged_models_of_other_classes(rng):
    X, y = data(rng, 300, 5, 4)
    names = np.array(["d", "b", "a", "c"])[y]
    first, second = y < 2, y >= 2
    one = LinearDiscriminantAnalysis().fit(X[first], names[first])
    other = LinearDiscriminantAnalysis().fit(X[second], names[second])
    before = other.coef_.copy()
    assert one.merge(other) is one
    assert_same_model(one, LinearDiscriminantAnalysis().fit(X, names))
    np.testing.assert_array_equal(other.coef_, before)


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_statistics_merge_in_any_order(rng, offset):
    X, y = data(rng, 500, 4, 3, offset=offset)
    parts = [
        ClassStatistics.of(X[rows], y[rows], 3, None, "cpu")
        for rows in np.array_split(rng.permutation(500), 9)
    ]
    forwards, backwards = parts[0], parts[-1]
    for part in parts[1:]:
        forwards = forwards.merge(part)
    for part in parts[-2::-1]:
        backwards = part.merge(backwards)
    W, means = within(X, y)
    for merged in (forwards, backwards, ClassStatistics.empty(3, 4).merge(forwards)):
        np.testing.assert_array_equal(merged.weights, np.bincount(y))
        np.testing.assert_allclose(merged.means, means, rtol=1e-13)
        np.testing.assert_allclose(merged.covariance, W, rtol=0, atol=1e-9)


def test_integer_weights_are_repeated_rows(rng, dtype):
    X, y = data(rng, dtype=dtype)
    times = rng.integers(0, 4, len(X))
    weighted = LinearDiscriminantAnalysis().fit(X, y, sample_weight=times)
    repeated = LinearDiscriminantAnalysis().fit(X.repeat(times, 0), y.repeat(times))
    assert_same_model(weighted, repeated, 1e-4 if dtype == np.float32 else 1e-9)


def test_sparse_samples(rng, dtype):
    X, y = data(rng, dtype=dtype)
    X[rng.random(X.shape) < 0.6] = 0
    dense = LinearDiscriminantAnalysis().fit(X, y)
    sparse = LinearDiscriminantAnalysis().fit(scipy.sparse.csr_matrix(X), y)
    close = {"rtol": 0, "atol": 1e-4 if dtype == np.float32 else 1e-10}
    for name in ("decision_function", "transform"):
        got = getattr(sparse, name)(scipy.sparse.csr_matrix(X))
        np.testing.assert_allclose(got, getattr(dense, name)(X), **close)


# ---------------------------------------------------------- where others give no answer, or a wrong one


def test_a_constant_feature_tells_nothing(rng, dtype):
    """Its deviation is a rounding, not zero: its coefficient must not be the inverse of one."""
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
    """Unix times, northings: numbers of a million that are 0.06 apart are as good as others."""
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
    """Two numbers next to each other are what rounding makes of a constant; classes that these part overlap."""
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
    """A feature of large mean that varies is used, however small the mean variance of all."""
    y = np.arange(200) % 2
    X = np.c_[1e3 + 3e-4 * rng.standard_normal(200), 1e-5 * (rng.standard_normal((200, 9)) + y[:, None])]
    X = X.astype(np.float32)
    model = LinearDiscriminantAnalysis(shrinkage=1.0).fit(X, y)
    W, means = within(X, y)
    mean_variance = np.trace(W) / 10
    expected = (means[1] - means[0]) / mean_variance
    np.testing.assert_allclose(model.coef_[0], expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_small_units_in_float32(rng):
    """Squares that float32 cannot hold are taken in float64."""
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
    """Products of the samples square their condition, here 1e10; their triangle does not."""
    X, y = data(rng, 900, 4, 3)
    X = np.round(64 * X * (np.abs(X) > 0.5)) / 64  # sums of these are exact in either dtype
    last = rng.integers(0, 2, 900)
    weight = rng.integers(0, 3, 900) if weighted else None
    given = np.c_[X, X.sum(axis=1) + 2.0**-14 * last].astype(dtype)
    model, expected = (
        LinearDiscriminantAnalysis(unbiased=True).fit(form, y, sample_weight=weight).coef_
        for form in (scipy.sparse.csr_array(given) if sparse else given, np.c_[X, last])
    )
    # In terms of the same features: what is a sum there is a feature of its own here.
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
    """In units of the features the direction has next to no variance, but all of the difference."""
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
    """The difference of two shrunk matrices, total and within, is no covariance of the means."""
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


@pytest.mark.cpu_only("it counts memory of the host")
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
    """Samples near a plane: sums of float32 products would be noise across it."""
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
    # Where the least direction is empty, there is no factor of Cholesky.
    slow = _solution.solve(W, means, equal, equal, 0.999999 * fast.smallest, X.dtype)
    np.testing.assert_allclose(slow.coef, fast.coef, rtol=0, atol=1e-10)
    assert fast.smallest <= np.sqrt(
        np.divide(*np.linalg.eigvalsh(W / np.outer(deviations, deviations))[[0, -1]])
    )


# ---------------------------------------------------------------------------------------- fewer samples than features


def wide(rng, n=40, d=90, k=3, dtype=np.float64):
    """More features than samples, in units that differ."""
    y = np.arange(n) % k
    X = rng.standard_normal((k, d))[y] + rng.standard_normal((n, d)) @ (np.eye(d) + 0.2 * rng.random((d, d)))
    return (X * 10 ** rng.uniform(-1, 1, d) + 5).astype(dtype), y


@pytest.mark.parametrize("shrinkage", [None, 1e-3, 0.3, 1.0, "auto"])
@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.filterwarnings("ignore:.*collinear:UserWarning")
def test_the_space_of_the_samples_gives_the_same(rng, dtype, shrinkage, k, weighted, unbiased):
    """The covariance of the features, which is formed to be stored, is not needed where there are fewer samples."""
    X, y = wide(rng, k=k, dtype=dtype)
    weight = rng.integers(0, 4, len(y)) if weighted else None
    options = {"shrinkage": shrinkage, "unbiased": unbiased, "priors": rng.dirichlet(np.ones(k))}
    of_samples = LinearDiscriminantAnalysis(**options).fit(X, y, weight)
    of_features = LinearDiscriminantAnalysis(store_covariance=True, **options).fit(X, y, weight)
    assert not hasattr(of_samples, "covariance_")
    relative = 1e-3 if dtype == np.float32 else 1e-9
    for name in ("coef_", "intercept_", "scalings_", "explained_variance_ratio_", "means_", "xbar_"):
        expected = getattr(of_features, name)
        atol = relative * np.abs(expected).max()
        np.testing.assert_allclose(getattr(of_samples, name), expected, rtol=0, atol=atol, err_msg=name)
    expected = of_features.predict_proba(X)
    np.testing.assert_allclose(of_samples.predict_proba(X), expected, rtol=0, atol=relative)


@pytest.mark.parametrize("shrinkage", [None, 0.1, "auto"])
@pytest.mark.filterwarnings("ignore:.*collinear:UserWarning")
def test_no_matrix_of_all_features_is_formed(rng, shrinkage):
    X, y = wide(rng, n=30, d=20)
    X = np.tile(X, 300) + rng.standard_normal((30, 6000))
    tracemalloc.start()
    LinearDiscriminantAnalysis(shrinkage=shrinkage).fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6000**2 * 8 / 10


@pytest.mark.filterwarnings("ignore:.*(collinear|constant):UserWarning")
@pytest.mark.parametrize("shrinkage", [None, 0.1, "auto"])
def test_features_that_tell_nothing_or_all_among_many(rng, shrinkage):
    X, y = wide(rng)
    X[:, 3] = 3.14  # constant
    X[:, 5] = y  # constant in each class
    X[:, 7] = X[:, 8]
    of_samples = LinearDiscriminantAnalysis(shrinkage=shrinkage).fit(X, y)
    of_features = LinearDiscriminantAnalysis(shrinkage=shrinkage, store_covariance=True).fit(X, y)
    scale = np.abs(of_features.coef_).max()
    np.testing.assert_allclose(of_samples.coef_, of_features.coef_, rtol=0, atol=1e-9 * scale)
    assert (np.abs(of_samples.coef_[:, 3]) <= 1e-9 * scale).all()
    assert of_samples.score(X, y) == 1


def test_duplicated_samples_have_no_factor(rng):
    """Products of the samples are singular by more than the classes, and eigenvectors take the place of Cholesky's."""
    X, y = wide(rng)
    X, y = np.concatenate([X, X[:6]]), np.concatenate([y, y[:6]])
    with pytest.warns(UserWarning, match="fewer samples than features"):
        of_samples = LinearDiscriminantAnalysis().fit(X, y)
    with pytest.warns(UserWarning, match="collinear"):
        of_features = LinearDiscriminantAnalysis(store_covariance=True).fit(X, y)
    atol = 1e-9 * np.abs(of_features.coef_).max()
    np.testing.assert_allclose(of_samples.coef_, of_features.coef_, rtol=0, atol=atol)


def test_float32_of_fewer_samples_that_its_products_cannot_tell(rng):
    X, y = wide(rng, dtype=np.float32)
    X[:, 0] *= 1e5
    in_float32, in_float64 = (
        LinearDiscriminantAnalysis(shrinkage=1e-9).fit(X.astype(dtype), y)
        for dtype in (np.float32, np.float64)
    )
    atol = 1e-5 * np.abs(in_float64.coef_).max()
    np.testing.assert_allclose(in_float32.coef_, in_float64.coef_, rtol=0, atol=atol)
    with pytest.raises(ValueError, match="squares of X overflow"):
        LinearDiscriminantAnalysis(shrinkage=0.1).fit(X.astype(np.float64) * 1e200, y)
    scaled = LinearDiscriminantAnalysis(shrinkage=0.1).fit(X * np.float32(1e17), y)
    assert np.isfinite(scaled.coef_).all()


@pytest.mark.filterwarnings("ignore:.*collinear:UserWarning")
def test_sparse_samples_of_many_features(rng):
    X, y = wide(rng)
    X[rng.random(X.shape) < 0.7] = 0
    for shrinkage in (0.1, "auto"):
        dense, sparse = (
            LinearDiscriminantAnalysis(shrinkage=shrinkage).fit(form(X), y)
            for form in (np.asarray, scipy.sparse.csr_matrix)
        )
        np.testing.assert_array_equal(sparse.coef_, dense.coef_)


def test_what_was_fitted_without_its_covariance_takes_no_more(rng):
    X, y = wide(rng)
    model = LinearDiscriminantAnalysis(shrinkage=0.1).fit(X, y)
    with pytest.raises(ValueError, match="fewer samples than features"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="fewer samples than features"):
        LinearDiscriminantAnalysis(shrinkage=0.1).partial_fit(X, y, classes=[0, 1, 2]).merge(model)
    stored = LinearDiscriminantAnalysis(shrinkage=0.1, store_covariance=True).fit(X[:20], y[:20])
    stored.partial_fit(X[20:], y[20:])
    np.testing.assert_allclose(stored.coef_, model.coef_, rtol=0, atol=1e-9 * np.abs(model.coef_).max())


# -------------------------------------------------------------------------------------------- chunks, and conventions


@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_are_the_whole(rng, weighted):
    """Also where a class comes late, and labels are strings."""
    X, y = data(rng)
    order = np.argsort(y, kind="stable")
    X, names = X[order], np.array(["ash", "beech", "cedar"])[y[order]]
    weight = rng.integers(1, 4, len(y)) if weighted else None
    whole = LinearDiscriminantAnalysis().fit(X, names, weight)

    def chunks():
        for rows in np.array_split(np.arange(len(y)), 7):
            part = X[rows], names[rows]
            yield (*part, weight[rows]) if weighted else part

    streamed = LinearDiscriminantAnalysis().fit_chunks(chunks())
    np.testing.assert_array_equal(streamed.classes_, whole.classes_)
    np.testing.assert_allclose(streamed.coef_, whole.coef_, rtol=0, atol=1e-10 * np.abs(whole.coef_).max())
    np.testing.assert_array_equal(streamed.predict(X), whole.predict(X))
    more = streamed.partial_fit(X, names)
    twice = LinearDiscriminantAnalysis().fit(
        np.concatenate([X, X]),
        np.concatenate([names, names]),
        None if weight is None else np.concatenate([weight, np.ones(len(y))]),
    )
    np.testing.assert_allclose(more.coef_, twice.coef_, rtol=0, atol=1e-10 * np.abs(twice.coef_).max())


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([], "there is no chunk"),
        ([np.ones((4, 2))], r"each chunk has to be \(X, y\)"),
        ([(np.eye(2), [0, 1]), (np.eye(3), [0, 1, 1])], "3 features"),
        ([(np.eye(2), [1, 1])], "y has 1 class"),
        ([(np.array([[1.0, 2.0], [np.nan, 3.0]]), [0, 1])], "X is nan at row 1, column 0"),
    ],
    ids=str,
)
def test_bad_chunks(chunks, text):
    with pytest.raises(ValueError, match=text):
        LinearDiscriminantAnalysis().fit_chunks(chunks)


def test_memory_mapped_samples_are_read_where_they_are(rng, tmp_path, dtype):
    n, d = 100_000, 30
    X, y = data(rng, n=n, d=d, dtype=dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    LinearDiscriminantAnalysis().fit(mapped[:100], y[:100])  # what is imported on the way
    tracemalloc.start()
    model = LinearDiscriminantAnalysis().fit(mapped, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(model.coef_, LinearDiscriminantAnalysis().fit(X, y).coef_)
    assert peak < X.nbytes / 2, "a copy of X was made"


def test_the_unbiased_covariance(rng):
    """Divided by n - k, as by scikit-learn's default solver until release 1.8."""
    X, y = data(rng)
    n, k = len(y), 3
    biased = LinearDiscriminantAnalysis(solver="lsqr").fit(X, y)
    unbiased = LinearDiscriminantAnalysis(solver="lsqr", unbiased=True).fit(X, y)
    np.testing.assert_allclose(unbiased.covariance_, biased.covariance_ * n / (n - k), rtol=1e-12)
    np.testing.assert_allclose(unbiased.coef_, biased.coef_ * (n - k) / n, rtol=1e-9)
    with pytest.raises(ValueError, match="unbiased=True needs weights"):
        LinearDiscriminantAnalysis(unbiased=True).fit(X, y, np.full(n, 0.01))
    if SCIKIT_LEARN < (1, 9):
        expected = theirs.LinearDiscriminantAnalysis().fit(X, y).coef_
        np.testing.assert_allclose(unbiased.coef_, expected, rtol=1e-7)


# ------------------------------------------------------------------------------------------------------ bad input


def small():
    return np.arange(12.0).reshape(6, 2) ** 1.5, np.array([0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"priors": [0.5, 0.6, 0.1]}, "priors has shape"),
        ({"priors": [-0.5, 1.5]}, "priors must be non-negative"),
        ({"priors": [0.0, 0.0]}, "priors must be finite numbers, not all of them 0"),
        ({"priors": [1.0, np.inf]}, "priors must be finite numbers, not all of them 0"),
        ({"n_components": 2}, "n_components cannot be larger"),
        ({"shrinkage": 1.5}, "shrinkage"),
        ({"solver": "qr"}, "solver"),
        ({"tol": -1.0}, "tol"),
        ({"shrinkage": 0.1, "covariance_estimator": sklearn_covariance.OAS()}, "Only one of the two"),
    ],
    ids=str,
)
def test_bad_parameters(options, text):
    with pytest.raises(ValueError, match=text):
        LinearDiscriminantAnalysis(**options).fit(*small())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda X, y: (X, np.zeros(6)), "1 class; at least 2 classes"),
        (lambda X, y: (X[2:4], y[2:4]), "more than the number of classes"),
        (lambda X, y: (np.where(X[3, 1] == X, np.nan, X), y), r"NaN.*row 3, column 1|row 3, column 1.*NaN"),
        (lambda X, y: (X, y[:5]), "inconsistent numbers of samples"),
        (lambda X, y: (X, y + 0.5), "continuous"),
    ],
)
def test_bad_samples(change, text):
    with pytest.raises(ValueError, match=rf"(?s)^\[LinearDiscriminantAnalysis\].*({text})"):
        LinearDiscriminantAnalysis().fit(*change(*small()))


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
@pytest.mark.parametrize(
    "form",
    [np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csc_array, pd.DataFrame],
    ids=lambda f: f.__name__,
)
def test_missing_values_are_named(rng, form):
    X, y = data(rng, 60, 4)
    model, holes = LinearDiscriminantAnalysis().fit(X, y), X.copy()
    holes[40, 1] = holes[7, 3] = np.nan
    holes = form(holes)
    calls = [
        lambda m: m.fit(holes, y),
        lambda m: m.partial_fit(holes, y),
        lambda m: m.fit_chunks([(holes, y)]),
        lambda m: m.predict(holes),
        lambda m: m.transform(holes),
        lambda m: m.predict_proba(holes),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="X is nan at row 7, column 3"):
            call(model)


@pytest.mark.parametrize("weight", [np.full(6, -1.0), np.ones(5), np.zeros(6), np.full(6, np.nan)], ids=str)
def test_bad_weights(weight):
    with pytest.raises(ValueError, match=r"^\[LinearDiscriminantAnalysis\]"):
        LinearDiscriminantAnalysis().fit(*small(), sample_weight=weight)


def test_bad_streams(rng):
    X, y = data(rng, 40, 3, 2)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        LinearDiscriminantAnalysis().partial_fit(X, y)
    model = LinearDiscriminantAnalysis().partial_fit(X, y, classes=[0, 1])
    coef = model.coef_.copy()
    for bad, text in ((y + 1, "not among the classes: .*2"), (y - 1, "not among the classes: .*-1")):
        with pytest.raises(ValueError, match=text):
            model.partial_fit(X, bad)
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="cannot merge: 3 features here, 2 there"):
        model.merge(LinearDiscriminantAnalysis().fit(X[:, :2], y))
    model.set_params(priors=[0.5, 0.5])
    with pytest.raises(ValueError, match="priors has shape"):
        model.merge(LinearDiscriminantAnalysis().fit(X, y + 1))
    np.testing.assert_array_equal(model.classes_, [0, 1])
    np.testing.assert_array_equal(model.coef_, coef)


def test_what_needs_all_samples_has_no_partial_fit(rng):
    for options in ({"shrinkage": "auto"}, {"covariance_estimator": sklearn_covariance.OAS()}):
        model = LinearDiscriminantAnalysis(**options)
        assert not hasattr(model, "partial_fit")
        assert not hasattr(model, "merge")


def test_lsqr_has_no_axes(rng):
    X, y = data(rng)
    model = LinearDiscriminantAnalysis().fit(X, y).set_params(solver="lsqr").fit(X, y)
    assert not hasattr(model, "scalings_")
    with pytest.raises(NotImplementedError, match="transform not implemented for 'lsqr'"):
        model.transform(X)


def test_priors_that_do_not_add_up():
    X, y = small()
    with pytest.warns(UserWarning, match="Renormalizing") as told:
        model = LinearDiscriminantAnalysis(priors=[0.6, 0.6]).fit(X.astype(np.float32), y)
    assert len(told) == 1
    np.testing.assert_array_equal(model.priors_, [0.5, 0.5])


def test_a_class_of_prior_0_is_never_predicted(rng):
    X, y = data(rng)
    model = LinearDiscriminantAnalysis(priors=[0.0, 0.5, 0.5]).fit(X, y)
    assert set(model.predict(X)) == {1, 2}
    assert (model.predict_proba(X)[:, 0] == 0).all()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shrinkage", [None, 0.2, "auto"])
@pytest.mark.parametrize("few", [False, True])
@pytest.mark.filterwarnings("ignore:.*collinear:UserWarning")
def test_cuda(cupy, rng, dtype, solver, shrinkage, few):
    """CuPy's arrays go in, and come out of every method."""
    X, y = wide(rng, dtype=dtype) if few else data(rng, dtype=dtype)
    options = {"solver": solver, "shrinkage": shrinkage}
    on_cpu = LinearDiscriminantAnalysis(**options).fit(X, y)
    on_cuda = LinearDiscriminantAnalysis(**options).fit(cupy.asarray(X), cupy.asarray(y))
    assert (on_cpu.device_, on_cuda.device_) == ("cpu", "cuda")
    relative = 1e-3 if dtype == np.float32 else 1e-9

    def assert_agrees(got, expected):
        assert isinstance(got, cupy.ndarray)
        atol = relative * np.abs(expected).max()
        np.testing.assert_allclose(cupy.asnumpy(got), expected, rtol=0, atol=atol)

    axes = () if solver == "lsqr" else ("scalings_",)
    for name in ("coef_", "means_", *axes):
        assert_agrees(getattr(on_cuda, name), getattr(on_cpu, name))
    methods = ("predict_proba", "predict_log_proba", "decision_function", "predict")
    for name in (*methods, *(() if solver == "lsqr" else ("transform",))):
        assert_agrees(getattr(on_cuda, name)(cupy.asarray(X)), getattr(on_cpu, name)(X))
    assert on_cuda.score(cupy.asarray(X), cupy.asarray(y)) == on_cpu.score(X, y)


def test_chunks_on_cuda(cupy, rng, dtype):
    X, y = data(rng, dtype=dtype)
    whole = LinearDiscriminantAnalysis().fit(X.astype(np.float64), y)
    chunks = ((cupy.asarray(X[i : i + 50]), cupy.asarray(y[i : i + 50])) for i in range(0, 200, 50))
    streamed = LinearDiscriminantAnalysis().fit_chunks(chunks)
    assert streamed.device_ == "cuda" and isinstance(streamed.coef_, cupy.ndarray)
    atol = 1e-5 * np.abs(whole.coef_).max()
    np.testing.assert_allclose(cupy.asnumpy(streamed.coef_), whole.coef_, rtol=0, atol=atol)
