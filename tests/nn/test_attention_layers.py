"""Attention, Transformers, embeddings and positions as layers: gradients, lengths, memories, streams and messages."""

from __future__ import annotations

import re

import numpy as np
import pytest

import steepest
from steepest import kernels as K
from steepest import nn, optim

T, S, D = 6, 4, 8
SELF = {
    "attention": nn.MultiHeadAttention(D, 2),
    "causal": nn.MultiHeadAttention(D, 4, causal=True, bias=False),
    "grouped, rotary": nn.MultiHeadAttention(D, 4, 2, causal=True, rotary=True),
    "encoder": nn.TransformerEncoder(D, 2, 2),
    "norm behind": nn.TransformerEncoder(D, 2, norm="post", n_hidden=5, activation="relu", causal=True),
}
CROSS = {
    "attention": nn.MultiHeadAttention(D, 4, 2, rotary=True),
    "decoder": nn.TransformerDecoder(D, 2, 2, n_hidden=9),
}


def network(layer, *, lengths=False, memory=False, dtype=np.float64):
    """The layer and a linear one behind it, with norms and biases that are not trivial."""
    x, m, n = nn.Input((T, D)), nn.Input((S, D), name="memory"), nn.Input((), dtype=np.int64, name="lengths")
    value = layer(x, *([m] if memory else []), **({"lengths": n} if lengths else {}))
    inputs = [x, *([m] if memory else []), *([n] if lengths else [])]
    net = nn.Network(inputs, nn.Linear(T * D, 2)(nn.Flatten()(value)), seed=1, dtype=dtype)
    rng = np.random.default_rng(5)
    for p in net.parameters():
        p.value[...] += 0.1 * rng.standard_normal(p.value.shape)
    return net


def batch(rng, *, lengths=False, memory=False, dtype=np.float64, n=5):
    given = [rng.standard_normal((n, T, D)).astype(dtype)]
    if memory:
        given.append(rng.standard_normal((n, S, D)).astype(dtype))
    if lengths:
        given.append(np.array([2, 4, 1, 3, 4])[:n] + (0 if memory else np.array([0, 2, 0, 1, 0])[:n]))
    return tuple(given)


CASES = [
    *(
        (f"{name}{', lengths' * n}", layer, {"lengths": n})
        for name, layer in SELF.items()
        for n in (False, True)
    ),
    *(
        (f"{name} to a memory{', lengths' * n}", layer, {"lengths": n, "memory": True})
        for name, layer in CROSS.items()
        for n in (False, True)
    ),
]
every_case = pytest.mark.parametrize(("layer", "options"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])


@pytest.mark.not_when_slow("derivatives along directions take the same kernels")
@every_case
def test_gradients(rng, layer, options):
    net, given = network(layer, **options), batch(rng, **options)
    report = nn.gradient_check(
        net, nn.MeanSquaredError(), given, rng.standard_normal((5, 2)), inputs=True, items=12
    )
    assert report.ok, str(report)


@every_case
def test_directional_derivatives_are_adjoint_to_gradients(rng, layer, options):
    net, given = network(layer, **options), batch(rng, **options)
    output = net.forward(*given)
    d = rng.standard_normal(output.shape)
    found = net.backward(d, inputs=True)
    found = found if isinstance(found, tuple) else (found,)
    parameters = net.parameters()
    for parts in ((True, True), (True, False), (False, True)):
        moves = [rng.standard_normal(p.value.shape) * parts[0] for p in parameters]
        moved_inputs = [
            None if grad is None or not parts[1] else rng.standard_normal(grad.shape) for grad in found
        ]
        moved = net.jvp(moves if parts[0] else None, moved_inputs)
        along = sum((p.grad * v).sum() for p, v in zip(parameters, moves, strict=True))
        along += sum((g * m).sum() for g, m in zip(found, moved_inputs, strict=True) if m is not None)
        np.testing.assert_allclose((moved * d).sum(), along, rtol=1e-10)


@every_case
def test_predictions_and_captured_steps(rng, layer, options):
    nets = [network(layer, dtype=np.float32, **options) for _ in range(2)]
    given, y = batch(rng, dtype=np.float32, **options), rng.integers(0, 2, 5)
    np.testing.assert_allclose(nets[0].predict(*given), nets[0].forward(*given), rtol=1e-5, atol=1e-6)
    loss, steps = nn.SoftmaxCrossEntropy(), []
    for net in nets:
        optimizer = optim.Adam(net.parameters(), lr=0.01)

        def step(net=net, optimizer=optimizer):
            value, d = loss(net.forward(*given), y)
            net.backward(d)
            optimizer.step()
            return value

        steps.append(step)
    eager = [float(steps[0]()) for _ in range(5)]
    with steepest.capture() as graph:
        value = steps[1]()
    graph.replay(5)
    np.testing.assert_allclose(float(value), eager[-1], rtol=1e-4)


def test_what_is_behind_a_sequence_does_not_matter(rng):
    """Steps of the padding have outputs of their own, but no step of a sequence sees them."""
    x, n = nn.Input((T, D)), nn.Input((), dtype=np.int64, name="lengths")
    net = nn.Network([x, n], SELF["encoder"](x, lengths=n), dtype=np.float64)
    data, lengths = batch(rng, lengths=True)
    for i, length in enumerate(lengths):
        data[i, length:] = 1e3
    found = net.predict(data, lengths)
    for i, length in enumerate(lengths):
        short = nn.Network([nn.Input((int(length), D)), SELF["encoder"]], dtype=np.float64)
        alone = short.predict(np.ascontiguousarray(data[i : i + 1, :length]))
        np.testing.assert_allclose(found[i, :length], alone[0], rtol=1e-9, atol=1e-12)


def test_what_is_behind_a_memory_does_not_matter(rng):
    net, given = network(CROSS["decoder"], lengths=True, memory=True), batch(rng, lengths=True, memory=True)
    expected = net.predict(*given)
    for i, length in enumerate(given[2]):
        given[1][i, length:] = 1e3
    np.testing.assert_array_equal(net.predict(*given), expected)


def test_order_and_causality(rng):
    """Without positions a permutation of the steps permutes the output; causal outputs depend on no later step."""
    x = rng.standard_normal((2, T, D))
    plain = nn.Network([nn.Input((T, D)), nn.MultiHeadAttention(D, 2)], dtype=np.float64)
    order = rng.permutation(T)
    np.testing.assert_allclose(plain.predict(x[:, order].copy()), plain.predict(x)[:, order], rtol=1e-10)
    net = nn.Network([nn.Input((T, D)), nn.TransformerEncoder(D, 2, 2, causal=True)], dtype=np.float64)
    changed = x.copy()
    changed[:, 3:] = rng.standard_normal((2, T - 3, D))
    first, second = net.predict(x), net.predict(changed)
    np.testing.assert_allclose(first[:, :3], second[:, :3], rtol=1e-10)
    assert np.abs(first[:, 3:] - second[:, 3:]).min() > 0


def language_model(**options):
    """Ids to scores, with a Transformer between."""
    body = nn.TransformerEncoder(D, 4, 2, causal=True, **options)
    positions = [] if options.get("rotary") else [nn.PositionalEncoding(T, "learned")]
    layers = [nn.Input(T, dtype=np.int64), nn.Embedding(11, D), *positions, body, nn.Linear(D, 11)]
    return nn.Network(layers, seed=3, dtype=np.float64)


@pytest.mark.parametrize("options", [{}, {"rotary": True}, {"n_key_heads": 2, "norm": "post"}])
def test_a_stream_with_a_cache_gives_the_whole_sequence(rng, options):
    net, ids = language_model(**options), rng.integers(0, 11, (3, T))
    whole, stream = net.predict(ids), net.stream(3)
    for _ in range(2):
        steps = np.stack([stream.step(ids[:, t]) for t in range(T)], axis=1)
        np.testing.assert_allclose(steps, whole, rtol=1e-9, atol=1e-12)
        stream.reset()


@pytest.mark.not_when_slow("the shorter stream takes the same kernels")
def test_a_cache_grows(rng):
    layers = [nn.Input((4, D)), nn.MultiHeadAttention(D, 2, causal=True, rotary=True)]
    net = nn.Network(layers, dtype=np.float64)
    long = nn.Network([nn.Input((150, D)), layers[1]], dtype=np.float64)
    x, stream = rng.standard_normal((2, 150, D)), net.stream(2)
    steps = np.stack([stream.step(x[:, t]) for t in range(150)], axis=1)
    np.testing.assert_allclose(steps, long.predict(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_a_stream_ends_with_its_positions(rng, kind):
    """Also if a cache has grown for the step that the positions refuse."""
    attention = nn.MultiHeadAttention(D, 2, causal=True)
    layers = [nn.Input((64, D)), attention, nn.PositionalEncoding(64, kind), attention]
    net = nn.Network(layers, dtype=np.float64)
    x, stream = rng.standard_normal((1, 64, D)), net.stream()
    for _ in range(2):
        steps = np.stack([stream.step(x[:, t]) for t in range(64)], axis=1)
        np.testing.assert_allclose(steps, net.predict(x), rtol=1e-9, atol=1e-12)
        with pytest.raises(ValueError, match=re.escape(f"[Stream.step] {kind} positions end after 64 steps")):
            stream.step(x[:, 0])
        stream.reset()


# ----------------------------------------------------------------------------------- embeddings and positions


def test_embedding(rng):
    net = nn.Network(
        [nn.Input(T, dtype=np.int32), nn.Embedding(7, 3), nn.Flatten(), nn.Linear(3 * T, 2)], dtype=np.float64
    )
    ids = rng.integers(0, 7, (5, T)).astype(np.int32)
    table = net.parameters()[0].value
    np.testing.assert_array_equal(net.predict(ids, layers=slice(1)), table[ids])
    report = nn.gradient_check(net, nn.MeanSquaredError(), ids, rng.standard_normal((5, 2)))
    assert report.ok, str(report)
    net.forward(ids)
    net.backward(np.ones((5, 2)), l2=0.1)
    unused = np.setdiff1d(np.arange(7), ids)
    np.testing.assert_allclose(net.parameters()[0].grad[unused], 0.1 * table[unused])
    ids[2, 3] = 7
    with pytest.raises(IndexError, match="7"):
        net.predict(ids)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_positions(rng, kind):
    encoding = nn.PositionalEncoding(9, kind)
    net = nn.Network([nn.Input((T, D)), encoding, nn.Flatten(), nn.Linear(T * D, 2)], dtype=np.float64)
    x = rng.standard_normal((5, T, D))
    report = nn.gradient_check(net, nn.MeanSquaredError(), x, rng.standard_normal((5, 2)), inputs=True)
    assert report.ok, str(report)
    table = K.sinusoidal(9, D, np.float64) if kind == "sinusoidal" else net.parameters()[0].value
    alone = nn.Network([nn.Input((T, D)), encoding], dtype=np.float64)
    if kind == "learned":
        alone.parameters()[0].value[...] = table
        net.forward(x)
        net.backward(np.ones((5, 2)))
        assert not net.parameters()[0].grad[T:].any()
    np.testing.assert_array_equal(alone.predict(x), x + table[:T])


# --------------------------------------------------------------------------------------------------- bad input

X = nn.Input((T, D))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.MultiHeadAttention(8, 3), "[MultiHeadAttention] n_heads=3 must divide n_units=8"),
        (lambda: nn.MultiHeadAttention(8, 4, 3), "n_key_heads=3 must divide n_heads=4"),
        (lambda: nn.MultiHeadAttention(6, 2, rotary=True), "rotary needs heads of even width, not 3"),
        (
            lambda: nn.MultiHeadAttention(8, 2)(nn.Input(8)),
            "takes sequences (steps, 8), but samples of shape (8,)",
        ),
        (
            lambda: nn.MultiHeadAttention(8, 2)(X, X, X),
            "takes sequences, a memory, lengths and a mask, but 3 inputs",
        ),
        (
            lambda: nn.TransformerEncoder(8, 2)(X, X),
            "takes sequences, their lengths and a mask, but 2 inputs",
        ),
        (lambda: nn.TransformerDecoder(8, 2)(X), "[TransformerDecoder] takes at least 2 inputs"),
        (
            lambda: nn.TransformerEncoder(8, 2, norm="no"),
            "[TransformerEncoder] norm 'no' is not one of: pre, post",
        ),
        (lambda: nn.TransformerEncoder(8, 2, activation="no"), "no"),
        (lambda: nn.Embedding(0, 4), "[Embedding] n_ids"),
        (
            lambda: nn.Network([nn.Input(3), nn.Embedding(4, 2)]),
            "takes integers, an nn.Input(steps, dtype=np.int64)",
        ),
        (lambda: nn.PositionalEncoding(4, "no"), "kind 'no' is not one of: sinusoidal, learned"),
        (
            lambda: nn.PositionalEncoding(4)(X),
            "has 4 positions, but sequences of 6 steps come out of the input x",
        ),
        (lambda: language_model().stream(0), "[Network.stream] n is 0"),
        (lambda: nn.Network([X, SELF["attention"]]).stream(), "needs whole sequences: causal attention"),
    ],
    ids=range(15),
)
def test_layers_that_do_not_fit(make, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        make()


def test_lengths_that_do_not_fit(rng):
    net, (x, lengths) = network(SELF["encoder"], lengths=True), batch(rng, lengths=True)
    for wrong in (0, T + 1):
        lengths[3] = wrong
        with pytest.raises(
            ValueError, match=re.escape(f"sequence 3 has the length {wrong}; lengths must be in 1..6")
        ):
            net.predict(x, lengths)
