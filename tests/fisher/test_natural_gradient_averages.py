"""The natural gradient with moving averages over batches and cached inverses."""

from __future__ import annotations

import numpy as np
import pytest
from fisher_cases import KINDS, STRUCTURES, assert_close, gradient, network
from natural_gradients import LOSS, batches, parameters_of
from sklearn import datasets

from steepest import fisher, nn, optim


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_updates_average(structure, kind):
    """An update averages all parts of a structure: matrices, diagonals, K-FAC factors, EKFAC's second moments."""
    (X, y), (X2, y2) = batches(2)
    net = network(3)
    F = fisher.FisherMatrix(net, LOSS, X, y, kind=kind, structure=structure, seed=5)
    first = F.to_dense()
    traces = [F.trace()]
    for p in net.parameters():
        p.value[...] *= 1.1
    F.update(X2, y2, decay=0.7)
    other = fisher.FisherMatrix(net, LOSS, X2, y2, kind=kind, structure=structure, seed=5)
    other._batch.number = 1  # an update has Monte Carlo samples of its own, with this batch number
    second = other.to_dense()
    traces.append(other.trace())
    if structure in ("dense", "block", "diagonal"):
        assert_close(F.to_dense(), 0.7 * first + 0.3 * second)
    elif structure == "ekfac":
        assert F.trace() == pytest.approx(0.7 * traces[0] + 0.3 * traces[1], rel=1e-10)
    v = np.random.default_rng(0).standard_normal(F.size)
    dense = F.to_dense()
    assert_close(F @ v, dense @ v)
    assert_close(F.solve(v, 0.1), np.linalg.solve(dense + 0.1 * np.eye(F.size), v))
    assert F.report.residual < 1e-10


def test_factors_are_averaged():
    (X, y), (X2, y2) = batches(2)
    net = network(3)

    def factors(X, y):
        pairs = fisher.FisherMatrix(net, LOSS, X, y, structure="kfac")._structure.kronecker
        return [f.copy() for pair in pairs for f in pair]

    F = fisher.FisherMatrix(net, LOSS, X, y, structure="kfac")
    _ = F._structure.kronecker
    F.update(X2, y2, decay=0.7)
    averaged = [f for pair in F._structure.kronecker for f in pair]
    for got, a, b in zip(averaged, factors(X, y), factors(X2, y2), strict=True):
        assert_close(got, 0.7 * a + 0.3 * b)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_an_average_with_itself_changes_nothing(structure):
    (X, y), net = batches(1)[0], network(3, (4, 3))
    F = fisher.FisherMatrix(net, LOSS, X, y, structure=structure)
    before = F.to_dense()
    for _ in range(3):
        F.update(X, y, decay=0.9)
        assert_close(F.to_dense(), before)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_inverses_are_kept(structure):
    """An inverse stays that of the matrix at its creation, even if the matrix changes."""
    (X, y), (X2, y2) = batches(2)
    F = fisher.FisherMatrix(network(3), LOSS, X, y, structure=structure)
    v = np.random.default_rng(0).standard_normal(F.size)
    expected = F.solve(v, 0.1)
    inverse = F.inverse(0.1)
    assert inverse.shape == (F.size, F.size)
    assert_close(inverse @ v, expected)
    F.update(X2, y2)
    assert_close(inverse @ v, expected)
    assert np.abs(F.solve(v, 0.1) - expected).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_it_is_of_the_parameters_when_it_was_made(structure, kind):
    """All results belong to the parameters at which the matrix was made, even after the network has changed."""
    (X, y), net = batches(1)[0], network(3, (4, 3))
    expected = fisher.FisherMatrix(net, LOSS, X, y, kind=kind, structure=structure).to_dense()
    F = fisher.FisherMatrix(net, LOSS, X, y, kind=kind, structure=structure)
    for p in net.parameters():
        p.value[...] = 7
    v = np.random.default_rng(0).standard_normal(F.size)
    assert_close(F @ v, expected @ v)
    assert_close(F.to_dense(), expected)


@pytest.mark.parametrize("split", ["pi", "even"])
def test_split_damping(split):
    """(A + pi sqrt(c) I) x (G + sqrt(c) / pi I), where pi^2 is the ratio of the mean eigenvalues, or 1 for "even"."""
    X, y = batches(1)[0]
    F = fisher.FisherMatrix(network(3), LOSS, X, y, structure="kfac")
    v = np.random.default_rng(0).standard_normal(F.size)
    start, expected = 0, []
    for a, g in F._structure.kronecker:
        pi = np.sqrt(np.trace(a) / len(a) / (np.trace(g) / len(g))) if split == "pi" else 1.0
        damped = np.kron(a + pi * 0.3 * np.eye(len(a)), g + 0.3 / pi * np.eye(len(g)))
        expected.append(np.linalg.solve(damped, v[start : start + len(damped)]))
        start += len(damped)
    assert_close(F.inverse(0.09, split=split) @ v, np.concatenate(expected))


def test_bad_updates_and_inverses_are_refused():
    X, y = batches(1)[0]
    F = fisher.FisherMatrix(network(3), LOSS, X, y, kind="empirical", structure="kfac")
    before = F.to_dense()
    for arguments, options, text in (
        ((X,), {}, "pass y"),
        ((X, y), {"decay": 1.0}, r"decay is 1.0: it must be in \[0, 1\)"),
        ((X, y[:3]), {}, "y has 3 labels"),
        ((np.full_like(X, np.nan), y), {}, "X is not finite"),
    ):
        with pytest.raises(ValueError, match=text):
            F.update(*arguments, **options)
    assert_close(F.to_dense(), before)
    for damping, split, text in (
        (0.0, "pi", "takes the structure 'kfac' and a positive damping"),
        (0.1, "odd", "split 'odd' is not one of: pi, even"),
        (-0.1, None, "damping is -0.1"),
    ):
        with pytest.raises(ValueError, match=text):
            F.inverse(damping, split=split)
    with pytest.raises(ValueError, match=r"not 'diagonal' and 0\.1"):
        F.with_structure("diagonal").inverse(0.1, split="pi")
    wide = nn.Network([nn.Linear(4000, 10)])
    G = fisher.FisherMatrix(wide, LOSS, np.ones((2, 4000), np.float32))
    with pytest.raises(MemoryError, match="would form a matrix of 13 GB, more than 2 GiB: take 'kfac'"):
        G.update(np.ones((2, 4000), np.float32))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_steps_with_averages(structure):
    """Factors are averaged every second step; inverses are made in the first three steps and every third step.

    Batch k has a weight of at least 1 / k.
    """
    net, other = network(3), network(3)
    opt = optim.NaturalGradient(
        net,
        LOSS,
        0.5,
        damping=0.1,
        structure=structure,
        factor_decay=0.6,
        factor_period=2,
        inverse_period=3,
        adapt_damping=False,
    )
    F, joined = None, 0
    for k, (X, y) in enumerate(batches(8)):
        if k % 2 == 0:
            joined += 1
            if F is None:
                F = fisher.FisherMatrix(other, LOSS, X, structure=structure)
                F.to_dense()
            else:
                F.update(X, decay=min(1 - 1 / joined, 0.6))
        if k < 3 or k % 3 == 2:
            inverse = F.inverse(0.1)
        theta = parameters_of(other) - 0.5 * (inverse @ gradient(other, LOSS, X, y))
        start = 0
        for p in other.parameters():
            p.value[...] = theta[start : start + p.value.size].reshape(p.value.shape)
            start += p.value.size
        opt.step(X, y)
        assert_close(parameters_of(net), theta)


def test_the_burn_in_takes_no_steps():
    net = network(3)
    before = parameters_of(net)
    opt = optim.NaturalGradient(net, LOSS, factor_decay=0.9, burn_in=3)
    for k, (X, y) in enumerate(batches(4)):
        done = opt.step(X, y)
        assert (done.length == 0) == (k < 3)
        assert np.array_equal(parameters_of(net), before) == (k < 3)


@pytest.mark.not_when_slow("its fits take long; other tests cover each step")
@pytest.mark.parametrize("structure", ["kfac", "ekfac", "diagonal"])
@pytest.mark.parametrize("split", [None, "pi", "even"])
def test_training_with_mini_batches(structure, split):
    if split and structure != "kfac":
        pytest.skip("only K-FAC has two factors")
    X, y = datasets.load_digits(return_X_y=True)
    X = np.ascontiguousarray(X[:1200] / 16, np.float32)
    net = nn.Network([nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)], seed=0)
    opt = optim.NaturalGradient(
        net,
        LOSS,
        0.2,
        damping=1e-2,
        structure=structure,
        split=split,
        kind="monte_carlo",
        factor_decay=0.9,
        inverse_period=5,
        certify=False,
        kl_clip=0.1,
    )
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows = rng.integers(0, 1200, 200)
        opt.step(X[rows], y[rows])
    assert (net.predict(X).argmax(axis=1) == y[:1200]).mean() > 0.9
