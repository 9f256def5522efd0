"""Fisher matrices: the identities between kinds, structures and solvers, and with the derivatives of losses."""

from __future__ import annotations

import itertools
import warnings

import divergence_reference
import numpy as np
import pytest
import scipy.special
import tolerances
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
from sklearn import datasets
from sklearn import linear_model as sklearn_linear
from sklearn.exceptions import ConvergenceWarning

from steepest import fisher, nn
from steepest import kernels as K
from steepest.fisher import _likelihoods
from steepest.fisher._layout import Layout
from steepest.fisher._tape import Tape
from steepest.linear_model import LinearRegression, LogisticRegression


def outputs_at(net, X, theta):
    set_parameters(net, theta)
    return net.predict(X)


def jacobian(net, X):
    """The derivative of all outputs, (n, c, P), by central differences."""
    theta = flat([p.value for p in net.parameters()]).copy()
    columns = []
    for j in range(len(theta)):
        step = 1e-6 * (np.arange(len(theta)) == j)
        columns.append((outputs_at(net, X, theta + step) - outputs_at(net, X, theta - step)) / 2e-6)
    set_parameters(net, theta)
    return np.stack(columns, axis=-1)


def make(name, kind="exact", structure="dense", n=6, hidden=(4,), activation=nn.Tanh, **options):
    loss, n_out = LOSSES[name]
    net, X = network(n_out, hidden, activation), inputs(n)
    return fisher.FisherMatrix(
        net, loss, X, targets(loss, n, n_out), kind=kind, structure=structure, **options
    )


# -------------------------------------------------------------------------------------------------- the definition


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU, nn.ReLU])
def test_it_is_the_jacobian_about_the_fisher_matrix_of_the_outputs(name, activation):
    """J^T H J, J by finite differences and H by the formulas of the distributions."""
    loss, n_out = LOSSES[name]
    net, X = network(n_out, (4,), activation), inputs()
    J, z = jacobian(net, X), net.predict(X)
    if name == "categorical":
        p = scipy.special.softmax(z, axis=1)
        H = p[:, :, None] * np.eye(n_out) - p[:, :, None] * p[:, None, :]
    else:
        p = scipy.special.expit(z)
        of = {
            "Bernoulli": p * (1 - p),
            "Gaussian": np.ones_like(z),
            "Poisson": np.exp(z),
            "learned variance": np.hstack([np.exp(-z[:, 2:]), np.full((6, 2), 0.5)]),
        }[name.split(",")[0]]
        H = of[:, :, None] * np.eye(n_out)
    scale = {"Bernoulli, mean": 0.5, "Gaussian, mean": 1.0, "Poisson": 0.5}.get(name, 1.0)
    expected = scale * np.einsum("nap,nab,nbq->pq", J, H, J) / len(X)
    F = fisher.FisherMatrix(net, loss, X)
    assert_close(F.to_dense(), expected, 1e-7)
    v = np.random.default_rng(0).standard_normal(F.size)
    assert_close(F @ v, expected @ v, 1e-7)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "learned variance"])
def test_it_is_the_hessian_of_the_loss_of_a_linear_model(name):
    """The exact kind is the generalised Gauss-Newton matrix, in the scale of the loss, means over outputs included."""
    loss, n_out = LOSSES[name]
    net, X = network(n_out, ()), inputs()
    y = targets(loss, 6, n_out)
    theta = flat([p.value for p in net.parameters()]).copy()
    columns = []
    for j in range(len(theta)):
        step = 1e-5 * (np.arange(len(theta)) == j)
        set_parameters(net, theta + step)
        up = gradient(net, loss, X, y)
        set_parameters(net, theta - step)
        columns.append((up - gradient(net, loss, X, y)) / 2e-5)
    set_parameters(net, theta)
    assert_close(fisher.FisherMatrix(net, loss, X).to_dense(), np.stack(columns), 1e-7)


@pytest.mark.parametrize("name", ["categorical", "Bernoulli", "Poisson"])
def test_it_is_the_covariance_of_the_score(name):
    """E[s] = 0, and E[s s^T] over the distribution's own observations, added up one by one."""
    likelihood, loss = {
        "categorical": (_likelihoods.Categorical(), LOSSES[name][0]),
        "Bernoulli": (_likelihoods.Bernoulli(), LOSSES[name][0]),
        "Poisson": (_likelihoods.PoissonCounts(), nn.Poisson(reduction="sum")),
    }[name]
    z = np.random.default_rng(0).standard_normal((1, 3))
    if name == "categorical":
        every, chances = [np.array([c]) for c in range(3)], scipy.special.softmax(z[0])
    elif name == "Bernoulli":
        every = [np.array([bits], float) for bits in itertools.product((0, 1), repeat=3)]
        p = scipy.special.expit(z[0])
        chances = [np.prod(np.where(y[0] == 1, p, 1 - p)) for y in every]
    else:
        z = z[:, :1]
        counts = np.arange(60)
        every = [np.array([[count]], float) for count in counts]
        chances = np.exp(counts * z[0, 0] - np.exp(z[0, 0]) - scipy.special.gammaln(counts + 1))
    scores = np.concatenate([loss(z, y)[1] for y in every])
    np.testing.assert_allclose(chances @ scores, 0, atol=1e-14)
    roots = likelihood.roots(z)[0]
    expected = (scores * np.asarray(chances)[:, None]).T @ scores
    np.testing.assert_allclose(roots.T @ roots, expected, atol=1e-13)
    v = np.random.default_rng(1).standard_normal(z.shape)
    np.testing.assert_allclose(K.output_fisher(z, v, likelihood.name), v @ expected, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name", ["categorical", "Bernoulli, mean", "Gaussian, mean", "Poisson", "learned variance"]
)
def test_divergence_from_other_outputs(name, dtype):
    """In nats, whatever the loss's scale; weighted as the rows are; from outputs of any float dtype."""
    loss, n_out = LOSSES[name]
    net, X = network(n_out, dtype=dtype), inputs(dtype=dtype)
    distribution = _likelihoods.likelihood_of(loss, n_out).name
    weight = np.array([0.0, 1.0, 2.0, 0.5, 0.25, 3.0])
    for w, shares in [(None, np.full(6, 1 / 6)), (weight, weight / weight.sum())]:
        F = fisher.FisherMatrix(net, loss, X, sample_weight=w)
        others = F.output + dtype(0.01)
        others[:, 0] *= dtype(0.5)
        expected = shares @ divergence_reference.rows(F.output, others, distribution)
        assert F.divergence(F.output) == 0
        # Shares of the rows are rounded to the network's dtype.
        for outputs in (others, others.astype(np.float64), np.asfortranarray(others)):
            assert F.divergence(outputs) == pytest.approx(expected, rel=8 * tolerances.eps(dtype))
        with pytest.raises(ValueError, match=r"\[output_divergence\] w has shape"):
            F.divergence(others[1:])


@pytest.mark.parametrize("name", LOSSES)
def test_drawn_observations_have_the_score_s_covariance(name):
    loss, n_out = LOSSES[name]
    likelihood = _likelihoods.likelihood_of(loss, n_out)
    rng = np.random.default_rng(0)
    z = np.tile(0.5 * rng.standard_normal((1, n_out)), (100_000, 1))
    scores = K.sampled_score(z, likelihood.name, seed=0, stream=0)
    roots = likelihood.roots(z[:1])[0]
    # Products of scores have deviations of about 1, of which 1e5 leave 1/300.
    np.testing.assert_allclose(scores.T @ scores / len(z), roots.T @ roots, atol=0.05)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=0.02)


@pytest.mark.not_when_slow("it takes 100,000 draws; test_sampled_score.py has tests of these")
@pytest.mark.parametrize("structure", STRUCTURES)
def test_monte_carlo_comes_to_the_exact_kind(structure):
    """With the root of the number that is drawn."""
    exact = make("categorical", "exact", structure).to_dense()
    errors = []
    for n_samples in (20, 2000):
        drawn = [make("categorical", "monte_carlo", structure, n_samples=n_samples, seed=s) for s in range(8)]
        errors.append(np.mean([np.linalg.norm(F.to_dense() - exact) for F in drawn]))
    assert 5 < errors[0] / errors[1] < 20
    assert errors[1] < 0.1 * np.linalg.norm(exact)


def test_drawing_is_seeded():
    first, again, other = (make("Poisson", "monte_carlo", seed=s).to_dense() for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("name", LOSSES)
def test_scores(name):
    """Their mean is the gradient, each is that of its sample alone, and their second moment the empirical kind."""
    loss, n_out = LOSSES[name]
    net, X = network(n_out), inputs()
    y = targets(loss, 6, n_out)
    scores = fisher.score(net, loss, X, y)
    assert_close(scores.mean(axis=0), gradient(net, loss, X, y))
    for i in range(6):
        assert_close(scores[i], gradient(net, loss, X[i : i + 1], y[i : i + 1]))
    scale = {"Bernoulli, mean": 0.5, "Poisson": 0.5}.get(name, 1.0)  # the squared error's 2 is over 2 outputs
    F = fisher.FisherMatrix(net, loss, X, y, kind="empirical")
    assert_close(F.to_dense(), scores.T @ scores / 6 / scale)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_norms_of_scores(name, bias):
    loss, n_out = LOSSES[name]
    net, X = network(n_out, bias=bias), inputs(9)
    y = targets(loss, 9, n_out)
    norms = fisher.score_norms(net, loss, X, y)
    np.testing.assert_allclose(norms, np.linalg.norm(fisher.score(net, loss, X, y), axis=1), rtol=1e-13)


def test_the_empirical_kind_vanishes_where_the_targets_are_fitted():
    net, X = network(2), inputs()
    loss = nn.MeanSquaredError()
    y = net.predict(X)
    assert np.abs(fisher.FisherMatrix(net, loss, X, y, kind="empirical").to_dense()).max() < 1e-25
    assert np.abs(fisher.FisherMatrix(net, loss, X, y, kind="exact").to_dense()).max() > 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_kl_divergence(name):
    """KL(p_theta || p_theta+ed) = e^2/2 d^T F d, up to an error in proportion to e."""
    loss, n_out = LOSSES[name]
    if name in ("learned variance", "Gaussian, mean"):
        pytest.skip("their divergences are tested as those of other likelihoods")
    net, X = network(n_out), inputs()
    theta = flat([p.value for p in net.parameters()]).copy()
    d = np.random.default_rng(2).standard_normal(len(theta))
    d /= np.linalg.norm(d)
    F = fisher.FisherMatrix(net, loss, X)
    curvature = d @ (F @ d)
    z = net.predict(X)

    def divergence(w):
        if name == "categorical":
            a, b = (scipy.special.log_softmax(v, axis=1) for v in (z, w))
            return (np.exp(a) * (a - b)).sum(axis=1).mean()
        if name.startswith("Bernoulli"):
            p = scipy.special.expit(z)
            a = p * (scipy.special.log_expit(z) - scipy.special.log_expit(w))
            return (
                (a + (1 - p) * (scipy.special.log_expit(-z) - scipy.special.log_expit(-w))).sum(axis=1).mean()
            )
        if name == "Poisson":
            return (np.exp(w) - np.exp(z) - np.exp(z) * (w - z)).sum(axis=1).mean()
        return 0.5 * ((z - w) ** 2).sum(axis=1).mean()

    scale = 0.5 if name in ("Bernoulli, mean", "Poisson") else 1.0
    errors = []
    for e in (1e-2, 1e-3):
        ratio = scale * divergence(outputs_at(net, X, theta + e * d)) / (0.5 * e**2 * curvature)
        errors.append(abs(ratio - 1))
    assert errors[0] < 0.05
    assert errors[1] < 0.2 * errors[0] + 1e-6


# ---------------------------------------------------------------------------------------------- solutions, structures


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damping", [0.0, 1e-6, 0.1])
@pytest.mark.parametrize("name", ["categorical", "Gaussian", "learned variance"])
def test_solvers_agree(kind, damping, name):
    """The factor of the matrix, the Gram matrix and conjugate gradients, singular matrices without damping included."""
    solutions = {}
    for solver in ("cholesky", "gram", "cg", "auto"):
        F = make(name, kind, solver=solver)
        g = F @ np.random.default_rng(0).standard_normal(F.size)  # within reach
        solutions[solver] = F.solve(g, damping)
        assert F.report.residual < 1e-6
        assert F.report.solver == solver or solver == "auto"
        assert (F.report.iterations > 0) == (solver == "cg")
    for solution in solutions.values():
        assert_close(solution, solutions["cholesky"], 1e-5)


@pytest.mark.not_when_slow("the systems are large")
@pytest.mark.parametrize(
    ("kind", "n", "matrix", "damping", "solver"),
    [
        ("exact", 120, "cholesky", 0.1, "cg"),
        ("empirical", 1800, "gram", 0.1, "cg"),
        ("empirical", 1800, "gram", 1e-9, "gram"),
    ],
)
def test_products_are_tried_before_a_large_matrix(kind, n, matrix, damping, solver):
    """With much damping a few products solve the system; with little they would take longer than the matrix."""
    rng = np.random.default_rng(0)
    net = nn.Network([nn.Linear(40, 20), nn.Tanh(), nn.Linear(20, 50)], dtype=np.float64, seed=0)
    X, y = rng.standard_normal((n, 40)), rng.integers(0, 50, n)
    F, direct = (
        fisher.FisherMatrix(net, nn.SoftmaxCrossEntropy(), X, y, kind=kind, solver=solver)
        for solver in ("auto", matrix)
    )
    g = rng.standard_normal(F.size)
    x, expected = F.solve(g, damping), direct.solve(g, damping)
    assert F.report.solver == solver
    assert (F.report.iterations > 0) == (solver == "cg")
    assert F.report.residual < 1e-6
    assert_close(x, expected, 1e-6)
    inverse = F.inverse(damping)
    for _ in range(2):
        assert_close(inverse @ g, expected, 1e-6)


@pytest.mark.parametrize("structure", ["block", "kfac", "ekfac"])
def test_an_inverse_leaves_its_decomposition_to_what_follows(structure, monkeypatch):
    """The matrices of an inverse are those of the spectrum: nothing is measured twice."""
    F = make("categorical", "exact", structure, hidden=(4, 3))
    F.inverse(0.1)
    monkeypatch.setattr(type(F._batch), "factors_by_blocks", lambda self: pytest.fail("measured again"))
    F.eigenvalues()


@pytest.mark.parametrize("kind", KINDS)
def test_products_of_scores_are_those_of_the_scores(kind):
    """The Gram matrix from the layers' factors, and from the rows themselves."""
    factors = make("categorical", kind, hidden=(4, 3))._batch.factors
    rows = factors.rows()
    assert_close(factors.gram(), rows @ rows.T)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_operations_are_those_of_the_matrix(kind, structure):
    F = make("categorical", kind, structure, hidden=(4, 3))
    dense, v = F.to_dense(), np.random.default_rng(0).standard_normal(F.size)
    np.testing.assert_allclose(dense, dense.T, atol=1e-14)
    assert_close(F @ v, dense @ v)
    assert_close(F.diagonal(), np.diag(dense))
    assert F.trace() == pytest.approx(np.trace(dense), rel=1e-10)
    eigenvalues = np.linalg.eigvalsh(dense)
    assert_close(F.eigenvalues(), np.maximum(eigenvalues, 0))
    assert F.logdet(0.1) == pytest.approx(np.log(np.maximum(eigenvalues, 0) + 0.1).sum(), rel=1e-10)
    damped = dense + 0.1 * np.eye(F.size)
    assert_close(F.solve(v, 0.1), np.linalg.solve(damped, v))
    root = F.inverse_sqrt(0.1)
    assert_close(root @ (root @ v), np.linalg.solve(damped, v))
    pseudoinverse = np.linalg.pinv(dense, rcond=1e-12, hermitian=True)
    assert_close(F.solve(dense @ v), pseudoinverse @ (dense @ v), 1e-6)
    assert np.isfinite(F.solve(v)).all()
    assert F.logdet() == -np.inf or structure == "diagonal"


def test_structures_hold_what_they_say():
    """The block is the exact matrix's, and the diagonal too; between layers there is nothing."""
    dense, block, diagonal = (
        make("categorical", "exact", s).to_dense() for s in ("dense", "block", "diagonal")
    )
    first = 3 * 4 + 4
    assert_close(block[:first, :first], dense[:first, :first])
    assert_close(block[first:, first:], dense[first:, first:])
    assert (block[:first, first:] == 0).all() and np.abs(dense[:first, first:]).max() > 1e-3
    assert_close(diagonal, np.diag(np.diag(dense)))


@pytest.mark.parametrize("kind", KINDS)
def test_another_structure_of_the_same_matrix(kind):
    whole = make("categorical", kind)
    dense = whole.to_dense()
    for structure in STRUCTURES:
        other = whole.with_structure(structure)
        np.testing.assert_array_equal(other.to_dense(), make("categorical", kind, structure).to_dense())
    assert whole.structure == "dense"
    np.testing.assert_array_equal(whole.to_dense(), dense)
    with pytest.raises(ValueError, match="structure 'full' is not one of"):
        whole.with_structure("full")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOSSES)
def test_corrected_eigenvalues_come_nearer(kind, name):
    block, kfac, ekfac = (make(name, kind, s).to_dense() for s in ("block", "kfac", "ekfac"))
    assert np.linalg.norm(block - ekfac) <= np.linalg.norm(block - kfac) * (1 + 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_kfac_of_one_sample_is_exact(kind):
    block, kfac, ekfac = (make("categorical", kind, s, n=1).to_dense() for s in ("block", "kfac", "ekfac"))
    assert_close(kfac, block)
    assert_close(ekfac, block)


def test_kfac_of_a_deep_linear_network_is_exact():
    """With the squared error the gradients of the outputs do not depend on the samples."""
    loss = nn.MeanSquaredError()
    net, X = network(2, (4, 3), nn.Identity), inputs(7)
    block, kfac = (fisher.FisherMatrix(net, loss, X, structure=s).to_dense() for s in ("block", "kfac"))
    assert_close(kfac, block)


def test_the_rank_of_a_softmax():
    """n (c - 1): a shift of all logits changes nothing."""
    F = make("categorical", n=6, hidden=(16,))
    assert (F.eigenvalues() > 0).sum() == 6 * 2
    net, X = network(3, ()), inputs()
    F = fisher.FisherMatrix(net, nn.SoftmaxCrossEntropy(), X)
    shift = flat([np.repeat(np.random.default_rng(0).standard_normal((3, 1)), 3, axis=1), np.ones(3)])
    assert np.abs(F @ shift).max() < 1e-15
    step = F.solve(gradient(net, nn.SoftmaxCrossEntropy(), X, targets(nn.SoftmaxCrossEntropy(), 6, 3)))
    assert abs(step @ shift) < 1e-10 * np.linalg.norm(step) * np.linalg.norm(shift)


@pytest.mark.parametrize("kind", ["exact", "empirical"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_batch_twice_is_the_batch(kind, structure):
    loss, net, X = nn.SoftmaxCrossEntropy(), network(3), inputs()
    y = targets(loss, 6, 3)
    once = fisher.FisherMatrix(net, loss, X, y, kind=kind, structure=structure)
    twice = fisher.FisherMatrix(
        net, loss, np.concatenate([X, X]), np.concatenate([y, y]), kind=kind, structure=structure
    )
    weighted = fisher.FisherMatrix(
        net,
        loss,
        np.concatenate([X, X]),
        np.concatenate([y, y]),
        kind=kind,
        structure=structure,
        sample_weight=np.r_[np.full(6, 3.0), np.zeros(6)],
    )
    assert_close(twice.to_dense(), once.to_dense())
    assert_close(weighted.to_dense(), once.to_dense())


# ------------------------------------------------------------------------------------------------------- known steps


def test_one_step_solves_least_squares():
    """Wine, standardised columns left out: the loss after one undamped step from zero is that of least squares."""
    X, y = datasets.load_wine(return_X_y=True)
    X, y = np.ascontiguousarray(X), y[:, None].astype(np.float64)
    net = nn.Network([nn.Linear(13, 1)], dtype=np.float64)
    set_parameters(net, np.zeros(14))
    loss = nn.MeanSquaredError(half=True)
    step = fisher.FisherMatrix(net, loss, X).solve(gradient(net, loss, X, y))
    set_parameters(net, -step)
    value, _ = loss(net.predict(X), y)
    assert abs(float(value) - 0.029838693732922) < 1e-12


@pytest.mark.not_when_slow("its fits take long; there are other tests of each step")
def test_steps_of_a_logistic_regression():
    """Breast cancer, raw features: the losses that F. Kunstner, L. Balles and P. Hennig's protocol comes to (2019)."""
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
    """Its first step is the natural gradient's, and it ends at the minimum, in as few steps as Newton's method."""
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
    # Fisher scoring halves a step that raises the objective; this one does not.
    coef = step[: 4 * width].reshape(4, width).T
    assert_close(first.coef_ - first.coef_.mean(axis=0) * (k > 2), coef - coef.mean(axis=0) * (k > 2), 1e-6)
    best = LogisticRegression(solver="natural", tol=1e-10).fit(X, y)
    assert best.n_iter_[0] <= 12
    expected = sklearn_linear.LogisticRegression(solver="newton-cg", tol=1e-12).fit(X, y)
    assert_close(best.coef_, expected.coef_, 1e-6)


@pytest.mark.not_when_slow("its fits take long; there are other tests of each step")
@pytest.mark.cpu_only("its fits take the stand-in too long")
@pytest.mark.parametrize(
    "load", [datasets.load_breast_cancer, datasets.load_digits], ids=["breast cancer", "digits"]
)
def test_the_natural_gradient_is_at_the_optimum_in_twelve_steps(load):
    """Raw features: within 1e-8 of the least objective, by any solver's account."""
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
    """A network of sigmoids that is a network of tanh moves as it does, with K-FAC too; with damping it does not."""
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
            moves[structure, damping, id(net)] = Tape(net, X).tangent(Layout(net).parts(step))
            set_parameters(net, theta)
    for structure in ("dense", "kfac"):
        a, b = (moves[structure, 0.0, id(net)] for net in (tanh, sigmoid))
        # A common shift of all logits is no move.
        a, b = (m - m.mean(axis=1, keepdims=True) for m in (a, b))
        assert_close(a, b, 1e-5)
        a, b = (moves[structure, 0.1, id(net)] for net in (tanh, sigmoid))
        assert np.abs(a - b).max() > 1e-2 * np.abs(a).max()


def tensors_of(net, theta):
    ends = np.cumsum([p.value.size for p in net.parameters()])[:-1]
    return [a.reshape(p.value.shape) for a, p in zip(np.split(theta, ends), net.parameters(), strict=True)]


def test_scaled_losses_with_scaled_damping_take_the_same_step():
    net, X = network(2), inputs()
    y = targets(nn.MeanSquaredError(), 6, 2)
    half, whole = nn.MeanSquaredError(half=True), nn.MeanSquaredError()
    steps = [
        fisher.FisherMatrix(net, loss, X).solve(gradient(net, loss, X, y), damping)
        for loss, damping in ((half, 0.01), (whole, 0.02))
    ]
    assert_close(*steps)


# ------------------------------------------------------------------------------------------------ forms, bad input


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("bias", [False, True])
def test_float32_and_lists_of_arrays(structure, bias):
    net32, net64 = (network(3, dtype=dtype, bias=bias) for dtype in (np.float32, np.float64))
    for a, b in zip(net64.parameters(), net32.parameters(), strict=True):
        a.value[...] = b.value
    X, loss = inputs(dtype=np.float32), nn.SoftmaxCrossEntropy()
    F32 = fisher.FisherMatrix(net32, loss, X, structure=structure)
    F64 = fisher.FisherMatrix(net64, loss, X.astype(np.float64), structure=structure)
    assert_close(F32.to_dense(), F64.to_dense(), 1e-5)
    vector = [np.ones_like(p.value) for p in net32.parameters()]
    product = F32 @ vector
    assert [a.shape for a in product] == [p.value.shape for p in net32.parameters()]
    assert {a.dtype for a in product} == {np.dtype(np.float32)}
    assert_close(flat(product), F64 @ np.ones(F64.size), 1e-5)
    solution = F32.solve(vector, 0.1)
    assert_close(flat(solution), F64.solve(np.ones(F64.size), 0.1), 1e-4)


@pytest.mark.parametrize("damping", [1e-14, 1e-2])
def test_what_the_scores_do_not_reach_is_divided_by_the_damping(damping):
    """With more damping than roundings, and with less."""
    F = make("categorical", "monte_carlo", solver="gram")
    g = np.random.default_rng(0).standard_normal(F.size)
    dense = F.to_dense()
    values, vectors = np.linalg.eigh(dense)
    values = np.where(values > 1e-12, values, 0.0)
    assert_close(F.solve(g, damping), vectors @ ((vectors.T @ g) / (values + damping)), 1e-6)


@pytest.mark.parametrize("solver", ["cholesky", "gram", "cg"])
@pytest.mark.parametrize("damping", [0.0, 1e-12, 1e-3])
def test_float32_with_less_damping_than_roundings(solver, damping):
    """Without a factor there are the eigenvectors, and conjugate gradients end at what float32 can tell."""
    net, X, loss = network(3, (16,), dtype=np.float32), inputs(dtype=np.float32), nn.SoftmaxCrossEntropy()
    F = fisher.FisherMatrix(net, loss, X, solver=solver)
    g = gradient(net, loss, X, targets(loss, 6, 3)).astype(np.float64)
    solution = F.solve(g, damping)
    assert np.isfinite(solution).all()
    assert F.report.residual < 1e-2
    assert F.report.iterations < 500


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": "Exact"}, "kind 'Exact' is not one of: exact, monte_carlo, empirical"),
        ({"structure": "full"}, "structure 'full' is not one of: dense, block, kfac, ekfac, diagonal"),
        ({"solver": "lu"}, "solver 'lu' is not one of: auto, cholesky, gram, cg"),
        ({"n_samples": 0}, "n_samples is 0"),
        ({"kind": "empirical", "y": None}, "pass y"),
        ({"loss": nn.Hinge()}, "Hinge is not the negative log-likelihood"),
        ({"loss": nn.SoftmaxCrossEntropy(ignore_label=0)}, "ignore_label"),
        ({"X": np.full((6, 3), np.nan)}, r"X is not finite at \(0, 0\)"),
        ({"X": np.zeros((0, 3))}, "X has no rows"),
        ({"y": np.array([0, 1, 2, 3, 0, 0]), "kind": "empirical"}, "label 3 at row 3 is outside 0..2"),
        ({"y": np.zeros(5, int), "kind": "empirical"}, "y has 5 labels, but X has 6 rows"),
        ({"sample_weight": -np.ones(6)}, "not negative"),
        ({"net": nn.Network([nn.Linear(3, 3), nn.PReLU()], dtype=np.float64)}, "a layer PReLU"),
        (
            {"net": nn.Network([nn.Linear(3, 3), nn.Linear(3, 3, tied_to=0)], dtype=np.float64)},
            "tied weights",
        ),
        ({"net": nn.Network([nn.Tanh()], dtype=np.float64)}, "no linear layer"),
        ({"loss": nn.Gaussian(), "kind": "exact"}, "means and log-variances, but there are 3 outputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_matrices(change, text):
    arguments = {
        "net": network(3),
        "loss": nn.SoftmaxCrossEntropy(),
        "X": inputs(),
        "y": np.zeros(6, int),
        **change,
    }
    with pytest.raises(ValueError, match=text):
        fisher.FisherMatrix(**arguments)


def test_bad_vectors_and_dampings():
    F = make("categorical")
    for damping in (-1e-3, np.nan, np.inf):
        with pytest.raises(ValueError, match="it must be finite and not negative"):
            F.solve(np.ones(F.size), damping)
    with pytest.raises(ValueError, match="the vector has shape"):
        F @ np.ones(F.size + 1)
    with pytest.raises(ValueError, match="the vector is not finite"):
        F.solve(np.full(F.size, np.nan))
    with pytest.raises(ValueError, match="the arrays have the shapes"):
        F @ [np.ones((2, 2))]
    with pytest.raises(TypeError, match="x is float32, but the network is float64"):
        fisher.FisherMatrix(network(3), nn.SoftmaxCrossEntropy(), inputs(dtype=np.float32))


# ----------------------------------------------------------------------------------------------------------- CUDA


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_cuda(cupy, structure, kind):
    on_cpu = network(3)
    on_cuda = on_cpu.to("cuda")
    X, y, loss = inputs(), targets(nn.SoftmaxCrossEntropy(), 6, 3), nn.SoftmaxCrossEntropy()
    expected = fisher.FisherMatrix(on_cpu, loss, X, y, kind=kind, structure=structure)
    F = fisher.FisherMatrix(on_cuda, loss, cupy.asarray(X), cupy.asarray(y), kind=kind, structure=structure)
    v = np.random.default_rng(0).standard_normal(F.size)
    assert_close(F.to_dense(), expected.to_dense())
    assert_close(F @ v, expected @ v)
    assert_close(F.solve(v, 0.1), expected.solve(v, 0.1))
    others = 2.0 * expected.output
    assert F.divergence(cupy.asarray(others)) == pytest.approx(expected.divergence(others), rel=1e-12)
    assert F.divergence(others) == F.divergence(cupy.asarray(others))
    listed = [cupy.asarray(np.ones(p.value.shape)) for p in on_cuda.parameters()]
    assert all(isinstance(a, cupy.ndarray) for a in F @ listed)
    scores = fisher.score(on_cuda, loss, cupy.asarray(X), cupy.asarray(y))
    assert_close(cupy.asnumpy(scores), fisher.score(on_cpu, loss, X, y))
    norms = fisher.score_norms(on_cuda, loss, cupy.asarray(X), cupy.asarray(y))
    assert_close(cupy.asnumpy(norms), fisher.score_norms(on_cpu, loss, X, y))
