"""Options of the perceptrons beyond scikit-learn's, on CUDA: fits agree with the CPU up to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from perceptrons import both, data_for, weights
from sklearn.datasets import make_multilabel_classification

from steepest.neural_network import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# As in test_device.py: the devices round differently, and some rules divide by square roots of small numbers.
CLOSE = {"rtol": 0, "atol": 1e-9}
SMALL = {"hidden_layer_sizes": (8,), "batch_size": 50, "max_iter": 3, "random_state": 3}


def assert_same_fit(estimator, X, y, **options):
    on_cpu = estimator(**{**SMALL, **options}).fit(X, y)
    on_cuda = estimator(**{**SMALL, **options}, device="cuda").fit(X, y)
    for actual, expected in zip(weights(on_cuda), weights(on_cpu), strict=True):
        np.testing.assert_allclose(actual, expected, **CLOSE)
    np.testing.assert_allclose(on_cuda.loss_curve_, on_cpu.loss_curve_, **CLOSE)
    return on_cpu, on_cuda


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
def test_classes_and_labels(cupy, task, loss):
    if task == "multilabel":
        X, y = make_multilabel_classification(120, 10, n_classes=3, random_state=0)
    else:
        X, y = data_for(MLPClassifier)
        y = (y > 0).astype(int)
    on_cpu, on_cuda = assert_same_fit(MLPClassifier, X, y, loss=loss, class_weight="balanced")
    device_X = cupy.asarray(X)
    np.testing.assert_array_equal(cupy.asnumpy(on_cuda.predict(device_X)), on_cpu.predict(X))
    scores = on_cuda.decision_function(device_X)
    assert isinstance(scores, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(scores), on_cpu.decision_function(X), rtol=0, atol=1e-8)
    if loss == "log_loss":
        for method in ("predict_proba", "predict_log_proba"):
            result = getattr(on_cuda, method)(device_X)
            assert isinstance(result, cupy.ndarray)
            np.testing.assert_allclose(cupy.asnumpy(result), getattr(on_cpu, method)(X), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "loss", ["absolute_error", ("huber", 0.5), ("quantile", 0.9), "poisson", "gaussian"], ids=str
)
def test_losses(cupy, loss):
    X, y = data_for(MLPRegressor)
    on_cpu, on_cuda = assert_same_fit(MLPRegressor, X, abs(y), loss=loss)
    np.testing.assert_allclose(on_cuda.predict(X), on_cpu.predict(X), rtol=0, atol=1e-8)
    if loss == "gaussian":
        for actual, expected in zip(
            on_cuda.predict(cupy.asarray(X), return_std=True), on_cpu.predict(X, return_std=True), strict=True
        ):
            np.testing.assert_allclose(cupy.asnumpy(actual), expected, rtol=0, atol=1e-8)


@both
@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.4},
        {"activation": ("elu", 0.5), "init": "he_normal"},
        {"l1_ratio": 0.5, "alpha": 1.0},
        {"max_norm": 0.1},
        {"solver": "rmsprop", "learning_rate": "cosine"},
        {"solver": "adagrad"},
        {"solver": "adamw", "alpha": 0.1},
        {"solver": "nesterov", "learning_rate": "one_cycle"},
    ],
    ids=str,
)
def test_options(cupy, estimator, options):
    X, y = data_for(estimator)
    assert_same_fit(estimator, X, y, **options)


@both
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_inputs_and_eval_sets(cupy, estimator, solver):
    X, y = data_for(estimator)
    X[np.random.default_rng(0).random(X.shape) < 0.7] = 0.0
    sparse = scipy.sparse.csr_array(X)
    on_cpu, on_cuda = assert_same_fit(estimator, sparse, y, solver=solver)
    np.testing.assert_allclose(on_cuda.predict(sparse), on_cpu.predict(sparse), rtol=0, atol=1e-8)
    validated = estimator(**SMALL, solver=solver, device="cuda").fit(X, cupy.asarray(y), eval_set=(sparse, y))
    assert validated.validation_scores_[-1] == pytest.approx(validated.score(X, y), abs=1e-8)
    if solver == "adam":
        early = {**SMALL, "early_stopping": True}
        scores = [estimator(**early, device=d).fit(sparse, y).validation_scores_ for d in ("cpu", "cuda")]
        np.testing.assert_allclose(*scores, **CLOSE)
