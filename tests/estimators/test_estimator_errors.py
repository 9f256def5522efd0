"""Every estimator rejects wrong input with an error that has its name and a reason."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils._param_validation import InvalidParameterError

from steepest.callbacks import ProgressBar
from steepest.decomposition import PCA
from steepest.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)
from steepest.neural_network import Autoencoder, MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.cpu_only("it does not test kernels"),
]

CLASSIFIERS = (MLPClassifier, LogisticRegression, SGDClassifier, Perceptron)
REGRESSORS = (MLPRegressor, LinearRegression, SGDRegressor)
TRANSFORMERS = (Autoencoder, PCA)
NETWORKS = (MLPClassifier, MLPRegressor, Autoencoder)
WEIGHTED = (MLPClassifier, MLPRegressor, Autoencoder, *REGRESSORS[1:], LogisticRegression, SGDClassifier)

X = np.random.default_rng(0).standard_normal((40, 4))
NUMBERS = X[:, 1].copy()
CLASSES = (X[:, 0] > 0).astype(int)


def make(estimator, **options):
    return estimator(**{"max_iter": 2, **options} if "max_iter" in estimator().get_params() else options)


def targets(estimator):
    return {} if estimator in TRANSFORMERS else {"y": CLASSES if estimator in CLASSIFIERS else NUMBERS}


def use(model, X):
    return model.predict(X) if hasattr(model, "predict") else model.transform(X)


def changed(row, column, value):
    values = X.copy()
    values[row, column] = value
    return values


def refused(estimator, text, error=ValueError):
    return pytest.raises(error, match=rf"^\[{estimator.__name__}\] (?s:.*){text}")


everyone = pytest.mark.parametrize("estimator", [*CLASSIFIERS, *REGRESSORS, *TRANSFORMERS])

BAD_X = {
    "NaN": (changed(5, 2, np.nan), "X is nan at row 5, column 2"),
    "infinite": (changed(7, 1, -np.inf), "X is -inf at row 7, column 1"),
    "a row": (X[0], "Expected 2D array, got 1D array"),
    "three axes": (X[:, :, None], "Found array with dim 3"),
    "no rows": (X[:0], "0 sample"),
    "complex": (X.astype(complex), "Complex data not supported"),
    "text": (np.full((40, 4), "a"), "could not convert string to float"),
}


@everyone
@pytest.mark.parametrize("kind", BAD_X)
def test_bad_x(estimator, kind):
    bad, text = BAD_X[kind]
    y = targets(estimator)
    with refused(estimator, text):
        make(estimator).fit(bad, **{name: values[: len(bad)] for name, values in y.items()})
    model = make(estimator).fit(X, **y)
    with refused(estimator, text):
        use(model, bad)


@everyone
def test_other_features(estimator):
    model = make(estimator).fit(X, **targets(estimator))
    with refused(estimator, "X has 3 features, but .* is expecting 4 features"):
        use(model, X[:, :3])


@pytest.mark.parametrize("estimator", [*CLASSIFIERS, *REGRESSORS])
def test_bad_y(estimator):
    y = targets(estimator)["y"]
    with refused(estimator, "inconsistent numbers of samples"):
        make(estimator).fit(X, y[1:])
    with refused(estimator, r"y is nan at row 3\. Input y contains NaN"):
        make(estimator).fit(X, np.where(np.arange(40) == 3, np.nan, y))
    with refused(estimator, "requires y to be passed"):
        make(estimator).fit(X, None)


@pytest.mark.parametrize("estimator", [*CLASSIFIERS, *REGRESSORS])
@pytest.mark.parametrize("missing", [None, np.nan, "pandas.NA"], ids=str)
def test_missing_targets(estimator, missing):
    """Missing string or number targets raise an error that names the first such row."""
    if missing == "pandas.NA":
        missing = pytest.importorskip("pandas").NA
    y = (targets(estimator)["y"] if estimator in REGRESSORS else np.array(["low", "high"])[CLASSES]).astype(
        object
    )
    y[[5, 9]] = missing
    for given in (y, list(y)):
        with refused(estimator, rf"y is {missing} at row 5\. Every sample needs a target"):
            make(estimator).fit(X, given)


@pytest.mark.parametrize("estimator", REGRESSORS)
def test_targets_that_are_no_numbers(estimator):
    with refused(estimator, "y must be numbers: could not convert string to float"):
        make(estimator).fit(X, np.array(["low", "high"])[CLASSES])
    # Strings that spell numbers count as numbers.
    spelt = make(estimator, **{} if estimator is LinearRegression else {"random_state": 0}).fit(
        X, NUMBERS.astype(str)
    )
    assert np.isfinite(use(spelt, X)).all()


@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_targets_that_are_no_classes(estimator):
    with refused(estimator, "Unknown label type: continuous"):
        make(estimator).fit(X, NUMBERS)


@pytest.mark.parametrize("estimator", CLASSIFIERS)
@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({0: 1.0, 7: 2.0}, r"class_weight has a weight for 7, which is not among the classes \[0, 1\]"),
        ({1: -2.0}, "class_weight of 1 must be finite and not negative, got -2.0"),
        ({1: np.nan}, "class_weight of 1 must be finite and not negative, got nan"),
        ({1: "2"}, "class_weight of 1 must be finite and not negative, got '2'"),
    ],
    ids=str,
)
def test_bad_class_weights(estimator, weights, text):
    with refused(estimator, text):
        make(estimator, class_weight=weights).fit(X, CLASSES)


@pytest.mark.parametrize("estimator", WEIGHTED)
@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (-np.ones(40), "Negative values in data passed to `sample_weight`"),
        (np.ones(39), r"sample_weight.shape == \(39,\), expected \(40,\)"),
        (
            np.where(np.arange(40) == 7, np.nan, 1.0),
            r"sample_weight is nan at row 7\. .*sample_weight contains NaN",
        ),
        (np.zeros(40), "[Ss]ample.weight.*zero"),
        (["heavy"] * 40, "could not convert string to float"),
    ],
    ids=["negative", "short", "NaN", "zero", "text"],
)
def test_bad_weights_of_samples(estimator, weights, text):
    with refused(estimator, text):
        make(estimator).fit(X, **targets(estimator), sample_weight=weights)


@pytest.mark.parametrize("estimator", NETWORKS)
@pytest.mark.parametrize("sizes", [(10, "5"), (10, 2.5), ((3, 4), 5)], ids=str)
def test_sizes_that_are_no_numbers_of_units(estimator, sizes):
    with refused(estimator, "hidden_layer_sizes must be whole numbers"):
        make(estimator, hidden_layer_sizes=sizes).fit(X, **targets(estimator))


@pytest.mark.parametrize("estimator", NETWORKS)
def test_bad_activations(estimator):
    for bad in ((), ("swish",), (3,), ("elu", 1.0, 2.0)):
        with refused(estimator, "parameter must be one of"):
            make(estimator, hidden_layer_sizes=(5, 4), activation=bad).fit(X, **targets(estimator))


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_bad_dropout_of_a_layer(estimator):
    with refused(estimator, r"dropout must be in \[0, 1\)"):
        make(estimator, dropout=["half"]).fit(X, **targets(estimator))


@pytest.mark.parametrize("estimator", NETWORKS)
def test_callbacks_are_objects(estimator):
    """Other objects raise a TypeError, above all a callback class instead of an instance."""
    for bad in (ProgressBar, print, 1):
        with refused(estimator, "callbacks must be objects of steepest.callbacks.Callback", TypeError):
            make(estimator, callbacks=[bad]).fit(X, **targets(estimator))


def test_the_eval_set_of_an_autoencoder_has_no_targets():
    with refused(Autoencoder, "eval_set must be samples alone"):
        make(Autoencoder).fit(X, eval_set=(X, X))


def test_the_activation_of_the_code_is_one():
    for name in ("code_activation", "output_activation"):
        with pytest.raises(InvalidParameterError, match=name):
            make(Autoencoder, **{name: ["relu"]}).fit(X)


@pytest.mark.parametrize("estimator", TRANSFORMERS)
def test_bad_x_of_inverse_transform(estimator):
    model = make(estimator).fit(X)
    Z = model.transform(X)
    with refused(estimator, f"X must have {Z.shape[1]} columns, as transform returns, got shape .*"):
        model.inverse_transform(Z[:, 1:])
    with refused(estimator, "NaN"):
        model.inverse_transform(np.full_like(Z, np.nan))
    with refused(estimator, "Expected 2D array, got 1D array"):
        model.inverse_transform(Z[0])


@everyone
def test_lists_are_taken(estimator):
    y = {name: values.tolist() for name, values in targets(estimator).items()}
    assert len(use(make(estimator).fit(X.tolist(), **y), X[:3].tolist())) == 3
