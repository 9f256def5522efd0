"""Multilayer perceptrons by the natural gradient: stopping, callbacks, and resuming a fit."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from natural_perceptrons import natural, outputs, slow
from perceptrons import arena_bytes, blobs, both, data_for

import steepest
from steepest.callbacks import Callback
from steepest.neural_network import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@slow
@both
def test_early_stopping(estimator):
    X, y = data_for(estimator, 300)
    model = natural(estimator, early_stopping=True, max_iter=200, n_iter_no_change=3).fit(X, y)
    assert model.stopped_early_
    assert model.n_iter_ < 200
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_
    assert model.best_validation_score_ == max(scores)
    assert model.best_loss_ is None


@slow
@both
def test_the_best_weights_are_restored(estimator):
    X, y = data_for(estimator, 300)
    seen = X[:100], y[:100]
    model = natural(estimator, early_stopping=True, max_iter=200, n_iter_no_change=3)
    model.fit(*seen, eval_set=(X[100:], y[100:]))
    assert model.score(X[100:], y[100:]) == pytest.approx(max(model.validation_scores_))


@both
def test_eval_set(estimator):
    X, y = data_for(estimator)
    model = natural(estimator).fit(X[:80], y[:80], eval_set=(X[80:], y[80:]))
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_ == 5
    assert model.validation_scores_[-1] == pytest.approx(model.score(X[80:], y[80:]))


class Notes(Callback):
    def __init__(self, last=None):
        self.epochs, self.last = [], last

    def epoch_done(self, model, epoch):
        self.epochs.append(epoch)
        return epoch.number == self.last


@both
def test_callbacks(estimator):
    X, y = data_for(estimator)
    notes = Notes(last=3)
    model = natural(estimator, max_iter=50, callbacks=[notes]).fit(X, y)
    assert [epoch.loss for epoch in notes.epochs] == model.loss_curve_
    assert model.n_iter_ == len(notes.epochs) == 3


def test_it_diverges_with_advice():
    """The error names the epoch, the step and a remedy; the model keeps the last finite weights."""
    X, y = data_for(MLPRegressor)
    model = natural(MLPRegressor, loss="poisson", max_iter=1).fit(X, np.abs(y))
    model.set_params(warm_start=True)
    model.intercepts_[-1][:] = 1e4
    before = arena_bytes(model)
    with pytest.raises(
        steepest.DivergenceError, match=r"^\[MLPRegressor\] training diverged in epoch 1, step 1 of 1"
    ) as caught:
        model.fit(X, np.abs(y))
    assert "Take a larger batch_size, or scale the inputs" in str(caught.value)
    assert arena_bytes(model) == before
    model.intercepts_[-1][:] = 0.0
    assert np.isfinite(model.fit(X, np.abs(y)).loss_)


def by_file(model, folder):
    steepest.save(model, folder / "model.safetensors")
    return steepest.load(folder / "model.safetensors")


def by_pickle(model, folder):
    return pickle.loads(pickle.dumps(model))


def by_copy(model, folder):
    return copy.deepcopy(model)


@both
@pytest.mark.parametrize("way", [by_file, by_pickle, by_copy])
def test_a_stream_goes_on(estimator, way, tmp_path):
    """After a file, pickle or copy, the steps are the same as without it, at any step of the cached inverses."""
    X, y = blobs(140, classes=5) if estimator is MLPClassifier else data_for(estimator, 140)
    model, twins = natural(estimator, batch_size=20), []
    first = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    for rows in np.arange(140).reshape(7, 20):
        model.partial_fit(X[rows], y[rows], **first)
        for twin in twins:
            twin.partial_fit(X[rows], y[rows])
            np.testing.assert_allclose(outputs(twin, X), outputs(model, X), rtol=0, atol=1e-9)
            assert twin.loss_ == pytest.approx(model.loss_, rel=1e-9)
        first = {}
        twins.append(way(model, tmp_path))
    assert model._optimizer._steps == 7
    assert model.t_ == 140


@both
def test_a_fitted_model_comes_back(estimator, tmp_path):
    X, y = data_for(estimator)
    model = natural(estimator).fit(X, y)
    twin = by_file(model, tmp_path)
    assert twin.get_params() == model.get_params()
    assert outputs(twin, X).tobytes() == outputs(model, X).tobytes()


@slow
@both
def test_warm_starts(estimator):
    X, y = data_for(estimator, 300)
    model = natural(estimator, max_iter=4, warm_start=True).fit(X, y)
    loss, damping = model.loss_, model._optimizer.damping
    model.fit(X, y)
    assert model.loss_ < loss
    assert len(model.loss_curve_) == 8
    # The second fit starts with the damping of the first.
    assert model._optimizer._steps == 16
    assert damping != 1.0


@slow
@both
def test_solvers_change_between_warm_starts(estimator):
    """A warm start does not use the optimizer state of another solver."""
    X, y = data_for(estimator)
    model = natural(estimator, warm_start=True, solver="adam").fit(X, y)
    for solver in ("natural", "adam", "natural", "lbfgs"):
        loss = model.set_params(solver=solver, max_iter=10).fit(X, y).loss_
        assert np.isfinite(loss)
