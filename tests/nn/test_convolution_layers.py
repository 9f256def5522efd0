"""Convolutional layers: shapes, gradients, directional derivatives and messages. The kernels have their own tests."""

from __future__ import annotations

import numpy as np
import pytest

import steepest
from steepest import kernels as K
from steepest import nn, optim

# (shape of a sample, layers)
NETWORKS = {
    "images": (
        (9, 8, 3),
        [
            nn.Conv2d(3, 4, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 6, (2, 3), padding="same", groups=2),
            nn.Tanh(),
            nn.ConvTranspose2d(6, 2, 3, stride=2, output_padding=1),
            nn.Flatten(),
            nn.Linear(240, 3),
        ],
    ),
    "sequences": (
        (12, 2),
        [nn.Conv1d(2, 5, 3, dilation=2, padding=((1, 3),)), nn.GELU(), nn.Flatten(), nn.Linear(60, 2)],
    ),
    "transposed first": (
        (4, 5, 6),
        [
            nn.Sigmoid(),
            nn.ConvTranspose2d(6, 4, (3, 2), stride=(1, 2), padding="same", groups=2, bias=False),
            nn.ELU(),
            nn.Conv2d(4, 4, 3, groups=4, init="he_normal"),
        ],
    ),
    "residual": (
        (6, 6, 4),
        [nn.Residual(nn.Conv2d(4, 4, 3, padding="same"), nn.ReLU(), nn.Conv2d(4, 4, 3, padding="same"))],
    ),
}


def made(name, dtype=np.float64):
    shape, layers = NETWORKS[name]
    return nn.Network([nn.Input(shape), *layers], seed=3, dtype=dtype)


def of_shape(rng, net, n=4):
    return rng.standard_normal((n, *net._architecture.inputs[0].shape))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients(rng, name):
    net = made(name)
    x = of_shape(rng, net)
    y = rng.standard_normal(net.predict(x).shape).reshape(len(x), -1)
    flat = nn.Network([nn.Input(x.shape[1:]), *NETWORKS[name][1], nn.Flatten()], seed=3, dtype=np.float64)
    assert nn.gradient_check(flat, nn.MeanSquaredError(), x, y, inputs=True).ok


@pytest.mark.parametrize("name", NETWORKS)
def test_directional_derivatives_are_adjoint_to_gradients(rng, name):
    net = made(name)
    x, d = of_shape(rng, net), None
    output = net.forward(x)
    d = rng.standard_normal(output.shape)
    parameters, dx = net.parameters(), rng.standard_normal(x.shape)
    d_x = net.backward(d, inputs=True)
    for chosen in (None, "weight", "bias"):  # the input alone, or one role of parameters with it
        moves = [rng.standard_normal(p.value.shape) if p.role == chosen else None for p in parameters]
        moved = net.jvp(moves, [dx])
        along = sum((p.grad * v).sum() for p, v in zip(parameters, moves, strict=True) if v is not None)
        np.testing.assert_allclose((moved * d).sum(), along + (d_x * dx).sum(), rtol=1e-11)
    biases = [np.ones_like(p.value) if p.role == "bias" else None for p in parameters]
    if any(b is not None for b in biases):
        along = sum((p.grad * v).sum() for p, v in zip(parameters, biases, strict=True) if v is not None)
        np.testing.assert_allclose((net.jvp(biases) * d).sum(), along, rtol=1e-11)


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_layers_and_batches_in_pieces(rng, name):
    net = made(name)
    x = of_shape(rng, net)
    d = rng.standard_normal(net.forward(x).shape)
    d_x = net.backward(d, l2=0.1, inputs=True)
    whole = {p.name: p.grad.copy() for p in net.parameters()}
    for part in (slice(0, 1), slice(1, None)):
        net.forward(x[part])
        net.backward(d[part], l2=0.05, accumulate=part.start > 0)
    for p in net.parameters():
        np.testing.assert_allclose(p.grad, whole[p.name], rtol=1e-11, atol=1e-12)
    weights = [p.name for p in net.parameters("weight")]
    net.freeze(*weights)
    net.forward(x)
    np.testing.assert_allclose(net.backward(d, inputs=True), d_x, rtol=1e-11, atol=1e-13)
    for p in net.parameters("bias"):
        np.testing.assert_allclose(p.grad, whole[p.name], rtol=1e-11, atol=1e-12)


def test_the_summary_counts_products():
    convolution = nn.Network([nn.Input((10, 10, 50)), nn.Conv2d(50, 20, 3, stride=3)])
    back = nn.Network([nn.Input((3, 3, 20)), nn.ConvTranspose2d(20, 50, 3, stride=3, output_padding=1)])
    # 3 x 3 places and 9,000 weights, both ways
    for net in (convolution, back):
        assert net.summary().splitlines()[1].endswith(" 0.162")


def test_a_sequence_is_an_image_of_one_row(rng):
    x = rng.standard_normal((3, 11, 4))
    one = nn.Network([nn.Input((11, 4)), nn.Conv1d(4, 6, 3, stride=2, padding=2)], dtype=np.float64)
    two = nn.Network(
        [nn.Input((1, 11, 4)), nn.Conv2d(4, 6, (1, 3), stride=(1, 2), padding=((0, 0), (2, 2)))],
        dtype=np.float64,
    )
    assert one.parameters()[0].value.shape == (3, 4, 6)
    np.testing.assert_array_equal(one.predict(x), two.predict(x[:, None])[:, 0])


def test_an_activation_is_fused_with_the_convolution_before_it(rng):
    net = made("images", np.float32)
    assert "convolution + relu" in net.program
    assert "convolution + tanh" in net.program
    x = of_shape(rng, net).astype(np.float32)
    w, b = (p.value for p in net.parameters()[:2])
    hidden = net.predict(x, layers=slice(2))
    np.testing.assert_array_equal(hidden, K.conv2d(x, w, b, "relu", stride=2, padding=1))


def test_a_captured_step_trains_as_an_eager_one(rng):
    nets = [made("images", np.float32) for _ in range(2)]
    x = of_shape(rng, nets[0], 8).astype(np.float32)
    y, loss = rng.integers(0, 3, 8), nn.SoftmaxCrossEntropy()
    steps = []
    for net in nets:
        optimizer = optim.Adam(net.parameters(), lr=0.01)

        def step(net=net, optimizer=optimizer):
            value, d = loss(net.forward(x), y)
            net.backward(d)
            optimizer.step()
            return value

        steps.append(step)
    first = float(steps[0]())
    for _ in range(6):
        steps[0]()
    with steepest.capture() as graph:
        steps[1]()
    graph.replay(7)
    assert float(steps[0]()) < first / 2
    graph.replay()
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        np.testing.assert_array_equal(a.value, b.value)


def test_initial_weights_have_the_variance_of_their_window():
    # Glorot: 2 / (9 * 32 + 9 * 64)
    (weight, _) = nn.Network([nn.Input((8, 8, 32)), nn.Conv2d(32, 64, 3)]).parameters()
    assert weight.value.var() == pytest.approx(2 / (9 * 96), rel=0.03)
    assert weight.decays
    he = nn.Conv2d(32, 64, 3, init="he_normal")
    assert nn.Network([nn.Input((8, 8, 32)), he]).parameters()[0].value.var() == pytest.approx(
        2 / 288, rel=0.03
    )


def test_files_and_copies(rng, tmp_path):
    net = made("images", np.float32)
    x = of_shape(rng, net).astype(np.float32)
    steepest.save(net, tmp_path / "net.steepest")
    loaded = steepest.load(tmp_path / "net.steepest")
    np.testing.assert_array_equal(loaded.predict(x), net.predict(x))
    assert loaded.layers == net.layers


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Conv2d(3, 4, 0),
            r"\[Conv2d\] kernel_size must be an integer of at least 1, or 2 of them, got 0",
        ),
        (lambda: nn.Conv2d(0, 4, 3), r"\[Conv2d\] in_channels must be an integer of at least 1, got 0"),
        (lambda: nn.Conv2d(3, 4, 3, stride=(1, 2, 3)), r"\[Conv2d\] stride must be an integer"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), r"\[Conv2d\] padding must be an integer of at least 0"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), r"\[Conv2d\] padding 'full' is not one of: same, valid"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), r"\[Conv2d\] groups=2 must divide in_channels=3"),
        (lambda: nn.Conv2d(3, 4, 3, init="normal"), r"\[Conv2d\] init 'normal' is not one of"),
        (lambda: nn.Conv1d(3, 4, (3, 3)), r"\[Conv1d\] kernel_size must be an integer of at least 1, got"),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=2),
            r"\[ConvTranspose2d\] output_padding must be less than the stride",
        ),
        (
            lambda: nn.Network([nn.Input((4, 4, 3)), nn.Conv2d(3, 4, 5)]),
            r"\[Network\] layer 0 has windows that cover 5 rows, but images of 4 rows come out of the input",
        ),
        (
            lambda: nn.Network([nn.Input((8, 8, 1)), nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(5, 4, 3)]),
            r"\[Network\] layer 2 takes 5 channels, the last axis, but 6 come out of layer 1, ReLU",
        ),
        (
            lambda: nn.Network([nn.Input((64,)), nn.Conv2d(1, 4, 3)]),
            r"\[Network\] layer 0 takes images \(height, width, channels\), but samples of shape \(64,\) come out",
        ),
        (lambda: nn.Network([nn.Conv2d(1, 4, 3)]), r"layer 0, Conv2d.*put nn.Input\(shape\) in front"),
        (
            lambda: nn.Network([nn.Input((2, 2, 3)), nn.ConvTranspose2d(3, 4, 1, padding=2)]),
            r"\[Network\] layer 0 has more padding than what images of 2 by 2 pixels become",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_images_of_another_size_than_the_network_takes(rng):
    net = made("images", np.float32)
    with pytest.raises(ValueError, match=r"^\[Network.predict\]"):
        net.predict(np.zeros((2, 9, 9, 3), np.float32))
