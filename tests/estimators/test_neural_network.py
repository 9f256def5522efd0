"""The multilayer perceptrons: scikit-learn's checks, agreement with its results, and documented rules."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from backends import run_python
from perceptrons import ESTIMATORS, arena_bytes, blobs, both, data_for, weights
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from steepest.neural_network import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.cpu_only("its fits take too long on the stand-in; test_device.py has short ones"),
]


# ------------------------------------------------------------------------------------------- scikit-learn


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"),
    # parametrize_with_checks of older releases passes a generator, about which pytest warns.
    [case for estimator in ESTIMATORS for case in estimator_checks_generator(estimator())],
    ids=lambda value: type(value).__name__ if isinstance(value, tuple(ESTIMATORS)) else value.func.__name__,
)
def test_scikit_learn(estimator, check):
    check(estimator)


# ---------------------------------------------------------------------------------- data and predictions


@both
def test_dtypes(estimator):
    for fitted in (np.float32, np.float64):
        X, y = data_for(estimator, dtype=fitted)
        model = estimator(max_iter=2, random_state=0).fit(X, y)
        assert {w.dtype for w in weights(model)} == {np.dtype(fitted)}
        for asked in (np.float32, np.float64):
            output = model.predict_proba if estimator is MLPClassifier else model.predict
            assert output(X.astype(asked)).dtype == fitted
        model.partial_fit(X.astype(np.float32), y)
        assert {w.dtype for w in weights(model)} == {np.dtype(fitted)}
    assert estimator(max_iter=2).fit(np.rint(X).astype(int), y).coefs_[0].dtype == np.float64


@both
def test_layouts_and_read_only_inputs(estimator):
    X, y = data_for(estimator, 60, np.float32)
    expected = arena_bytes(estimator(max_iter=2, random_state=0).fit(X, y))
    read_only = X.copy()
    read_only.flags.writeable = False
    padded = np.zeros((120, 15), np.float32)
    padded[::2, 3:13] = X
    for same in (np.asfortranarray(X), read_only, padded[::2, 3:13], X.tolist()):
        model = estimator(max_iter=2, random_state=0).fit(np.asarray(same, np.float32), y)
        assert arena_bytes(model) == expected
        np.testing.assert_array_equal(model.predict(same), model.predict(X))


def test_labels():
    X, y = blobs()
    names = np.array(["north", "east", "south"])
    by_id, by_name = (
        MLPClassifier(max_iter=100, random_state=0).fit(X, labels)
        for labels in (np.argsort(names)[y], names[y])
    )
    assert list(by_name.classes_) == sorted(names)
    assert set(by_name.predict(X)) <= set(names)
    assert by_name.score(X, names[y]) > 0.9
    np.testing.assert_array_equal(names[np.argsort(names)][by_id.predict(X)], by_name.predict(X))


def test_log_probabilities_do_not_underflow():
    X, y = blobs(dtype=np.float32)
    model = MLPClassifier(max_iter=5, random_state=0).fit(X, y)
    assert np.isfinite(model.predict_log_proba(1e4 * X)).all()


def test_regression_of_several_outputs():
    X, y = data_for(MLPRegressor)
    Y = np.stack([y, -y, 2 * y], axis=1)
    model = MLPRegressor(hidden_layer_sizes=(50,), max_iter=300, learning_rate_init=0.01, random_state=0).fit(
        X, Y
    )
    assert model.predict(X).shape == (120, 3)
    assert model.score(X, Y) > 0.95
    assert MLPRegressor(max_iter=2).fit(X, y).predict(X).shape == (120,)


# --------------------------------------------------------------------------------------- continued training


@both
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_goes_on_with_the_optimizer(estimator, solver):
    X, y = data_for(estimator)
    # A fit reshuffles the order of the previous epoch, whereas partial_fit shuffles the samples that it gets.
    options = {
        "hidden_layer_sizes": (8,),
        "solver": solver,
        "batch_size": 50,
        "random_state": 3,
        "shuffle": False,
    }
    classes = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    whole = estimator(**options, max_iter=4).fit(X, y)
    parts = estimator(**options)
    for i in range(4):
        parts.partial_fit(X, y, **(classes if i == 0 else {}))
        # A pickle or copy in between changes nothing, the optimizer's state included.
        parts = pickle.loads(pickle.dumps(parts)) if i % 2 else copy.deepcopy(parts)
    assert arena_bytes(parts) == arena_bytes(whole)
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.t_ == whole.t_ == 480


@both
def test_the_orders_of_partial_fit_go_on(estimator):
    X, y = data_for(estimator)
    classes = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    options = {"hidden_layer_sizes": (8,), "batch_size": 50, "random_state": 3}
    fits = []
    for keep in (lambda model: model, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))):
        model = keep(estimator(**options).partial_fit(X, y, **classes)).partial_fit(X, y)
        fits.append(arena_bytes(model))
    assert len(set(fits)) == 1
    # The next call advances the random state, so its order differs.
    state = model._random_state.get_state()[1].tobytes()
    assert model.partial_fit(X, y)._random_state.get_state()[1].tobytes() != state


def test_partial_fit_classes():
    X, y = blobs()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(X, y)
    model = MLPClassifier(learning_rate_init=0.01, random_state=0)
    for _ in range(50):
        model.partial_fit(X[y > 0], y[y > 0], classes=[0, 1, 2])
    assert model.n_outputs_ == 3
    assert model.score(X[y > 0], y[y > 0]) > 0.95
    with pytest.raises(ValueError, match="is not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`: \[3\]"):
        model.partial_fit(X, np.where(y == 2, 3, y))


@both
def test_warm_start(estimator):
    X, y = data_for(estimator)
    options = {"batch_size": 50, "random_state": 3, "n_iter_no_change": 100, "shuffle": False}
    model = estimator(**options, max_iter=2, warm_start=True).fit(X, y).fit(X, y)
    assert model.n_iter_ == 2
    assert arena_bytes(model) == arena_bytes(estimator(**options, max_iter=4).fit(X, y))
    with pytest.raises(ValueError, match="hidden_layer_sizes, activation, dropout, init and the number of"):
        model.set_params(hidden_layer_sizes=(7,)).fit(X, y)
    if estimator is MLPClassifier:
        with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
            model.set_params(hidden_layer_sizes=(100,)).fit(X, np.where(y == 2, 1, y))


@both
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_coefs_are_views_and_stay_so(estimator, duplicate):
    X, y = data_for(estimator)
    model = estimator(hidden_layer_sizes=(8,), max_iter=2).fit(X, y)
    twin = duplicate(model)
    output = "predict_proba" if estimator is MLPClassifier else "predict"
    np.testing.assert_array_equal(getattr(twin, output)(X), getattr(model, output)(X))
    for coef in twin.coefs_:
        coef[...] = 0
    assert np.ptp(getattr(twin, output)(X), axis=0).max() == 0
    assert np.ptp(getattr(model, output)(X), axis=0).max() > 0
    assert not hasattr(clone(model), "coefs_")
    assert not hasattr(clone(model), "intercepts_")
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


@both
def test_pipelines_and_searches(estimator):
    X, y = data_for(estimator, 60)
    pipeline = make_pipeline(StandardScaler(), estimator(hidden_layer_sizes=(4,), max_iter=3, random_state=0))
    name = estimator.__name__.lower()
    search = GridSearchCV(pipeline, {f"{name}__alpha": [0.0, 1.0]}, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# --------------------------------------------------------------------------------------------------- errors


@both
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_bad_item_is_named(estimator, bad):
    X, y = data_for(estimator)
    model = estimator(max_iter=2).fit(X, y)
    X[7, 3] = X[9, 0] = bad
    kind = "NaN" if np.isnan(bad) else "infinity"
    for call in (lambda: estimator().fit(X, y), lambda: model.predict(X)):
        with pytest.raises(
            ValueError, match=rf"^\[{estimator.__name__}\] X is {bad} at row 7, column 3\. .*{kind}"
        ):
            call()


@both
def test_parameters_are_checked(estimator):
    X, y = data_for(estimator)
    for parameter, value in (("alpha", -1.0), ("solver", "newton"), ("batch_size", 0), ("device", "tpu")):
        with pytest.raises(ValueError, match=f"'{parameter}' parameter of {estimator.__name__}"):
            estimator(**{parameter: value}).fit(X, y)
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0"):
        estimator(hidden_layer_sizes=(3, 0)).fit(X, y)
    with pytest.raises(ValueError, match=r"(?i)zero"):
        estimator().fit(X, y, sample_weight=np.zeros(len(X)))


@both
def test_device(estimator):
    X, y = data_for(estimator)
    for device in ("auto", "cpu"):
        assert estimator(max_iter=1, device=device).fit(X, y).device_ == "cpu"


def test_import_is_lazy():
    run_python(
        "import sys, steepest\n"
        "assert 'sklearn' not in sys.modules and 'matplotlib' not in sys.modules\n"
        "from steepest import nn, optim\n"
        "assert 'sklearn' not in sys.modules\n"
        "import steepest.neural_network, steepest.plots\n"
        "assert 'matplotlib' not in sys.modules"
    )
