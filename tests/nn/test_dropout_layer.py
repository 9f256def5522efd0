"""Dropout in a network: masks, their gradient, replay and copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from tolerances import standard_errors

import steepest
from steepest import kernels as K
from steepest import nn, optim


def masked(rate=0.25, seed=0, n=200, width=50):
    """The output of dropout alone on ones."""
    return nn.Network([nn.Dropout(rate)], seed=seed).forward(np.ones((n, width), np.float32))


def test_share_and_scale():
    output = masked()
    assert set(np.unique(output)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((output == 0).mean() - 0.25) < standard_errors(output.size) * 0.5


def test_every_pass_draws_anew_and_prediction_does_not():
    net = nn.Network([nn.Dropout(0.5), nn.Dropout(0.5)])
    x = np.ones((40, 50), np.float32)
    first = net.forward(x).copy()
    assert not np.array_equal(first, net.forward(x))
    np.testing.assert_array_equal(net.predict(x), x)
    # Two layers have masks of their own: a quarter survives, not a half.
    assert abs((first != 0).mean() - 0.25) < standard_errors(first.size) * 0.5


def test_the_seed_decides():
    assert np.array_equal(masked(seed=3), masked(seed=3))
    assert not np.array_equal(masked(seed=3), masked(seed=4))


def test_backward_has_the_mask_of_forward(rng):
    """A linear map between two masks: the gradient of the sum is the product of what was kept."""
    net = nn.Network(
        [nn.Dropout(0.3), nn.Linear(6, 4), nn.ReLU(), nn.Dropout(0.4), nn.Linear(4, 1)], dtype=np.float64
    )
    x = rng.standard_normal((30, 6))
    for _ in range(3):
        output = net.forward(x)
        net.backward(np.ones_like(output))
        grads = {p.name: p.grad.copy() for p in net.parameters()}
        for p in net.parameters():
            for item in np.ndindex(p.value.shape):
                kept, step = p.value[item], 1e-6
                values = []
                for sign in (1, -1):
                    p.value[item] = kept + sign * step
                    net._passes -= 1  # the same masks again
                    values.append(net.forward(x).sum())
                p.value[item] = kept
                # Central differences of step 1e-6: about eps / 1e-6 of rounding times the size of the sum.
                assert abs((values[0] - values[1]) / (2 * step) - grads[p.name][item]) < 1e-7


def test_replay_draws_what_eager_steps_draw(rng):
    x, y = rng.standard_normal((16, 6)).astype(np.float32), rng.integers(0, 3, 16)

    def make():
        net = nn.Network([nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)], seed=7)
        return net, optim.SGD(net.parameters(), lr=0.1)

    def step(net, optimizer):
        net.backward(nn.SoftmaxCrossEntropy()(net.forward(x), y)[1])
        optimizer.step()

    eager, captured = make(), make()
    with steepest.capture() as graph:
        step(*captured)
    graph.replay(5)
    for _ in range(5):
        step(*eager)
    assert eager[0].arena.tobytes() == captured[0].arena.tobytes()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_go_on_with_the_same_masks(duplicate):
    net = nn.Network([nn.Dropout(0.5)], seed=5)
    x = np.ones((8, 9), np.float32)
    net.forward(x)
    np.testing.assert_array_equal(duplicate(net).forward(x), net.forward(x))


def test_a_rate_of_zero_does_nothing():
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(nn.Network([nn.Dropout(0.0)]).forward(x), x)


def test_masks_of_layers_within_layers_differ():
    inner = nn.Residual(nn.Dropout(0.5), nn.Residual(nn.Dropout(0.5)), shortcut=nn.Dropout(0.5))
    layers = [inner, nn.Dropout(0.5), nn.Dropout(0.5), inner]
    net = nn.Network(layers, seed=3)
    seeds = [node.operation.seed for node in net._main.plain.nodes if hasattr(node.operation, "seed")]
    assert len(seeds) == 8
    assert len(set(seeds)) == 8
    x = np.ones((64, 40), np.float32)
    masks = [K.dropout(x, 0.5, seed=seed, stream=np.ones((), np.int64)).ravel() > 0 for seed in seeds]
    assert np.abs(np.corrcoef(masks) - np.eye(8)).max() < 0.1
