"""`linear_sgd` takes the steps that scikit-learn takes, coefficient by coefficient."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
from backends import assert_close
from sklearn.linear_model import SGDClassifier, SGDRegressor
from test_linear_sgd import State, make

ALPHA = 0.01
RATES = {
    "constant": {"lr": 0.05},
    "optimal": {"lr": 1 / ALPHA, "power": 1.0, "t0": ALPHA**-0.75 - 1},
    "invscaling": {"lr": 0.05, "power": 0.3},
}
PENALTIES = {
    "l2": (0.0, ALPHA),
    "l1": (ALPHA, 0.0),
    "elasticnet": (0.3 * ALPHA, 0.7 * ALPHA),
    None: (0.0, 0.0),
}
# Two epochs of the estimators, in the order of the rows.
STEPS = {
    "alpha": ALPHA,
    "l1_ratio": 0.3,
    "eta0": 0.05,
    "power_t": 0.3,
    "shuffle": False,
    "max_iter": 2,
    "tol": None,
}


def epochs_like(model, x, target, kind, parameter, rate, penalty, average, **options):
    """Our steps from zero, as many epochs as the fitted `model` took."""
    k = np.atleast_2d(model.coef_).shape[0]
    l1, l2 = PENALTIES[penalty]
    state = State(np.random.default_rng(0), x.dtype, x.shape[1], k, l1=l1 > 0, average=bool(average))
    state.w[...], state.b[...] = 0.0, 0.0
    if average:
        state.options["average_start"] = average
    for _ in range(model.n_iter_):
        state.epoch(x, target, kind=kind, parameter=parameter, l1=l1, l2=l2, **RATES[rate], **options)
    w, b = (state.options["average_w"], state.options["average_b"]) if average else (state.w, state.b)
    # Their weights carry the errors of as many steps as ours.
    largest = max(1.0, np.abs(w).max(), np.abs(b).max())
    tolerance = 4.0 * tolerances.linear_sgd(x.dtype, int(state.step), x, largest)
    assert_close(w.T, np.atleast_2d(model.coef_), tolerance, "coef_")
    assert_close(b, np.atleast_1d(model.intercept_), tolerance, "intercept_")


@pytest.mark.parametrize("average", [False, 200])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    ("loss", "kind", "parameter"),
    [
        ("hinge", "hinge", 1.0),
        ("perceptron", "hinge", 0.0),
        ("log_loss", "log_loss", None),
        ("squared_hinge", "squared_hinge", None),
    ],
)
def test_steps_of_the_classifier(rng, loss, kind, parameter, rate, penalty, average):
    if average and penalty in {"l1", "elasticnet"}:
        pytest.skip("scikit-learn's average leaves out what the L1 penalty took")
    if loss == "squared_hinge" and rate == "optimal":
        pytest.skip("the first steps are too long for this loss: the weights overflow")
    x, _ = make(rng, np.float64, 200, 13, 1)
    x *= 0.3 if rate == "optimal" else 2.0  # whose first steps are long
    labels = rng.integers(0, 3, 200)
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    model = SGDClassifier(
        loss=loss,
        **STEPS,
        penalty=penalty,
        learning_rate=rate,
        average=average,
        class_weight=weights,
    ).fit(x, labels)
    class_weight = np.array([[1.0] * 3, list(weights.values())])
    epochs_like(model, x, labels, kind, parameter, rate, penalty, average, class_weight=class_weight)


@pytest.mark.parametrize("average", [False, 200])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
@pytest.mark.parametrize("rate", ["constant", "invscaling"])
@pytest.mark.parametrize(("loss", "parameter"), [("squared_error", None), ("huber", 0.1)])
def test_steps_of_the_regressor(rng, loss, parameter, rate, penalty, average):
    if average and penalty in {"l1", "elasticnet"}:
        pytest.skip("scikit-learn's average leaves out what the L1 penalty took")
    x, target = make(rng, np.float64, 200, 13, 1, "squared_error")
    weight = rng.random(200)
    model = SGDRegressor(
        loss=loss,
        epsilon=0.1,
        **STEPS,
        penalty=penalty,
        learning_rate=rate,
        average=average,
    ).fit(x, target[:, 0], sample_weight=weight)
    options = {"half": loss == "squared_error", "sample_weight": weight}
    epochs_like(model, x, target, loss, parameter, rate, penalty, average, **options)
