"""Precision of Fisher matrices: float32 against float64, residuals of solutions, and cached inverses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from fisher_cases import KINDS, STRUCTURES, assert_close, gradient, inputs, network, targets

from steepest import fisher, nn
from steepest.fisher import _batch, _solving

LOSS = nn.SoftmaxCrossEntropy()


def of_both_dtypes(widths, n, structure, **options):
    """The Fisher matrices of two networks with the same parameters, in float32 and in float64."""
    rng = np.random.default_rng(0)
    X, nets = rng.random((n, widths[0]), np.float32), []
    for dtype in (np.float32, np.float64):
        layers = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.Tanh()]
        nets.append(nn.Network(layers[:-1], seed=0, dtype=dtype))
    for p, q in zip(*(net.parameters() for net in nets), strict=True):
        q.value[...] = p.value
    return [
        fisher.FisherMatrix(net, LOSS, X.astype(net.dtype), structure=structure, **options) for net in nets
    ]


def assert_float32_is_float64(widths, n, structure, dampings=(1e-1, 1e-3)):
    single, double = of_both_dtypes(widths, n, structure)
    assert single.trace() == pytest.approx(double.trace(), rel=1e-4)
    values, expected = single.eigenvalues(), double.eigenvalues()
    assert np.linalg.norm(values - expected) < 1e-4 * np.linalg.norm(expected)
    if structure in ("kfac", "ekfac", "diagonal"):
        # In float32 the smallest eigenvalues may be lost in rounding errors of their factor.
        assert np.count_nonzero(values) == pytest.approx(np.count_nonzero(expected), rel=0.05)
    assert values.sum() == pytest.approx(single.trace(), rel=1e-4)
    g = np.random.default_rng(1).standard_normal(single.size)
    for damping in (0.0, 1e-6, *dampings):
        if damping in dampings:
            assert single.logdet(damping) == pytest.approx(double.logdet(damping), rel=1e-4)
        x = single.solve(g, damping)
        double.solve(g, damping)
        # Without damping the residual counts only the component in the range of the matrix.
        if damping > 0:
            true = np.linalg.norm(single @ x + damping * x - g) / np.linalg.norm(g)
            assert single.report.residual == pytest.approx(true, rel=1e-6)
        assert abs(single.report.residual - double.report.residual) < (1e-4 if damping != 1e-6 else 1e-3)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_float32_is_float64(structure):
    """Traces, spectra, determinants and residuals agree; the threshold for 0 does not grow with the parameters."""
    widths = (100, 20, 10) if structure in ("kfac", "ekfac", "diagonal") else (12, 8, 5)
    assert_float32_is_float64(widths, 40, structure)


@pytest.mark.deep("decompositions of a thousand rows take seconds")
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("widths", [(784, 128, 64, 10), (784, 1000, 500, 10)], ids=str)
def test_float32_is_float64_in_large_networks(widths, structure):
    if structure == "block":
        # Solutions would form blocks of 100,000 rows, but the spectrum comes from the Gram matrix of the samples.
        single, double = of_both_dtypes(widths, 20, structure)
        assert single.trace() == pytest.approx(double.trace(), rel=1e-4)
        assert single.logdet(1e-3) == pytest.approx(double.logdet(1e-3), rel=1e-4)
        np.testing.assert_allclose(
            single.eigenvalues(), double.eigenvalues(), atol=1e-4 * double.eigenvalues()[-1]
        )
        with pytest.raises(MemoryError, match="another structure or solver"):
            single.solve(np.ones(single.size), 1e-3)
        return
    assert_float32_is_float64(widths, 20 if structure == "dense" else 100, structure)


@pytest.mark.parametrize("solver", ["cholesky", "gram", "cg"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_right_side_that_the_matrix_does_not_reach(dtype, solver):
    """Each solver gives the minimum-norm least-squares solution, and the residual of the component in the range."""
    net, X = network(3, (8,), dtype=dtype), inputs(5, dtype=dtype)
    g = np.random.default_rng(0).standard_normal(59)
    F = fisher.FisherMatrix(net, LOSS, X, solver=solver)
    dense = F.to_dense()
    values, vectors = np.linalg.eigh(dense)
    kept = values > 1e-6 * values[-1]
    expected = vectors[:, kept] @ ((vectors[:, kept].T @ g) / values[kept])
    assert_close(F.solve(g), expected, 1e-3 if dtype is np.float32 else 1e-6)
    # Products round to the matrix's norm times the solution's: the solvers come that near, or to a tolerance.
    eps, reached = np.finfo(dtype).eps, dense @ expected
    bound = max(1e-8, 32 * eps * values[-1] * np.linalg.norm(expected) / np.linalg.norm(reached))
    if solver == "cg":
        # With r for g less what is reached, r^T F r has a rounding of eps |F| |r|^2: |F r| is known to its root.
        unknown = np.sqrt(eps) * values[-1] * np.linalg.norm(g - reached)
        bound = max(bound, unknown / np.linalg.norm(dense @ g))
    assert F.report.residual < bound
    # A gradient is within reach.
    x = F.solve(gradient(net, LOSS, X, targets(LOSS, 5, 3)))
    assert np.linalg.norm(x) < np.linalg.norm(expected)


def test_conjugate_residuals_that_do_not_suffice_warn(monkeypatch):
    F = fisher.FisherMatrix(network(3, (8,)), LOSS, inputs(20), solver="cg")
    monkeypatch.setattr(_solving, "_CG_ITERATIONS", 3)
    with pytest.warns(RuntimeWarning, match="solver='cg' has not converged in 3 iterations"):
        F.solve(np.ones(F.size))
    assert F.report.residual > 1e-6


@pytest.mark.parametrize("solver", ["cholesky", "gram", "cg"])
def test_inverses_are_kept_by_every_solver(solver):
    """Updates, new weights and changed batch arrays leave an inverse, a product and the report unchanged."""
    rng = np.random.default_rng(0)
    net, X, y = network(3), rng.standard_normal((20, 3)), rng.integers(0, 3, 20)
    F = fisher.FisherMatrix(net, LOSS, X, y, kind="empirical", solver=solver)
    g = rng.standard_normal(F.size)
    expected = F.solve(g, 0.1)
    inverse, product = F.inverse(0.1), F @ g
    X[...] *= 3
    y[...] = 0
    assert_close(F @ g, product)
    report = F.report
    assert_close(inverse @ g, expected)
    assert F.report is report
    for p in net.parameters():
        p.value[...] *= 2
    F.update(X, y, decay=0.5)
    assert_close(inverse @ g, expected)


# ------------------------------------------------------------------------------------------------- blocks of rows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_blocks_of_rows_add_up(monkeypatch, structure, kind):
    """A matrix computed in blocks of rows equals the whole one, with weights and moving averages too."""
    X, weight = inputs(20), np.linspace(0, 1, 20)
    y = targets(LOSS, 20, 3)

    def averaged():
        F = fisher.FisherMatrix(network(3), LOSS, X, y, kind=kind, structure=structure, sample_weight=weight)
        first = F.to_dense()
        F.update(2 * X, y, decay=0.5)
        return first, F.to_dense()

    whole = averaged()
    factors, sizes = _batch.Batch._factors_of, []
    monkeypatch.setattr(_batch, "_BLOCK_BYTES", 1024)
    monkeypatch.setattr(
        _batch.Batch, "_factors_of", lambda self, rows: sizes.append(rows) or factors(self, rows)
    )
    for got, expected in zip(averaged(), whole, strict=True):
        assert_close(got, expected)
    assert len(sizes) > 2


def test_a_spectrum_needs_no_matrix(monkeypatch):
    """With fewer rows than parameters the Gram matrix of the scores has the spectrum; F is not formed."""
    F = fisher.FisherMatrix(network(3, (16,)), LOSS, inputs(5))
    expected = np.linalg.eigvalsh(F.to_dense())
    G = fisher.FisherMatrix(network(3, (16,)), LOSS, inputs(5))
    monkeypatch.setattr(type(G._structure), "matrices", property(lambda self: pytest.fail("it was formed")))
    assert_close(G.eigenvalues(), np.maximum(expected, 0))
    assert G.logdet(0.1) == pytest.approx(np.log(np.maximum(expected, 0) + 0.1).sum())
    assert G.trace() == pytest.approx(expected.sum())


# ---------------------------------------------------------------------------------------------- as a linear operator


@pytest.mark.parametrize("structure", STRUCTURES)
def test_it_is_a_linear_operator(structure):
    """F @ V multiplies the columns of V, and SciPy's solvers accept F."""
    from scipy.sparse.linalg import aslinearoperator, eigsh

    F = fisher.FisherMatrix(network(3), LOSS, inputs(), structure=structure)
    dense = F.to_dense()
    V = np.random.default_rng(0).standard_normal((F.size, 3))
    assert (F.shape, F.dtype) == (dense.shape, dense.dtype)
    assert_close(F @ V, dense @ V)
    assert_close(aslinearoperator(F) @ V, dense @ V)
    largest = eigsh(F, k=1, return_eigenvectors=False, v0=V[:, 0])
    assert_close(largest, np.linalg.eigvalsh(dense)[-1:])
    with pytest.raises(ValueError, match="the vector has shape"):
        F @ V[1:]


def test_matrices_that_no_memory_holds_are_refused():
    F = fisher.FisherMatrix(nn.Network([nn.Linear(8000, 10)]), LOSS, np.ones((2, 8000), np.float32))
    for compute in (F.to_dense, F.inverse_sqrt, lambda: F.with_structure("block").inverse(0.1)):
        with pytest.raises(
            MemoryError, match=r"\[FisherMatrix\] a matrix of 80010 x 80010 parameters takes 51 GB"
        ):
            compute()
