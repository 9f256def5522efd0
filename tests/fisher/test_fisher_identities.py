"""Fisher matrices: theorems that give the same numbers in another way, and known faults of other libraries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.special
from fisher_cases import (
    KINDS,
    LOSSES,
    STRUCTURES,
    assert_close,
    flat,
    gradient,
    inputs,
    network,
    set_parameters,
    targets,
)

from steepest import fisher, nn
from steepest.fisher._solvers import conjugate_residuals

SOLVERS = ("cholesky", "gram", "cg")
# Loss divided by negative log-likelihood: means are over two outputs, and a squared error has no factor 1/2.
SCALES = {"Bernoulli, mean": 0.5, "Gaussian, mean": 1.0, "Poisson": 0.5}


def distribution(name):
    return name.split(",")[0]


def make(name, kind="exact", structure="dense", n=6, hidden=(4,), **options):
    loss, n_out = LOSSES[name]
    return fisher.FisherMatrix(
        network(n_out, hidden),
        loss,
        inputs(n),
        targets(loss, n, n_out),
        kind=kind,
        structure=structure,
        **options,
    )


def every_observation(name, z):
    """Return all possible observations for outputs z, and their probabilities.

    Normal distributions use the nodes of Gauss-Hermite quadrature: three nodes are exact for polynomials of degree
    five, and products of scores have degree four. Poisson counts stop where the remaining probability is below 1e-20.
    """
    if name == "categorical":
        return np.arange(len(z)), scipy.special.softmax(z)
    if name == "Poisson":
        counts = np.arange(40)
        single = [(counts, np.exp(counts * a - np.exp(a) - scipy.special.gammaln(counts + 1))) for a in z]
    elif name == "Bernoulli":
        single = [(np.arange(2), np.array([scipy.special.expit(-a), scipy.special.expit(a)])) for a in z]
    else:
        nodes, chances = np.polynomial.hermite_e.hermegauss(3)
        chances = chances / chances.sum()
        m = len(z) // 2 if name == "learned variance" else len(z)
        deviations = np.exp(0.5 * z[m:]) if name == "learned variance" else np.ones(m)
        single = [(z[j] + deviations[j] * nodes, chances) for j in range(m)]
    observations = np.array(list(itertools.product(*(values for values, _ in single))), dtype=np.float64)
    likely = np.array([np.prod(p) for p in itertools.product(*(p for _, p in single))])
    return observations, likely


def divergence(name, z, w):
    """KL(p || q) of each row, for outputs z and w."""
    if name == "categorical":
        return scipy.special.rel_entr(*(scipy.special.softmax(a, axis=1) for a in (z, w))).sum(axis=1)
    if name == "Bernoulli":
        p, q = scipy.special.expit(z), scipy.special.expit(w)
        return (scipy.special.rel_entr(p, q) + scipy.special.rel_entr(1 - p, 1 - q)).sum(axis=1)
    if name == "Poisson":
        return scipy.special.kl_div(np.exp(z), np.exp(w)).sum(axis=1)
    if name == "Gaussian":
        return 0.5 * ((z - w) ** 2).sum(axis=1)
    (mean, s), (other, t) = np.split(z, 2, axis=1), np.split(w, 2, axis=1)
    ratio = np.exp(s - t)
    return 0.5 * (ratio - 1 - np.log(ratio) + (mean - other) ** 2 / np.exp(t)).sum(axis=1)


# ----------------------------------------------------------------------------------------- Fisher types and scales


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", LOSSES)
def test_the_empirical_kind_at_all_observations_is_the_exact_kind(name, structure):
    """The empirical type over all observations, weighted by their predicted probabilities, is the exact type.

    Other libraries had a wrong scale in one of the types for means over outputs.
    """
    loss, n_out = LOSSES[name]
    net, X = network(n_out), inputs(3)
    rows, observed, weights = [], [], []
    for x, z in zip(X, net.predict(X), strict=True):
        values, likely = every_observation(distribution(name), z)
        rows.append(np.repeat(x[None], len(likely), axis=0))
        observed.append(values)
        weights.append(likely)
    empirical = fisher.FisherMatrix(
        net,
        loss,
        np.concatenate(rows),
        np.concatenate(observed),
        kind="empirical",
        structure=structure,
        sample_weight=np.concatenate(weights),
    )
    exact = fisher.FisherMatrix(net, loss, X, structure=structure)
    assert_close(empirical.to_dense(), exact.to_dense())


@pytest.mark.not_when_slow("tests of the kernel cover the Monte Carlo samples")
@pytest.mark.parametrize("name", LOSSES)
def test_the_monte_carlo_kind_has_the_scale_of_the_exact_kind(name):
    """The scales agree, with means over outputs too; 40,000 samples give the trace to about 1 %."""
    drawn = make(name, "monte_carlo", n=4, n_samples=10_000).trace()
    assert drawn == pytest.approx(make(name, n=4).trace(), rel=0.05)


@pytest.mark.parametrize("kind", ["exact", "empirical"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("half", [False, True])
def test_squares_and_half_squares(half, reduction, kind):
    """Loss / negative log-likelihood is 2 for squared errors and 1 for half squared errors; a mean divides it by m."""
    m, X = 3, inputs()
    net, loss = network(m, (), bias=False), nn.MeanSquaredError(half=half, reduction=reduction)
    y = targets(loss, 6, m)
    scale = (1 if half else 2) / (m if reduction == "mean" else 1)
    if kind == "exact":
        expected = scale * np.kron(X.T @ X / len(X), np.eye(m))
    else:
        scores = np.einsum("np,nm->npm", X, net.predict(X) - y).reshape(len(X), -1)
        expected = scale * scores.T @ scores / len(X)
    F = fisher.FisherMatrix(net, loss, X, y, kind=kind)
    assert_close(F.to_dense(), expected)
    v = np.random.default_rng(0).standard_normal(F.size)
    assert_close(F @ v, expected @ v)
    if kind == "exact":
        # The gradient has the same scale, so one step reaches the least-squares solution.
        best = np.linalg.lstsq(X, y, rcond=None)[0]
        reached = net.parameters()[0].value.ravel() - F.solve(gradient(net, loss, X, y))
        assert_close(reached, best.ravel())


@pytest.mark.parametrize("name", ["Bernoulli", "Gaussian", "learned variance", "Poisson"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_means_and_sums_over_outputs(name, structure):
    """The loss summed over m outputs, and its F, are m times the mean's; with m times the damping the step is equal."""
    loss, n_out = LOSSES[name]
    net, X = network(n_out), inputs()
    y, m = targets(loss, 6, n_out), 2
    found = {}
    for reduction in ("mean", "sum"):
        reduced = type(loss)(reduction=reduction)
        F = fisher.FisherMatrix(net, reduced, X, structure=structure)
        damping = 0.01 * (m if reduction == "sum" else 1)
        found[reduction] = F.to_dense(), F.solve(gradient(net, reduced, X, y), damping)
    assert_close(found["sum"][0], m * found["mean"][0])
    assert_close(found["sum"][1], found["mean"][1])


# ------------------------------------------------------------------------------------------------------------ K-FAC


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n", [1, 5])
def test_kfac_of_equal_rows_is_exact(name, kind, n):
    """K-FAC is exact if all rows of X are equal; a factor divided by n once too often would be a fifth of it.

    Only the layers' inputs have to be equal: targets and Monte Carlo samples may differ between rows.
    """
    loss, n_out = LOSSES[name]
    net, X = network(n_out), np.repeat(inputs(1), n, axis=0)
    F = fisher.FisherMatrix(net, loss, X, targets(loss, n, n_out), kind=kind, structure="block", n_samples=2)
    for structure in ("kfac", "ekfac"):
        assert_close(F.with_structure(structure).to_dense(), F.to_dense())


@pytest.mark.parametrize("name", LOSSES)
def test_kfac_of_one_linear_layer(name):
    """For one layer and one row F is the Kronecker product of ``a a^T`` and H, with H from all observations."""
    loss, n_out = LOSSES[name]
    net, X = network(n_out, ()), inputs(1)
    values, likely = every_observation(distribution(name), net.predict(X)[0])
    # The bias gradient equals the output gradient, which is the scale of the loss times the score.
    repeated = np.repeat(X, len(likely), axis=0)
    by_outputs = fisher.score(net, loss, repeated, values)[:, -n_out:] / SCALES.get(name, 1.0)
    H = SCALES.get(name, 1.0) * (by_outputs * likely[:, None]).T @ by_outputs
    a = np.append(X[0], 1.0)
    assert_close(fisher.FisherMatrix(net, loss, X, structure="kfac").to_dense(), np.kron(np.outer(a, a), H))


# --------------------------------------------------------------------------------------------------------- solutions


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOSSES)
def test_every_solver_solves_every_kind(name, kind):
    """The Cholesky factor of F, the Gram matrix of the scores and conjugate gradients agree with NumPy's solution."""
    damping = 1e-2
    dense = make(name, kind).to_dense()
    g = np.random.default_rng(0).standard_normal(len(dense))
    expected = np.linalg.solve(dense + damping * np.eye(len(dense)), g)
    for solver in SOLVERS:
        # Conjugate gradients stop at a residual of 1e-10, which a condition number of at most 1e4 multiplies.
        assert_close(make(name, kind, solver=solver).solve(g, damping), expected, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_conjugate_residuals_come_to_the_solution(kind):
    """Residuals obey the theoretical bound, and reach rounding level after as many steps as distinct eigenvalues."""
    damping = 0.1
    F = make("categorical", kind)
    dense = F.to_dense() + damping * np.eye(F.size)
    g = np.random.default_rng(0).standard_normal(F.size)

    def error(k):
        return np.linalg.norm(dense @ conjugate_residuals(lambda v: F @ v, g, damping, 0.0, k)[0] - g)

    errors = np.array([error(k) for k in range(F.size + 1)])
    root = np.sqrt(np.linalg.cond(dense))
    bounds = 2 * ((root - 1) / (root + 1)) ** np.arange(len(errors)) * errors[0]
    floor = 1e-10 * errors[0]  # rounding errors, which spoil the conjugacy of the directions
    assert (errors <= bounds + floor).all()
    assert (np.diff(errors) <= floor).all()
    distinct = 1 + (F.eigenvalues() > 0).sum()  # all zero eigenvalues count as one
    assert errors[distinct] <= floor < 1e-6 * errors[0] < errors[2]


@pytest.mark.parametrize("solver", [*SOLVERS, *STRUCTURES[1:]])
def test_damping_is_added_once(solver):
    """A solution adds the damping once, and later products and solutions of F do not contain it."""
    options = {"structure": solver} if solver in STRUCTURES else {"solver": solver}
    F, untouched = (make("categorical", **options) for _ in range(2))
    dense, v = untouched.to_dense(), np.random.default_rng(0).standard_normal(F.size)
    for damping in (0.5, 0.5, 0.1):
        x = F.solve(v, damping)
        assert_close(dense @ x + damping * x, v, 1e-8)
        assert F.report.residual < 1e-8
        np.testing.assert_array_equal(F @ v, untouched @ v)
    np.testing.assert_array_equal(F.to_dense(), dense)
    np.testing.assert_array_equal(F.eigenvalues(), untouched.eigenvalues())


@pytest.mark.parametrize("damping", [1e-15, 1e-16, 1e-30])
@pytest.mark.parametrize("solver", [*SOLVERS, *STRUCTURES[1:]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_damping_of_next_to_nothing(dtype, solver, damping):
    """Tiny damping gives finite solutions; in the range of F the solution equals the undamped one."""
    loss, X = nn.SoftmaxCrossEntropy(), inputs(dtype=dtype)
    options = {"structure": solver} if solver in STRUCTURES else {"solver": solver}
    F = fisher.FisherMatrix(network(3, (), dtype=dtype), loss, X, **options)
    anywhere = np.random.default_rng(0).standard_normal(F.size)
    within = F @ anywhere
    solution = F.solve(within, damping)
    assert np.isfinite(solution).all()
    assert np.isfinite(F.solve(anywhere, damping)).all()
    # The smallest non-zero eigenvalue is 1/100 of the largest; another factor of 100 covers rounding errors of sums.
    # Conjugate gradients stop at a residual of 1e-10.
    bound = 1e4 * np.finfo(dtype).eps
    assert_close(solution, F.solve(within), max(bound, 1e-8) if solver == "cg" else bound)


# ------------------------------------------------------------------------------------ distances, other parametrisations


def test_steps_of_two_parametrisations_part_with_the_square_of_their_length():
    """For (mean, log-variance) and (mean, deviation), half the learning rate gives a quarter of the difference."""
    loss, X = nn.Gaussian(reduction="sum"), np.ones((5, 1))
    y = np.array([[0.3], [1.0], [2.2], [-0.4], [3.1]])
    net = nn.Network([nn.Linear(1, 2, bias=False)], dtype=np.float64)
    theta = np.array([0.2, -0.5])
    set_parameters(net, theta)
    g, F = gradient(net, loss, X, y), fisher.FisherMatrix(net, loss, X)
    deviation = np.exp(0.5 * theta[1])
    change = np.diag([1.0, 2.0 / deviation])  # d (mean, log-variance) / d (mean, deviation)
    gaps, plain = [], []
    for lr in (0.04, 0.02, 0.01):
        by_logarithm = theta - lr * F.solve(g)
        moved = np.array([theta[0], deviation]) - lr * np.linalg.solve(
            change.T @ F.to_dense() @ change, change.T @ g
        )
        gaps.append(np.linalg.norm(by_logarithm - [moved[0], 2 * np.log(moved[1])]))
        steepest = np.array([theta[0], deviation]) - lr * change.T @ g
        plain.append(np.linalg.norm(theta - lr * g - [steepest[0], 2 * np.log(steepest[1])]))
    for longer, shorter in itertools.pairwise(gaps):
        assert longer / shorter == pytest.approx(4, rel=0.05)
    for longer, shorter in itertools.pairwise(plain):
        assert longer / shorter == pytest.approx(2, rel=0.1)  # plain gradient directions differ


@pytest.mark.parametrize("name", [name for name in LOSSES if ", mean" not in name])
def test_divergence_after_a_backtracking_line_search(name):
    """A step to the sphere ``d^T F d / 2 = delta`` is halved until the true divergence is at most delta."""
    loss, n_out = LOSSES[name]
    net, X = network(n_out), inputs(20)
    y, delta = targets(loss, 20, n_out), 0.3
    theta, z = flat([p.value for p in net.parameters()]).copy(), net.predict(X)
    F = fisher.FisherMatrix(net, loss, X)
    g = gradient(net, loss, X, y)
    before = float(loss(z, y)[0])
    direction = -F.solve(g, 1e-3)
    full = direction * np.sqrt(2 * delta * F.scale / (direction @ (F @ direction)))
    assert 0.5 * full @ (F @ full) / F.scale == pytest.approx(delta, rel=1e-10)
    measured = []
    for halvings in range(30):
        set_parameters(net, theta + full / 2**halvings)
        outputs = net.predict(X)
        measured.append(divergence(name, z, outputs).mean())
        assert F.divergence(outputs) == pytest.approx(measured[-1], rel=1e-9)
        if F.divergence(outputs) <= delta and float(loss(outputs, y)[0]) < before:
            break
    assert measured[0] > delta >= measured[-1]
    assert halvings < 6
    assert float(loss(net.predict(X), y)[0]) < before
    # Halving a short step divides the divergence by 4, up to a relative error proportional to its length.
    set_parameters(net, theta + full / 2**10)
    assert divergence(name, z, net.predict(X)).mean() == pytest.approx(delta / 4**10, rel=0.05)


# --------------------------------------------------------------------------------- restricted Boltzmann machines


def boltzmann_machine(n_visible, n_hidden):
    """Return v and the sufficient statistics (v, h, v h^T) of all states (v, h), and parameters of the machine."""
    states = np.array(list(itertools.product((0.0, 1.0), repeat=n_visible + n_hidden)))
    v, h = states[:, :n_visible], states[:, n_visible:]
    statistics = np.hstack([v, h, np.einsum("ni,nj->nij", v, h).reshape(len(v), -1)])
    return v, statistics, 0.7 * np.random.default_rng(0).standard_normal(statistics.shape[1])


def over_states(log_weights):
    """The Fisher matrix of a categorical distribution's logits."""
    net = nn.Network([nn.Linear(1, len(log_weights), bias=False)], dtype=np.float64)
    set_parameters(net, log_weights)
    return fisher.FisherMatrix(net, nn.SoftmaxCrossEntropy(), np.ones((1, 1)))


MACHINES = [
    (3, 2),
    (4, 3),
    pytest.param(
        7, 5, marks=pytest.mark.not_when_slow("it has 4096 states; the smaller machines run the same code")
    ),
]


def pulled_back(F, jacobian):
    """``J^T F J``, from products of F with the columns of J."""
    return jacobian.T @ np.stack([F @ np.ascontiguousarray(column) for column in jacobian.T], axis=1)


@pytest.mark.parametrize(("n_visible", "n_hidden"), MACHINES)
def test_boltzmann_machine(n_visible, n_hidden):
    """The distribution over all states is an exponential family: F is the covariance of its sufficient statistics."""
    _, statistics, theta = boltzmann_machine(n_visible, n_hidden)
    F = over_states(statistics @ theta)
    p = scipy.special.softmax(statistics @ theta)
    expected = np.cov(statistics.T, aweights=p, ddof=0)
    assert_close(pulled_back(F, statistics), expected)
    if F.size <= 128:
        assert_close(statistics.T @ F.to_dense() @ statistics, expected)


@pytest.mark.parametrize(("n_visible", "n_hidden"), MACHINES)
def test_visible_units_of_a_boltzmann_machine(n_visible, n_hidden):
    """F of p(v) is the covariance of E[statistics | v]; with the covariance given v it adds up to F of all states."""
    v, statistics, theta = boltzmann_machine(n_visible, n_hidden)
    log_weights = statistics @ theta
    groups = log_weights.reshape(2**n_visible, -1)  # the states of h, for each v
    free_energies = scipy.special.logsumexp(groups, axis=1)
    # d log p(v) / d theta up to a constant, with E[h | v] = sigmoid(b + v W).
    b, W = np.split(theta[n_visible:], [n_hidden])
    visible = v[:: 2**n_hidden]
    hidden = scipy.special.expit(b + visible @ W.reshape(n_visible, n_hidden))
    products = np.einsum("ni,nj->nij", visible, hidden).reshape(len(visible), -1)
    jacobian = np.hstack([visible, hidden, products])
    found = pulled_back(over_states(free_energies), jacobian)
    given = scipy.special.softmax(groups, axis=1)
    by_states = statistics.reshape(2**n_visible, 2**n_hidden, -1)
    expectations = np.einsum("gh,ght->gt", given, by_states)
    p = scipy.special.softmax(free_energies)
    assert_close(found, np.cov(expectations.T, aweights=p, ddof=0))
    spread = by_states - expectations[:, None]
    within = np.einsum("g,gh,ghs,ght->st", p, given, spread, spread, optimize=True)
    assert_close(found + within, pulled_back(over_states(log_weights), statistics))
