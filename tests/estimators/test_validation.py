"""Validation sets and callbacks of the perceptrons, and stopping by either, in fit and in partial_fit."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from perceptrons import arena_bytes, both, data_for
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from steepest.callbacks import Callback
from steepest.neural_network import Autoencoder, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.02, "random_state": 0}


class Listener(Callback):
    """Records the calls of a fit, and stops it after `stop_after` epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.heard = []

    def fit_begun(self, model):
        self.heard.append(("begun", len(model.coefs_)))

    def epoch_done(self, model, epoch):
        assert (epoch.number, epoch.loss) == (model.n_iter_, model.loss_curve_[-1])
        self.heard.append(epoch)
        return None if self.stop_after is None else epoch.number >= self.stop_after

    def fit_done(self, model):
        self.heard.append("done")


def halves(estimator, n=160):
    X, y = data_for(estimator, n)
    return (X[: n // 2], y[: n // 2]), (X[n // 2 :], y[n // 2 :])


def classes_of(estimator, y):
    return {"classes": np.unique(y)} if estimator is MLPClassifier else {}


@both
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_eval_set_is_validated_after_each_epoch(estimator, solver):
    train, held_out = halves(estimator)
    weights = np.linspace(0.5, 2.0, 80)
    listener = Listener()
    options = {**SMALL, "solver": solver, "max_iter": 4}
    model = estimator(**options, callbacks=[listener]).fit(*train, eval_set=(*held_out, weights))
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_ == 4
    assert model.validation_scores_[-1] == pytest.approx(model.score(*held_out, sample_weight=weights))
    if estimator is MLPClassifier:
        hits = model.predict_proba(held_out[0])[np.arange(80), held_out[1]]
        expected = np.average(-np.log(hits), weights=weights)
    else:
        expected = 0.5 * np.average((model.predict(held_out[0]) - held_out[1]) ** 2, weights=weights)
    assert model.validation_loss_curve_[-1] == pytest.approx(expected)
    # The validation set does not influence the fit.
    assert arena_bytes(model) == arena_bytes(estimator(**options).fit(*train))
    epochs = listener.heard[1:-1]
    assert [e.validation_score for e in epochs] == model.validation_scores_
    assert [e.validation_loss for e in epochs] == model.validation_loss_curve_
    assert [e.loss for e in epochs] == model.loss_curve_
    assert {e.samples for e in epochs} == {80}


@both
def test_early_stopping_on_an_eval_set(estimator):
    train, held_out = halves(estimator)
    model = estimator(**SMALL, early_stopping=True, n_iter_no_change=3, max_iter=400)
    model.fit(*train, eval_set=held_out)
    assert model.n_iter_ == len(model.validation_scores_) < 400
    assert model.stopped_early_
    assert model.t_ == 80 * model.n_iter_
    assert model.score(*held_out) == pytest.approx(model.best_validation_score_)
    assert model.best_validation_score_ == max(model.validation_scores_)


@pytest.mark.parametrize("estimator", [MLPRegressor, Autoencoder])
def test_early_stopping_needs_a_score(estimator):
    """The R2 of a single sample is not defined."""
    X, y = data_for(MLPRegressor, 40)
    one, two = ((X[:n], y[:n]) if estimator is MLPRegressor else X[:n] for n in (1, 2))
    model = estimator(**SMALL, early_stopping=True, n_iter_no_change=2, max_iter=5)
    with pytest.raises(ValueError, match=r"X has 1 sample.*R2, is not defined.*\(in eval_set\)"):
        model.fit(X, y, eval_set=one)
    assert len(model.fit(X, y, eval_set=two).validation_scores_) > 0


@both
def test_a_score_that_is_not_a_number_is_no_improvement(estimator, monkeypatch):
    train, held_out = halves(estimator)
    scores = iter([0.5, 0.9])
    model = estimator(**SMALL, early_stopping=True, n_iter_no_change=3, max_iter=400)
    monkeypatch.setattr(model, "_score_output", lambda *_: next(scores, float("nan")))
    model.fit(*train, eval_set=held_out)
    assert model.stopped_early_ and model.n_iter_ == 6
    assert model.best_validation_score_ == 0.9
    with pytest.warns(ConvergenceWarning, match="no validation score was a number"):
        model.fit(*train, eval_set=held_out)
    assert model.n_iter_ == 4


@both
def test_a_best_score_of_zero_is_a_score(estimator, monkeypatch):
    """A warm start that does not improve on it restores the weights that it began with."""
    train, held_out = halves(estimator)
    model = estimator(**SMALL, early_stopping=True, n_iter_no_change=2, max_iter=20, warm_start=True)
    monkeypatch.setattr(model, "_score_output", lambda *_: 0.0)
    model.fit(*train, eval_set=held_out)
    before = arena_bytes(model)
    monkeypatch.setattr(model, "_score_output", lambda *_: -1.0)
    model.fit(*train, eval_set=held_out)
    assert arena_bytes(model) == before


@both
@pytest.mark.parametrize("keep", [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_early_stopping_of_partial_fit_goes_on_from_call_to_call(estimator, keep):
    train, held_out = halves(estimator)
    options = {**SMALL, "early_stopping": True, "n_iter_no_change": 3, "shuffle": False}
    whole = estimator(**options, max_iter=400).fit(*train, eval_set=held_out)
    parts = estimator(**options)
    calls = 0
    while calls < 400 and not getattr(parts, "stopped_early_", False):
        parts.partial_fit(*train, **classes_of(estimator, train[1]), eval_set=held_out)
        parts = keep(parts)
        calls += 1
    assert calls == whole.n_iter_
    assert parts.validation_scores_ == whole.validation_scores_
    # The best weights are restored, and further calls keep them.
    assert arena_bytes(parts) == arena_bytes(whole)
    parts.partial_fit(*train, eval_set=held_out)
    assert arena_bytes(parts) == arena_bytes(whole)
    assert parts.t_ == whole.t_
    # Training continues once early stopping is turned off.
    parts.set_params(early_stopping=False).partial_fit(*train)
    assert arena_bytes(parts) != arena_bytes(whole)


@both
def test_a_warm_start_that_gets_no_better_ends_where_it_began(estimator):
    train, held_out = halves(estimator)
    model = estimator(**SMALL, early_stopping=True, n_iter_no_change=3, max_iter=400, warm_start=True)
    before = arena_bytes(model.fit(*train, eval_set=held_out))
    model.set_params(learning_rate_init=10.0, max_iter=2).fit(*train, eval_set=held_out)
    assert arena_bytes(model) == before


@both
def test_errors_of_eval_set(estimator):
    train, held_out = halves(estimator)
    X, y = held_out
    model = estimator(**SMALL, max_iter=2)
    with pytest.raises(ValueError, match=r"eval_set must be \(X, y\)"):
        model.fit(*train, eval_set=X)
    with pytest.raises(ValueError, match=r"features.*\(in eval_set\)"):
        model.fit(*train, eval_set=(X[:, 1:], y))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples.*\(in eval_set\)"):
        model.fit(*train, eval_set=(X, y[1:]))
    with pytest.raises(ValueError, match=r"(?i)negative.*\(in eval_set\)"):
        model.fit(*train, eval_set=(X, y, -np.ones(80)))
    with pytest.raises(ValueError, match="early_stopping=True without eval_set"):
        estimator(early_stopping=True).partial_fit(*train, **classes_of(estimator, y))
    if estimator is MLPClassifier:
        with pytest.raises(ValueError, match=r"classes not in.*\[7\].*\(in eval_set\)"):
            model.fit(*train, eval_set=(X, np.full(80, 7)))


@both
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_hear_all_and_end_the_fit(estimator, solver, recwarn):
    train, _ = halves(estimator)
    first, second = Listener(), Listener(stop_after=3)
    model = estimator(**SMALL, solver=solver, callbacks=[second, first], max_iter=10).fit(*train)
    assert model.n_iter_ == 3
    for listener in (first, second):
        assert listener.heard[0] == ("begun", 2)
        assert [epoch.number for epoch in listener.heard[1:-1]] == [1, 2, 3]
        assert listener.heard[-1] == "done"
    # The callback stopped the fit on purpose, so there is no warning.
    assert not recwarn.list
    assert arena_bytes(model) == arena_bytes(estimator(**SMALL, solver=solver, max_iter=3).fit(*train))
    assert clone(model).get_params()["callbacks"][0].stop_after == 3


@both
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_error_of_a_callback_ends_the_fit(estimator, solver):
    class Fails(Callback):
        def epoch_done(self, model, epoch):
            raise RuntimeError("a full disk")

    train, _ = halves(estimator)
    listener = Listener()
    model = estimator(**SMALL, solver=solver, callbacks=[listener, Fails()], max_iter=10)
    with pytest.raises(RuntimeError, match="a full disk"):
        model.fit(*train)
    assert listener.heard[-1] == "done"
    assert np.isfinite(model.predict(train[0])).all()
