"""Solutions of linear systems with Fisher matrices, for every solver and structure."""

from __future__ import annotations

import numpy as np
import pytest
from fisher_cases import (
    KINDS,
    LOSSES,
    STRUCTURES,
    assert_close,
    flat,
    gradient,
    inputs,
    network,
    targets,
)
from fisher_matrices import make

from steepest import fisher, nn


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damping", [0.0, 1e-6, 0.1])
@pytest.mark.parametrize("name", ["categorical", "Gaussian", "learned variance"])
def test_solvers_agree(kind, damping, name):
    """Cholesky factor, Gram matrix and conjugate gradients agree, for singular matrices without damping too."""
    solutions = {}
    for solver in ("cholesky", "gram", "cg", "auto"):
        F = make(name, kind, solver=solver)
        g = F @ np.random.default_rng(0).standard_normal(F.size)  # in the range of F
        solutions[solver] = F.solve(g, damping)
        assert F.report.residual < 1e-6
        assert F.report.solver == solver or solver == "auto"
        assert (F.report.iterations > 0) == (solver == "cg")
    for solution in solutions.values():
        assert_close(solution, solutions["cholesky"], 1e-5)


@pytest.mark.not_when_slow("its linear systems are large")
@pytest.mark.parametrize(
    ("kind", "n", "matrix", "damping", "solver"),
    [
        ("exact", 120, "cholesky", 0.1, "cg"),
        ("empirical", 1800, "gram", 0.1, "cg"),
        ("empirical", 1800, "gram", 1e-9, "gram"),
    ],
)
def test_products_are_tried_before_a_large_matrix(kind, n, matrix, damping, solver):
    """With large damping a few products solve the system; with little they would take longer than a factorisation."""
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
    """The spectrum reuses the matrices of an inverse and computes no factors again."""
    F = make("categorical", "exact", structure, hidden=(4, 3))
    F.inverse(0.1)
    monkeypatch.setattr(type(F._batch), "factors_by_blocks", lambda self: pytest.fail("measured again"))
    F.eigenvalues()


@pytest.mark.parametrize("kind", KINDS)
def test_products_of_scores_are_those_of_the_scores(kind):
    """The Gram matrix from the layers' factors equals the one from the scores themselves."""
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
    """The block and diagonal structures keep the exact matrix's entries and are zero elsewhere."""
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
    """With the squared error the second derivatives by layer outputs do not depend on the sample, so K-FAC is exact."""
    loss = nn.MeanSquaredError()
    net, X = network(2, (4, 3), nn.Identity), inputs(7)
    block, kfac = (fisher.FisherMatrix(net, loss, X, structure=s).to_dense() for s in ("block", "kfac"))
    assert_close(kfac, block)


def test_the_rank_of_a_softmax():
    """The rank is n (c - 1), since a common shift of all logits changes nothing."""
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
