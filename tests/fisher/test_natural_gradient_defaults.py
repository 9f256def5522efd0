"""The natural gradient with default options: it trains, and no step raises the loss above its model's prediction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from fisher_cases import inputs, network, targets
from sklearn import datasets

import steepest
from steepest import fisher, nn, optim
from steepest import kernels as K

LOSS = nn.SoftmaxCrossEntropy()
DATA = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
NETWORKS = {
    "16 tanh": ((16,), nn.Tanh),
    "16 ReLU": ((16,), nn.ReLU),
    "32-32 ReLU": ((32, 32), nn.ReLU),
    "16-16-16 tanh": ((16, 16, 16), nn.Tanh),
}
DTYPES = {"float32": np.float32, "float64": np.float64}


def data(name, dtype=np.float64, *, standardised=True):
    X, y = DATA[name](return_X_y=True)
    if standardised:
        X = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    return np.ascontiguousarray(X, dtype), y


def perceptron(widths, activation, dtype=np.float64):
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Network(layers[:-1], seed=0, dtype=dtype)


def assert_it_trains(name, architecture, dtype):
    """Assert that 30 full-batch steps lower the loss to a tenth, and that no step raises it."""
    X, y = data(name, dtype)
    hidden, activation = NETWORKS[architecture]
    opt = optim.NaturalGradient(perceptron((X.shape[1], *hidden, y.max() + 1), activation, dtype), LOSS)
    steps = [opt.step(X, y) for _ in range(30)]
    assert steps[-1].new_loss < 0.1 * steps[0].loss
    assert all(step.new_loss <= step.loss for step in steps)


@pytest.mark.not_when_slow("its fits take long; the rules of each step have tests of their own")
@pytest.mark.parametrize("architecture", NETWORKS)
def test_without_options_it_trains(architecture):
    assert_it_trains("iris", architecture, np.float64)


@pytest.mark.deep("the fits of four data sets take a minute")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("name", DATA)
def test_without_options_it_trains_on_all_data(name, architecture, dtype):
    assert_it_trains(name, architecture, DTYPES[dtype])


def hard_problems():
    """(net, loss, inputs, targets) on which steps of a fixed length diverge or make no progress from the start."""
    rng = np.random.default_rng(0)
    iris, species = data("iris")
    cancer, malignant = data("breast cancer", standardised=False)
    corners, exclusive = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    zeros = perceptron((2, 4, 2), nn.Tanh)
    saturated, dead = perceptron((4, 16, 3), nn.Tanh), perceptron((4, 16, 3), nn.ReLU)
    for p in zeros.parameters():
        p.value[...] = 0
    for p in saturated.parameters():
        p.value[...] *= 30
    dead.parameters()[1].value[...] = -100
    x, X = rng.uniform(-2, 2, (100, 1)), rng.standard_normal((200, 4))
    return {
        "XOR from zero": (zeros, LOSS, corners, exclusive),
        "XOR": (perceptron((2, 4, 2), nn.Tanh), LOSS, corners, exclusive),
        "deep and narrow": (perceptron((4, *[4] * 8, 3), nn.Tanh), LOSS, iris, species),
        "columns of other units": (
            perceptron((4, 16, 3), nn.Tanh),
            LOSS,
            iris * [1e-3, 1, 1e2, 1e4],
            species,
        ),
        "saturated": (saturated, LOSS, iris, species),
        "dead": (dead, LOSS, iris, species),
        "raw features": (perceptron((30, 16, 2), nn.ReLU), LOSS, cancer, malignant),
        "raw features, linear": (
            perceptron((30, 1), nn.Tanh),
            nn.BinaryCrossEntropy(),
            cancer,
            malignant[:, None].astype(np.float64),
        ),
        "sine": (perceptron((1, 10, 1), nn.Tanh), nn.MeanSquaredError(), x, np.sin(2 * x)),
        "large counts": (
            perceptron((4, 8, 1), nn.Tanh),
            nn.Poisson(),
            X,
            rng.poisson(np.exp(1 + 2 * X[:, :1])).astype(np.float64),
        ),
        "learned variance": (perceptron((4, 8, 2), nn.Tanh), nn.Gaussian(), X, 100 + 1e-3 * X[:, :1]),
        "random labels": (perceptron((4, 32, 32, 3), nn.ReLU), LOSS, X, rng.integers(0, 3, 200)),
    }


def loss_of(net, loss, X, y):
    return float(loss(net.predict(X), y)[0])


@pytest.mark.not_when_slow("its fits take long; the rules of each step have tests of their own")
@pytest.mark.parametrize("name", hard_problems())
def test_hard_problems_end_no_higher_than_they_start(name):
    net, loss, X, y = hard_problems()[name]
    first = loss_of(net, loss, X, y)
    opt = optim.NaturalGradient(net, loss)
    for _ in range(40):
        opt.step(X, y)
    last = loss_of(net, loss, X, y)
    assert last <= first
    assert (
        name in ("XOR from zero", "dead") or last < 0.9 * first
    )  # these two start at points with zero gradient


@pytest.mark.not_when_slow("its fits take long; the rules of each step have tests of their own")
@pytest.mark.parametrize("name", ["saturated", "raw features", "sine", "random labels"])
def test_batches_of_four_stay_bounded(name):
    """A step fitted to four samples may raise the loss of the others, which the next batch must correct."""
    net, loss, X, y = hard_problems()[name]
    first, opt, rng = loss_of(net, loss, X, y), optim.NaturalGradient(net, loss), np.random.default_rng(1)
    for _ in range(200):
        rows = rng.integers(0, len(X), 4)
        opt.step(X[rows], y[rows])
        assert opt.damping < 1e12
    # Random labels have their lowest loss near the start.
    assert loss_of(net, loss, X, y) < (2.0 if name == "random labels" else 1.0) * first


@pytest.mark.not_when_slow("Python code, not kernels, decides whether to accept a step")
@pytest.mark.parametrize("certify", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"damping": 0.0},
        {"structure": "dense"},
        {"structure": "dense", "kind": "empirical", "solver": "gram"},
        {"structure": "diagonal", "kind": "monte_carlo"},
        {"momentum": 0.9},
        {"momentum": 0.9, "momentum_rule": "gradient", "split": "pi"},
        {"momentum": 0.9, "momentum_rule": "spring"},
        {"momentum_rule": "model"},
        {"kl_clip": 1.0},
        {"kl_clip": 1.0, "trust_region": "ball"},
        {"factor_decay": 0.9, "inverse_period": 3},
    ],
    ids=str,
)
def test_no_step_raises_the_loss_beyond_its_model(options, certify):
    """This holds for all options, even for a damping and rate at which half of the steps would raise the loss."""
    X, y = data("iris")
    opt = optim.NaturalGradient(
        perceptron((4, 16, 3), nn.ReLU),
        LOSS,
        2.0,
        **{"damping": 1e-3, "adapt_damping": False, "certify": certify, **options},
    )
    rejected = 0
    for _ in range(12):
        before = loss_of(opt.net, LOSS, X, y)
        damping, done = opt.damping, opt.step(X, y)
        rise = loss_of(opt.net, LOSS, X, y) - before
        allowed = max(done.predicted, 0.0) if done.predicted == done.predicted else 0.0
        assert rise <= allowed + 1e-9
        assert rise == 0 or done.accepted
        rejected += not done.accepted
        # A rejected step raises the damping; the next accepted step restores it.
        assert opt.damping > damping or done.accepted
    assert opt.damping == options.get("damping", 1e-3) or not done.accepted


def test_a_loss_at_its_minimum_does_not_move_the_damping():
    """Changes of the loss below its rounding error do not adapt the damping."""
    X, y = inputs(20, dtype=np.float32), np.zeros(20, np.int64)
    opt = optim.NaturalGradient(network(3, dtype=np.float32), LOSS, structure="dense", damping=1e-3)
    for _ in range(60):
        done = opt.step(X, y)
    settled = opt.damping
    for _ in range(40):
        done = opt.step(X, y)
    assert done.new_loss < 1e-5
    assert settled / 100 < opt.damping < 100 * settled


def test_clipped_steps_do_not_lower_the_damping():
    """Clipped steps are so short that they agree with any model, so their ratio is no evidence."""
    opt = optim.NaturalGradient(network(3), LOSS, kl_clip=1e-6, adapt_damping=True)
    X, y = inputs(30), targets(LOSS, 30, 3)
    for _ in range(5):
        assert opt.step(X, y).ratio > 0.75
    assert opt.damping == 1.0


# ---------------------------------------------------------------------------------------- dead units and zero inputs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", ["gradients", "inputs"])
def test_factors_of_zeros_split_the_damping_evenly(dtype, side):
    """Steps stay finite if a factor is zero: dead units have zero gradients, zero inputs a zero second moment."""
    X, y = data("iris", DTYPES[dtype])
    net = perceptron((4, 2, 3), nn.ReLU, DTYPES[dtype])
    net.parameters()[1].value[...] = -100
    if side == "inputs":
        X = np.zeros_like(X)
        net = nn.Network([nn.Linear(4, 2, bias=False), nn.Linear(2, 3)], seed=0, dtype=DTYPES[dtype])
    opt = optim.NaturalGradient(net, LOSS, split="pi", momentum_rule="model")
    for _ in range(3):
        done = opt.step(X, y)
        assert done.new_loss <= done.loss
    assert all(np.isfinite(p.value).all() for p in net.parameters())


# ------------------------------------------------------------------------------------------------- inside a capture


def test_steps_cannot_be_captured():
    """During a capture kernels compute nothing, so a step would use uninitialised memory."""
    net, X, y = network(3), inputs(), targets(LOSS, 6, 3)
    opt = optim.NaturalGradient(net, LOSS)
    before = [p.value.copy() for p in net.parameters()]
    with (
        pytest.raises(RuntimeError, match=r"\[NaturalGradient.step\] .* records"),
        steepest.capture(),
    ):
        opt.step(X, y)
    for p, old in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.value, old)
    assert opt.step(X, y).accepted


@pytest.mark.parametrize(
    "use",
    [
        lambda F, v: fisher.FisherMatrix(network(3), LOSS, inputs()),
        lambda F, v: fisher.score(network(3), LOSS, inputs(), targets(LOSS, 6, 3)),
        lambda F, v: F.update(inputs()),
        lambda F, v: F @ v,
        lambda F, v: F.solve(v, 0.1),
        lambda F, v: F.inverse(0.1),
        lambda F, v: F.inverse_sqrt(0.1),
        lambda F, v: F.to_dense(),
        lambda F, v: F.diagonal(),
        lambda F, v: F.trace(),
        lambda F, v: F.eigenvalues(),
        lambda F, v: F.logdet(0.1),
        lambda F, v: F.divergence(F.output),
    ],
    ids=[
        "new",
        "score",
        "update",
        "product",
        "solve",
        "inverse",
        "inverse_sqrt",
        "to_dense",
        "diagonal",
        "trace",
        "eigenvalues",
        "logdet",
        "divergence",
    ],
)
def test_matrices_cannot_be_captured(use):
    F = fisher.FisherMatrix(network(3), LOSS, inputs())
    with pytest.raises(RuntimeError, match="use it outside of the block"), steepest.capture():
        use(F, np.ones(F.size))
    # The capture has ended, and the matrix is unchanged.
    assert np.isfinite(F.trace())
    assert float(K.sum(np.ones(3))) == 3.0
