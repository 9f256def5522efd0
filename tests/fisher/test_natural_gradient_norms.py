"""Natural-gradient steps of networks with batch norms, whose running statistics are constants of a step."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from fisher_cases import assert_close

from steepest import fisher, nn, optim
from steepest.training.batches import Batches, Samples
from steepest.training.programs import GradientDescent, NaturalDescent
from steepest.training.trainer import Trainer

LOSS = nn.SoftmaxCrossEntropy()


def test_a_step_updates_running_statistics_first(rng):
    """Loss, gradient and matrix of a step are those of predictions with the averages that include its batch."""
    X, y = rng.standard_normal((20, 3, 3, 2)) + 2.0, np.arange(20) % 3
    layers = [nn.Conv2d(2, 4, 2), nn.BatchNorm(4, momentum=0.5), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)]
    net = nn.Network([nn.Input((3, 3, 2)), *layers], seed=0, dtype=np.float64)
    twin = copy.deepcopy(net)
    twin.forward(X)
    expected, _ = LOSS(twin.predict(X), y)
    for labels, message in ((y[:5], "5 labels, but X has 20 rows"), (y + 3, "is outside")):
        with pytest.raises(ValueError, match=message):
            optim.NaturalGradient(net, LOSS).step(X, labels)
        assert all((state == (name.endswith("var"))).all() for name, state in net._arena.states.items())
    optimizer = optim.NaturalGradient(net, LOSS, structure="dense", damping=0.1)
    done = optimizer.step(X, y)
    assert done.loss == pytest.approx(float(expected), rel=1e-12)
    for name, state in twin._arena.states.items():
        np.testing.assert_array_equal(net._arena.states[name], state)
    F = fisher.FisherMatrix(twin, LOSS, X)
    step = F.solve(fisher.score(twin, LOSS, X, y).mean(axis=0), 0.1)
    moved = np.concatenate(
        [(b.value - a.value).ravel() for a, b in zip(net.parameters(), twin.parameters(), strict=True)]
    )
    assert_close(moved, step, 1e-8)


def test_dropout_does_not_update_them_again(rng):
    """The gradient of a network with dropout takes a second forward pass with masks."""
    X, y = rng.standard_normal((20, 4)), np.arange(20) % 3
    net = nn.Network([nn.BatchNorm(4), nn.Dropout(0.3), nn.Linear(4, 3)], seed=0, dtype=np.float64)
    optim.NaturalGradient(net, LOSS).step(X, y)
    np.testing.assert_allclose(net._arena.states["0.running_mean"], 0.1 * X.mean(axis=0), rtol=1e-12)


def test_natural_steps_beside_captured_ones(rng):
    """A trainer takes the steps of both on the same batches of images, and each network learns them."""
    X = rng.standard_normal((60, 72))
    y = (X[:, ::2].sum(axis=1) > 0).astype(np.int64)
    layers = [
        nn.Reshape((6, 6, 2)),
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm(4),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    ]
    one, two = (
        nn.Network([nn.Input(72), *layers, nn.Linear(16, 2)], seed=0, dtype=np.float64) for _ in range(2)
    )
    natural = optim.NaturalGradient(one, LOSS, kind="monte_carlo", split="pi", factor_decay=0.9)
    programs = {
        "natural": NaturalDescent(natural),
        "captured": GradientDescent(two, LOSS, optim.Adam(two.parameters(), 0.01)),
    }
    trainer = Trainer(programs, Batches(Samples(X, y), seed=1), 20)
    for epoch in range(10):
        trainer.run_epoch(epoch)
    assert [program.captured for program in programs.values()] == [False, True]
    for net in (one, two):
        assert float(LOSS(net.predict(X), y)[0]) < 0.5
