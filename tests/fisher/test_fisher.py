"""Fisher matrices: their definition, Fisher types, structures, and invalid arguments."""

from __future__ import annotations

import itertools

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
from fisher_matrices import make

from steepest import fisher, nn
from steepest import kernels as K
from steepest.fisher import _likelihoods


def outputs_at(net, X, theta):
    set_parameters(net, theta)
    return net.predict(X)


def jacobian(net, X):
    """Jacobian (n, c, P) of all outputs with respect to the parameters, by central differences."""
    theta = flat([p.value for p in net.parameters()]).copy()
    columns = []
    for j in range(len(theta)):
        step = 1e-6 * (np.arange(len(theta)) == j)
        columns.append((outputs_at(net, X, theta + step) - outputs_at(net, X, theta - step)) / 2e-6)
    set_parameters(net, theta)
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU, nn.ReLU])
def test_it_is_the_jacobian_about_the_fisher_matrix_of_the_outputs(name, activation):
    """F = J^T H J, with J from finite differences and H from the formulas of the distributions."""
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
    """The exact type is the generalised Gauss-Newton matrix, scaled like the loss, with means over outputs too."""
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
    """E[s] = 0 and F = E[s s^T], where the expectations sum over all observations of the distribution."""
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
    """The KL divergence is in nats for every scale of the loss, weights the rows, and takes any float dtype."""
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
        # The normalised weights of the rows are rounded to the network's dtype.
        for outputs in (others, others.astype(np.float64), np.asfortranarray(others)):
            assert F.divergence(outputs) == pytest.approx(expected, rel=8 * tolerances.eps(dtype))
        with pytest.raises(ValueError, match=r"\[FisherMatrix\] the outputs have the shape"):
            F.divergence(others[1:])


@pytest.mark.parametrize("name", LOSSES)
def test_drawn_observations_have_the_score_s_covariance(name):
    loss, n_out = LOSSES[name]
    likelihood = _likelihoods.likelihood_of(loss, n_out)
    rng = np.random.default_rng(0)
    z = np.tile(0.5 * rng.standard_normal((1, n_out)), (100_000, 1))
    scores = K.sampled_score(z, likelihood.name, seed=0, stream=0)
    roots = likelihood.roots(z[:1])[0]
    # Products of scores have standard deviations near 1, so means of 1e5 have standard errors of 1/300.
    np.testing.assert_allclose(scores.T @ scores / len(z), roots.T @ roots, atol=0.05)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=0.02)


@pytest.mark.not_when_slow("it needs 100,000 Monte Carlo samples, which test_sampled_score.py tests")
@pytest.mark.parametrize("structure", STRUCTURES)
def test_monte_carlo_comes_to_the_exact_kind(structure):
    """The Monte Carlo error falls with the square root of the number of samples."""
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
    """Scores are per-sample gradients: their mean is the gradient, their second moment the empirical Fisher matrix."""
    loss, n_out = LOSSES[name]
    net, X = network(n_out), inputs()
    y = targets(loss, 6, n_out)
    scores = fisher.score(net, loss, X, y)
    assert_close(scores.mean(axis=0), gradient(net, loss, X, y))
    for i in range(6):
        assert_close(scores[i], gradient(net, loss, X[i : i + 1], y[i : i + 1]))
    scale = {"Bernoulli, mean": 0.5, "Poisson": 0.5}.get(name, 1.0)  # a squared error: 2 over 2 outputs
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
    """KL(p_theta || p_theta+ed) = e^2/2 d^T F d, up to a relative error proportional to e."""
    loss, n_out = LOSSES[name]
    if name in ("learned variance", "Gaussian, mean"):
        pytest.skip("tests of other likelihoods cover this divergence")
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


def tensors_of(net, theta):
    ends = np.cumsum([p.value.size for p in net.parameters()])[:-1]
    return [a.reshape(p.value.shape) for a, p in zip(np.split(theta, ends), net.parameters(), strict=True)]


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
    """The component of g outside the range of F is divided by the damping, above and below rounding errors."""
    F = make("categorical", "monte_carlo", solver="gram")
    g = np.random.default_rng(0).standard_normal(F.size)
    dense = F.to_dense()
    values, vectors = np.linalg.eigh(dense)
    values = np.where(values > 1e-12, values, 0.0)
    assert_close(F.solve(g, damping), vectors @ ((vectors.T @ g) / (values + damping)), 1e-6)


@pytest.mark.parametrize("solver", ["cholesky", "gram", "cg"])
@pytest.mark.parametrize("damping", [0.0, 1e-12, 1e-3])
def test_float32_with_less_damping_than_roundings(solver, damping):
    """If Cholesky fails, eigenvectors solve the system; conjugate gradients stop at float32 accuracy."""
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
        (
            {"structure": "full"},
            "structure 'full' is not one of: dense, block, kfac, kfac_reduce, ekfac, diagonal",
        ),
        ({"solver": "lu"}, "solver 'lu' is not one of: auto, cholesky, gram, cg"),
        ({"n_samples": 0}, "n_samples must be at least 1, got 0"),
        ({"kind": "empirical", "y": None}, "pass y"),
        ({"loss": nn.Hinge()}, "Hinge is not the negative log-likelihood"),
        ({"loss": nn.SoftmaxCrossEntropy(ignore_label=0)}, "ignore_label"),
        ({"X": np.full((6, 3), np.nan)}, r"X is not finite at \(0, 0\)"),
        ({"X": np.zeros((0, 3))}, "X has no rows"),
        ({"y": np.array([0, 1, 2, 3, 0, 0]), "kind": "empirical"}, "label 3 at row 3 is outside 0..2"),
        ({"y": np.zeros(5, int), "kind": "empirical"}, "y has 5 labels, but X has 6 rows"),
        ({"sample_weight": -np.ones(6)}, "at least 0, and not all 0"),
        ({"net": nn.Network([nn.Tanh()], dtype=np.float64)}, "no parameters"),
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
