"""The natural gradient as an optimizer: results of its steps, step diagnostics, and rejected steps."""

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
    set_parameters,
    targets,
)
from sklearn import datasets

from steepest import fisher, nn, optim
from steepest import kernels as K
from steepest.fisher import _likelihoods

LIKELIHOODS = [name for name in LOSSES if ", mean" not in name]


def parameters_of(net):
    return flat([p.value for p in net.parameters()]).copy()


def digits(n=300):
    X, y = datasets.load_digits(return_X_y=True)
    return np.ascontiguousarray(X[:n] / 16), y[:n]


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_steps_are_solutions_with_the_fisher_matrix(structure, momentum):
    loss, net, X = nn.SoftmaxCrossEntropy(), network(3), inputs(20)
    y = targets(loss, 20, 3)
    opt = optim.NaturalGradient(
        net,
        loss,
        0.5,
        damping=0.1,
        structure=structure,
        momentum=momentum,
        l2=0.01,
        adapt_damping=False,
    )
    theta, last = parameters_of(net), 0.0
    weights = np.concatenate(
        [np.full(p.value.size, float(p.name.endswith("weight"))) for p in net.parameters()]
    )
    for _ in range(3):
        g = gradient(net, loss, X, y) + 0.01 * weights * theta
        last = -0.5 * fisher.FisherMatrix(net, loss, X, structure=structure).solve(g, 0.11) + momentum * last
        theta = theta + last
        opt.step(X, y)
        assert_close(parameters_of(net), theta)


def test_least_squares_in_one_step():
    """For least squares the quadratic model is exact: the reduction ratio is 1, with damping too."""
    X, y = datasets.load_diabetes(return_X_y=True)
    X, y = np.ascontiguousarray(X), y[:, None]
    net, loss = nn.Network([nn.Linear(10, 1)], dtype=np.float64), nn.MeanSquaredError()
    for damping in (1e-2, 0.0):
        done = optim.NaturalGradient(net, loss, damping=damping, structure="dense").step(X, y)
        assert done.ratio == pytest.approx(1.0, rel=1e-9)
        assert done.accepted
    design = np.c_[X, np.ones(len(X))]
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    assert done.new_loss == pytest.approx(((design @ best - y) ** 2).mean(), rel=1e-12)


def test_adapted_damping_vanishes_where_the_model_is_exact():
    X, y = datasets.load_diabetes(return_X_y=True)
    X, y = np.ascontiguousarray(X), y[:, None]
    net = nn.Network([nn.Linear(10, 1)], dtype=np.float64)
    opt = optim.NaturalGradient(
        net, nn.MeanSquaredError(), damping=1.0, adapt_damping=True, structure="dense"
    )
    for k in range(1, 6):
        opt.step(X, y)
        assert opt.damping == pytest.approx((2 / 3) ** k)


@pytest.mark.not_when_slow("its fits take long; test_natural_gradient_averages.py has short ones")
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_training(structure, kind):
    """Every Fisher type and structure lowers the loss of a small network, most of them to nearly zero."""
    X, y = digits()
    net = nn.Network([nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)], seed=0, dtype=np.float64)
    opt = optim.NaturalGradient(
        net,
        nn.SoftmaxCrossEntropy(),
        kind=kind,
        structure=structure,
        solver="gram",
        damping=1e-2,
        adapt_damping=True,
        kl_clip=0.3,
    )
    X, y = X[:100], y[:100]
    first = opt.step(X, y).loss
    for _ in range(12):
        done = opt.step(X, y)
    assert done.new_loss < (0.5 if structure == "diagonal" or kind == "empirical" else 0.2) * first


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_divergences_are_predicted(name):
    """d^T F d / 2 agrees with the divergence of the outputs for short steps, and clipping bounds it."""
    loss, n_out = LOSSES[name]
    X = inputs(30)
    y = targets(loss, 30, n_out)
    # The relative model error is proportional to the step, which is proportional to the root of its divergence. The
    # factor 30 covers the derivatives of these networks.
    for clip in (1e-4, 1e-6):
        net = network(n_out)
        done = optim.NaturalGradient(net, loss, kl_clip=clip).step(X, y)
        assert done.predicted_kl == pytest.approx(clip)
        assert done.kl == pytest.approx(done.predicted_kl, rel=30 * np.sqrt(clip))
        assert done.length < 1
        assert done.ratio == pytest.approx(1.0, rel=30 * np.sqrt(clip))
    unclipped = optim.NaturalGradient(network(n_out), loss, kl_clip=1e9).step(X, y)
    assert unclipped.length == 1


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_divergences_are_those_of_the_distributions(name):
    """KL(p || p) = 0, and KL(p || q) is the mean of log p / q over samples from p."""
    loss, n_out = LOSSES[name]
    likelihood = _likelihoods.likelihood_of(loss, n_out)
    rng = np.random.default_rng(0)
    z, w = (0.4 * rng.standard_normal((1, n_out)) for _ in range(2))
    assert K.output_divergence(z, z, likelihood.name) == 0
    n = 200_000
    if name == "categorical":
        drawn = rng.choice(n_out, n, p=np.exp(z[0]) / np.exp(z[0]).sum())
    elif name == "Bernoulli":
        drawn = (rng.random((n, n_out)) < 1 / (1 + np.exp(-z))).astype(np.float64)
    elif name == "Poisson":
        drawn = rng.poisson(np.exp(z), (n, n_out)).astype(np.float64)
    else:
        means, deviations = (z[:, :2], np.exp(0.5 * z[:, 2:])) if name == "learned variance" else (z, 1.0)
        drawn = means + deviations * rng.standard_normal((n, 2))
    if name == "categorical":
        difference = np.log(np.exp(z[0])[drawn] / np.exp(z).sum() / (np.exp(w[0])[drawn] / np.exp(w).sum()))
    else:
        # The loss is the negative log-likelihood up to terms that do not depend on the parameters.
        scale = likelihood.scale
        values = [
            np.array(
                [float(loss(np.repeat(a, len(part), axis=0), part)[0]) for part in np.array_split(drawn, 20)]
            )
            for a in (w, z)
        ]
        difference = (values[0] - values[1]) / scale
    np.testing.assert_allclose(K.output_divergence(z, w, likelihood.name), difference.mean(), atol=0.01)


def test_reparametrised_networks_train_alike():
    """Without damping, equal networks of tanh and of sigmoids have the same losses at every step."""
    X, loss = inputs(40), nn.MeanSquaredError()
    y = targets(loss, 40, 2)
    tanh, sigmoid = network(2, (3,), nn.Tanh), network(2, (3,), nn.Sigmoid)
    (w1, b1, w2, b2), (v1, c1, v2, c2) = ([p.value for p in net.parameters()] for net in (tanh, sigmoid))
    v1[...], c1[...], v2[...], c2[...] = 2 * w1, 2 * b1, 2 * w2, b2 - w2.sum(axis=0)
    losses = []
    for net in (tanh, sigmoid):
        opt = optim.NaturalGradient(net, loss, 0.01, damping=0.0, structure="dense")
        losses.append([opt.step(X, y).loss for _ in range(5)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


# ------------------------------------------------------------------------------------------------ steps that fail


@pytest.mark.cpu_only("its fits take too long on the stand-in")
def test_steps_that_raise_the_loss_are_taken_back():
    X, y = digits()
    net = nn.Network([nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)], seed=0, dtype=np.float64)
    opt = optim.NaturalGradient(net, nn.SoftmaxCrossEntropy(), 50.0, adapt_damping=True, damping=1e-4)
    before = parameters_of(net)
    done = opt.step(X, y)
    assert not done.accepted
    assert done.new_loss == done.loss and opt.damping > 1e-4
    np.testing.assert_array_equal(parameters_of(net), before)
    for _ in range(60):
        done = opt.step(X, y)
    assert done.new_loss < 2.0


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_loss_that_overflows_leaves_the_weights():
    X = inputs(10)
    y = targets(nn.Poisson(), 10, 2)
    net = network(2)
    before = parameters_of(net)
    opt = optim.NaturalGradient(net, nn.Poisson(), 1e6, damping=1e-6)
    done = opt.step(X, y)
    assert not done.accepted and opt.damping > 1e-6
    np.testing.assert_array_equal(parameters_of(net), before)


def test_bad_batches_change_nothing():
    net, loss = network(3), nn.SoftmaxCrossEntropy()
    opt, before = optim.NaturalGradient(net, loss), parameters_of(net)
    X, y = inputs(), targets(loss, 6, 3)
    for bad_X, bad_y, text in (
        (np.full_like(X, np.inf), y, "X is not finite"),
        (X, y[:3], "y has 3 labels"),
        (X, y + 5, "outside 0..2"),
    ):
        with pytest.raises(ValueError, match=text):
            opt.step(bad_X, bad_y)
    np.testing.assert_array_equal(parameters_of(net), before)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": 0.0}, r"\[NaturalGradient\] lr must be in \(0, inf\), got 0.0"),
        ({"damping": -1.0}, r"damping must be in \[0, inf\)"),
        ({"damping": np.nan}, "damping must be in"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"kl_clip": 0.0}, r"kl_clip must be in \(0, inf\)"),
        ({"l2": -1.0}, "l2 must be in"),
    ],
    ids=str,
)
def test_bad_parameters(options, text):
    with pytest.raises(ValueError, match=text):
        optim.NaturalGradient(network(3), nn.SoftmaxCrossEntropy(), **options)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((network(3), nn.Hinge()), {}, ValueError, "Hinge is not the negative log-likelihood"),
        ((network(3), nn.Gaussian()), {}, ValueError, "means and log-variances"),
        ((nn.Network([nn.Tanh()]), nn.Poisson()), {}, ValueError, "no parameters"),
        ((network(3).parameters(), nn.Poisson()), {}, TypeError, "net must be a Network, got list"),
        ((network(3), nn.Poisson()), {"structure": "k-fac"}, ValueError, "structure 'k-fac' is not one of"),
        ((network(3), nn.Poisson()), {"kind": "exakt"}, ValueError, "kind 'exakt' is not one of"),
        ((network(3), nn.Poisson()), {"solver": "lu"}, ValueError, "solver 'lu' is not one of"),
        ((network(3), nn.Poisson()), {"split": "odd"}, ValueError, "split 'odd' is not one of"),
        (
            (network(3), nn.Poisson()),
            {"split": "pi", "structure": "ekfac"},
            ValueError,
            "takes structure='kfac' and a positive damping, got 'ekfac'",
        ),
        ((network(3), nn.Poisson()), {"split": "pi", "damping": 0.0}, ValueError, r"got 'kfac' and 0\.0"),
    ],
    ids=str,
)
def test_what_no_step_could_be_taken_with_is_refused_at_once(arguments, options, error, text):
    with pytest.raises(error, match=text):
        optim.NaturalGradient(*arguments, **options)


# ------------------------------------------------------------------------------------------------ dtype, device


def test_float32():
    X, y = digits()
    losses, start = [], None
    for dtype in (np.float32, np.float64):
        net = nn.Network([nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)], seed=0, dtype=dtype)
        start = parameters_of(net) if start is None else start
        set_parameters(net, start)
        opt = optim.NaturalGradient(net, nn.SoftmaxCrossEntropy(), 0.5, damping=1e-2)
        losses.append([opt.step(X.astype(dtype), y).loss for _ in range(5)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_weights_of_the_rows():
    loss, X = nn.SoftmaxCrossEntropy(), inputs()
    y = targets(loss, 6, 3)
    once, twice = network(3), network(3)
    optim.NaturalGradient(once, loss).step(X, y, np.array([2.0, 1, 1, 0, 1, 1]))
    rows = [0, 0, 1, 2, 4, 5]
    optim.NaturalGradient(twice, loss).step(np.ascontiguousarray(X[rows]), y[rows])
    assert_close(parameters_of(once), parameters_of(twice))


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.5},
        {"split": "pi", "factor_decay": 0.9, "kl_clip": 0.01},
        {"structure": "ekfac", "factor_decay": 0.9, "momentum_rule": "model", "kind": "monte_carlo"},
        {"structure": "dense", "factor_decay": 0.9, "momentum": 0.5, "momentum_rule": "gradient"},
        {"structure": "diagonal", "factor_decay": 0.9, "adapt_damping": True},
        {"structure": "block", "factor_decay": 0.9, "l2": 0.1},
        {
            "structure": "dense",
            "solver": "gram",
            "kind": "empirical",
            "momentum": 0.5,
            "momentum_rule": "spring",
        },
        {"structure": "dense", "solver": "cg", "kl_clip": 0.01, "trust_region": "line_search"},
    ],
    ids=str,
)
def test_cuda(cupy, options):
    on_cpu = network(3)
    on_cuda = on_cpu.to("cuda")
    loss, X = nn.SoftmaxCrossEntropy(), inputs(20)
    y = targets(loss, 20, 3)
    expected = optim.NaturalGradient(on_cpu, loss, 0.3, damping=0.1, **options)
    opt = optim.NaturalGradient(on_cuda, loss, 0.3, damping=0.1, **options)
    for _ in range(3):
        done, by_cpu = opt.step(cupy.asarray(X), cupy.asarray(y)), expected.step(X, y)
        assert done.loss == pytest.approx(by_cpu.loss, rel=1e-9)
    opt.load_state_dict(expected.state_dict())
    assert opt.step(cupy.asarray(X), cupy.asarray(y)).loss == pytest.approx(
        expected.step(X, y).loss, rel=1e-9
    )
    for a, b in zip(on_cuda.parameters(), on_cpu.parameters(), strict=True):
        assert_close(cupy.asnumpy(a.value), b.value)
