"""Updates of policies against float64 oracles: gradients, clipped gradients, Fisher products and steps in a ball."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from reinforcement_reference import clipped, differences, entropy, log_probability

from steepest import fisher, optim
from steepest.reinforcement._moments import Moments
from steepest.reinforcement._policy import NetworkOptions, Policy, make_policy_network
from steepest.reinforcement._spaces import Actions, Observations
from steepest.reinforcement._updates import ClippedUpdate, GradientUpdate, NaturalUpdate, policy_gradient

SPACES = {
    "discrete": Actions(3, (), 0),
    "box": Actions(2, (2,), None, np.full(2, -1.0), np.full(2, 1.0)),
}
every_policy = pytest.mark.parametrize(
    ("kind", "depends"), [("discrete", False), ("box", False), ("box", True)]
)
N, N_IN = 24, 4


def problem(kind, rng, depends=False, dtype=np.float64, ignored=0):
    """A policy, and rows with actions and pulls; the last rows do not count."""
    observations = Observations(N_IN, (N_IN,))
    options = NetworkOptions((5,), "tanh", np.dtype(dtype), "cpu", seed=3)
    network = make_policy_network(observations, SPACES[kind], options, 0.7, depends=depends)
    network.arena[...] += 0.3 * (network.arena != 0) * rng.standard_normal(network.arena.shape)
    policy = Policy(network, observations, SPACES[kind], Moments(N_IN), seed=5)
    coded = np.eye(3)[rng.integers(3, size=N)] if kind == "discrete" else rng.standard_normal((N, 2))
    weights = (np.arange(N) < N - ignored).astype(dtype)
    rollout = SimpleNamespace(
        size=N,
        inputs=rng.standard_normal((N, N_IN)).astype(dtype),
        coded=coded.astype(dtype),
        weights=weights,
        pull=(rng.standard_normal(N) * weights / weights.sum()).astype(dtype),
    )
    return policy, rollout


def outputs(policy, x, depends):
    """The network's outputs in NumPy, from its parameters by name."""
    values = {p.name: p.value for p in policy.network.parameters()}
    w, b = ([v for k, v in values.items() if k.endswith(end)] for end in ("weight", "bias"))
    h = np.tanh(x @ w[0] + b[0])
    z = h @ w[1] + b[1]
    if policy.action_space.is_discrete:
        return z
    spread = h @ w[2] + b[2] if depends else np.ones((len(x), 1)) @ w[2]
    return np.hstack([z, spread])


@every_policy
def test_policy_gradient(kind, depends, rng):
    policy, rollout = problem(kind, rng, depends)
    discrete = kind == "discrete"

    def objective():
        z = outputs(policy, rollout.inputs, depends)
        return (
            -(rollout.pull @ log_probability(z, rollout.coded, discrete)) - 0.1 * entropy(z, discrete).mean()
        )

    policy_gradient(policy, rollout, 0.1)
    for p in policy.network.parameters():
        np.testing.assert_allclose(p.grad, differences(objective, p.value), rtol=0, atol=1e-8)


@every_policy
def test_gradient_update(kind, depends, rng):
    policy, rollout = problem(kind, rng, depends)
    policy_gradient(policy, rollout, 0.0)
    before, gradient = policy.network.arena.copy(), policy.network.grad_arena.copy()
    update = GradientUpdate(policy, rollout, optim.SGD(policy.network.parameters(), 0.01), 0.0)
    np.testing.assert_array_equal(policy.network.arena, before)
    outcome = update(0)
    np.testing.assert_allclose(policy.network.arena, before - 0.01 * gradient, rtol=1e-14, atol=1e-15)
    assert outcome.loss < -rollout.pull.sum()
    assert 0 < outcome.divergence < 0.1


@every_policy
def test_clipped_gradient(kind, depends, rng):
    """A second step of a pass starts where ratios differ from 1, and some are beyond the clip."""
    policy, rollout = problem(kind, rng, depends)
    discrete, network, clip = kind == "discrete", policy.network, 0.05
    optimizer = optim.SGD(network.parameters(), 2.0)
    update = ClippedUpdate(
        *(policy, rollout, optimizer),
        clip=clip,
        n_epochs=2,
        batch_size=N,
        entropy=0.1,
        bound=None,
        seed=0,
    )
    before = log_probability(outputs(policy, rollout.inputs, depends), rollout.coded, discrete)

    def loss():
        z = outputs(policy, rollout.inputs, depends)
        ratio = np.exp(log_probability(z, rollout.coded, discrete) - before)
        return -clipped(ratio, rollout.pull, clip).sum() - 0.1 * entropy(z, discrete).mean()

    start = network.arena.copy()
    for _ in range(2):
        gradients = [differences(loss, p.value) for p in network.parameters()]
        for p, gradient in zip(network.parameters(), gradients, strict=True):
            p.value[...] -= 2.0 * gradient
    z = outputs(policy, rollout.inputs, depends)
    ratio = np.exp(log_probability(z, rollout.coded, discrete) - before)
    assert (np.abs(ratio - 1) > clip).sum() > 3  # the clip acts
    expected = network.arena.copy()
    network.arena[...] = start
    update(0)
    np.testing.assert_allclose(network.arena, expected, rtol=0, atol=1e-7)


def test_clipped_update_ends_beyond_the_bound(rng):
    ends = []
    for bound in (None, 1e-9):
        policy, rollout = problem("discrete", np.random.default_rng(1))
        optimizer = optim.SGD(policy.network.parameters(), 0.5)
        options = {"clip": 0.2, "n_epochs": 4, "batch_size": 7, "entropy": 0.0, "seed": 0}
        ends.append(ClippedUpdate(policy, rollout, optimizer, bound=bound, **options)(0).divergence)
    assert 0 < ends[1] < ends[0]


def natural(policy, rollout, **options):
    defaults = {"bound": 0.01, "damping": 1e-3, "solver": "cg", "n_iterations": 10, "entropy": 0.0}
    return NaturalUpdate(policy, rollout, **{**defaults, **options})


@every_policy
def test_products_with_the_fisher_matrix(kind, depends, rng):
    policy, rollout = problem(kind, rng, depends, ignored=5)
    update = natural(policy, rollout)
    update._gradient.replay()
    matrix = fisher.FisherMatrix(
        policy.network,
        policy.distribution.loss,
        policy.inputs(rollout.inputs),
        sample_weight=rollout.weights,
    )
    arena = policy.network._arena
    v = np.zeros_like(policy.network.arena)
    for view in arena.views(v):
        view[...] = rng.standard_normal(view.shape)
    found = arena.views(update.times_fisher(v))
    for one, other in zip(found, matrix @ arena.views(v), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@every_policy
@pytest.mark.parametrize("solver", ["cg", "cholesky", "gram", "kfac"])
def test_natural_steps_stay_in_the_ball(kind, depends, solver, rng, dtype):
    policy, rollout = problem(kind, rng, depends, dtype, ignored=3)
    update, before = natural(policy, rollout, solver=solver), policy.network.arena.copy()
    z = outputs(policy, rollout.inputs, depends).astype(np.float64)[:-3]
    outcome = update(0)
    assert (policy.network.arena != before).any()
    assert outcome.loss < -rollout.pull.sum()
    new = outputs(policy, rollout.inputs, depends).astype(np.float64)[:-3]
    divergence = kl(z, new, kind == "discrete")
    assert 0.002 < divergence <= 0.01 * (1 + 1e-5)
    assert outcome.divergence == pytest.approx(divergence, rel=1e-4)


def kl(z, new, discrete):
    """Mean KL(p(z) || p(new)) by the definitions."""
    if discrete:
        log_p, log_q = (np.log(np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)) for a in (z, new))
        return (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    (m, s), (n, t) = (np.split(a, 2, axis=1) for a in (z, new))
    return 0.5 * (t - s + (np.exp(s) + (m - n) ** 2) / np.exp(t) - 1).sum(axis=1).mean()


def test_conjugate_gradients_solve_the_equations(rng):
    """With as many iterations as parameters, the step is that of a Cholesky factor."""
    steps = []
    for solver in ("cg", "cholesky", "gram"):
        policy, rollout = problem("discrete", np.random.default_rng(4))
        before = policy.network.arena.copy()
        natural(policy, rollout, solver=solver, n_iterations=60, damping=0.01)(0)
        steps.append(policy.network.arena - before)
    # The iterations end at a residual of 1e-5, and the solution's smallest components have eigenvalues of about 0.01.
    np.testing.assert_allclose(steps[0], steps[1], rtol=0, atol=1e-3 * np.abs(steps[1]).max())
    np.testing.assert_allclose(steps[2], steps[1], rtol=1e-5, atol=1e-7)


def test_nothing_to_gain(rng):
    policy, rollout = problem("discrete", rng)
    rollout.pull[...] = 0
    before = policy.network.arena.copy()
    outcome = natural(policy, rollout)(0)
    assert (outcome.loss, outcome.divergence) == (0.0, 0.0)
    np.testing.assert_array_equal(policy.network.arena, before)


def test_an_interrupted_search_takes_its_step_back(rng, monkeypatch):
    policy, rollout = problem("discrete", rng)
    update, before = natural(policy, rollout), policy.network.arena.copy()

    def interrupted():
        assert (policy.network.arena != before).any()
        raise KeyboardInterrupt

    monkeypatch.setattr(update._comparison, "outcome", interrupted)
    with pytest.raises(KeyboardInterrupt):
        update(0)
    np.testing.assert_array_equal(policy.network.arena, before)
