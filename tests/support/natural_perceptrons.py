"""Multilayer perceptrons by the natural gradient, for their tests."""

from __future__ import annotations

import pytest

from steepest.neural_network import MLPClassifier

slow = pytest.mark.cpu_only("its fits take too long on the stand-in")


def natural(estimator, **options):
    given = {"hidden_layer_sizes": (8,), "solver": "natural", "max_iter": 5, "random_state": 0}
    return estimator(**{**given, **options})


def outputs(model, X):
    return model.predict_proba(X) if isinstance(model, MLPClassifier) else model.predict(X)
