"""Natural gradient steps with known results: least squares, logistic regression, reparametrised networks."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from fisher_cases import (
    assert_close,
    flat,
    gradient,
    inputs,
    network,
    set_parameters,
    targets,
)
from sklearn import datasets
from sklearn import linear_model as sklearn_linear
from sklearn.exceptions import ConvergenceWarning

from steepest import fisher, nn
from steepest.fisher._layout import Layout
from steepest.fisher._tape import Tape
from steepest.linear_model import LinearRegression, LogisticRegression


def test_one_step_solves_least_squares():
    """On the raw features of Wine, one undamped step from zero reaches the least-squares loss."""
    X, y = datasets.load_wine(return_X_y=True)
    X, y = np.ascontiguousarray(X), y[:, None].astype(np.float64)
    net = nn.Network([nn.Linear(13, 1)], dtype=np.float64)
    set_parameters(net, np.zeros(14))
    loss = nn.MeanSquaredError(half=True)
    step = fisher.FisherMatrix(net, loss, X).solve(gradient(net, loss, X, y))
    set_parameters(net, -step)
    value, _ = loss(net.predict(X), y)
    assert abs(float(value) - 0.029838693732922) < 1e-12


@pytest.mark.not_when_slow("its fits take long; other tests cover each step")
def test_steps_of_a_logistic_regression():
    """On the raw features of Breast Cancer, losses follow the protocol of Kunstner, Balles and Hennig (2019)."""
    X, y = datasets.load_breast_cancer(return_X_y=True)
    X, y = np.ascontiguousarray(X), y[:, None].astype(np.float64)
    net = nn.Network([nn.Linear(30, 1)], dtype=np.float64)
    set_parameters(net, np.zeros(31))
    loss, theta, found = nn.BinaryCrossEntropy(), np.zeros(31), {}
    for step in range(1, 101):
        theta -= fisher.FisherMatrix(net, loss, X).solve(gradient(net, loss, X, y), 1e-10)
        set_parameters(net, theta)
        found[step] = float(loss(net.predict(X), y)[0])
    assert found[1] == pytest.approx(0.23666, abs=5e-6)
    assert found[5] == pytest.approx(0.04909, abs=5e-6)
    assert found[10] == pytest.approx(0.02014, abs=5e-6)
    assert found[100] <= 7.15e-4


@pytest.mark.parametrize("k", [2, 4])
def test_logistic_regression_by_the_natural_gradient(k):
    """Its first step is the natural gradient's, and it reaches the minimum in as few steps as Newton's method."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    y = (X @ rng.standard_normal((4, k)) + rng.gumbel(size=(300, k))).argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        first = LogisticRegression(solver="natural", C=np.inf, max_iter=1).fit(X, y)
    width = 1 if k == 2 else k
    net = nn.Network([nn.Linear(4, width)], dtype=np.float64)
    set_parameters(net, np.zeros(5 * width))
    loss, target = (nn.BinaryCrossEntropy(), y[:, None] * 1.0) if k == 2 else (nn.SoftmaxCrossEntropy(), y)
    step = -fisher.FisherMatrix(net, loss, X).solve(gradient(net, loss, X, target))
    # Fisher scoring would halve a step that raises the objective, which this step does not.
    coef = step[: 4 * width].reshape(4, width).T
    assert_close(first.coef_ - first.coef_.mean(axis=0) * (k > 2), coef - coef.mean(axis=0) * (k > 2), 1e-6)
    best = LogisticRegression(solver="natural", tol=1e-10).fit(X, y)
    assert best.n_iter_[0] <= 12
    expected = sklearn_linear.LogisticRegression(solver="newton-cg", tol=1e-12).fit(X, y)
    assert_close(best.coef_, expected.coef_, 1e-6)


@pytest.mark.not_when_slow("its fits take long; other tests cover each step")
@pytest.mark.cpu_only("its fits take too long on the stand-in")
@pytest.mark.parametrize(
    "load", [datasets.load_breast_cancer, datasets.load_digits], ids=["breast cancer", "digits"]
)
def test_the_natural_gradient_is_at_the_optimum_in_twelve_steps(load):
    """On raw features twelve steps reach the best objective of all solvers to a relative 1e-8."""
    X, y = load(return_X_y=True)
    model = LogisticRegression(solver="natural", tol=1e-8).fit(X, y)
    assert model.n_iter_[0] <= 12
    objective = penalised(model, X, y)
    assert objective <= penalised(LogisticRegression(solver="natural", tol=1e-11).fit(X, y), X, y) * (
        1 + 1e-8
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = sklearn_linear.LogisticRegression(solver="newton-cg", tol=1e-4).fit(X, y)
    assert objective <= penalised(theirs, X, y) * (1 + 1e-8)


def penalised(model, X, y):
    """The objective of a logistic regression with C = 1."""
    logs = model.predict_log_proba(X)
    return -logs[np.arange(len(y)), y].sum() + 0.5 * (model.coef_**2).sum()


def test_linear_regression_by_the_natural_gradient():
    X, y = datasets.load_wine(return_X_y=True)
    natural, closed = (LinearRegression(solver=solver).fit(X, y) for solver in ("natural", "closed"))
    np.testing.assert_array_equal(natural.coef_, closed.coef_)
    net = nn.Network([nn.Linear(13, 1)], dtype=np.float64)
    set_parameters(net, np.zeros(14))
    loss = nn.MeanSquaredError()
    target = y[:, None].astype(np.float64)
    step = fisher.FisherMatrix(net, loss, X).solve(gradient(net, loss, np.ascontiguousarray(X), target))
    assert_close(natural.coef_, -step[:13], 1e-6)


def test_reparametrisation():
    """Equal networks of tanh and of sigmoids change their outputs equally, with K-FAC too, but not with damping."""
    X, loss = inputs(8), nn.SoftmaxCrossEntropy()
    y = targets(loss, 8, 3)
    tanh, sigmoid = network(3, (4,), nn.Tanh), network(3, (4,), nn.Sigmoid)
    # tanh(u) = 2 sigmoid(2 u) - 1
    (w1, b1, w2, b2), (v1, c1, v2, c2) = ([p.value for p in net.parameters()] for net in (tanh, sigmoid))
    v1[...], c1[...], v2[...], c2[...] = 2 * w1, 2 * b1, 2 * w2, b2 - w2.sum(axis=0)
    np.testing.assert_allclose(sigmoid.predict(X), tanh.predict(X), atol=1e-14)
    moves = {}
    for structure, damping in itertools.product(("dense", "kfac"), (0.0, 0.1)):
        for net in (tanh, sigmoid):
            theta = flat([p.value for p in net.parameters()]).copy()
            F = fisher.FisherMatrix(net, loss, X, structure=structure)
            step = F.solve(gradient(net, loss, X, y), damping)
            moves[structure, damping, id(net)] = Tape(net, (X,)).tangent(Layout(net).named(step))
            set_parameters(net, theta)
    for structure in ("dense", "kfac"):
        a, b = (moves[structure, 0.0, id(net)] for net in (tanh, sigmoid))
        # A common shift of all logits does not change the distribution.
        a, b = (m - m.mean(axis=1, keepdims=True) for m in (a, b))
        assert_close(a, b, 1e-5)
        a, b = (moves[structure, 0.1, id(net)] for net in (tanh, sigmoid))
        assert np.abs(a - b).max() > 1e-2 * np.abs(a).max()


def test_scaled_losses_with_scaled_damping_take_the_same_step():
    net, X = network(2), inputs()
    y = targets(nn.MeanSquaredError(), 6, 2)
    half, whole = nn.MeanSquaredError(half=True), nn.MeanSquaredError()
    steps = [
        fisher.FisherMatrix(net, loss, X).solve(gradient(net, loss, X, y), damping)
        for loss, damping in ((half, 0.01), (whole, 0.02))
    ]
    assert_close(*steps)
