"""Small data for multilayer perceptrons, and the attributes that two equal models share."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression

from steepest.neural_network import MLPClassifier, MLPRegressor

ESTIMATORS = [MLPClassifier, MLPRegressor]
both = pytest.mark.parametrize("estimator", ESTIMATORS)


def blobs(n=120, dtype=np.float64, classes=3):
    X, y = make_classification(n, 10, n_informative=6, n_classes=classes, class_sep=2.0, random_state=0)
    return X.astype(dtype), y


def data_for(estimator, n=120, dtype=np.float64):
    if estimator is MLPClassifier:
        return blobs(n, dtype)
    X, y = make_regression(n, 10, random_state=0)
    return X.astype(dtype), y / y.std()


def weights(model):
    return [*model.coefs_, *model.intercepts_]


def arena_bytes(model):
    return b"".join(w.tobytes() for w in weights(model))
