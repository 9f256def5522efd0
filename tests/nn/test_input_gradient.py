"""`input_gradient`: derivatives of predictions by their inputs, which leave the network as it is."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances

from steepest import nn

IMAGE = (6, 5, 2)


def network(dtype=np.float64):
    """A network whose predictions differ from its forward passes, with running averages of some batches."""
    layers = [
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm(3),
        nn.Sigmoid(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(36, 2),
    ]
    net = nn.Network([nn.Input(IMAGE), *layers], seed=4, dtype=dtype)
    rng = np.random.default_rng(1)
    for _ in range(30):
        net.forward(1 + 2 * rng.standard_normal((16, *IMAGE)).astype(dtype))
    net.parameters()[2].value[...] = [0.5, -1.5, 2.0]
    return net


def folded(net):
    """The network of the same predictions without dropout, and with the running averages in the convolution."""
    layers = [nn.Conv2d(2, 3, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(36, 2)]
    twin = nn.Network([nn.Input(IMAGE), *layers], dtype=net.dtype)
    mean, variance = (net.states[f"1.{name}"] for name in ("running_mean", "running_var"))
    weight, bias, scale, shift, *last = (p.value for p in net.parameters())
    factor = scale / np.sqrt(variance + 1e-5)
    for p, value in zip(
        twin.parameters(), [weight * factor, (bias - mean) * factor + shift, *last], strict=True
    ):
        p.value[...] = value
    return twin


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_gradient_of_the_prediction(rng, dtype):
    """Dropout and batch norm are what a prediction makes of them: nothing, and a part of the convolution."""
    net, x = network(dtype), rng.standard_normal((5, *IMAGE)).astype(dtype)
    twin, d = folded(net), rng.standard_normal((5, 2)).astype(dtype)
    outputs, expected = twin.forward(x), twin.backward(d, inputs=True)
    # A few rounding errors of sums of at most 36 terms.
    units = 64 * tolerances.eps(dtype)
    np.testing.assert_allclose(net.predict(x), outputs, rtol=0, atol=units * np.abs(outputs).max())
    found = nn.input_gradient(net, x, d)
    np.testing.assert_allclose(found, expected, rtol=0, atol=units * np.abs(expected).max())


def test_the_network_stays_as_it_is(rng):
    x = rng.standard_normal((5, *IMAGE))
    pooled = nn.Network([nn.Input(IMAGE), nn.MaxPool2d(2), nn.Flatten()], dtype=np.float64)
    for net in (network(), pooled):
        d = rng.standard_normal(net.forward(x).shape)
        expected = net.backward(d, inputs=True)
        kept = [array.copy() for array in (net.grad_arena, net._passes, *net.states.values())]
        nn.input_gradient(net, 2 - x, 3 * d)
        for array, before in zip((net.grad_arena, net._passes, *net.states.values()), kept, strict=True):
            np.testing.assert_array_equal(array, before)
        # What the forward pass has kept, such as the places of the largest pixels, is still there.
        np.testing.assert_array_equal(net.backward(d, inputs=True), expected)


@pytest.mark.not_when_slow("the other tests run the same kernels")
def test_many_rows(rng):
    net, x, d = network(), rng.standard_normal((600, *IMAGE)), rng.standard_normal((600, 2))
    found = nn.input_gradient(net, x, d)
    assert found.shape == x.shape
    for rows in (slice(0, 1), slice(254, 258), slice(599, 600)):
        np.testing.assert_allclose(
            found[rows], nn.input_gradient(net, x[rows], d[rows]), rtol=1e-12, atol=1e-15
        )
    assert nn.input_gradient(net, x[:0], d[:0]).shape == (0, *IMAGE)


def test_layers_of_a_chain(rng):
    net, x = network(), rng.standard_normal((3, *IMAGE))
    hidden, d = net.predict(x, layers=slice(4)), rng.standard_normal((3, 2))
    inner = nn.input_gradient(net, hidden, d, layers=slice(4, None))
    np.testing.assert_allclose(inner.reshape(3, -1), d @ net.parameters()[-2].value.T, rtol=1e-13, atol=1e-14)
    outer = nn.input_gradient(net, x, inner, layers=slice(4))
    np.testing.assert_allclose(outer, nn.input_gradient(net, x, d), rtol=1e-12, atol=1e-14)


def test_several_inputs_and_outputs(rng):
    """The derivatives of the product of two inputs are each other; an output that does not count adds nothing."""
    a, b = nn.Input(3, name="a"), nn.Input(3, name="b")
    net = nn.Network([a, b], [nn.Multiply()(a, b), nn.Linear(3, 2)(b)], dtype=np.float64)
    x, y, d = rng.standard_normal((3, 4, 3))
    d_a, d_b = nn.input_gradient(net, (x, y), [d, None])
    np.testing.assert_array_equal(d_a, d * y)
    np.testing.assert_array_equal(d_b, d * x)
    e = rng.standard_normal((4, 2))
    d_a, d_b = nn.input_gradient(net, (x, y), [None, e])
    assert not d_a.any()
    np.testing.assert_allclose(d_b, e @ net.parameters()[0].value.T, rtol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 6, 5, 1), (4, 2)), r"\[input_gradient\] x has shape \(4, 6, 5, 1\): it must be \(n, 6, 5, 2\)"),
        (
            ((4, *IMAGE), (4, 3)),
            r"\[input_gradient\] d_output has shape \(4, 3\), but the output has shape \(4, 2\)",
        ),
        (((4, *IMAGE), (3, 2)), r"\[input_gradient\] d_output has shape \(3, 2\)"),
    ],
)
def test_messages(arguments, message):
    x, d = (np.ones(shape) for shape in arguments)
    with pytest.raises(ValueError, match=message):
        nn.input_gradient(network(), x, d)
    with pytest.raises(
        TypeError, match=r"\[input_gradient\] d_output is float32, but the network is float64"
    ):
        nn.input_gradient(network(), np.ones((4, *IMAGE)), np.ones((4, 2), np.float32))
    with pytest.raises(ValueError, match=r"\[input_gradient\] layers must be a slice of layers"):
        nn.input_gradient(network(), np.ones((4, *IMAGE)), np.ones((4, 2)), layers=slice(0, 4, 2))
