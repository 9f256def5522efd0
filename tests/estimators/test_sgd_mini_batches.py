"""SGDClassifier and SGDRegressor with mini-batches: steps, weights, and unsupported options."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse
from linear_models import classes

from steepest.linear_model import SGDClassifier, SGDRegressor
from steepest.linear_model._sgd_base import LOSSES

# kept by hand: the oracle's derivatives of the losses with respect to the score z, for a target t
DERIVATIVES = {
    "hinge": lambda z, t: np.where(t * z <= 1, -t, 0.0),
    "squared_hinge": lambda z, t: -2 * t * np.maximum(0, 1 - t * z),
    "log_loss": lambda z, t: -t / (1 + np.exp(t * z)),
    "squared_error": lambda z, t: z - t,
    "perceptron": lambda z, t: np.where(t * z <= 0, -t, 0.0),
    "exponential": lambda z, t: -t * np.exp(-t * z),
    "modified_huber": lambda z, t: np.where(t * z < -1, -4 * t, -2 * t * np.maximum(0, 1 - t * z)),
    "huber": lambda z, t: np.clip(z - t, -0.1, 0.1),
    "epsilon_insensitive": lambda z, t: np.sign(z - t) * (np.abs(z - t) > 0.1),
    "squared_epsilon_insensitive": lambda z, t: 2 * np.sign(z - t) * np.maximum(0, np.abs(z - t) - 0.1),
}
# Derivatives of the losses with epsilon = 0.
WITHOUT_EPSILON = {
    "epsilon_insensitive": lambda z, t: np.sign(z - t),
    "squared_epsilon_insensitive": lambda z, t: 2 * (z - t),
}
OF_REGRESSION = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
RATES = {
    "constant": lambda t, alpha: 0.05,
    "optimal": lambda t, alpha: 1 / (alpha * (alpha**-0.75 - 1 + t)),
    "invscaling": lambda t, alpha: 0.05 / t**0.25,
}
OPTIONS = {"shuffle": False, "tol": None, "eta0": 0.05, "power_t": 0.25, "alpha": 0.1}


def steps(X, target, derivative, rate, batch_size, epochs, l1, l2):
    """Coefficients and intercept after steps on consecutive rows, in float64."""
    w, b, t = np.zeros(X.shape[1]), 0.0, 0
    for _ in range(epochs):
        for start in range(0, len(X), batch_size):
            x, y = X[start : start + batch_size], target[start : start + batch_size]
            d = derivative(x @ w + b, y) / len(x)
            t += 1
            lr = RATES[rate](t, 0.1)
            w = w - lr * (x.T @ d + l2 * w)
            w = np.sign(w) * np.maximum(np.abs(w) - lr * l1, 0)
            b -= lr * d.sum()
    return w, b, t


def data(rng, k=2, dtype=np.float64):
    X, y = classes(rng, 90, 5, k, dtype)
    return X / X.std(0), y


# The first steps of "optimal" diverge far from the solution, and the model warns of it.
@pytest.mark.filterwarnings("ignore:.*worse than a constant:sklearn.exceptions.ConvergenceWarning")
# The exponential loss with the large rates of "optimal" leaves no digits to compare.
@pytest.mark.parametrize(
    ("loss", "rate"),
    [case for case in itertools.product(DERIVATIVES, RATES) if case != ("exponential", "optimal")],
)
@pytest.mark.parametrize("batch_size", [2, 16, 90, 200])
def test_the_steps(rng, dtype, loss, rate, batch_size):
    X, y = data(rng, dtype=dtype)
    regression = loss in OF_REGRESSION
    model = (SGDRegressor if regression else SGDClassifier)(
        loss=loss, learning_rate=rate, batch_size=batch_size, max_iter=3, penalty="elasticnet", **OPTIONS
    ).fit(X, y)
    target = y.astype(float) if regression else 2.0 * y - 1
    w, b, t = steps(
        X.astype(np.float64), target, DERIVATIVES[loss], rate, batch_size, 3, 0.1 * 0.15, 0.1 * 0.85
    )
    # Each of t steps adds rounding errors, and amplifies earlier ones by at most its rate times the curvature.
    atol = 200 * np.finfo(dtype).eps * max(1.0, np.abs(w).max())
    np.testing.assert_allclose(model.coef_.ravel(), w, rtol=0, atol=atol)
    np.testing.assert_allclose(model.intercept_, b, rtol=0, atol=atol)
    assert model.t_ == t + 1 and model.coef_.dtype == dtype


def test_every_loss_is_among_them():
    assert set(DERIVATIVES) == set(LOSSES)


@pytest.mark.parametrize("loss", WITHOUT_EPSILON)
def test_losses_with_an_epsilon_of_zero(rng, loss):
    X, y = data(rng, 5)
    model = SGDRegressor(
        loss=loss, epsilon=0.0, learning_rate="constant", batch_size=16, max_iter=3, **OPTIONS
    ).fit(X, y)
    w, b, _ = steps(X, y.astype(float), WITHOUT_EPSILON[loss], "constant", 16, 3, 0.0, 0.1)
    np.testing.assert_allclose(model.coef_, w, rtol=0, atol=1e-13)
    np.testing.assert_allclose(model.intercept_, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("loss", OF_REGRESSION)
def test_losses_of_regression_for_classes(rng, loss):
    X, y = data(rng)
    model = SGDClassifier(loss=loss, learning_rate="constant", batch_size=16, max_iter=3, **OPTIONS).fit(X, y)
    w, b, _ = steps(X, 2.0 * y - 1, DERIVATIVES[loss], "constant", 16, 3, 0.0, 0.1)
    np.testing.assert_allclose(model.coef_[0], w, rtol=0, atol=1e-13)
    np.testing.assert_allclose(model.intercept_, b, rtol=0, atol=1e-13)


def test_several_classes_are_each_one_against_the_others(rng):
    X, y = data(rng, 3)
    model = SGDClassifier(batch_size=16, max_iter=4, learning_rate="invscaling", **OPTIONS).fit(X, y)
    for k in range(3):
        w, b, _ = steps(X, np.where(y == k, 1.0, -1.0), DERIVATIVES["hinge"], "invscaling", 16, 4, 0.0, 0.1)
        np.testing.assert_allclose(model.coef_[k], w, rtol=0, atol=1e-13)
        np.testing.assert_allclose(model.intercept_[k], b, rtol=0, atol=1e-13)


def test_all_classes_see_the_same_order(rng):
    X, y = data(rng, 3)
    options = {**OPTIONS, "shuffle": True, "batch_size": 16, "max_iter": 3, "random_state": 0}
    model = SGDClassifier(**options).fit(X, y)
    alone = SGDClassifier(**options).fit(X, y == 2)
    np.testing.assert_array_equal(model.coef_[2:], alone.coef_)


def test_partial_fit_goes_on(rng):
    X, y = data(rng)
    options = {**OPTIONS, "batch_size": 15, "learning_rate": "optimal"}
    whole = SGDClassifier(max_iter=1, **options).fit(X, y)
    online = SGDClassifier(**options)
    for part in (slice(0, 30), slice(30, 90)):
        online.partial_fit(X[part], y[part], classes=[0, 1])
    np.testing.assert_allclose(online.coef_, whole.coef_, rtol=0, atol=1e-13)
    assert online.t_ == whole.t_ == 7


@pytest.mark.parametrize("weights", ["sample_weight", "class_weight"])
def test_weights_are_part_of_the_objective(rng, weights):
    X, y = data(rng)
    s = rng.uniform(0.2, 3.0, 90) if weights == "sample_weight" else np.where(y == 1, 3.0, 0.5)
    model = SGDClassifier(
        loss="log_loss",
        alpha=0.1,
        batch_size=8,
        max_iter=3000,
        tol=None,
        random_state=0,
        class_weight={0: 0.5, 1: 3.0} if weights == "class_weight" else None,
    ).fit(X, y, sample_weight=s if weights == "sample_weight" else None)
    t = 2.0 * y - 1
    residual = s * DERIVATIVES["log_loss"](X @ model.coef_[0] + model.intercept_[0], t)
    gradient = np.r_[residual @ X / 90 + 0.1 * model.coef_[0], residual.mean()]
    # After 34,000 steps on a strongly convex function the noise is of the size of the square root of the rate.
    assert np.abs(gradient).max() < 3 * np.sqrt(1 / (0.1 * 34_000)) * 0.1


def test_weights_are_factors_of_the_rate(rng):
    X, y = data(rng)
    model = SGDRegressor(learning_rate="constant", batch_size=90, max_iter=4, **OPTIONS)
    model.fit(X, y, sample_weight=np.full(90, 2.0))
    w, b = np.zeros(5), 0.0
    for _ in range(4):
        d = 2 * (X @ w + b - y) / 90
        w, b = w - 0.05 * (X.T @ d + 0.1 * w), b - 0.05 * d.sum()
    np.testing.assert_allclose(model.coef_, w, rtol=0, atol=1e-14)
    np.testing.assert_allclose(model.intercept_, b, rtol=0, atol=1e-14)


def test_sparse_inputs_take_the_same_steps(rng):
    X, y = data(rng)
    X[np.abs(X) < 0.8] = 0
    dense, sparse = (
        SGDClassifier(batch_size=7, random_state=0, alpha=0.1).fit(given, y)
        for given in (X, scipy.sparse.csr_array(X))
    )
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=0, atol=1e-12)


def test_rates_adapt_and_validation_stops(rng):
    X, y = data(rng)
    for options in ({"learning_rate": "adaptive", "eta0": 0.1}, {"early_stopping": True}):
        model = SGDClassifier(loss="log_loss", batch_size=8, alpha=0.01, random_state=0, **options).fit(X, y)
        assert 5 < model.n_iter_ < 1000 and model.score(X, y) > 0.6


@pytest.mark.parametrize("options", [{"average": True}, {"learning_rate": "pa1"}], ids=str)
def test_what_goes_with_single_samples_only(rng, options):
    X, y = data(rng)
    with pytest.raises(ValueError, match=r"\[SGDClassifier\] .*requires batch_size=1, got 4"):
        SGDClassifier(batch_size=4, **options).fit(X, y)


def test_weights_that_are_all_zero(rng):
    X, y = data(rng)
    model = SGDClassifier(batch_size=4, class_weight={0: 1.0, 1: 0.0}).partial_fit(X, y, classes=[0, 1])
    before = model.coef_.copy()
    with pytest.raises(ValueError, match=r"\[SGDClassifier\] the weights of all samples are zero"):
        model.partial_fit(X[y == 1], y[y == 1])
    assert np.array_equal(model.coef_, before)
