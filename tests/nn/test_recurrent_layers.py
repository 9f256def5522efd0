"""Recurrent layers and pooling of steps: gradients, lengths, states, directions, captured steps and messages."""

from __future__ import annotations

import re

import numpy as np
import pytest
from backends import SLOW

import steepest
from steepest import nn, optim

T, D, H = 6, 3, 5
LAYERS = {
    "rnn": nn.RNN(D, H),
    "relu": nn.RNN(D, H, nonlinearity="relu", output="last"),
    "lstm": nn.LSTM(D, H),
    "lstm state": nn.LSTM(D, H, output="state"),
    "gru": nn.GRU(D, H, output="last"),
    "gru before": nn.GRU(D, H, reset="before"),
    "reverse": nn.LSTM(D, H, reverse=True, output="last"),
    "both": nn.GRU(D, H, bidirectional=True),
    "deep": nn.LSTM(D, H, 2, bidirectional=True, output="last"),
    "mean": nn.PoolSteps("mean"),
    "last step": nn.PoolSteps("last"),
    "maximum": nn.PoolSteps("max"),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def inputs(steps=T):
    return nn.Input((steps, D)), nn.Input((), dtype=np.int64, name="lengths")


def network(layer, *, lengths, dtype=np.float64, seed=1):
    """The layer and a linear one behind it, which sees every output; with biases that are not zero."""
    x, n = inputs()
    value = layer(x, lengths=n) if lengths else layer(x)
    value = nn.Flatten()(value) if len(value.shape) > 1 else value
    net = nn.Network([x, n] if lengths else x, nn.Linear(value.shape[0], 2)(value), seed=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    for p in net.parameters("bias") + net.parameters("recurrent_bias"):
        p.value[...] += 0.3 * rng.standard_normal(p.value.shape)
    return net


def batch(rng, lengths, dtype=np.float64, n=5):
    x = rng.standard_normal((n, T, D)).astype(dtype)
    return (x, np.array([2, T, 1, 4, 3])[:n]) if lengths else (x,)


@pytest.mark.not_when_slow("derivatives along directions take the same kernels")
@pytest.mark.parametrize("lengths", [False, True])
@every_layer
def test_gradients(rng, layer, lengths):
    net, given = network(layer, lengths=lengths), batch(rng, lengths)
    y = rng.standard_normal((5, 2))
    report = nn.gradient_check(net, nn.MeanSquaredError(), given, y, inputs=True)
    assert report.ok, str(report)


@pytest.mark.parametrize("lengths", [False, True])
@every_layer
def test_directional_derivatives_are_adjoint_to_gradients(rng, layer, lengths):
    net, given = network(layer, lengths=lengths), batch(rng, lengths)
    output = net.forward(*given)
    d, dx = rng.standard_normal(output.shape), rng.standard_normal(given[0].shape)
    found = net.backward(d, inputs=True)
    d_x = found[0] if lengths else found
    parameters = net.parameters()
    roles = [None, *dict.fromkeys(p.role for p in parameters)]
    for chosen in roles:  # the input alone, or one role of parameters with it
        moves = [rng.standard_normal(p.value.shape) if p.role == chosen else None for p in parameters]
        moved = net.jvp(moves, [dx, None][: len(given)])
        along = sum((p.grad * v).sum() for p, v in zip(parameters, moves, strict=True) if v is not None)
        np.testing.assert_allclose((moved * d).sum(), along + (d_x * dx).sum(), rtol=1e-10)


@every_layer
def test_frozen_parameters_and_batches_in_pieces(rng, layer):
    net, (x,) = network(layer, lengths=False), batch(rng, False)
    d = rng.standard_normal(net.forward(x).shape)
    net.backward(d, l2=0.1)
    whole = {p.name: p.grad.copy() for p in net.parameters()}
    for part in (slice(0, 1), slice(1, None)):
        net.forward(x[part])
        net.backward(d[part], l2=0.05, accumulate=part.start > 0)
    for p in net.parameters():
        np.testing.assert_allclose(p.grad, whole[p.name], rtol=1e-10, atol=1e-12)
    net.freeze(*[p.name for p in net.parameters() if p.role in ("weight", "recurrent_weight")])
    net.forward(x)
    net.backward(d)
    for p in net.parameters("bias") + net.parameters("recurrent_bias"):
        np.testing.assert_allclose(p.grad, whole[p.name], rtol=1e-10, atol=1e-12)


# ----------------------------------------------------------------------------------------------------- lengths


@every_layer
def test_what_is_behind_a_sequence_does_not_matter(rng, layer):
    """The output and all gradients are those of the sequences alone, whatever the padding holds."""
    net, (x, lengths) = network(layer, lengths=True), batch(rng, True)
    for i, length in enumerate(lengths):
        x[i, length:] = np.nan
    output, d = net.forward(x, lengths).copy(), rng.standard_normal((5, 2))
    d_x = net.backward(d, inputs=True)[0]
    grads = [p.grad.copy() for p in net.parameters()]
    assert np.isfinite(output).all()
    np.testing.assert_array_equal(net.predict(x, lengths), output)
    for i, length in enumerate(lengths):
        assert (d_x[i, length:] == 0).all()
        short, one = x[i : i + 1].copy(), lengths[i : i + 1]
        np.testing.assert_allclose(net.predict(short, one), output[i : i + 1], rtol=1e-12)
    # While a graph is captured, padding has to be finite, and costs time.
    clean = np.where(np.isnan(x), 3.0, x)
    with steepest.capture() as graph:
        captured = net.forward(clean, lengths)
        net.backward(d)
    graph.replay()
    np.testing.assert_allclose(captured, output, rtol=1e-12)
    for p, grad in zip(net.parameters(), grads, strict=True):
        np.testing.assert_allclose(p.grad, grad, rtol=1e-10, atol=1e-12)
    lengths[:] = lengths[::-1].copy()
    graph.replay()
    np.testing.assert_allclose(captured, net.predict(clean, lengths), rtol=1e-12)


def test_the_summary_counts_products():
    net = nn.Network([nn.Input((100, 30)), nn.LSTM(30, 40, output="last")])
    assert net.summary().splitlines()[1].split()[-1] == f"{2 * 100 * 160 * (30 + 40) / 1e6:.3f}"


def test_equal_lengths_are_no_lengths(rng):
    for layer in LAYERS.values():
        x = batch(rng, False)[0]
        plain, with_lengths = network(layer, lengths=False), network(layer, lengths=True)
        np.testing.assert_allclose(with_lengths.predict(x, np.full(5, T)), plain.predict(x), rtol=1e-12)


# ------------------------------------------------------------------------------------------------------ states


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_state_goes_from_one_layer_to_another(rng, kind):
    """An encoder and a decoder; one layer in two parts is the whole one."""
    x, first, rest = nn.Input((T, D)), nn.Input((2, D), name="first"), nn.Input((T - 2, D), name="rest")
    layer = kind(D, H)
    whole = nn.Network(x, layer(x), seed=4, dtype=np.float64)
    begin, end = kind(D, H, output="state"), kind(D, H)
    parts = nn.Network([first, rest], end(rest, state=begin(first)), seed=4, dtype=np.float64)
    for p in parts.parameters():
        p.value[...] = next(q.value for q in whole.parameters() if q.name[2:] == p.name[2:])
    data = rng.standard_normal((4, T, D))
    given = np.ascontiguousarray(data[:, :2]), np.ascontiguousarray(data[:, 2:])
    np.testing.assert_allclose(parts.predict(*given), whole.predict(data)[:, 2:], rtol=1e-12)
    y = rng.standard_normal((4, (T - 2) * H))
    flat = nn.Flatten()(end(rest, state=begin(first)))
    net = nn.Network([first, rest], flat, seed=4, dtype=np.float64)
    items = 5 if SLOW else 50
    assert nn.gradient_check(net, nn.MeanSquaredError(), given, y, inputs=True, items=items).ok


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_states_are_carried_between_training_steps(rng, kind):
    """Two steps of half a sequence are a whole one, eager and captured, until the state is forgotten."""
    data = rng.standard_normal((3, T, D))
    whole = nn.Network([nn.Input((T, D)), kind(D, H)], seed=2, dtype=np.float64)
    half = nn.Network([nn.Input((T // 2, D)), kind(D, H, carries=True)], seed=2, dtype=np.float64)
    expected = whole.predict(data)
    halves = [np.ascontiguousarray(part) for part in np.split(data, 2, axis=1)]
    for _ in range(2):
        found = [half.forward(part).copy() for part in halves]
        np.testing.assert_allclose(np.concatenate(found, axis=1), expected, rtol=1e-12)
        half.forget_states()
    x = halves[0].copy()
    with steepest.capture() as graph:
        output = half.forward(x)
    for part, wanted in zip(halves, np.split(expected, 2, axis=1), strict=True):
        x[...] = part
        graph.replay()
        np.testing.assert_allclose(output, wanted, rtol=1e-12)
    # A prediction begins at zero, whatever has been carried.
    np.testing.assert_allclose(half.predict(halves[0]), expected[:, : T // 2], rtol=1e-12)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_states_are_carried_over_batches_of_other_lengths(rng, kind):
    """Pieces of any lengths make up a sequence, whatever else the network has computed in between."""
    data = rng.standard_normal((3, T, D))
    net = nn.Network([nn.Input((None, D)), kind(D, H, 2, carries=True)], seed=2, dtype=np.float64)
    expected, found = net.predict(data), []
    for i, part in enumerate(np.split(data, [2, 3], axis=1)):
        found.append(net.forward(np.ascontiguousarray(part)).copy())
        for steps in range(1, 20 * (i == 0)):
            net.predict(np.zeros((3, steps, D)))
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, rtol=1e-12)
    net.forget_states()
    np.testing.assert_allclose(net.forward(data), expected, rtol=1e-12)


# -------------------------------------------------------------------------------------------- training, Fisher


@pytest.mark.parametrize("lengths", [False, True])
def test_a_captured_step_trains_as_an_eager_one(rng, lengths):
    nets = [network(LAYERS["deep"], lengths=lengths, dtype=np.float32) for _ in range(2)]
    given, y, loss = batch(rng, lengths, np.float32), rng.integers(0, 2, 5), nn.SoftmaxCrossEntropy()
    steps = []
    for net in nets:
        optimizer = optim.Adam(net.parameters(), lr=0.01)

        def step(net=net, optimizer=optimizer):
            loss_value, d = loss(net.forward(*given), y)
            net.backward(d)
            optimizer.step()
            return loss_value

        steps.append(step)
    eager = [float(steps[0]()) for _ in range(10)]
    with steepest.capture() as graph:
        value = steps[1]()
    graph.replay(10)
    np.testing.assert_allclose(float(value), eager[-1], rtol=1e-5)
    assert eager[-1] < eager[0]


def test_fisher_matrices_of_recurrent_networks(rng):
    """The exact matrix is the expectation of outer products of gradients, which jvp and vjp give."""
    from steepest import fisher

    for layer in (nn.LSTM(D, 2, output="last"), nn.GRU(D, 2, bidirectional=True, output="last")):
        net, (x,) = network(layer, lengths=False), batch(rng, False)
        loss = nn.SoftmaxCrossEntropy()
        matrix = fisher.FisherMatrix(
            net, loss, x, rng.integers(0, 2, 5), kind="exact", structure="dense"
        ).to_dense()
        size = sum(p.value.size for p in net.parameters())
        expected = np.zeros((size, size))
        for row in x:
            z = net.forward(row[None])
            share = np.exp(z[0] - z.max()) / np.exp(z[0] - z.max()).sum()
            jacobian = []
            for k in range(2):
                net.backward(np.eye(2)[k : k + 1])
                jacobian.append(np.concatenate([p.grad.ravel() for p in net.parameters()]))
            j = np.array(jacobian)
            expected += j.T @ (np.diag(share) - np.outer(share, share)) @ j / len(x)
        np.testing.assert_allclose(matrix, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.not_when_slow("the Fisher matrices take the same kernels")
def test_the_natural_gradient_trains_a_recurrent_network(rng):
    net = network(nn.GRU(D, 4, output="last"), lengths=False)
    x = rng.standard_normal((30, T, D))
    y = (x[:, :, 0].sum(axis=1) > 0).astype(np.int64)
    loss = nn.SoftmaxCrossEntropy()
    optimizer = optim.NaturalGradient(net, loss, structure="dense", damping=1e-2)
    losses = [float(optimizer.step(x, y).loss) for _ in range(15)]
    assert losses[-1] < 0.3 * losses[0]


# --------------------------------------------------------------------------------------------------- bad input


def state(width):
    return nn.Input(width, name="s")


X = nn.Input((5, 3))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.LSTM(0, 4), "[LSTM] n_in"),
        (lambda: nn.GRU(3, 4, n_layers=0), "[GRU] n_layers"),
        (lambda: nn.GRU(3, 4, reset="never"), "[GRU] reset 'never' is not one of: after, before"),
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), "[RNN] nonlinearity 'sin' is not one of: tanh, relu"),
        (lambda: nn.LSTM(3, 4, output="all"), "[LSTM] output 'all' is not one of: sequence, last, state"),
        (lambda: nn.LSTM(3, 4, dropout=1.0), "[LSTM] dropout must be in [0, 1)"),
        (lambda: nn.LSTM(3, 4, bidirectional=True, carries=True), "[LSTM] a state is carried forwards"),
        (
            lambda: nn.LSTM(3, 4)(nn.Input(3)),
            "takes sequences (steps, 3), but samples of shape (3,) come out",
        ),
        (lambda: nn.LSTM(3, 4)(nn.Input((5, 2))), "takes 3 numbers a step, but 2 come out of the input x"),
        (lambda: nn.LSTM(3, 4)(X, state=state(4)), "takes a state of shape (8,), but (4,) comes"),
        (
            lambda: nn.LSTM(3, 4, 2)(X, state=state(8)),
            "takes a state as a single layer in one direction only",
        ),
        (lambda: network_of_ids(nn.LSTM(3, 4)), "takes lengths of dtype int64"),
    ],
    ids=range(12),
)
def test_layers_that_do_not_fit(make, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        make()


def network_of_ids(layer):
    x, lengths = nn.Input((5, 3)), nn.Input((), dtype=np.int32, name="lengths")
    return nn.Network([x, lengths], layer(x, lengths=lengths))


def test_lengths_that_do_not_fit(rng):
    net, (x, lengths) = network(LAYERS["gru"], lengths=True), batch(rng, True)
    with pytest.raises(TypeError, match=re.escape("lengths is int32, but this input is int64")):
        net.predict(x, lengths.astype(np.int32))
    with pytest.raises(ValueError, match=re.escape("lengths has shape (5, 1): it must be (n,)")):
        net.predict(x, lengths[:, None])
    for wrong in (0, T + 1, -1):
        lengths[3] = wrong
        for call in (net.forward, net.predict):
            with pytest.raises(
                ValueError, match=re.escape(f"sequence 3 has the length {wrong}; lengths must be in 1..6")
            ):
                call(x, lengths)


# ----------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize(
    "layers", [[nn.RNN(D, H)], [nn.LSTM(D, H, 2)], [nn.GRU(D, H, output="last"), nn.ReLU()]]
)
def test_a_stream_gives_the_bits_of_the_whole_sequence(rng, dtype, layers):
    net = nn.Network(
        [nn.Input((T, D)), *layers, nn.LayerNorm(H), nn.Dropout(0.3), nn.Linear(H, 2)], dtype=dtype
    )
    x = rng.standard_normal((4, T, D)).astype(dtype)
    stream = net.stream(4)
    for _ in range(2):
        steps = np.stack([stream.step(x[:, t]) for t in range(T)], axis=1)
        whole = net.predict(x)
        np.testing.assert_array_equal(steps if whole.ndim == 3 else steps[:, -1], whole)
        stream.reset()
    net.parameters()[0].value[...] *= 0.5
    assert (stream.step(x[:, 0]) != steps[:, 0]).any()


def test_streams_that_cannot_be(rng):
    x, lengths = inputs()
    whole = "needs whole sequences"
    for make, text in (
        (lambda: nn.Network([nn.Input((T, D)), nn.GRU(D, H, bidirectional=True)]), f"{whole}: it walks from"),
        (lambda: nn.Network([nn.Input((T, D)), nn.Conv1d(D, H, 3, padding="same")]), f"convolution, {whole}"),
        (lambda: nn.Network([x, lengths], nn.GRU(D, H)(x, lengths=lengths)), "must take one sequence"),
        (lambda: nn.Network([nn.Input((T, D)), nn.Flatten()]), whole),
    ):
        with pytest.raises(ValueError, match=re.escape(text)):
            make().stream()
    stream = nn.Network([nn.Input((T, D)), nn.GRU(D, H)]).stream(2)
    with pytest.raises(ValueError, match=re.escape("x has 3 rows, but there are 2 sequences")):
        stream.step(np.zeros((3, D), np.float32))
    with pytest.raises(ValueError, match=re.escape("x has shape (2, 4): it must be (n, 3)")):
        stream.step(np.zeros((2, D + 1), np.float32))
