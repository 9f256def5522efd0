"""Rules of the natural gradient: momentum, trust regions, step diagnostics, failed steps."""

from __future__ import annotations

import numpy as np
import pytest
from fisher_cases import STRUCTURES, assert_close, gradient, inputs, network, targets
from natural_gradients import LOSS, batches, parameters_of
from sklearn import datasets

from steepest import fisher, nn, optim
from steepest.fisher import _batch, _solvers
from steepest.fisher._structures.kronecker import Kfac


def diabetes():
    X, y = datasets.load_diabetes(return_X_y=True)
    X = np.ascontiguousarray(X / X.std(axis=0))
    return X, ((y - y.mean()) / y.std())[:, None]


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
    """The step minimises the quadratic model in the span of the natural gradient and the last step."""
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
        # The step lies in this span.
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
    """With momentum_rule='model' and all samples, the steps are those of preconditioned conjugate gradients."""
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
    """SPRING solves (F + c I) x = g + c momentum x_last; without momentum it is the natural gradient."""
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
    """On a single batch that the model fits exactly, SPRING converges to the undamped step as momentum approaches 1."""
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
    """For the empirical type the gradient is a combination of scores, which avoids cancellation in float32."""
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


def test_the_ball_s_multiplier():
    """With trust_region='ball' the predicted divergence of each step is kl_clip, along the natural gradient."""
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
    """Measured divergences stay within kl_clip, and accepted steps never raise the loss, even for large bounds."""
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
    """The step diagnostics report the raised damping, and the step uses it."""
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
    """The step is rejected, and the moving average starts again."""
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
    """Dropout masks affect the gradient only; the Fisher matrix and the losses use the whole network."""
    X, y = batches(1, 64)[0]
    net = nn.Network([nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)], dtype=np.float64)
    expected = float(LOSS(net.predict(X), y)[0])
    done = optim.NaturalGradient(net, LOSS, 0.1).step(X, y)
    assert done.loss == pytest.approx(expected, rel=1e-12)
    assert abs(done.ratio - 1) > 1e-3 or done.accepted
    assert net.draws
    assert not network(3).draws
