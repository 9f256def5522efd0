"""The natural gradient over many batches: averages, inverses that are kept, momentum, trust regions, failures."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from fisher_cases import KINDS, STRUCTURES, assert_close, flat, gradient, inputs, network, targets
from sklearn import datasets

from steepest import fisher, nn, optim
from steepest.fisher import _batch, _solvers
from steepest.fisher._structures.kronecker import Kfac

LOSS = nn.SoftmaxCrossEntropy()


def batches(count, n=20, dtype=np.float64):
    rng = np.random.default_rng(7)
    return [(rng.standard_normal((n, 3)).astype(dtype), rng.integers(0, 3, n)) for _ in range(count)]


def parameters_of(net):
    return flat([p.value for p in net.parameters()]).copy()


def diabetes():
    X, y = datasets.load_diabetes(return_X_y=True)
    X = np.ascontiguousarray(X / X.std(axis=0))
    return X, ((y - y.mean()) / y.std())[:, None]


# ------------------------------------------------------------------------------------------- averages over batches


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_updates_average(structure, kind):
    """What a structure keeps is averaged: matrices, diagonals, the factors of K-FAC, the second moments of EKFAC."""
    (X, y), (X2, y2) = batches(2)
    net = network(3)
    F = fisher.FisherMatrix(net, LOSS, X, y, kind=kind, structure=structure, seed=5)
    first = F.to_dense()
    traces = [F.trace()]
    for p in net.parameters():
        p.value[...] *= 1.1
    F.update(X2, y2, decay=0.7)
    other = fisher.FisherMatrix(net, LOSS, X2, y2, kind=kind, structure=structure, seed=5)
    other._batch.number = 1  # as that of an update, which has draws of its own
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
    """An inverse is that of the matrix when it was made, whatever the matrix becomes."""
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
    """What is computed after the network has changed is not of other parameters than what was computed before."""
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
    """(A + pi sqrt(c) I) x (G + sqrt(c) / pi I), pi^2 the ratio of the mean eigenvalues or 1."""
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
    with pytest.raises(MemoryError, match="in 13 GB: take 'kfac'"):
        G.update(np.ones((2, 4000), np.float32))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_steps_with_averages(structure):
    """Factors join in every second step, inverses are made in every third, and in the first three.

    Batch k has at least the weight 1 / k.
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


@pytest.mark.not_when_slow("its fits take long; there are other tests of each step")
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


# ------------------------------------------------------------------------------------------------------- momentum


def test_averages_of_gradients():
    net, X = network(3), inputs(20)
    y = targets(LOSS, 20, 3)
    opt = optim.NaturalGradient(
        net, LOSS, 0.5, damping=0.1, momentum=0.8, momentum_rule="gradient", adapt_damping=False
    )
    average, theta = 0.0, parameters_of(net)
    for _ in range(7):
        average = 0.8 * average + 0.2 * gradient(net, LOSS, X, y)
        theta = theta - 0.5 * fisher.FisherMatrix(net, LOSS, X, structure="kfac").solve(average, 0.1)
        opt.step(X, y)
        assert_close(parameters_of(net), theta)


@pytest.mark.parametrize("inverse_damping", [None, 0.5])
def test_steps_that_the_model_chooses(inverse_damping):
    """No other combination of the natural gradient and the last step has a lower quadratic model."""
    net, X = network(3), inputs(20)
    y = targets(LOSS, 20, 3)
    opt = optim.NaturalGradient(
        net,
        LOSS,
        damping=0.1,
        inverse_damping=inverse_damping,
        momentum_rule="model",
        adapt_damping=False,
    )
    assert opt.step(X, y).damping == (inverse_damping or 0.1)
    for _ in range(3):
        F, theta, last = fisher.FisherMatrix(net, LOSS, X), parameters_of(net), opt._rule.last.copy()
        g = gradient(net, LOSS, X, y)
        natural = F.with_structure("kfac").solve(g, inverse_damping or 0.1)
        opt.step(X, y)
        move = parameters_of(net) - theta

        def model(d, F=F, g=g):
            return g @ d + 0.5 * d @ (F @ d) + 0.05 * d @ d

        for direction in (natural, last):
            for step in (-1e-3, 1e-3):
                assert model(move + step * direction) > model(move)
        # It lies in their plane.
        plane = np.stack([natural, last], axis=1)
        rest = move - plane @ np.linalg.lstsq(plane, move, rcond=None)[0]
        assert np.linalg.norm(rest) < 1e-8 * np.linalg.norm(move)


def test_the_inverse_s_own_damping_is_not_adapted():
    net, data = network(3), batches(4)
    opt = optim.NaturalGradient(
        net, LOSS, damping=0.1, inverse_damping=0.5, momentum_rule="model", adapt_damping=True
    )
    for X, y in data:
        before = opt.damping
        done = opt.step(X, y)
        assert done.damping == 0.5
        assert done.ratio > 0.75
        assert opt.damping == pytest.approx(before / 1.5)


def test_the_model_s_steps_solve_least_squares():
    """With momentum of the model and all samples, they are those of conjugate gradients, preconditioned."""
    X, y = diabetes()
    net = nn.Network([nn.Linear(10, 1)], dtype=np.float64)
    loss = nn.MeanSquaredError()
    opt = optim.NaturalGradient(net, loss, damping=1e-12, structure="diagonal", momentum_rule="model")
    for _ in range(12):
        done = opt.step(X, y)
        if abs(done.predicted) > 1e-9:
            assert done.ratio == pytest.approx(1.0, abs=1e-3)
    design = np.c_[X, np.ones(len(X))]
    best = ((design @ np.linalg.lstsq(design, y, rcond=None)[0] - y) ** 2).mean()
    assert done.new_loss == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("solver", ["cholesky", "gram"])
def test_spring(solver):
    """(F + c I) x = g + c momentum x_last; without momentum it is the natural gradient as it stands."""
    net, plain, X = network(3), network(3), inputs(20)
    y = targets(LOSS, 20, 3)
    options = {
        "damping": 0.1,
        "structure": "dense",
        "solver": solver,
        "momentum_rule": "spring",
        "adapt_damping": False,
    }
    for momentum in (0.0, 0.9):
        opt = optim.NaturalGradient(net, LOSS, 0.3, momentum=momentum, **options)
        theta, last = parameters_of(net), 0.0
        for _ in range(3):
            F, g = fisher.FisherMatrix(net, LOSS, X), gradient(net, LOSS, X, y)
            last = F.solve(g + 0.1 * momentum * last, 0.1)
            theta = theta - 0.3 * last
            opt.step(X, y)
            assert_close(parameters_of(net), theta, 1e-8)
    optim.NaturalGradient(plain, LOSS, 0.3, damping=0.1, structure="dense").step(X, y)
    fresh = network(3)
    optim.NaturalGradient(fresh, LOSS, 0.3, momentum=0.0, **options).step(X, y)
    assert_close(parameters_of(fresh), parameters_of(plain), 1e-8)


def test_spring_comes_to_the_undamped_solution():
    """On one batch, whose targets the model can meet, its equations forget the damping: momentum 1 is their limit."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8, 12))
    w = rng.standard_normal((12, 1))
    net = nn.Network([nn.Linear(12, 1, bias=False)], dtype=np.float64)
    net.parameters()[0].value[...] = 0
    loss, y = nn.MeanSquaredError(), X @ w
    F, g = fisher.FisherMatrix(net, loss, X), gradient(net, loss, X, y)
    exact = F.solve(g)
    opt = optim.NaturalGradient(
        net,
        loss,
        1e-12,
        damping=0.1,
        structure="dense",
        momentum=0.999,
        momentum_rule="spring",
        certify=False,
    )
    first = None
    for _ in range(300):
        opt.step(X, y)
        first = first if first is not None else np.linalg.norm(opt._rule.last - exact)
    assert np.linalg.norm(opt._rule.last - exact) < 0.02 * first


@pytest.mark.parametrize("certify", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_step_from_the_scores_alone(dtype, certify):
    """Of the empirical kind, the gradient is a combination of the scores; in float32 nothing cancels."""
    (X, y), options = batches(1, dtype=dtype)[0], {"damping": 1e-3, "structure": "dense", "kind": "empirical"}
    options["adapt_damping"] = False
    net, exact = network(3, (8,), dtype=dtype), network(3, (8,))
    for p, q in zip(net.parameters(), exact.parameters(), strict=True):
        q.value[...] = p.value
    theta, X64 = parameters_of(exact), X.astype(np.float64)
    last = np.zeros_like(theta)
    opt = optim.NaturalGradient(net, LOSS, 0.05, solver="gram", momentum=0.5, certify=certify, **options)
    weights = np.linspace(0, 1, len(X)).astype(dtype)
    for weight in (None, weights):
        F = fisher.FisherMatrix(exact, LOSS, X64, y, kind="empirical", sample_weight=weight)
        step = -0.05 * F.solve(
            gradient(exact, LOSS, X64, y, None if weight is None else weight.astype(float)), 1e-3
        )
        last = step + 0.5 * last
        theta = theta + last
        opt.step(X, y, weight)
        start = 0
        for p in exact.parameters():
            p.value[...] = theta[start : start + p.value.size].reshape(p.value.shape)
            start += p.value.size
        assert_close(parameters_of(net), theta, 1e-9 if dtype is np.float64 else 1e-4)


# ---------------------------------------------------------------------------------------------------- trust regions


def test_the_ball_s_multiplier():
    """All steps have the bound for a predicted divergence, and the direction is that of the natural gradient."""
    net, X = network(3), inputs(30)
    y = targets(LOSS, 30, 3)
    opt = optim.NaturalGradient(
        net, LOSS, 123.0, damping=1e-3, structure="dense", kl_clip=1e-4, trust_region="ball"
    )
    F, g, theta = fisher.FisherMatrix(net, LOSS, X), gradient(net, LOSS, X, y), parameters_of(net)
    natural = F.solve(g, 1e-3)
    done = opt.step(X, y)
    multiplier = np.sqrt(natural @ (F @ natural) / 2e-4)
    assert_close(parameters_of(net) - theta, -natural / multiplier)
    assert done.length == pytest.approx(1 / multiplier)
    for _ in range(5):
        done = opt.step(X, y)
        assert done.predicted_kl == pytest.approx(1e-4, rel=1e-10)
        assert done.kl == pytest.approx(1e-4, rel=0.3)


def test_line_search():
    """Measured divergences are within the bound, and losses never rise, however large the bound is."""
    for bound in (1e-3, 0.1, 10.0):
        net, X = network(3), inputs(30)
        y = targets(LOSS, 30, 3)
        opt = optim.NaturalGradient(
            net, LOSS, structure="dense", damping=1e-3, kl_clip=bound, trust_region="line_search"
        )
        taken, last = 0, np.inf
        for _ in range(8):
            done = opt.step(X, y)
            if done.accepted:
                taken += 1
                assert done.kl <= bound
                assert done.new_loss <= done.loss <= last + 1e-12
                last = done.new_loss
        assert taken >= 4


# ------------------------------------------------------------------------------------------- diagnostics, failures


def test_without_diagnostics_the_steps_are_the_same():
    X, y = batches(1)[0]
    ends = []
    for certify in (True, False):
        net = network(3)
        opt = optim.NaturalGradient(
            net, LOSS, 0.3, momentum=0.5, kl_clip=0.01, certify=certify, adapt_damping=False
        )
        for _ in range(3):
            done = opt.step(X, y)
        ends.append(parameters_of(net))
        assert np.isfinite(done.ratio) == certify
        assert np.isfinite(done.loss)
        assert done.accepted
    np.testing.assert_array_equal(*ends)


def test_a_failed_factorisation_raises_the_damping(monkeypatch):
    """And the diagnostics say so; the step is then one with that damping."""
    failures = [3]
    whole = Kfac._damped_inverse

    def failing(self, matrix, damping):
        if failures[0]:
            failures[0] -= 1
            raise _solvers.NotPositiveDefiniteError
        return whole(self, matrix, damping)

    monkeypatch.setattr(Kfac, "_damped_inverse", failing)
    net, (X, y) = network(3), batches(1)[0]
    theta, g = parameters_of(net), gradient(net, LOSS, X, y)
    done = optim.NaturalGradient(net, LOSS, damping=1e-3, split="even").step(X, y)
    assert (done.raises, done.damping, done.accepted) == (3, pytest.approx(0.064), True)
    other = fisher.FisherMatrix(network(3), LOSS, X, structure="kfac")
    assert_close(parameters_of(net) - theta, -(other.inverse(0.064, split="even") @ g))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_matrices_that_are_not_finite_leave_the_weights(monkeypatch, structure):
    """The step is refused, and the average begins anew."""
    net, (X, y) = network(3), batches(1)[0]
    opt = optim.NaturalGradient(net, LOSS, structure=structure, factor_decay=0.9, inverse_period=1)
    opt.step(X, y)
    before = parameters_of(net)
    spoiled = _batch.output_rows
    monkeypatch.setattr(_batch, "output_rows", lambda *a: spoiled(*a) * np.nan)
    done = opt.step(X, y)
    assert not done.accepted
    assert done.new_loss == done.loss
    np.testing.assert_array_equal(parameters_of(net), before)
    monkeypatch.undo()
    assert opt.step(X, y).accepted
    assert np.isfinite(parameters_of(net)).all()


@pytest.mark.parametrize("certify", [True, False])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_gradients_that_are_not_finite_leave_the_weights(monkeypatch, certify):
    net, (X, y) = network(3), batches(1)[0]
    opt = optim.NaturalGradient(net, LOSS, certify=certify)
    before, whole = parameters_of(net), _batch.Batch.gradient_of
    monkeypatch.setattr(_batch.Batch, "gradient_of", lambda self, d: whole(self, d) * np.inf)
    done = opt.step(X, y)
    assert not done.accepted
    assert opt.damping > done.damping
    np.testing.assert_array_equal(parameters_of(net), before)
    monkeypatch.undo()
    assert opt.step(X, y).accepted


def test_a_loss_that_is_not_finite_is_an_error():
    net, X = network(2), inputs(10)
    y = targets(nn.Poisson(), 10, 2)
    net.parameters()[-1].value[...] = 1e4
    before = parameters_of(net)
    with pytest.raises(FloatingPointError):
        optim.NaturalGradient(net, nn.Poisson()).step(X, y)
    np.testing.assert_array_equal(parameters_of(net), before)


def test_an_interrupted_step_is_taken_back(monkeypatch):
    net, (X, y) = network(3), batches(1)[0]
    before = parameters_of(net)
    monkeypatch.setattr(nn.Network, "predict", lambda self, x: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        optim.NaturalGradient(net, LOSS).step(X, y)
    np.testing.assert_array_equal(parameters_of(net), before)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"momentum_rule": "nesterov"},
            "momentum_rule 'nesterov' is not one of: step, gradient, model, spring",
        ),
        ({"trust_region": "box"}, "trust_region 'box' is not one of: clip, ball, line_search"),
        ({"trust_region": "ball"}, "takes a bound: pass kl_clip"),
        ({"factor_decay": 1.0}, r"factor_decay must be in \[0, 1\)"),
        ({"factor_period": 0}, "factor_period is 0: it must be at least 1"),
        ({"inverse_period": 0}, "inverse_period is 0"),
        ({"burn_in": -1}, "burn_in is -1"),
        ({"certify": False, "adapt_damping": True}, "leave certify=True"),
        ({"inverse_damping": 0.1}, "requires momentum_rule='model'.*got 'step'"),
        ({"inverse_damping": -1.0, "momentum_rule": "model"}, r"inverse_damping must be in \[0, inf\)"),
    ],
    ids=str,
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        optim.NaturalGradient(network(3), LOSS, **options)


def test_dropout_is_for_the_gradient():
    """Masks change the gradient; the Fisher matrix and the losses are those of the whole network."""
    X, y = batches(1, 64)[0]
    net = nn.Network([nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)], dtype=np.float64)
    expected = float(LOSS(net.predict(X), y)[0])
    done = optim.NaturalGradient(net, LOSS, 0.1).step(X, y)
    assert done.loss == pytest.approx(expected, rel=1e-12)
    assert abs(done.ratio - 1) > 1e-3 or done.accepted
    assert net.draws
    assert not network(3).draws


# ---------------------------------------------------------------------------------------------------------- states


def resumed(opt, net, **options):
    """An optimizer of a network of the same values, with the state of another, which is pickled in between."""
    other = nn.Network(net.layers, dtype=net.dtype)
    for own, p in zip(other.parameters(), net.parameters(), strict=True):
        own.value[...] = p.value
    state = pickle.loads(pickle.dumps(opt.state_dict()))
    twin = optim.NaturalGradient(other, LOSS, **options)
    twin.load_state_dict(state)
    return twin


AVERAGES = ({}, {"factor_decay": 0.9}, {"factor_decay": 0.9, "factor_period": 2, "inverse_period": 3})


@pytest.mark.parametrize(
    ("structure", "momentum_rule", "averaged"),
    # Each structure with each rule of the momentum, and each of these with each way of averaging.
    [
        (structure, rule, AVERAGES[(i + j) % 3])
        for i, structure in enumerate(STRUCTURES)
        for j, rule in enumerate(("step", "gradient", "model", "spring"))
    ],
    ids=str,
)
def test_a_state_goes_on(structure, momentum_rule, averaged):
    """After any step: the averages, the inverse that is kept, the draws, the damping and the momentum are the same."""
    options = {
        "structure": structure,
        "momentum_rule": momentum_rule,
        "momentum": 0.7,
        "damping": 0.1,
        "kind": "monte_carlo",
        "adapt_damping": True,
        **averaged,
    }
    net, data = network(3, (4, 3)), batches(5)
    opt, twins = optim.NaturalGradient(net, LOSS, 0.3, seed=5, **options), []
    for X, y in data:
        done = opt.step(X, y)
        for twin in twins:
            other = twin.step(X, y)
            assert_close(parameters_of(twin.net), parameters_of(net), 1e-12)
            assert (other.accepted, twin.damping) == (done.accepted, pytest.approx(opt.damping))
            assert other.new_loss == pytest.approx(done.new_loss, rel=1e-12)
        twins.append(resumed(opt, net, **options))
        assert (twins[-1].lr, twins[-1].damping, twins[-1].seed) == (0.3, opt.damping, 5)


def test_a_state_is_a_copy():
    X, y = batches(1)[0]
    opt = optim.NaturalGradient(network(3), LOSS, momentum=0.5, factor_decay=0.9, inverse_period=2)
    opt.step(X, y)
    state = opt.state_dict()
    before = pickle.dumps(state)
    opt.step(X, y)
    twin = optim.NaturalGradient(network(3), LOSS, momentum=0.5, factor_decay=0.9, inverse_period=2)
    twin.load_state_dict(state)
    # Saved before a step, it is still what was loaded.
    np.testing.assert_equal(twin.state_dict(), state)
    for _ in range(3):
        twin.step(X, y)
    assert pickle.dumps(state) == before


def test_states_of_others_are_refused():
    X, y = batches(1)[0]
    net, options = network(3), {"structure": "kfac", "momentum": 0.5, "factor_decay": 0.9}
    opt = optim.NaturalGradient(net, LOSS, **options)
    opt.step(X, y)
    before = opt.state_dict()
    other = {**before, "lr": 0.5, "damping": 0.5, "steps": 9, "last": []}
    for state, text in (
        (optim.SGD(net.parameters()).state_dict(), "cannot load the state of SGD"),
        ({**before, "structure": "ekfac"}, "is that of structure='ekfac', not 'kfac'"),
        ({**before, "momentum_rule": "spring"}, "is that of momentum_rule='spring', not 'step'"),
        ({**before, "last": [np.zeros(7)]}, "another network than one of 31 parameters"),
        ({**other, "lr": "fast"}, "incomplete or damaged: .*fast"),
        ({**other, "damping": -1.0}, r"damping must be in \[0, inf\), got -1"),
        ({**other, "steps": 2.5}, "incomplete or damaged"),
        ({**other, "last": [np.zeros(31, complex)]}, "incomplete or damaged"),
        ({**other, "averages": [np.array(["a"])]}, "incomplete or damaged"),
        ({**other, "inverse": [1.0, 1.0]}, "incomplete or damaged"),
        ({**other, "batches": ["a", 1]}, "incomplete or damaged"),
        ({**other, "settled": "low"}, "incomplete or damaged: .*low"),
        ({**other, "taken": [np.zeros(7), 1.0]}, "incomplete or damaged"),
        (
            {key: value for key, value in other.items() if key != "inverted"},
            "incomplete or damaged: .*inverted",
        ),
    ):
        with pytest.raises(ValueError, match=rf"^\[NaturalGradient\] .*{text}"):
            opt.load_state_dict(state)
        np.testing.assert_equal(opt.state_dict(), before)
    # Averages of other shapes are found by the next step, which changes no parameter.
    opt.load_state_dict({**before, "averages": before["averages"][:1]})
    theta = parameters_of(net)
    with pytest.raises(ValueError, match="the averages have the shapes"):
        opt.step(X, y)
    np.testing.assert_array_equal(parameters_of(net), theta)
