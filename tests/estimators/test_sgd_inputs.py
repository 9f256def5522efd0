"""Linear models by stochastic gradient descent: unscaled, sparse and zero-weight inputs, missing labels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from linear_models import classes

from steepest.linear_model import LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from steepest.linear_model.sgd import sparse_steps

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def data(rng, k, n=200):
    X, y = classes(rng, n, 6, k)
    return X / X.std(0), y


def test_probabilities_whose_sigmoids_underflow(rng):
    """Decision values from -1e4 to 1e4 in float32, where most sigmoids round to 0 or 1."""
    X, y = data(rng, 4)
    model = SGDClassifier(loss="log_loss", random_state=0).fit((1e3 * X).astype(np.float32), y)
    X = (1e3 * X[rng.permutation(len(X))]).astype(np.float32)
    z, p, logarithms = model.decision_function(X), model.predict_proba(X), model.predict_log_proba(X)
    assert (z.max(axis=1) < -104).any()
    expected = scipy.special.log_softmax(-np.logaddexp(0, -z.astype(np.float64)), axis=1)
    rounding = 8 * np.finfo(np.float32).eps
    np.testing.assert_allclose(logarithms, expected, rtol=rounding, atol=rounding * np.abs(z).max())
    np.testing.assert_allclose(p, np.exp(logarithms.astype(np.float64)), rtol=0, atol=rounding)
    # If sigmoids round to 1, several classes share the largest probability.
    chosen = p[np.arange(len(p)), np.searchsorted(model.classes_, model.predict(X))]
    assert (chosen == p.max(axis=1)).all()


@pytest.mark.parametrize("loss", ["hinge", "log_loss", "squared_hinge"])
@pytest.mark.parametrize("schedule", ["optimal", "invscaling", "adaptive", "pa1"])
@pytest.mark.parametrize("k", [2, 3])
def test_wide_sparse_rows_take_steps_on_their_columns(rng, monkeypatch, dtype, loss, schedule, k):
    if schedule == "pa1":
        loss = "hinge"
    monkeypatch.setattr(sparse_steps, "_BLOCK_CALLS", 0)
    monkeypatch.setattr(sparse_steps, "_BLOCK_ITEMS", 100)
    X = scipy.sparse.random(79, 300, 0.02, "csr", dtype, random_state=1)
    X = scipy.sparse.vstack([X, scipy.sparse.csr_array((1, 300), dtype=dtype)], format="csr")
    y = rng.integers(0, k, 80)
    w = rng.uniform(0.5, 2.0, 80)
    # This penalty shrinks coefficients by orders of magnitude in an epoch.
    options = {
        "loss": loss,
        "learning_rate": schedule,
        "alpha": 0.3,
        "eta0": 0.5,
        "random_state": 0,
        "max_iter": 6,
    }
    model, dense = (SGDClassifier(**options).fit(given, y, sample_weight=w) for given in (X, X.toarray()))
    atol = 200 * np.finfo(dtype).eps * max(1.0, np.abs(dense.coef_).max())
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=0, atol=atol)
    np.testing.assert_allclose(model.intercept_, dense.intercept_, rtol=0, atol=atol)
    assert (model.n_iter_, model.t_) == (dense.n_iter_, dense.t_)


def test_a_part_of_a_stream_may_weigh_nothing(rng):
    X, y = data(rng, 2)
    for estimator in (SGDClassifier, SGDRegressor, Perceptron):
        model, options = estimator(), {} if estimator is SGDRegressor else {"classes": [0, 1]}
        model.partial_fit(X, y, **options)
        before, t = model.coef_.copy(), model.t_
        model.partial_fit(X[:5], y[:5], sample_weight=np.zeros(5))
        # The penalty still shrinks the coefficients.
        np.testing.assert_allclose(model.coef_, before, rtol=1e-2)
        assert model.t_ == t + 5
        with pytest.raises(ValueError, match=r"^\[\w+\] .*(zero for every sample|at least one non-zero)"):
            model.fit(X[:5], y[:5], sample_weight=np.zeros(5))


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("estimator", [SGDClassifier, SGDRegressor])
def test_a_huber_loss_without_epsilon(rng, estimator, batch_size):
    X, y = data(rng, 2)
    with pytest.raises(
        ValueError, match=rf"^\[{estimator.__name__}\] epsilon must be positive for loss='huber'"
    ):
        estimator(loss="huber", epsilon=0.0, batch_size=batch_size).fit(X, y)


def test_class_weights_of_a_label_that_a_fold_lacks(rng):
    X, y = data(rng, 3)
    weights = {0: 1.0, 1: 2.0, 2: 3.0}
    for make in (SGDClassifier, Perceptron, LogisticRegression):
        some, all_named = (
            make(class_weight=given, random_state=0).fit(X[y < 2], y[y < 2])
            for given in ({0: 1.0, 1: 2.0}, weights)
        )
        np.testing.assert_array_equal(some.coef_, all_named.coef_)
        with pytest.raises(
            ValueError, match="class_weight has a weight for 2, which is not among the classes"
        ):
            make(class_weight={1: 2.0, 2: 3.0}).fit(X[y < 2], y[y < 2])
