"""The multilayer perceptrons against scikit-learn's: the same random state gives the same fit."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from perceptrons import both, data_for, weights
from sklearn import neural_network as sklearn_networks

from steepest.neural_network import MLPClassifier

pytestmark = [
    pytest.mark.cpu_only("its fits take too long on the stand-in"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # An option that older releases of scikit-learn pass.
    pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning"),
]

# Adam divides by the square root of the second moment, which amplifies rounding to 1e-9 of a weight.
CLOSE = {"rtol": 0, "atol": 1e-8}
# Parameters that scikit-learn does not have.
OWN_PARAMETERS = {
    **dict.fromkeys(("callbacks", "class_weight", "max_norm")),
    "device": "auto",
    "precision": "float32",
    "dropout": 0.0,
    "init": "auto",
    "l1_ratio": 0.0,
    "pretrain": None,
    "pretrain_iter": 20,
}
# scikit-learn adds epsilon before the bias correction of the second moment; this epsilon is too small to matter.
SMALL = {"hidden_layer_sizes": (8, 5), "learning_rate_init": 0.01, "epsilon": 1e-15, "random_state": 7}


def theirs(estimator, **options):
    return getattr(sklearn_networks, estimator.__name__)(**options)


def accepts_weights():
    # scikit-learn takes sample weights since 1.7.
    return "sample_weight" in inspect.signature(sklearn_networks.MLPClassifier.fit).parameters


def assert_same_fit(estimator, X, y, options, **fit_options):
    ours = estimator(**options).fit(X, y, **fit_options)
    reference = theirs(estimator, **options).fit(X, y, **fit_options)
    for w, expected in zip(weights(ours), [*reference.coefs_, *reference.intercepts_], strict=True):
        np.testing.assert_allclose(w, expected, **CLOSE)
    assert ours.n_iter_ == reference.n_iter_
    return ours, reference


@both
def test_parameters_are_those_of_scikit_learn(estimator):
    expected, parameters = theirs(estimator).get_params(), estimator().get_params()
    if "loss" not in expected:
        # scikit-learn's classifier has the cross-entropy alone, and its regressor had a single loss before 1.7.
        assert parameters.pop("loss") in ("log_loss", "squared_error")
    own = {name: parameters.pop(name) for name in set(parameters) - set(expected)}
    assert own == {name: OWN_PARAMETERS[name] for name in own}
    assert parameters == expected


@both
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize(
    "options", [{"solver": "adam"}, {"solver": "sgd"}, {"solver": "sgd", "momentum": 0}], ids=str
)
@pytest.mark.parametrize("weighted", [False, True])
def test_mini_batches_in_the_same_order_from_the_same_weights(estimator, activation, options, weighted):
    X, y = data_for(estimator)
    if weighted and not accepts_weights():
        pytest.skip("this scikit-learn has no sample_weight")
    fit_options = {"sample_weight": np.random.default_rng(0).uniform(0.2, 3.0, len(X))} if weighted else {}
    if weighted:
        # scikit-learn divides the penalty of a batch by the batch's weights, we by the mean weight of batches.
        options = {**options, "batch_size": len(X)}
    ours, reference = assert_same_fit(
        estimator,
        X,
        y,
        {**SMALL, "activation": activation, "alpha": 0.5, "batch_size": 32, "max_iter": 5, **options},
        **fit_options,
    )
    # Our loss has the mean of the penalties at the start and end of an epoch, so it differs by their change.
    np.testing.assert_allclose(ours.loss_curve_, reference.loss_curve_, rtol=0, atol=0.05)


@both
@pytest.mark.parametrize("activation", ["logistic", "tanh"])
@pytest.mark.parametrize("sizes", [(), (3,)], ids=str)
def test_initial_weights_of_few_layers(estimator, activation, sizes):
    """The activation determines the initial scale of the output layer too, even if it is the only layer."""
    X, y = data_for(estimator)
    frozen = {
        "learning_rate_init": 1e-300,
        "max_iter": 1,
        "hidden_layer_sizes": sizes,
        "activation": activation,
    }
    assert_same_fit(estimator, X, y, {**SMALL, **frozen})


@both
@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
def test_it_stops_after_the_same_epoch(estimator, schedule):
    X, y = data_for(estimator)
    options = {**SMALL, "solver": "sgd", "learning_rate": schedule, "tol": 0.02, "n_iter_no_change": 2}
    # The test omits the penalty, which enters the two losses differently.
    ours, _ = assert_same_fit(estimator, X, y, {**options, "alpha": 0.0, "max_iter": 300})
    assert ours.n_iter_ < 300


@both
def test_early_stopping_holds_out_the_same_samples(estimator):
    X, y = data_for(estimator, 200)
    ours, reference = assert_same_fit(
        estimator, X, y, {**SMALL, "early_stopping": True, "max_iter": 100, "n_iter_no_change": 4}
    )
    np.testing.assert_allclose(ours.validation_scores_, reference.validation_scores_, rtol=0, atol=1e-7)
    assert ours.best_validation_score_ == pytest.approx(reference.best_validation_score_, abs=1e-7)


@both
@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_lbfgs_finds_the_same_minimum(estimator, activation):
    X, y = data_for(estimator)
    options = {**SMALL, "solver": "lbfgs", "activation": activation, "alpha": 1.0, "max_iter": 20}
    ours, reference = assert_same_fit(estimator, X, y, options)
    assert ours.loss_ == pytest.approx(reference.loss_, rel=1e-8)


@both
def test_partial_fit_of_given_weights(estimator):
    """partial_fit starts from weights that were set before its first call."""
    X, y = data_for(estimator)
    source = theirs(estimator, **SMALL, max_iter=3).fit(X, y)
    classes = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    model = estimator(**{**SMALL, "shuffle": False, "learning_rate_init": 1e-300})
    model.coefs_, model.intercepts_ = source.coefs_, source.intercepts_
    model.partial_fit(X, y, **classes)
    np.testing.assert_allclose(model.predict(X), source.predict(X), **CLOSE)
    for w, expected in zip(weights(model), [*source.coefs_, *source.intercepts_], strict=True):
        np.testing.assert_array_equal(w, expected)
    # Setting an item writes into the network.
    model.coefs_[0] = np.zeros_like(source.coefs_[0])
    assert np.ptp(model.predict(X)) == 0
    model.coefs_ = source.coefs_
    np.testing.assert_allclose(model.predict(X), source.predict(X), **CLOSE)
    with pytest.raises(ValueError, match=r"coefs_\[0\] has shape"):
        model.coefs_[0] = np.zeros(3)
    with pytest.raises(ValueError, match="coefs_ has arrays of shapes"):
        model.coefs_ = source.coefs_[1:]
    # All arrays are checked before the first one is written.
    words = [np.ones_like(source.coefs_[0]), *(np.full(w.shape, "a") for w in source.coefs_[1:])]
    with pytest.raises(ValueError, match="could not convert string to float"):
        model.coefs_ = words
    np.testing.assert_array_equal(model.coefs_[0], source.coefs_[0])
    with pytest.raises(TypeError, match="one array at a time"):
        model.coefs_[:] = source.coefs_
