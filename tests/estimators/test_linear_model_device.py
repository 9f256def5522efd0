"""Linear models on CUDA: types and devices of their results, and agreement with the CPU.

The tests use a GPU if there is one, else the fake CuPy and the stand-in for the CUDA kernels.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse
from linear_models import classes
from sklearn.base import is_classifier

from steepest.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)

# The two devices round differently; the final gradient is below 1e-9 on both.
CLOSE = {"rtol": 0, "atol": 1e-7}
SMALL = {"random_state": 0, "max_iter": 3, "tol": None}
MODELS = [
    LinearRegression(),
    LinearRegression(alpha=1.0, fit_intercept=False),
    LinearRegression(positive=True),
    LinearRegression(solver="batch", tol=1e-9),
    LinearRegression(solver="mini-batch", random_state=0, tol=1e-9),
    LogisticRegression(tol=1e-9),
    LogisticRegression(tol=1e-9, solver="newton-cholesky"),
    LogisticRegression(tol=1e-9, solver="saga", l1_ratio=1.0, C=0.1),
    LogisticRegression(solver="mini-batch", random_state=0, tol=1e-9, max_iter=3000, l1_ratio=0.5, C=0.1),
    SGDClassifier(**SMALL, penalty="elasticnet", average=True, alpha=0.1),
    SGDRegressor(**SMALL, early_stopping=True),
    SGDClassifier(**SMALL, batch_size=8, alpha=0.1),
    Perceptron(**SMALL),
]
each = pytest.mark.parametrize("model", MODELS, ids=repr)


def fresh(model, **options):
    return type(model)(**{**model.get_params(), **options})


def data(rng, model, n=80, k=3):
    X, y = classes(rng, n, 4, k)
    return X, y if is_classifier(model) else X @ np.arange(4.0) + rng.standard_normal(n)


@each
@pytest.mark.parametrize("weighted", [False, True])
def test_fit_as_on_the_cpu(cupy, rng, model, weighted):
    X, y = data(rng, model)
    s = rng.uniform(0.5, 2.0, len(X)) if weighted else None
    on_cpu = fresh(model).fit(X, y, sample_weight=s)
    on_cuda = fresh(model, device="cuda").fit(X, y, sample_weight=s)
    assert (on_cpu.device_, on_cuda.device_) == ("cpu", "cuda")
    assert type(on_cuda.coef_) is type(on_cuda.predict(X)) is np.ndarray
    np.testing.assert_allclose(on_cuda.coef_, on_cpu.coef_, **CLOSE)
    np.testing.assert_allclose(on_cuda.intercept_, on_cpu.intercept_, **CLOSE)
    assert on_cuda.score(X, y) == pytest.approx(on_cpu.score(X, y), abs=1e-6)


@each
def test_cupy_in_cupy_out(cupy, rng, model):
    X, y = data(rng, model)
    expected = fresh(model).fit(X, y)
    ours = fresh(model).fit(cupy.asarray(X), cupy.asarray(y))
    assert isinstance(ours.coef_, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(ours.coef_), expected.coef_, **CLOSE)
    for x in (X, cupy.asarray(X)):
        assert type(ours.predict(x)) is type(x)
        if isinstance(model, LogisticRegression):
            assert type(ours.predict_proba(x)) is type(ours.decision_function(x)) is type(x)
            np.testing.assert_allclose(
                cupy.asnumpy(ours.predict_proba(x)), expected.predict_proba(X), **CLOSE
            )
        np.testing.assert_allclose(cupy.asnumpy(ours.predict(x)), expected.predict(X), **CLOSE)
    for target in (y, cupy.asarray(y)):
        assert ours.score(cupy.asarray(X), target) == pytest.approx(expected.score(X, y), abs=1e-6)


@each
def test_a_model_unpickles_without_cuda(cupy, rng, model):
    X, y = data(rng, model)
    ours = fresh(model).fit(cupy.asarray(X), cupy.asarray(y))
    text = pickle.dumps(ours)
    assert b"cupy" not in text
    loaded = pickle.loads(text)
    assert loaded.device_ == "cpu" and type(loaded.coef_) is np.ndarray
    np.testing.assert_allclose(loaded.predict(X), cupy.asnumpy(ours.predict(cupy.asarray(X))), **CLOSE)


def test_two_classes_and_labels(cupy, rng):
    X, y = classes(rng, 60, 4, 2)
    model = LogisticRegression().fit(cupy.asarray(X), np.array(["no", "yes"])[y])
    assert model.predict(cupy.asarray(X)).dtype.kind == "U"
    assert model.predict_proba(cupy.asarray(X)).shape == (60, 2)
    model = LogisticRegression().fit(cupy.asarray(X), cupy.asarray(y))
    assert isinstance(model.classes_, cupy.ndarray)
    np.testing.assert_array_equal(cupy.asnumpy(model.predict(cupy.asarray(X))), model.predict(X))


@each
def test_bad_input(cupy, rng, model):
    X, y = data(rng, model)
    X[7, 2] = np.inf
    with pytest.raises(ValueError, match=rf"^\[{type(model).__name__}\] X is inf at row 7, column 2"):
        fresh(model).fit(cupy.asarray(X), y)
    with pytest.raises(ValueError, match="X is a CuPy array, but device is 'cpu'"):
        fresh(model, device="cpu").fit(cupy.asarray(X), y)


@each
def test_missing_cuda_is_an_error(no_cuda, rng, model):
    X, y = data(rng, model)
    with pytest.raises(RuntimeError, match=r"device='cuda' is not available"):
        fresh(model, device="cuda").fit(X, y)


def test_a_sparse_input_is_never_silently_on_the_cpu(cupy, rng):
    X, y = classes(rng, 60, 4, 3)
    with pytest.raises(ValueError, match="device='cuda' does not support a sparse X"):
        LogisticRegression(device="cuda").fit(scipy.sparse.csr_array(X), y)
    model = LogisticRegression().fit(cupy.asarray(X), y)
    np.testing.assert_array_equal(model.predict(scipy.sparse.csr_array(X)), model.predict(X))
