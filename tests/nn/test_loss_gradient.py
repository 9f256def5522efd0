"""`Network.loss_gradient`: forward, loss and backward in one, with the logits in blocks of rows where they are many."""

from __future__ import annotations

import importlib
import re

import numpy as np
import pytest
import tolerances

import steepest
from steepest import DivergenceError, nn, optim
from steepest.training.batches import Batch
from steepest.training.programs import GradientDescent

N, T, D, IDS = 7, 5, 8, 30


def model(*, tied=False, bias=True, dropout=0.0):
    """A model of text; its last layer may share the table of the embedding."""
    ids, table = nn.Input(T, dtype=np.int64), nn.Embedding(IDS, D)
    body = nn.TransformerEncoder(D, 2, causal=True, dropout=dropout)
    last = nn.Linear(D, IDS, bias=bias, tied_to=table if tied else None)
    return nn.Network(ids, last(body(table(ids))), seed=2, dtype=np.float64)


def shared():
    """A last layer whose weights another layer has, too, behind an activation whose derivative is folded."""
    x = nn.Input(D)
    first = nn.Linear(D, D)
    return nn.Network(x, first(nn.ReLU()(first(x))), seed=2, dtype=np.float64)


def perceptron():
    """Layers on rows of numbers."""
    return nn.Network([nn.Linear(D, 6), nn.Tanh(), nn.Linear(6, IDS)], dtype=np.float64)


NETWORKS = {
    "text": model,
    "tied": lambda: model(tied=True),
    "no bias": lambda: model(bias=False),
    "dropout": lambda: model(dropout=0.3),
    "shared": shared,
    "perceptron": perceptron,
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


@pytest.fixture
def small_blocks(monkeypatch):
    """Let a block hold three rows."""
    module = importlib.import_module("steepest.kernels.linear_cross_entropy")
    monkeypatch.setattr(module, "_BLOCK_ITEMS", 1)
    monkeypatch.setattr(module, "_LEAST_ROWS", 3)


def batch(rng, net):
    """Inputs and class ids, one of which is -1."""
    is_text = net._architecture.inputs and net._architecture.inputs[0].dtype == np.int64
    x = rng.integers(0, IDS, (N, T)) if is_text else rng.standard_normal((N, D))
    z = net.predict(x)
    y = rng.integers(0, z.shape[-1], z.shape[:-1])
    y.reshape(-1)[4] = -1
    return x, y


def close(found, expected):
    """Sums of some hundred terms in another order."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=300 * tolerances.eps(expected.dtype) * scale)


def operations(call):
    """The kernels that a call takes."""
    with steepest.capture() as graph:
        call()
    return graph.operations


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@every_network
def test_blocks_change_nothing(rng, make, weighted):
    loss, nets = nn.SoftmaxCrossEntropy(ignore_label=-1), (make(), make())
    x, y = batch(rng, nets[0])
    weight = rng.random(y.shape) if weighted else None
    for options in ({}, {"l2": 0.3}, {"l2": 0.1, "accumulate": True}):
        value = nets[0].loss_gradient(loss, x, y, weight, **options)
        expected, d = loss(nets[1].forward(x), y, weight)
        nets[1].backward(d, **options)
        np.testing.assert_allclose(value, expected, rtol=1e-13)
        close(nets[0].grad_arena, nets[1].grad_arena)
    assert operations(lambda: nets[0].loss_gradient(loss, x, y)).count("softmax_cross_entropy") == -(
        -y.size // 3
    )


@pytest.mark.usefixtures("small_blocks")
def test_gradients_are_slopes(rng):
    """The gradient of a tied table: its embedding, and its blocks of scores."""
    net, loss = model(tied=True), nn.SoftmaxCrossEntropy(ignore_label=-1)
    x, y = batch(rng, net)
    net.loss_gradient(loss, x, y)
    direction = rng.standard_normal(net.arena.shape) * (net.grad_arena != 0)
    along, start, h = (net.grad_arena * direction).sum(), net.arena.copy(), 1e-5
    ends = []
    for step in (h, -h):
        net.arena[...] = start + step * direction
        ends.append(float(net.loss_gradient(loss, x, y)))
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), along, rtol=1e-6)


@pytest.mark.usefixtures("small_blocks")
def test_captured_training_takes_the_same_steps(rng):
    loss, nets = nn.SoftmaxCrossEntropy(ignore_label=-1), (model(dropout=0.2), model(dropout=0.2))
    x, y = batch(rng, nets[0])
    optimizers = [optim.SGD(net.parameters(), lr=0.1) for net in nets]
    program = GradientDescent(nets[0], loss, optimizers[0])
    with steepest.capture() as graph:
        program.step(Batch(x, y, None))
    graph.replay(5)
    for _ in range(5):
        nets[1].backward(loss(nets[1].forward(x), y)[1])
        optimizers[1].step()
    close(nets[0].arena, nets[1].arena)
    np.testing.assert_allclose(nets[0].predict(x), nets[1].predict(x), rtol=1e-9)


def test_few_logits_are_computed_at_once(rng):
    net, loss = perceptron(), nn.SoftmaxCrossEntropy(ignore_label=-1)
    x, y = batch(rng, net)
    value = net.loss_gradient(loss, x, y, l2=0.2)
    found = net.grad_arena.copy()
    expected, d = loss(net.forward(x), y)
    net.backward(d, 0.2)
    assert float(value) == float(expected)
    np.testing.assert_array_equal(found, net.grad_arena)
    net.loss_gradient(loss, x, y)
    with pytest.raises(RuntimeError, match="call forward first"):
        net.backward(d)


@pytest.mark.usefixtures("small_blocks")
def test_what_needs_all_logits_gets_them(rng):
    """Frozen weights, targets that are probabilities, other losses, and activations behind the last layer."""
    cross, x = nn.SoftmaxCrossEntropy(), rng.standard_normal((N, D))
    frozen = perceptron()
    frozen.freeze("2.weight")
    ends = nn.Network([nn.Linear(D, 6), nn.Linear(6, IDS), nn.Tanh()], dtype=np.float64)
    alone = nn.Network([nn.Linear(D, IDS)], dtype=np.float64)
    ids, probabilities = rng.integers(0, IDS, N), rng.dirichlet(np.ones(IDS), N)
    for net, loss, y in (
        (frozen, cross, ids),
        (ends, cross, ids),
        (alone, cross, ids),
        (perceptron(), cross, probabilities),
        (perceptron(), nn.MeanSquaredError(), probabilities),
    ):
        value, d = loss(net.forward(x), y)
        net.backward(d)
        expected = net.grad_arena.copy()
        assert float(net.loss_gradient(loss, x, y)) == float(value)
        np.testing.assert_array_equal(net.grad_arena, expected)
        kernels = operations(lambda net=net, loss=loss, y=y: net.loss_gradient(loss, x, y))
        assert sum(name in {"softmax_cross_entropy", "squared_error"} for name in kernels) <= 1


@pytest.mark.usefixtures("small_blocks")
def test_networks_that_change_between_calls(rng):
    """Freezing, another precision and freed buffers reach the part before the last layer."""
    net, loss = perceptron(), nn.SoftmaxCrossEntropy(ignore_label=-1)
    x, y = batch(rng, net)
    net.loss_gradient(loss, x, y)
    before = net.grad_arena.copy()
    body = net._main.head.body
    net.freeze("0.weight")
    assert not body._backwards
    net.grad_arena[...] = 0
    net.loss_gradient(loss, x, y)
    first = next(p for p in net.parameters() if p.name == "0.weight")
    assert not first.grad.any()
    net.release_buffers()
    assert not body.holds_buffers
    net.unfreeze("0.weight")
    net.loss_gradient(loss, x, y)
    np.testing.assert_array_equal(net.grad_arena, before)
    assert not net._main._buffers  # the whole program has none: no logits


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("finite", [False, True])
def test_a_loss_that_is_not_finite(rng, finite):
    net, loss = perceptron(), nn.SoftmaxCrossEntropy(ignore_label=-1)
    x, y = batch(rng, net)
    x[0, 0] = np.nan
    if finite:
        with pytest.raises(DivergenceError):
            net.loss_gradient(loss, x, y, require_finite=True)
    else:
        assert np.isnan(net.loss_gradient(loss, x, y))


@pytest.mark.usefixtures("small_blocks")
def test_targets_that_do_not_fit(rng):
    net, loss = model(), nn.SoftmaxCrossEntropy()
    x, y = batch(rng, net)
    for wrong, weight, text in (
        (y[:, :3], None, "target has shape (7, 3), but the inputs (7, 5, 8): each place needs one"),
        (np.abs(y), np.ones(7), "sample_weight has shape (7,), but the inputs (7, 5, 8)"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"[linear_cross_entropy] {text}")):
            net.loss_gradient(loss, x, wrong, weight)
    with pytest.raises(ValueError, match=r"label -1 at row 4 is outside 0\.\.29"):
        net.loss_gradient(loss, x, y)
    with pytest.raises(ValueError, match=r"^\[Network.loss_gradient\] takes 1 inputs, got 2"):
        net.loss_gradient(loss, (x, x), y)


# --------------------------------------------------------------------------------------- ties to an embedding


def test_a_last_layer_that_is_tied_to_an_embedding(rng):
    net = model(tied=True)
    names = [p.name for p in net.parameters()]
    assert "0.weight" in names
    assert "2.weight" not in names
    x = rng.integers(0, IDS, (N, T))
    report = nn.gradient_check(net, nn.SoftmaxCrossEntropy(), x, rng.integers(0, IDS, (N, T)), items=20)
    assert report.ok, str(report)
    table = net.parameters()[0].value
    chain = nn.Network(
        [nn.Input(T, dtype=np.int64), nn.Embedding(IDS, D), nn.Linear(D, IDS, tied_to=0)], dtype=np.float64
    )
    chain.parameters()[0].value[...] = table
    np.testing.assert_allclose(chain.predict(x), table[x] @ table.T, rtol=1e-12, atol=1e-13)


def test_ties_that_do_not_fit():
    layers = [nn.Input(T, dtype=np.int64), nn.Embedding(IDS, D), nn.Linear(D, IDS + 1, tied_to=0)]
    with pytest.raises(ValueError, match=r"tied to layer 0, whose weights have shape \(30, 8\): .* n_out=30"):
        nn.Network(layers)
    layers = [nn.Input((T, D)), nn.LayerNorm(D), nn.Linear(D, D, tied_to=0)]
    with pytest.raises(ValueError, match="is not an earlier Linear with weights of its own or an Embedding"):
        nn.Network(layers)
