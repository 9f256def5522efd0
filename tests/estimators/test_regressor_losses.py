"""The losses of the regressor: the limits of constant predictions, values, several outputs, errors."""

from __future__ import annotations

import numpy as np
import pytest
from perceptrons import data_for
from sklearn.datasets import make_regression

from steepest.neural_network import MLPRegressor, _regression_losses

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(3)
Y = RNG.gamma(2.0, 1.0, 41)
LOSSES = [*_regression_losses.LOSSES, ("huber", 0.5), ("quantile", 0.9)]


def value_of(loss, y, f):
    """Mean loss of network outputs f, in plain NumPy."""
    name, parameter = (loss, None) if isinstance(loss, str) else loss
    e = f - y
    if name == "huber":
        delta = 1.0 if parameter is None else parameter
        return np.where(abs(e) <= delta, e**2 / 2, delta * (abs(e) - delta / 2)).mean()
    if name == "quantile":
        q = 0.5 if parameter is None else parameter
        return np.where(e < 0, -q * e, (1 - q) * e).mean()
    formulas = {
        "squared_error": lambda: e**2 / 2,
        "absolute_error": lambda: abs(e),
        "poisson": lambda: np.exp(f) - y * f,
    }
    return formulas[name]().mean()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_loss_of_the_first_step_is_its_formula(loss):
    X, _ = make_regression(41, 3, random_state=0)
    model = MLPRegressor(
        loss, (4,), activation="tanh", solver="sgd", learning_rate_init=1e-300, alpha=0.0, max_iter=1
    )
    model.fit(X, Y)
    if loss == "gaussian":
        mean, std = model.predict(X, return_std=True)
        expected = ((Y - mean) ** 2 / std**2 / 2 + np.log(std)).mean()
    else:
        output = model.predict(X)
        expected = value_of(loss, Y, np.log(output) if loss == "poisson" else output)
    assert model.loss_ == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "best"),
    [
        ("squared_error", Y.mean()),
        ("absolute_error", np.median(Y)),
        (("quantile", 0.9), np.quantile(Y, 0.9, method="inverted_cdf")),
        ("poisson", Y.mean()),
        ("gaussian", Y.mean()),
    ],
    ids=str,
)
def test_a_constant_prediction_converges_to_the_statistic_of_its_loss(loss, best):
    """X is zero, so only the bias of the output layer matters."""
    model = MLPRegressor(
        loss,
        (2,),
        learning_rate_init=0.005,
        alpha=0.0,
        n_iter_no_change=np.inf,
        max_iter=3000,
        random_state=0,
    )
    model.fit(np.zeros((41, 1)), Y)
    # Adam's last steps have the size of the learning rate.
    assert model.predict(np.zeros((1, 1)))[0] == pytest.approx(best, abs=0.02)
    if loss == "gaussian":
        assert model.predict(np.zeros((1, 1)), return_std=True)[1][0] == pytest.approx(Y.std(), abs=0.02)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_several_outputs(loss, solver):
    X, _ = data_for(MLPRegressor)
    targets = np.abs(np.stack([X[:, 0], X[:, 1] + X[:, 2], X[:, 3] ** 2], axis=1))
    options = {"hidden_layer_sizes": (20,), "solver": solver, "max_iter": 150, "random_state": 0}
    if solver == "adam":
        options["learning_rate_init"] = 0.01
    model = MLPRegressor(loss, **options).fit(X, targets)
    assert model.predict(X).shape == (120, 3)
    expected = np.corrcoef(model.predict(X).ravel(), targets.ravel())[0, 1]
    assert expected > 0.8
    if loss == "poisson":
        assert (model.predict(X) > 0).all() and model.out_activation_ == "exp"
    if loss == "gaussian":
        mean, std = model.predict(X, return_std=True)
        np.testing.assert_array_equal(mean, model.predict(X))
        assert std.shape == (120, 3) and (std > 0).all()
        assert model.coefs_[-1].shape == (20, 6)
    with pytest.raises(ValueError, match="y has 2 outputs, expected 3"):
        model.set_params(warm_start=True).fit(X, targets[:, :2])


def test_the_loss_of_several_outputs_is_their_sum():
    X, y = data_for(MLPRegressor)
    targets = np.stack([y, -y], axis=1)
    model = MLPRegressor(solver="sgd", learning_rate_init=1e-300, alpha=0.0, max_iter=1, random_state=0).fit(
        X, targets
    )
    assert model.loss_ == pytest.approx(
        0.5 * ((model.predict(X) - targets) ** 2).sum(axis=1).mean(), rel=1e-12
    )


@pytest.mark.parametrize("loss", ["squared_error", ("huber", 0.7), "poisson", "gaussian"], ids=str)
def test_weights_are_repetitions(loss):
    X, y = data_for(MLPRegressor, 40)
    counts = np.random.default_rng(1).integers(0, 4, 40)
    options = {"hidden_layer_sizes": (5,), "activation": "tanh", "solver": "lbfgs", "alpha": 1.0}
    # Both fits minimise the same function from the same start; few iterations keep rounding differences small.
    weighted, repeated = (MLPRegressor(loss, **options, max_iter=10, random_state=0) for _ in range(2))
    weighted.fit(X, abs(y), sample_weight=counts)
    repeated.fit(X.repeat(counts, axis=0), abs(y).repeat(counts))
    assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-9)


def test_errors():
    X, y = data_for(MLPRegressor)
    for loss in ("log_loss", ("poisson", 1.0), ("huber", 1.0, 2.0), ("huber",) * 2, ("quantile", 1.5), ()):
        with pytest.raises(ValueError, match="loss"):
            MLPRegressor(loss).fit(X, y)
    with pytest.raises(ValueError, match="y has a negative value"):
        MLPRegressor("poisson").fit(X, y)
    with pytest.raises(ValueError, match="return_std needs a fit with loss='gaussian'"):
        MLPRegressor(max_iter=1).fit(X, y).predict(X, return_std=True)
