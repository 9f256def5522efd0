"""Estimators give the same results for every memory layout (order, strides, byte order, data frames); masks raise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from estimator_cases import ALL_ESTIMATORS, outputs, small_data, small_model
from sklearn.base import is_classifier, is_regressor

from steepest.linear_model import LinearRegression
from steepest.neural_network import Autoencoder, MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.cpu_only("it does not test kernels"),
]

everyone = pytest.mark.parametrize("estimator", ALL_ESTIMATORS, ids=lambda e: e.__name__)


def strided(a):
    """A copy with stride -2 along every axis of a larger array."""
    wide = np.zeros(tuple(2 * n for n in a.shape), a.dtype)
    view = wide[tuple(slice(None, None, -2) for _ in a.shape)]
    view[...] = a
    return view


def read_only(a):
    copy = a.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": strided,
    "read-only": read_only,
    "other bytes": lambda a: a.astype(a.dtype.newbyteorder()) if a.dtype.kind in "iuf" else a,
    "pandas": lambda a: pd.Series(a) if a.ndim == 1 else pd.DataFrame(a),
    "list": lambda a: a.tolist(),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def make(estimator, **options):
    defaults = {"max_iter": 3, "random_state": 0, "tol": 1e-3, "hidden_layer_sizes": (4,)}
    return small_model(estimator, **{**defaults, **options})


def assert_same_fit(model, same, X):
    for got, expected in zip(outputs(same, X), outputs(model, X), strict=True):
        if got.dtype.kind == "f":
            # LAPACK may sum in a different order.
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
        else:
            np.testing.assert_array_equal(got, expected)


@everyone
@every_layout
def test_layout_of_samples_and_targets(estimator, layout):
    X, *y = small_data(estimator, dtype=np.float64)
    lay = LAYOUTS[layout]
    model = make(estimator).fit(X, *y)
    same = make(estimator).fit(lay(X), *map(lay, y))
    assert_same_fit(model, same, X)
    for got, expected in zip(outputs(model, lay(X)), outputs(model, X), strict=True):
        np.testing.assert_array_equal(got, expected)


@everyone
@every_layout
def test_layout_of_weights(estimator, layout):
    if not estimator.fit.__code__.co_varnames[:4].count("sample_weight"):
        pytest.skip("the estimator takes no sample weights")
    X, *y = small_data(estimator, dtype=np.float64)
    weight = np.linspace(0.5, 2.0, len(X))
    model, same = (make(estimator).fit(X, *y, sample_weight=w) for w in (weight, LAYOUTS[layout](weight)))
    assert_same_fit(model, same, X)


@every_layout
@pytest.mark.parametrize("solver", ["adam", "lbfgs", "natural"])
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor, LinearRegression])
def test_layout_of_several_targets(estimator, solver, layout):
    """Targets of several columns may have any layout, and so may those of the validation samples."""
    rng, lay = np.random.default_rng(0), LAYOUTS[layout]
    X = rng.standard_normal((40, 3))
    Y = (X[:, :2] > 0).astype(int) if estimator is MLPClassifier else X[:, :2] ** 2
    options = {} if estimator is LinearRegression else {"solver": solver}
    sets = (
        [{}, {}] if estimator is LinearRegression else [{"eval_set": (X, Y)}, {"eval_set": (lay(X), lay(Y))}]
    )
    model = make(estimator, **options).fit(X, Y, **sets[0])
    same = make(estimator, **options).fit(X, lay(Y), **sets[1])
    assert_same_fit(model, same, X)
    assert model.score(X, Y) == same.score(X, Y)
    if sets[0]:
        assert model.validation_loss_curve_ == same.validation_loss_curve_


def test_layout_of_the_validation_samples_of_an_autoencoder():
    X = np.random.default_rng(0).standard_normal((30, 5))
    model, same = (make(Autoencoder).fit(X, eval_set=e) for e in (X, np.asfortranarray(X)))
    assert model.validation_loss_curve_ == same.validation_loss_curve_


@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
def test_labels_of_margins_and_of_other_numbers(loss):
    """Multilabel targets may use -1 for 0; other numbers raise an error."""
    X = np.random.default_rng(0).standard_normal((30, 3))
    Y = (X[:, :2] > 0).astype(int)
    model, same = (make(MLPClassifier, loss=loss).fit(X, y) for y in (Y, np.where(Y, 1.0, -1.0)))
    assert_same_fit(model, same, X)
    with pytest.raises(ValueError, match="must be 0 or 1 for each label"):
        make(MLPClassifier, loss=loss).fit(X, 2 * Y)


def masked(a):
    return np.ma.array(a, mask=np.arange(a.size).reshape(a.shape) == 1)


@everyone
def test_masked_items_are_refused(estimator):
    """Conversion to a plain NumPy array would use the values under the mask."""
    X, *y = small_data(estimator, dtype=np.float64)
    refused = pytest.raises(ValueError, match=rf"^\[{estimator.__name__}\] \w+ has masked items")
    with refused:
        make(estimator).fit(masked(X), *y)
    model = make(estimator).fit(np.ma.array(X), *y)  # without masked items
    for name in ("predict", "predict_proba", "decision_function", "transform"):
        if hasattr(model, name):
            with refused:
                getattr(model, name)(masked(X))
    if is_classifier(model) or is_regressor(model):
        with refused:
            make(estimator).fit(X, masked(*y))
    if hasattr(model, "inverse_transform"):
        with refused:
            model.inverse_transform(masked(model.transform(X)))
    if "sample_weight" in estimator.fit.__code__.co_varnames:
        with refused:
            make(estimator).fit(X, *y, sample_weight=masked(np.ones(len(X))))
