"""Layers that users write: their derivatives, what they may return, and inputs of integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from programs import Lookup, arguments, bilinear, by_complex_steps, two_outputs

import steepest
from steepest import nn


def test_a_layer_of_a_user(rng):
    net = bilinear()
    inputs = arguments(net, rng)
    d = rng.standard_normal((6, 2))
    expected, of_parameters, of_inputs = by_complex_steps(bilinear, net, inputs, [d])
    np.testing.assert_allclose(net.forward(*inputs), expected[0], rtol=0, atol=1e-13)
    for found, want in zip(net.backward(d, inputs=True), of_inputs, strict=True):
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-12)
    for p, want in zip(net.parameters(), of_parameters, strict=True):
        np.testing.assert_allclose(p.grad, want, rtol=0, atol=1e-12)
    gradients = net.grad_arena.copy()
    with steepest.capture() as graph:
        net.forward(*inputs)
        net.backward(d)
    net.grad_arena[...] = 0
    graph.replay()
    np.testing.assert_array_equal(net.grad_arena, gradients)
    with pytest.raises(TypeError, match="cannot be kept as plain data"):
        steepest.save(net, "unused")


def test_an_input_of_integers(rng):
    words = nn.Input(4, dtype=np.int64, name="words")
    net = nn.Network(words, nn.Linear(12, 2)(nn.Flatten()(Lookup()(words))), dtype=np.float64)
    x, d = rng.integers(0, 7, (6, 4)), rng.standard_normal((6, 2))
    table = net.parameters("table")[0]
    y = net.forward(x)
    assert net.backward(d, inputs=True) is None
    step = 1e-6 * rng.standard_normal(table.value.shape)
    table.value[...] += step
    np.testing.assert_allclose(((net.predict(x) - y) * d).sum(), (table.grad * step).sum(), rtol=1e-5)
    with pytest.raises(TypeError, match="words is float64, but"):
        net.predict(x.astype(np.float64))
    with pytest.raises(RuntimeError, match=r"^\[Lookup\] cannot be captured"), steepest.capture():
        net.forward(x)
    net.forward(x)
    with pytest.raises(NotImplementedError, match=r"^\[Lookup\] has no jvp"):
        net.jvp([np.zeros_like(p.value) for p in net.parameters()])


class Picked(nn.CustomLayer):
    """Returns one of its inputs, or a turned view of it, and passes the gradient on."""

    arity = (2, 2)

    def __init__(self, which, turned=False):
        self.which, self.turned = which, turned

    def output_shape(self, *shapes):
        return shapes[self.which]

    def forward(self, inputs, parameters):
        return inputs[self.which][:, ::-1] if self.turned else inputs[self.which]

    def vjp(self, d, inputs, output, parameters):
        d_inputs = [np.zeros_like(x) for x in inputs]
        d_inputs[self.which] = d[:, ::-1] if self.turned else d
        return d_inputs, {}


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("turned", [False, True])
def test_layers_that_return_their_inputs(which, turned, rng):
    """Nothing is written into what such a layer returned while it is read or held."""
    a, b = nn.Input(4, name="a"), nn.Input(4, name="b")
    h, g = nn.Tanh()(nn.Linear(4, 4)(a)), nn.Tanh()(nn.Linear(4, 4)(b))
    picked = Picked(which, turned)(h, g)
    deep = nn.Linear(4, 4)(nn.Linear(4, 4)(h))
    net = nn.Network([a, b], [nn.Add()(picked, deep), picked], dtype=np.float64)
    inputs = rng.standard_normal((2, 5, 4))
    outputs = net.forward(*inputs)
    kept = [y.copy() for y in outputs]
    for found, want in zip(net.predict(*inputs), kept, strict=True):
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-14)
    d = list(rng.standard_normal((2, 5, 4)))
    given = [g.copy() for g in d]
    net.backward(d)
    np.testing.assert_equal(d, given)
    net.forward(*-inputs)
    np.testing.assert_equal(list(outputs), kept)


@dataclass(frozen=True)
class Turned(nn.CustomLayer):
    """A gradient that is a view of the gradient behind it, in another order."""

    def output_shape(self, *shapes):
        return shapes[0]

    def forward(self, inputs, parameters):
        return np.ascontiguousarray(inputs[0][:, ::-1])

    def vjp(self, d, inputs, output, parameters):
        return (d[:, ::-1],), {}


def test_gradients_that_are_views_are_not_written_over(rng):
    x = nn.Input(4)
    h = nn.Tanh()(nn.Linear(4, 4)(x))
    turned = nn.Add()(Turned()(h), h)
    net = nn.Network(x, nn.Linear(4, 4)(turned), dtype=np.float64)
    other = nn.Input(4)
    g = nn.Tanh()(nn.Linear(4, 4)(other))
    back = nn.Linear(4, 4, bias=False)
    plain = nn.Network(other, nn.Linear(4, 4)(nn.Add()(back(g), g)), dtype=np.float64)
    plain.parameters()[2].value[...] = np.eye(4)[::-1]
    for p, q in zip(
        [*net.parameters()], [p for p in plain.parameters() if p.name != "2.weight"], strict=True
    ):
        q.value[...] = p.value
    X, d = rng.standard_normal((2, 5, 4))
    np.testing.assert_allclose(net.forward(X), plain.forward(X), rtol=0, atol=1e-14)
    found, want = net.backward(d, inputs=True), plain.backward(d, inputs=True)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-13)


def test_integers_between_layers(rng):
    words = nn.Input((2, 2), dtype=np.int32, name="words")
    turned = nn.Flatten()(nn.Permute((1, 0))(words))
    net = nn.Network(words, [nn.Linear(12, 2)(nn.Flatten()(Lookup()(turned))), turned])
    x = rng.integers(0, 7, (5, 2, 2)).astype(np.int32)
    for compute in (net.forward, net.predict):
        output, order = compute(x)
        assert order.dtype == np.int32
        np.testing.assert_array_equal(order, x.transpose(0, 2, 1).reshape(5, 4))
        assert output.dtype == np.float32


@pytest.mark.parametrize(
    ("returned", "error", "text"),
    [
        (lambda x: [1.0], TypeError, "that is no array but of type list"),
        (lambda x: x.astype(np.float32), TypeError, "of float32, but it must be float64"),
        (lambda x: x[:1], ValueError, r"of shape \(1, 4\), but it must be \(3, 4\)"),
    ],
)
def test_what_a_layer_of_a_user_may_not_return(returned, error, text):
    layer = Picked(0)
    object.__setattr__(layer, "forward", lambda inputs, parameters: returned(inputs[0]))
    x = nn.Input(4)
    net = nn.Network(x, layer(x, nn.Constant(np.ones(4))), dtype=np.float64)
    with pytest.raises(error, match=rf"^\[Picked\] forward returned an output {text}"):
        net.forward(np.zeros((3, 4)))


def test_gradients_that_are_not_given(rng):
    net = two_outputs()
    outputs = net.forward(rng.standard_normal((4, 5)))
    d = rng.standard_normal(outputs[1].shape)
    net.backward([None, d, None])
    expected = net.grad_arena.copy()
    net.backward([np.zeros_like(outputs[0]), d, np.zeros_like(outputs[2])])
    np.testing.assert_array_equal(net.grad_arena, expected)
    with pytest.raises(TypeError, match="d_output 1 is float32, but the network is float64"):
        net.backward([None, d.astype(np.float32), None])
    x = nn.Input(4)
    stop = Picked(0)
    object.__setattr__(stop, "vjp", lambda d, inputs, output, parameters: ((None, None), {}))
    net = nn.Network(x, stop(nn.Linear(4, 4)(x), nn.Constant(np.ones(4))), dtype=np.float64)
    y = net.forward(rng.standard_normal((3, 4)))
    with pytest.raises(
        ValueError, match=r"^\[Picked\] vjp returned None for input 0, which needs a gradient"
    ):
        net.backward(y)
