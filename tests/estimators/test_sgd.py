"""Linear models by stochastic gradient descent: scikit-learn's steps and checks, stopping rules, and bad input."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
import scipy.sparse
from linear_models import SCIKIT_LEARN, classes
from sklearn import linear_model as theirs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import estimator_checks_generator

import steepest
from steepest.linear_model import Perceptron, SGDClassifier, SGDRegressor
from steepest.linear_model.sgd import sparse_steps

ESTIMATORS = [SGDClassifier, SGDRegressor, Perceptron]
each = pytest.mark.parametrize("estimator", ESTIMATORS)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# A weight of 2 means one step of double length, not two steps; scikit-learn excludes these checks for the same reason.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
    "check_sample_weight_equivalence",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        (estimator, check)
        for made in ESTIMATORS
        for estimator, check in estimator_checks_generator(made())
        if check.func.__name__ not in EXPECTED_FAILURES
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, tuple(ESTIMATORS)) else value.func.__name__,
)
def test_scikit_learn(estimator, check):
    check(estimator)


@each
def test_parameters_are_those_of_scikit_learn(estimator):
    ours, others = estimator().get_params(), getattr(theirs, estimator.__name__)().get_params()
    assert (ours.pop("device"), ours.pop("batch_size", 1)) == ("auto", 1)
    # The default of eta0 was 0 before scikit-learn 1.8, which has no "pa1" and "pa2".
    assert {**ours, "eta0": None} == {**others, "eta0": None}


# ------------------------------------------------------------------------------------- scikit-learn's steps


def data(rng, k, n=200):
    X, y = classes(rng, n, 6, k)
    return X / X.std(0), y


def assert_same(ours, other):
    assert (ours.n_iter_, ours.t_) == (other.n_iter_, other.t_)
    # Both take the same steps up to rounding, which small rates do not amplify.
    np.testing.assert_allclose(ours.coef_, other.coef_, rtol=0, atol=1e-9 * np.abs(other.coef_).max())
    np.testing.assert_allclose(ours.intercept_, other.intercept_, rtol=0, atol=1e-9)


SMALL = {"learning_rate": "constant", "eta0": 0.003, "shuffle": False}
OPTIONS = [
    {},
    {"penalty": "l1", "alpha": 0.01},
    {"penalty": "elasticnet", "alpha": 0.01, "l1_ratio": 0.3},
    {"penalty": None},
    {"learning_rate": "invscaling", "power_t": 0.3, "eta0": 0.01},
    {"learning_rate": "adaptive"},
    {"learning_rate": "optimal", "alpha": 0.5},
    {"average": True},
    {"average": 500},
    {"fit_intercept": False},
    {"tol": None, "max_iter": 7},
]


def comparable(options):
    """Options with which both stop at the same epoch: before 1.8, scikit-learn's stopping rule left out the penalty."""
    return options if SCIKIT_LEARN >= (1, 8) else {**options, "tol": None, "max_iter": 8}


@pytest.mark.parametrize(
    "loss", ["hinge", "squared_hinge", "modified_huber", "perceptron", "log_loss", "squared_error", "huber"]
)
@pytest.mark.parametrize("options", [*OPTIONS, {"class_weight": {0: 0.5, 1: 2.0}}], ids=str)
def test_classifiers_take_the_steps_of_scikit_learn(rng, loss, options):
    for k, weighted in ((2, False), (3, True)):
        X, y = data(rng, k)
        s = rng.uniform(0.3, 2.0, len(X)) if weighted else None
        options = comparable({**SMALL, "loss": loss, **options})
        ours = SGDClassifier(**options).fit(X, y, sample_weight=s)
        assert_same(ours, theirs.SGDClassifier(**options).fit(X, y, sample_weight=s))


@pytest.mark.parametrize(
    "loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_regressors_take_the_steps_of_scikit_learn(rng, loss, options):
    X = rng.standard_normal((150, 5))
    y = X @ np.arange(5.0) + rng.standard_normal(150)
    for s in (None, rng.uniform(0.3, 2.0, 150)):
        options = comparable({**SMALL, "loss": loss, **options})
        ours = SGDRegressor(**options).fit(X, y, sample_weight=s)
        assert_same(ours, theirs.SGDRegressor(**options).fit(X, y, sample_weight=s))


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_the_perceptron_takes_the_steps_of_scikit_learn(rng, k, penalty):
    X, y = data(rng, k)
    options = {"shuffle": False, "penalty": penalty, "max_iter": 20}
    assert_same(Perceptron(**options).fit(X, y), theirs.Perceptron(**options).fit(X, y))


@pytest.mark.skipif(
    SCIKIT_LEARN < (1, 8), reason="before 1.8 passive-aggressive steps belong to another class, bounded by C"
)
@pytest.mark.parametrize("rate", ["pa1", "pa2"])
@pytest.mark.parametrize("k", [2, 3])
def test_passive_aggressive_steps(rng, rate, k):
    X, y = data(rng, k)
    options = {"learning_rate": rate, "eta0": 0.01, "penalty": None, "shuffle": False}
    ours = SGDClassifier(**options).fit(X, y)
    assert_same(ours, theirs.SGDClassifier(**options).fit(X, y))


@each
def test_partial_fit_takes_up_where_it_was(rng, estimator):
    X, y = data(rng, 3)
    options = {"shuffle": False, "random_state": 0}
    options |= (
        {} if estimator is Perceptron else {"average": 250, "learning_rate": "invscaling", "eta0": 0.01}
    )
    first = {} if estimator is SGDRegressor else {"classes": [0, 1, 2]}
    ours, other = estimator(**options), getattr(theirs, estimator.__name__)(**options)
    for start in (0, 50, 100, 150):
        part = slice(start, start + 50)
        ours.partial_fit(X[part], y[part], **first)
        other.partial_fit(X[part], y[part], **first)
        assert_same(ours, other)
    whole = estimator(**options, max_iter=1).fit(X, y)
    np.testing.assert_allclose(ours.coef_, whole.coef_, rtol=0, atol=1e-12)


def test_the_exponential_loss(rng):
    """One step agrees with a calculation by hand, since scikit-learn has no exponential loss."""
    X, y = rng.standard_normal((1, 3)), np.array([1])
    model = SGDClassifier(loss="exponential", learning_rate="constant", eta0=0.5, penalty=None)
    model.partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    w, b = np.zeros(3), 0.0
    for _ in range(2):
        step = 0.5 * np.exp(-(X[0] @ w + b))
        w, b = w + step * X[0], b + step
    np.testing.assert_allclose(model.coef_, w[None], rtol=1e-14)
    np.testing.assert_allclose(model.intercept_, [b], rtol=1e-14)


# --------------------------------------------------------------------------- orders, stopping, state, input


@each
def test_a_seed_gives_one_result(rng, estimator):
    X, y = data(rng, 3)
    one, same, other = (estimator(random_state=seed, max_iter=5, tol=None).fit(X, y) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.coef_, same.coef_)
    assert np.abs(one.coef_ - other.coef_).max() > 0
    assert len(estimator(max_iter=5, random_state=0).fit(X, y).coef_.astype(np.float32)) == len(one.coef_)


@pytest.mark.parametrize("loss", ["hinge", "log_loss"])
def test_the_objective_is_as_low_as_that_of_scikit_learn(rng, loss):
    X, y = data(rng, 2, 4000)
    t = 2 * y - 1

    def objective(model):
        z = X @ model.coef_[0] + model.intercept_[0]
        each = np.maximum(0, 1 - t * z) if loss == "hinge" else np.logaddexp(0, -t * z)
        return each.mean() + 0.01 / 2 * (model.coef_**2).sum()

    options = {"loss": loss, "alpha": 0.01, "average": True}
    ours, other = (
        np.mean([objective(module(**options, random_state=seed).fit(X, y)) for seed in range(5)])
        for module in (SGDClassifier, theirs.SGDClassifier)
    )
    assert ours < other * 1.005


@each
def test_early_stopping(rng, estimator):
    X, y = data(rng, 3, 400)
    model = estimator(early_stopping=True, random_state=0, n_iter_no_change=3, max_iter=200).fit(X, y)
    assert model.n_iter_ < 200
    assert model.score(X, y) > 0.2
    with pytest.raises(ValueError, match="early_stopping should be False with partial_fit"):
        estimator(early_stopping=True).partial_fit(X, y)
    weights = np.zeros(400)
    weights[0] = 1.0
    with pytest.raises(ValueError, match="validation set are all zero"):
        estimator(early_stopping=True, random_state=0).fit(X, y, sample_weight=weights)


def test_the_score_of_held_out_samples_says_when_to_stop(rng):
    X, y = data(rng, 2, 300)
    options = {"loss": "hinge", **SMALL, "early_stopping": True, "random_state": 3, "penalty": None}
    assert_same(SGDClassifier(**options).fit(X, y), theirs.SGDClassifier(**options).fit(X, y))


@each
def test_float32_stays_float32(rng, estimator):
    X, y = data(rng, 3)
    options = {"shuffle": False, "max_iter": 3, "tol": None}
    model = estimator(**options).fit(X.astype(np.float32), y)
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    expected = estimator(**options).fit(X, y).coef_
    np.testing.assert_allclose(model.coef_, expected, rtol=0, atol=1e-2 * np.abs(expected).max())


@each
@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_sparse_is_as_dense(rng, monkeypatch, estimator, penalty):
    X, y = data(rng, 3)
    X[rng.random(X.shape) < 0.5] = 0.0
    monkeypatch.setattr(sparse_steps, "_DENSE_ITEMS", 6 * 7)  # items of seven rows
    options = {"random_state": 0, "penalty": penalty, "max_iter": 4, "tol": None}
    for extra in ({}, {"early_stopping": True}):
        dense = estimator(**options, **extra).fit(X, y)
        model = estimator(**options, **extra).fit(scipy.sparse.csc_array(X), y)
        np.testing.assert_allclose(model.coef_, dense.coef_, rtol=0, atol=1e-12 * np.abs(dense.coef_).max())


@each
def test_warm_starts_and_given_starts(rng, estimator):
    X, y = data(rng, 3)
    options = {"shuffle": False, "max_iter": 2, "tol": None}
    model = estimator(**options).fit(X, y)
    warm = estimator(**options, warm_start=True).fit(X, y).fit(X, y)
    given = estimator(**options).fit(X, y, coef_init=model.coef_, intercept_init=model.intercept_)
    np.testing.assert_array_equal(warm.coef_, given.coef_)
    assert np.abs(warm.coef_ - model.coef_).max() > 0
    for bad in ({"coef_init": np.zeros(5)}, {"intercept_init": np.zeros(5)}):
        with pytest.raises(ValueError, match="does not match dataset"):
            estimator().fit(X, y, **bad)


def test_probabilities(rng):
    for k in (2, 3):
        X, y = data(rng, k)
        model = SGDClassifier(loss="log_loss", random_state=0, average=True).fit(X, y)
        p = 1 / (1 + np.exp(-model.decision_function(X)))
        expected = np.c_[1 - p, p] if k == 2 else p / p.sum(1, keepdims=True)
        np.testing.assert_allclose(model.predict_proba(X), expected, rtol=0, atol=1e-14)
        # Probabilities near 1 are rounded to 1, but their logarithms are not rounded to 0.
        np.testing.assert_allclose(
            model.predict_log_proba(X), np.log(model.predict_proba(X)), rtol=1e-14, atol=1e-15
        )
    assert not hasattr(SGDClassifier(), "predict_proba")


@each
def test_divergence_leaves_the_model_as_it_was(rng, estimator):
    X, y = data(rng, 3)
    steps = {"learning_rate": "constant", "loss": "squared_error", "penalty": None}
    options = {} if estimator is Perceptron else steps
    model = estimator(**options, eta0=1e-3).fit(X, y)
    before = model.coef_.copy()
    model.set_params(eta0=1e300, warm_start=True)
    with pytest.raises(steepest.DivergenceError, match=rf"^\[{estimator.__name__}\] .* at epoch #\d+"):
        model.fit(X * 1e20, y)
    np.testing.assert_array_equal(model.coef_, before)


@each
def test_bad_input(rng, estimator):
    X, y = data(rng, 3)
    wrong = X.copy()
    wrong[7, 2] = np.nan
    name = rf"^\[{estimator.__name__}\]"
    with pytest.raises(ValueError, match=rf"{name} X is nan at row 7, column 2"):
        estimator().fit(wrong, y)
    with pytest.raises(ValueError, match=rf"{name} .*[Nn]egative"):
        estimator().fit(X, y, sample_weight=np.r_[-1.0, np.ones(len(X) - 1)])
    with pytest.raises(ValueError, match=rf"{name} X has 5 features"):
        estimator().fit(X, y).predict(X[:, :5])
    with pytest.warns(ConvergenceWarning, match="Maximum number of iteration reached"):
        estimator(max_iter=1).fit(X, y)
    if estimator is not Perceptron:
        with pytest.raises(ValueError, match="alpha must be > 0"):
            estimator(alpha=0, learning_rate="optimal").fit(X, y)
        with pytest.raises(ValueError, match="only works with loss"):
            estimator(learning_rate="pa1", loss="squared_error").fit(X, y)


@pytest.mark.parametrize("estimator", [SGDClassifier, Perceptron])
def test_labels(rng, estimator):
    X, y = data(rng, 3)
    labels = np.array(["a", "b", "c"])[y]
    model = estimator(random_state=0).fit(X, labels)
    assert set(model.predict(X)) <= set(labels)
    model = estimator()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, labels)
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`: \['c'\]"):
        model.partial_fit(X, labels, classes=["a", "b"])
    assert not hasattr(model, "classes_")
    model.partial_fit(X, labels, classes=["c", "b", "a"])
    with pytest.raises(ValueError, match="is not the same as on last call"):
        model.partial_fit(X, labels, classes=["a", "b", "d"])
    for weights, text in (
        ({"d": 1.0}, "has a weight for 'd'"),
        ({"a": -1.0}, "of 'a' must be finite and not negative"),
    ):
        with pytest.raises(ValueError, match=text):
            estimator(class_weight=weights).fit(X, labels)
    with pytest.raises(ValueError, match="not supported for partial_fit"):
        estimator(class_weight="balanced").partial_fit(X, labels, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="greater than one; got 1 class"):
        estimator().fit(X, np.zeros(len(X)))


def test_progress_is_printed_where_asked(rng, capsys):
    X, y = data(rng, 3)
    for estimator, early in itertools.product(ESTIMATORS, (False, True)):
        model = estimator(verbose=1, random_state=0, early_stopping=early).fit(X, y)
        text = capsys.readouterr().out
        assert text.count("-- Epoch") >= model.n_iter_
        assert ("validation score" if early else "objective") in text
        estimator(random_state=0).fit(X, y)
        assert capsys.readouterr().out == ""


def test_signatures_of_fit():
    for estimator in ESTIMATORS:
        other = getattr(theirs, estimator.__name__)
        for method in ("fit", "partial_fit"):
            ours, expected = (
                list(inspect.signature(getattr(cls, method)).parameters) for cls in (estimator, other)
            )
            assert ours == expected
