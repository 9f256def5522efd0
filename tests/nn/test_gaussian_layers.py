"""Layers of Gaussian distributions: what is drawn, derivatives, predictions, and captured steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tolerances import standard_errors

import steepest
from steepest import nn


def both(shared=False):
    """A network with a draw in the middle and variances at its end."""
    layers = [nn.Linear(4, 6), nn.SampleGaussian(), nn.Tanh(), nn.Linear(3, 2), nn.LogVariance(shared, 0.3)]
    return nn.Network(layers, seed=1, dtype=np.float64)


def test_draws_have_the_mean_and_the_variance():
    n = 40_000
    x = np.tile([3.0, -1.0, math.log(4.0), math.log(0.25)], (n, 1))
    z = nn.Network([nn.SampleGaussian()], seed=5, dtype=np.float64).forward(x)
    for column, mean, deviation in ((0, 3.0, 2.0), (1, -1.0, 0.5)):
        noise = (z[:, column] - mean) / deviation
        assert abs(noise.mean()) < standard_errors(n)
        # The variance of a squared normal number is 2, that of its fourth power 96.
        assert abs((noise**2).mean() - 1) < standard_errors(n) * math.sqrt(2)
        assert abs((noise**4).mean() - 3) < standard_errors(n) * math.sqrt(96)
    # Numbers of different columns are independent.
    assert abs(np.corrcoef(z.T)[0, 1]) < standard_errors(n)


def test_every_pass_draws_anew_and_a_prediction_is_the_mean(rng):
    net = nn.Network([nn.Input(6), nn.SampleGaussian(), nn.LogVariance()], seed=2, dtype=np.float64)
    x = rng.standard_normal((5, 6))
    first = net.forward(x).copy()
    assert not np.array_equal(first, net.forward(x))
    prediction = net.predict(x)
    np.testing.assert_array_equal(prediction, np.column_stack([x[:, :3], np.zeros((5, 3))]))
    twin = nn.Network([nn.Input(6), nn.SampleGaussian(), nn.LogVariance()], seed=2, dtype=np.float64)
    np.testing.assert_array_equal(twin.forward(x), first)
    other = nn.Network([nn.Input(6), nn.SampleGaussian(), nn.LogVariance()], seed=3, dtype=np.float64)
    assert not np.array_equal(other.forward(x), first)


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_are_differences_of_the_loss(shared, rng):
    report = nn.gradient_check(
        both(shared), nn.Gaussian(), rng.standard_normal((5, 4)), rng.standard_normal((5, 2))
    )
    assert report.ok, report


@pytest.mark.parametrize("shared", [False, True])
def test_forward_and_backward_derivatives_agree(shared, rng):
    """``d . J v = (J^T d) . v``, for directions in parameters and inputs together, and each alone."""
    net, x = both(shared), rng.standard_normal((5, 4))
    output = net.forward(x)
    d = rng.standard_normal(output.shape)
    d_x = net.backward(d, inputs=True)
    v = [rng.standard_normal(p.value.shape) for p in net.parameters()]
    v_x = rng.standard_normal(x.shape)
    of_parameters = sum((p.grad * one).sum() for p, one in zip(net.parameters(), v, strict=True))
    of_inputs = (d_x * v_x).sum()
    for changes, inputs, expected in (
        (v, [v_x], of_parameters + of_inputs),
        (v, None, of_parameters),
        (None, [v_x], of_inputs),
    ):
        np.testing.assert_allclose((net.jvp(changes, inputs) * d).sum(), expected, rtol=1e-12)


def test_the_gradient_of_a_prediction_passes_the_means(rng):
    net = nn.Network([nn.SampleGaussian()], dtype=np.float64)
    x, d = rng.standard_normal((5, 6)), rng.standard_normal((5, 3))
    np.testing.assert_array_equal(nn.input_gradient(net, x, d), np.column_stack([d, np.zeros((5, 3))]))


def test_a_replay_draws_what_calls_would_draw(rng):
    captured, called = both(), both()
    x = rng.standard_normal((5, 4))
    with steepest.capture() as graph:
        output = captured.forward(x)
        captured.backward(np.ones_like(output))
    for _ in range(3):
        graph.replay()
        expected = called.forward(x)
        called.backward(np.ones_like(expected))
        np.testing.assert_array_equal(output, expected)
        np.testing.assert_array_equal(captured.grad_arena, called.grad_arena)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="takes samples of means and as many log-variances"):
        nn.Network([nn.Linear(4, 5), nn.SampleGaussian()])
    with pytest.raises(ValueError, match="takes samples of means and as many log-variances"):
        nn.Network([nn.Input((2, 4)), nn.SampleGaussian()])
    with pytest.raises(ValueError, match="takes samples of one axis"):
        nn.Network([nn.Input((2, 4)), nn.LogVariance()])
