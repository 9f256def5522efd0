"""Likelihoods of `BernoulliRBM`: exact ones against all joint states, annealed ones, and training by these."""

from __future__ import annotations

import numpy as np
import pytest
from boltzmann_reference import Joint, bars_and_stripes, binary

from steepest.neural_network import BernoulliRBM
from steepest.neural_network.boltzmann.divergence import ContrastiveDivergence, StepOptions
from steepest.neural_network.boltzmann.draws import PhiloxDraws
from steepest.neural_network.boltzmann.machine import Machine


def machine_of(rng, n_visible, n_hidden, scale=1.0, **options):
    """A fitted estimator with random parameters."""
    model = BernoulliRBM(n_hidden, n_iter=0, **options).fit(np.zeros((2, n_visible)))
    model.components_ = scale * rng.standard_normal((n_hidden, n_visible))
    model.intercept_hidden_ = rng.standard_normal(n_hidden)
    model.intercept_visible_ = rng.standard_normal(n_visible)
    return model


def labelled(rng, n_visible, n_hidden, n_classes):
    model = BernoulliRBM(n_hidden, n_iter=0, label_units=True).fit(
        np.zeros((n_classes, n_visible)), np.arange(n_classes)
    )
    for name in (
        "components_",
        "label_components_",
        "intercept_hidden_",
        "intercept_visible_",
        "intercept_label_",
    ):
        setattr(model, name, rng.standard_normal(getattr(model, name).shape))
    return model


def joint_of(model):
    components, visible, labels = model.components_, model.intercept_visible_, 0
    if model.label_units:
        components = np.concatenate([components, model.label_components_], axis=1)
        visible, labels = np.concatenate([visible, model.intercept_label_]), len(model.classes_)
    return Joint(components, model.intercept_hidden_, visible, labels)


@pytest.mark.parametrize(("n_visible", "n_hidden"), [(5, 3), (3, 5), (1, 1)])
def test_exact_likelihoods_are_those_of_the_joint_states(rng, n_visible, n_hidden):
    model = machine_of(rng, n_visible, n_hidden)
    joint = joint_of(model)
    assert model.log_partition() == pytest.approx(joint.log_partition, rel=1e-13)
    X = binary(n_visible)
    np.testing.assert_allclose(model.log_likelihood(X), np.log([joint.marginal(x) for x in X]), rtol=1e-11)
    np.testing.assert_allclose(
        model.free_energy(X) + model.log_likelihood(X), -joint.log_partition, rtol=1e-11
    )


def test_labels_are_summed_out_and_predicted_exactly(rng):
    model = labelled(rng, 4, 3, 3)
    joint = joint_of(model)
    assert model.log_partition() == pytest.approx(joint.log_partition, rel=1e-13)
    X = binary(4)
    p = np.array([[joint.marginal(np.append(x, label)) for label in np.eye(3)] for x in X])
    np.testing.assert_allclose(model.log_likelihood(X), np.log(p.sum(axis=1)), rtol=1e-11)
    np.testing.assert_allclose(model.predict_proba(X), p / p.sum(axis=1, keepdims=True), rtol=1e-11)
    assert (model.predict(X) == model.classes_[p.argmax(axis=1)]).all()


def test_gaussian_density_integrates_to_one(rng):
    model = machine_of(rng, 2, 3, visible="gaussian")
    grid = np.linspace(-12, 14, 521)
    X = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    assert np.exp(model.log_likelihood(X)).sum() * (grid[1] - grid[0]) ** 2 == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"visible": "gaussian"}], ids=["bernoulli", "gaussian"])
@pytest.mark.parametrize(("n_visible", "n_hidden"), [(6, 4), (3, 5)])
def test_gradient_equals_differences(rng, n_visible, n_hidden, options):
    model = machine_of(rng, n_visible, n_hidden, **options)
    X = rng.integers(2, size=(20, n_visible)).astype(float)
    gradient = model.log_likelihood_gradient(X)
    step = 1e-5
    for name, found in zip(("components_", "intercept_hidden_", "intercept_visible_"), gradient, strict=True):
        at = getattr(model, name)
        for place in np.ndindex(at.shape):
            values = []
            for side in (step, -step):
                moved = at.copy()
                moved[place] += side
                setattr(model, name, moved)
                values.append(model.log_likelihood(X).mean())
            setattr(model, name, at)
            assert found[place] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-8)


def mean_update(model, X, n_gibbs, steps, seed):
    """The mean of what steps of contrastive divergence would add to the visible biases and the weights."""
    n_hidden, n_visible = model.components_.shape
    machine, arena = Machine.zeros(n_visible, n_hidden, np.float64, "cpu")
    start = np.concatenate([model.components_.T.ravel(), model.intercept_hidden_, model.intercept_visible_])
    options = StepOptions(1.0, n_gibbs, persistent=False)
    cd = ContrastiveDivergence(machine, arena, options, np.zeros((1, n_hidden)), len(X))
    draws, total = PhiloxDraws(seed, "cpu"), np.zeros(arena.shape)
    cd.batch[...] = X
    for _ in range(steps):
        arena[...] = start
        cd.step(len(X), draws)
        total += arena - start
    return total / steps


def test_contrastive_divergence_tends_to_the_gradient_with_k(rng):
    model = machine_of(rng, 4, 3, scale=2.0)
    X = np.repeat(rng.integers(2, size=(5, 4)).astype(float), 200, axis=0)
    components, hidden, visible = model.log_likelihood_gradient(X)
    exact = np.concatenate([components.T.ravel(), hidden, visible])
    errors = [np.abs(mean_update(model, X, k, 60, seed=k) - exact).max() for k in (1, 4, 64)]
    # 60,000 chains: a standard error of at most 0.5 / sqrt(60000) = 0.002.
    assert errors[2] < 0.01
    assert errors[0] > 2 * errors[1] > 2 * errors[2]
    assert errors[0] > 0.03


def test_gibbs_steps_keep_the_distribution(rng):
    """Chains that begin with draws of p are draws of p after a step, and after a step of `gibbs`."""
    model = machine_of(rng, 3, 4, random_state=3)
    joint, states = joint_of(model), binary(3)
    p = np.array([joint.marginal(x) for x in states])
    # The matrix of a step from the conditional probabilities, whose left eigenvector p is.
    h = binary(4)
    given_v = model.transform(states)
    to_h = np.prod(np.where(h[None] == 1, given_v[:, None], 1 - given_v[:, None]), axis=2)
    given_h = 1 / (1 + np.exp(-(h @ model.components_ + model.intercept_visible_)))
    to_v = np.prod(np.where(states[None] == 1, given_h[:, None], 1 - given_h[:, None]), axis=2)
    np.testing.assert_allclose(p @ to_h @ to_v, p, rtol=1e-12)
    # Draws follow that matrix.
    n = 40_000
    drawn = model.gibbs(np.repeat(states[5:6], n, axis=0)).astype(float)
    found = np.array([(drawn == x).all(axis=1).mean() for x in states])
    np.testing.assert_allclose(found, (to_h @ to_v)[5], atol=5 * 0.5 / np.sqrt(n))


@pytest.mark.parametrize("kind", ["bernoulli", "labels", "gaussian"])
def test_samples_have_the_distribution(rng, kind):
    n = 20_000
    if kind == "gaussian":
        model = machine_of(rng, 2, 2, scale=0.7, visible="gaussian")
        X = model.sample(n, seed=4, n_steps=60)
        h = binary(2)
        fields = model.intercept_visible_ + h @ model.components_
        logs = h @ model.intercept_hidden_ + (fields**2).sum(axis=1) / 2
        p = np.exp(logs - logs.max())
        p /= p.sum()
        variance = 1 + p @ fields**2 - (p @ fields) ** 2
        np.testing.assert_allclose(X.mean(axis=0), p @ fields, atol=5 * np.sqrt(variance.max() / n))
        np.testing.assert_allclose(X.var(axis=0), variance, rtol=0.06)
        return
    model = labelled(rng, 3, 3, 3) if kind == "labels" else machine_of(rng, 3, 3)
    joint = joint_of(model)
    X = model.sample(n, seed=4, n_steps=60)
    for x in binary(3):
        assert (x == X).all(axis=1).mean() == pytest.approx(joint.marginal(x), abs=5 * 0.5 / np.sqrt(n))
    assert (model.sample(n, seed=4, n_steps=60) == X).all()
    if kind == "labels":
        given = model.sample(n, seed=1, n_steps=60, y=2)
        p = np.array([joint.marginal(np.append(x, [0, 0, 1])) for x in binary(3)])
        found = [(x == given).all(axis=1).mean() for x in binary(3)]
        np.testing.assert_allclose(found, p / p.sum(), atol=5 * 0.5 / np.sqrt(n))


def test_annealing_agrees_with_enumeration_at_20_hidden_units(rng):
    model = machine_of(rng, 30, 20, scale=0.3)
    exact = model.log_partition()
    for seed in range(3):
        estimate, error = model.annealed_log_partition(n_chains=60, n_temperatures=400, seed=seed)
        assert 0 < error < 0.3
        assert abs(estimate - exact) < 3 * error
    data = model.sample(200, n_steps=100)
    estimate, error = model.annealed_log_partition(data, n_chains=60, n_temperatures=400)
    assert abs(estimate - exact) < 3 * error
    # A log-likelihood by the estimate differs from the exact one by that of log Z.
    difference = model.log_likelihood(data[:5], estimate) - model.log_likelihood(data[:5])
    np.testing.assert_allclose(difference, exact - estimate, atol=1e-9)


@pytest.mark.parametrize("kind", ["labels", "gaussian"])
def test_annealing_of_other_units(rng, kind):
    if kind == "labels":
        model = labelled(rng, 10, 8, 3)
        X = rng.integers(2, size=(50, 10)).astype(float)
    else:
        model = machine_of(rng, 6, 8, scale=0.3, visible="gaussian")
        X = rng.standard_normal((50, 6))
    estimate, error = model.annealed_log_partition(X, n_chains=100, n_temperatures=500)
    assert 0 < error < 0.2
    assert abs(estimate - model.log_partition()) < 3.5 * error


def test_natural_gradient_learns_bars_and_stripes():
    """The least negative log-likelihood is the entropy of the patterns drawn by coins: two of 32 coincide twice."""
    X = bars_and_stripes(4)
    assert len(np.unique(X, axis=0)) == 30
    least = 28 / 32 * np.log(32) + 4 / 32 * np.log(16)
    assert least == pytest.approx(3.379, abs=1e-3)
    model = BernoulliRBM(8, n_iter=40, solver="natural", random_state=0).fit(X)
    assert -model.log_likelihood(X).mean() < least + 0.1
    assert model.loss_curve_[-1] == pytest.approx(-model.log_likelihood(X).mean(), rel=1e-9)
    assert (np.diff(model.loss_curve_) < 0).all()


def test_too_many_states_are_refused():
    model = BernoulliRBM(30, n_iter=0).fit(np.zeros((2, 40)))
    with pytest.raises(ValueError, match=r"^\[BernoulliRBM\] a layer of 30 units has too many states"):
        model.log_partition()
    with pytest.raises(ValueError, match=r"^\[BernoulliRBM\] .*at most 20 units"):
        BernoulliRBM(30, solver="natural").fit(np.zeros((2, 40)))
