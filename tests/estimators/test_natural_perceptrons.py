"""Perceptrons and autoencoders trained by the natural gradient: targets, weights, batches, errors."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from natural_perceptrons import natural, outputs, slow
from perceptrons import ESTIMATORS, arena_bytes, blobs, both, data_for, weights
from sklearn.base import clone
from sklearn.datasets import load_digits, make_multilabel_classification
from sklearn.utils.estimator_checks import estimator_checks_generator

import steepest
from steepest import datasets, optim
from steepest.neural_network import Autoencoder, MLPClassifier, MLPRegressor
from steepest.optim import schedules

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


@slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        case
        for estimator in (*ESTIMATORS, Autoencoder)
        for case in estimator_checks_generator(estimator(hidden_layer_sizes=(20,), solver="natural"))
    ],
    ids=lambda value: getattr(value, "func", type(value)).__name__,
)
def test_scikit_learn(estimator, check):
    if isinstance(estimator, Autoencoder) and "sample_weight_equivalence" in repr(check):
        pytest.skip("with many outputs a repeated row has different Monte Carlo samples in the Fisher matrix")
    check(estimator)


@slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classes(classes, dtype):
    X, y = blobs(300, dtype, classes)
    model = natural(MLPClassifier, max_iter=20).fit(X, np.array(list("abcde"))[y])
    assert model.score(X, np.array(list("abcde"))[y]) > 0.95
    probabilities = model.predict_proba(X)
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert model.loss_curve_[-1] < 0.2 * model.loss_curve_[0]
    assert model.n_iter_ == len(model.loss_curve_)


@slow
def test_labels():
    X, y = make_multilabel_classification(300, 10, n_classes=4, random_state=0)
    model = natural(MLPClassifier, max_iter=30).fit(X, y)
    assert model.out_activation_ == "logistic"
    assert (model.predict(X) == y).mean() > 0.8  # all optimizers reach 0.83
    assert model.predict_proba(X).shape == (300, 4)


@slow
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("loss", ["squared_error", "gaussian", "poisson"])
def test_losses_with_a_likelihood(loss, outputs):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 5))
    mean = np.sin(X[:, :outputs]) + 0.5 * X[:, 1 : 1 + outputs]
    y = (
        rng.poisson(np.exp(mean)).astype(float)
        if loss == "poisson"
        else mean + 0.1 * rng.standard_normal(mean.shape)
    )
    y = y[:, 0] if outputs == 1 else y
    options = {"loss": loss, "hidden_layer_sizes": (16,)}
    model = natural(MLPRegressor, max_iter=40, **options).fit(X, y)
    first = natural(MLPRegressor, max_iter=1, **options).fit(X, y)
    assert model.loss_ < first.loss_
    assert model.predict(X).shape == y.shape
    truth = np.exp(mean) if loss == "poisson" else mean
    predicted = model.predict(X).reshape(truth.shape)
    explained = 1 - ((predicted - truth) ** 2).mean() / truth.var(axis=0).mean()
    assert explained > (0.6 if loss == "poisson" else 0.95)
    if loss == "gaussian":
        deviation = model.predict(X, return_std=True)[1]
        assert deviation.shape == y.shape
        assert 0.03 < np.median(deviation) < 0.3


@pytest.mark.parametrize(
    ("estimator", "loss", "names"),
    [
        (MLPRegressor, "absolute_error", "squared_error, poisson, gaussian"),
        (MLPRegressor, ("huber", 0.5), "squared_error, poisson, gaussian"),
        (MLPRegressor, ("quantile", 0.9), "squared_error, poisson, gaussian"),
        (MLPClassifier, "hinge", "log_loss"),
        (MLPClassifier, "squared_hinge", "log_loss"),
        (MLPClassifier, "exponential", "log_loss"),
    ],
)
def test_losses_without_a_likelihood_are_refused(estimator, loss, names):
    X, y = data_for(estimator, 30)
    text = (
        rf"^\[{estimator.__name__}\] loss={re.escape(repr(loss))} is not the negative log-likelihood of a "
        rf"distribution, which solver='natural' needs: take one of {names}$"
    )
    for method in ("fit", "partial_fit"):
        arguments = {"classes": np.unique(y)} if (estimator, method) == (MLPClassifier, "partial_fit") else {}
        with pytest.raises(ValueError, match=text):
            getattr(natural(estimator, loss=loss), method)(X, y, **arguments)


@slow
def test_images_are_recognised_that_were_not_seen():
    """Monte Carlo factors have noisy small eigenvalues; without damping, their inverses give the largest steps."""
    if not MNIST.is_dir():
        pytest.skip("the MNIST files are not in the folder beside the repository")
    X, y, X_test, y_test = datasets.load_mnist(MNIST)
    model = natural(MLPClassifier, hidden_layer_sizes=(64, 32), max_iter=4).fit(X[:10_000], y[:10_000])
    # Adam reaches 0.934 after 10 epochs; inverses with the model's damping alone reach 0.917.
    assert model.score(X_test, y_test) > 0.93


@slow
@pytest.mark.parametrize(("loss", "least"), [("squared_error", 0.8), ("log_loss", 0.75)])
def test_autoencoders(loss, least):
    X = load_digits().data / 16
    model = natural(Autoencoder, hidden_layer_sizes=(32, 16), loss=loss, max_iter=10).fit(X)
    assert model.score(X) > least
    adam = Autoencoder((32, 16), loss=loss, max_iter=10, random_state=0).fit(X)
    assert model.score(X) > adam.score(X)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"learning_rate": "invscaling"},
            "learning_rate is not supported by solver='natural', which chooses its step sizes itself",
        ),
        ({"learning_rate": "one_cycle"}, "learning_rate is not supported by"),
        ({"learning_rate": schedules.Constant(0.1)}, "learning_rate is not supported by"),
        ({"max_norm": 1.0}, "max_norm is not supported by solver='natural'"),
        (
            {"l1_ratio": 0.5, "alpha": 0.1},
            "solver='natural' does not support l1_ratio: its model of the loss is smooth",
        ),
    ],
    ids=str,
)
@both
def test_refused_parameters(estimator, options, text):
    X, y = data_for(estimator, 30)
    with pytest.raises(ValueError, match=rf"^\[{estimator.__name__}\] {text}"):
        natural(estimator, **options).fit(X, y)
    natural(estimator, max_iter=1, l1_ratio=0.5, alpha=0.0).fit(X, y)


def test_tied_weights():
    X = np.random.default_rng(0).standard_normal((30, 4))
    curve = natural(Autoencoder, tied_weights=True, max_iter=20).fit(X).loss_curve_
    assert curve[-1] < 0.9 * curve[0]


@slow
@both
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_weight_of_2_is_a_row_twice(estimator, alpha):
    """A weight of 2 equals a repeated row for full batches and a closed-form expectation over the targets."""
    X, y = data_for(estimator, 60)
    sample_weight = np.random.default_rng(1).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), sample_weight)
    options = {"alpha": alpha, "activation": "tanh", "max_iter": 8}
    weighted = natural(estimator, batch_size=60, **options).fit(X, y, sample_weight.astype(float))
    repeated = natural(estimator, batch_size=len(rows), **options).fit(X[rows], y[rows])
    for a, b in zip(weights(weighted), weights(repeated), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-6)


@slow
def test_class_weights():
    X, y = blobs(300)
    rare = np.flatnonzero((y != 0) | (np.arange(300) % 10 == 0))
    X, y = X[rare] + 1.5 * np.random.default_rng(0).standard_normal((len(rare), 10)), y[rare]
    options = {"alpha": 10.0, "max_iter": 20, "batch_size": 100}
    recalls = [
        (natural(MLPClassifier, class_weight=given, **options).fit(X, y).predict(X)[y == 0] == 0).mean()
        for given in (None, "balanced", {0: 100.0})
    ]
    assert recalls[0] < recalls[1] <= recalls[2]
    given = natural(MLPClassifier, class_weight={1: 3.0}, **options).fit(X, y)
    by_sample = natural(MLPClassifier, **options).fit(X, y, np.where(y == 1, 3.0, 1.0))
    assert arena_bytes(given) == arena_bytes(by_sample)


def test_sparse_inputs():
    X, y = blobs(120)
    X[np.abs(X) < 1] = 0
    dense = natural(MLPClassifier, batch_size=50).fit(X, y)
    sparse = natural(MLPClassifier, batch_size=50).fit(scipy.sparse.csr_array(X), y)
    assert arena_bytes(dense) == arena_bytes(sparse)
    np.testing.assert_allclose(
        sparse.predict_proba(scipy.sparse.csr_array(X)), dense.predict_proba(X), rtol=1e-10
    )


@pytest.fixture
def lengths(monkeypatch):
    """Batch lengths of all steps, as a list that grows."""
    found, step = [], optim.NaturalGradient.step

    def recording(self, X, y, sample_weight=None):
        found.append(len(X))
        return step(self, X, y, sample_weight)

    monkeypatch.setattr(optim.NaturalGradient, "step", recording)
    return found


def by_epoch(lengths, samples):
    """Split the batch lengths into epochs of `samples` samples."""
    epochs, total = [[]], 0
    for length in lengths:
        epochs[-1].append(length)
        total += length
        if total == samples:
            epochs.append([])
            total = 0
    assert epochs[-1] == []
    return epochs[:-1]


@slow
def test_batches_grow(lengths):
    """Batches double, up to all samples, after an epoch that has not lowered the loss by 5 %."""
    X, y = blobs(1000)
    y = np.random.default_rng(0).permutation(y)  # random labels keep the loss high
    model = natural(MLPClassifier, hidden_layer_sizes=(4,), max_iter=12, tol=0.0).fit(X, y)
    epochs = by_epoch(lengths, 1000)
    assert len(epochs) == model.n_iter_ == 12
    assert max(epochs[0]) == 200
    assert epochs[-1] == [1000]
    length, lowest = 200, np.inf
    for epoch, loss in zip(epochs, model.loss_curve_, strict=True):
        # The number of batches follows from the length, and batches differ by at most one sample.
        assert len(epoch) == -(-1000 // length)
        assert max(epoch) - min(epoch) <= 1
        length = min(2 * length, 1000) if loss > 0.95 * lowest else length
        lowest = min(loss, lowest)


def test_batches_of_a_given_size_stay(lengths):
    X, y = blobs(120)
    natural(MLPClassifier, batch_size=50, max_iter=6).fit(X, np.random.default_rng(0).permutation(y))
    assert by_epoch(lengths, 120) == [[40, 40, 40]] * 6


@slow
@both
def test_dropout(estimator):
    X, y = data_for(estimator, 300)
    model = natural(estimator, hidden_layer_sizes=(32,), dropout=0.2, max_iter=15).fit(X, y)
    assert model.score(X, y) > 0.9
    assert arena_bytes(model) == arena_bytes(clone(model).fit(X, y))
    without = natural(estimator, hidden_layer_sizes=(32,), max_iter=15).fit(X, y)
    assert arena_bytes(model) != arena_bytes(without)


@both
@pytest.mark.parametrize("classes", [3, 5])
def test_random_state(estimator, classes):
    X, y = blobs(120, classes=classes) if estimator is MLPClassifier else data_for(estimator)
    model = natural(estimator, batch_size=50).fit(X, y)
    assert arena_bytes(model) == arena_bytes(natural(estimator, batch_size=50).fit(X, y))
    assert arena_bytes(model) != arena_bytes(natural(estimator, batch_size=50, random_state=1).fit(X, y))


@both
def test_threads(estimator, threads):
    X, y = data_for(estimator)
    model = natural(estimator, batch_size=50).fit(X, y)
    before = steepest.get_num_threads()
    steepest.set_num_threads(1)
    try:
        assert arena_bytes(natural(estimator, batch_size=50).fit(X, y)) == arena_bytes(model)
    finally:
        steepest.set_num_threads(before)


def test_without_shuffling_rows_come_in_their_order(monkeypatch):
    X, y = blobs(60)
    seen, step = [], optim.NaturalGradient.step

    def recording(self, X, y, sample_weight=None):
        seen.append(X.copy())
        return step(self, X, y, sample_weight)

    monkeypatch.setattr(optim.NaturalGradient, "step", recording)
    natural(MLPClassifier, batch_size=20, max_iter=1, shuffle=False).fit(X, y)
    np.testing.assert_array_equal(np.concatenate(seen), X)


@slow
def test_it_takes_fewer_epochs_than_adam():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    options = {"hidden_layer_sizes": (64,), "max_iter": 10, "random_state": 0}
    for seed in range(2):
        options["random_state"] = seed
        by_natural = MLPClassifier(solver="natural", **options).fit(X[:1300], y[:1300])
        by_adam = MLPClassifier(**{**options, "max_iter": 40}).fit(X[:1300], y[:1300])
        assert by_natural.loss_ < by_adam.loss_
        assert by_natural.score(X[1300:], y[1300:]) > by_adam.score(X[1300:], y[1300:]) - 0.01


def test_least_squares_in_some_epochs():
    """A network without hidden layers reaches the least-squares solution; its quadratic model is exact."""
    X, y = data_for(MLPRegressor, 200)
    model = natural(MLPRegressor, hidden_layer_sizes=(), alpha=0.0, batch_size=200, max_iter=60, tol=0.0).fit(
        X, y
    )
    design = np.c_[X, np.ones(200)]
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose(np.r_[model.coefs_[0][:, 0], model.intercepts_[0]], best, rtol=0, atol=1e-3)


ON_CUDA = {"batch_size": 50, "max_iter": 2, "shuffle": False}


@both
def test_fit_as_on_the_cpu(cupy, estimator):
    X, y = data_for(estimator)
    sample_weight = np.random.default_rng(0).uniform(0.2, 3.0, len(X))
    on_cpu = natural(estimator, **ON_CUDA).fit(X, y, sample_weight)
    on_cuda = natural(estimator, **ON_CUDA, device="cuda").fit(X, y, sample_weight)
    assert (on_cpu.device_, on_cuda.device_) == ("cpu", "cuda")
    np.testing.assert_allclose(on_cuda.loss_curve_, on_cpu.loss_curve_, rtol=1e-8)
    np.testing.assert_allclose(outputs(on_cuda, X), outputs(on_cpu, X), rtol=0, atol=1e-7)


@both
def test_cupy_arrays(cupy, estimator):
    X, y = data_for(estimator)
    expected = natural(estimator, **ON_CUDA).fit(X, y)
    model = natural(estimator, **ON_CUDA).fit(cupy.asarray(X), cupy.asarray(y))
    assert isinstance(model.coefs_[0], cupy.ndarray)
    np.testing.assert_allclose(
        cupy.asnumpy(outputs(model, cupy.asarray(X))), outputs(expected, X), rtol=0, atol=1e-7
    )
    # Training continues on the CPU with the same state.
    moved = model.set_params(device="cpu").partial_fit(X, y)
    expected.partial_fit(X, y)
    assert moved.device_ == "cpu"
    np.testing.assert_allclose(outputs(moved, X), outputs(expected, X), rtol=0, atol=1e-6)
