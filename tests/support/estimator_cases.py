"""Every estimator of the package, and data to fit each of them."""

from __future__ import annotations

import importlib

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor

from steepest._saving.model_state import ESTIMATOR_MODULES

ALL_ESTIMATORS = [
    getattr(module, name)
    for module in map(importlib.import_module, ESTIMATOR_MODULES)
    for name in module.__all__
    if isinstance(getattr(module, name), type) and issubclass(getattr(module, name), BaseEstimator)
]
# Models of text have tests of their own.
ALL_ESTIMATORS = [e for e in ALL_ESTIMATORS if e().__sklearn_tags__().input_tags.two_d_array]


def small_data(estimator, n=60, dtype=np.float32):
    """Return (X, y) for an estimator class, or (X,) if it takes no y; labels of classifiers are strings."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n, 6)).astype(dtype)
    score = X @ rng.standard_normal(6)
    if is_classifier(estimator()):
        return X, np.array(["low", "middle", "high"])[np.digitize(score, [-1.0, 1.0])]
    return (X, score) if is_regressor(estimator()) else (X,)


def small_model(estimator, **options):
    """Make an estimator for `small_data`, with those options that it has."""
    model = estimator()
    known = model.get_params()
    images = {"blocks": [(4, 2)], "image_shape": (2, 3)} if "image_shape" in known else {}
    return model.set_params(**{name: v for name, v in {**images, **options}.items() if name in known})


def outputs(model, X):
    """Return the predictions of a fitted model for X."""
    methods = ("predict", "predict_proba", "decision_function", "transform")
    return [np.asarray(getattr(model, name)(X)) for name in methods if hasattr(model, name)]
