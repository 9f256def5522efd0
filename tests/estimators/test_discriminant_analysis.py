"""Linear discriminant analysis: textbook formulas, shrinkage, agreement with scikit-learn, bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.sparse
from discriminants import FITTED, SOLVERS, centred, data, functions, wide, within
from linear_models import SCIKIT_LEARN
from sklearn import covariance as sklearn_covariance
from sklearn import datasets
from sklearn import discriminant_analysis as theirs
from sklearn.utils.estimator_checks import estimator_checks_generator

from steepest.discriminant_analysis import LinearDiscriminantAnalysis

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


def decisions(X, coef, intercept):
    scores = X @ coef.T + intercept
    return scores[:, 1] - scores[:, 0] if len(coef) == 2 else scores - scores.mean(axis=1, keepdims=True)


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


@pytest.mark.skipif(SCIKIT_LEARN < (1, 9), reason="scikit-learn divided the covariance by n - k until 1.8")
def test_answers_are_those_of_scikit_learn(rng, dtype):
    X, y = data(rng, 300, 8, 4)
    X = X.astype(dtype)
    ours = LinearDiscriminantAnalysis(store_covariance=True).fit(X, y)
    other = theirs.LinearDiscriminantAnalysis(store_covariance=True).fit(X.astype(np.float64), y)
    relative = 1e-4 if dtype == np.float32 else 1e-10

    def assert_agrees(got, expected, name):
        atol = relative * np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol, err_msg=name)

    # The signs of the axes in `scalings_` are arbitrary.
    for name in (*(name for name in FITTED if name != "scalings_"), "covariance_"):
        assert getattr(ours, name).dtype == dtype
        assert_agrees(getattr(ours, name), getattr(other, name), name)
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        assert_agrees(getattr(ours, name)(X), getattr(other, name)(X), name)
    assert_agrees(np.abs(ours.transform(X)), np.abs(other.transform(X)), "transform")


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


def test_the_unbiased_covariance(rng):
    """unbiased=True divides by n - k, as scikit-learn's default solver did until release 1.8."""
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
    """Every method takes and returns CuPy arrays."""
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
