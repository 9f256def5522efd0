"""Inputs with sizes that batches differ in, such as the number of steps of sequences."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

import steepest
from steepest import nn

D, H = 3, 4
# kept by hand: the body, and whether a step of it may be predicted alone
BODIES = {
    "gru": ([nn.GRU(D, H, 2)], True),
    "both": ([nn.LSTM(D, H, bidirectional=True), nn.Linear(2 * H, H)], False),
    "attention": (
        [nn.Linear(D, H), nn.PositionalEncoding(9), nn.TransformerEncoder(H, 2, causal=True, rotary=True)],
        True,
    ),
    "steps": ([nn.Linear(D, H), nn.Tanh(), nn.LayerNorm(H), nn.Dropout(0.2)], True),
}
every_body = pytest.mark.parametrize(("layers", "streams"), BODIES.values(), ids=BODIES)


def networks(layers):
    """The same network for any number of steps, and for 5 and 7."""
    open_net, *fixed = (nn.Network([nn.Input((t, D)), *layers], seed=3) for t in (None, 5, 7))
    return open_net, fixed


@every_body
def test_batches_of_any_number_of_steps(rng, layers, streams):
    net, fixed = networks(layers)
    for twin in (*fixed, *fixed):
        steps = twin.predict(np.zeros((1, 5 if twin is fixed[0] else 7, D), np.float32)).shape[1]
        x = rng.standard_normal((2, steps, D)).astype(np.float32)
        np.testing.assert_array_equal(net.predict(x), twin.predict(x))
        if not net.draws:
            d = rng.standard_normal(net.forward(x).shape).astype(np.float32)
            twin.forward(x)
            d_x = [one.backward(d, inputs=True) for one in (net, twin)]
            np.testing.assert_array_equal(*d_x)
            np.testing.assert_array_equal(net.grad_arena, twin.grad_arena)
    if streams:
        stream = net.stream(2)
        found = np.stack([stream.step(x[:, t]) for t in range(7)], axis=1)
        np.testing.assert_allclose(found, net.predict(x), rtol=0, atol=1e-6)


def test_training_in_a_graph_and_copies(rng, tmp_path):
    net, (twin, _) = networks(BODIES["gru"][0])
    x = rng.standard_normal((2, 5, D)).astype(np.float32)
    with steepest.capture() as graph:
        net.backward(net.forward(x))
    graph.replay()
    twin.backward(twin.forward(x))
    np.testing.assert_array_equal(net.grad_arena, twin.grad_arena)
    steepest.save(net, tmp_path / "net.safetensors")
    for copy in (steepest.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net)), net.to("cpu")):
        np.testing.assert_array_equal(copy.predict(x), net.predict(x))
        assert copy.predict(x[:, :2]).shape == (2, 2, H)
    assert "(None, 3)" in net.summary() or "None" in net.summary()


def test_more_lengths_than_a_network_keeps_programs_for(rng):
    net, _ = networks(BODIES["gru"][0])
    expected = {t: net.predict(np.ones((1, t, D), np.float32)) for t in range(1, 15)}
    for t, output in expected.items():
        np.testing.assert_array_equal(net.predict(np.ones((1, t, D), np.float32)), output)
        assert len(net._programs) <= 8


def test_ids_of_any_number_of_steps():
    net = nn.Network([nn.Input((None,), dtype=np.int64), nn.Embedding(5, H), nn.PoolSteps()])
    assert net.predict(np.array([[0, 4, 4]])).shape == (1, H)
    np.testing.assert_allclose(net.predict(np.array([[2, 2]])), net.predict(np.array([[2]])), rtol=1e-6)


def test_messages():
    net, _ = networks(BODIES["gru"][0])
    for x in (np.zeros((2, 5, D + 1)), np.zeros((2, 0, D)), np.zeros((2, D))):
        with pytest.raises(ValueError, match=re.escape(f"x has shape {x.shape}: it must be (n, any, 3)")):
            net.predict(x.astype(np.float32))
    for make, text in (
        (
            lambda: nn.Input(None),
            "shape must hold positive integers, or None for a size that batches differ in",
        ),
        (lambda: nn.Input((None, 0)), "shape must hold positive integers"),
        (
            lambda: nn.Network([nn.Input((None, D)), nn.Flatten()]),
            "put nn.Input(shape), with all sizes, in front",
        ),
        (
            lambda: nn.Network([nn.Input((None, D)), nn.PositionalEncoding(3), nn.GRU(4, H)]),
            "takes 4 numbers a step",
        ),
        (lambda: nn.PoolSteps("sum"), "mode 'sum' is not one of: mean, last, max"),
        (lambda: nn.Network([nn.Input(D), nn.PoolSteps()]), "takes sequences (steps, width)"),
        (lambda: nn.PoolSteps()(nn.Input((5, D)), nn.Input((5, D))), "takes lengths of shape ()"),
        (
            lambda: nn.Network(
                [x := nn.Input((5, D)), n := nn.Input((), name="n")], nn.PoolSteps()(x, lengths=n)
            ),
            "takes lengths that are an nn.Input((), dtype=np.int64)",
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(text)):
            make()
    long = nn.Network([nn.Input((None, D)), nn.PositionalEncoding(3)])
    with pytest.raises(ValueError, match="has 3 positions, but sequences of 4 steps come out"):
        long.predict(np.zeros((1, 4, D), np.float32))
