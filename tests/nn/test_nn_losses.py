"""`nn` losses: what they compute, refuse and say of their distribution, and their gradients through a network."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import reference
import test_pointwise_loss as pointwise

from steepest import kernels as K
from steepest import nn

CLASSES = [member for member in vars(nn).values() if getattr(member, "kernel", None)]
# Kernel -> parameters that are tried beside the defaults.
OPTIONS = {
    "squared_error": [{"half": True}],
    "huber": [{"delta": 0.3}],
    "epsilon_insensitive": [{"epsilon": 0.4}],
    "quantile": [{"quantile": 0.8}],
    "hinge": [{"margin": 0.0}],
}
LOSSES = {
    name: [
        loss(**options) for loss in CLASSES if loss.kernel == name for options in ({}, *OPTIONS.get(name, ()))
    ]
    for name in K.LOSSES
}
ALL = [(name, loss) for name, losses in LOSSES.items() for loss in losses]
every_loss = pytest.mark.parametrize(
    ("name", "loss"), ALL, ids=lambda x: repr(x) if not isinstance(x, str) else ""
)


def batch(rng, name, n, m):
    """A prediction and targets of m outputs."""
    if name == "softmax_cross_entropy":
        return rng.standard_normal((n, m)), rng.integers(0, m, n)
    width = 2 * m if name == "gaussian" else m
    return rng.standard_normal((n, width)), pointwise.targets(rng, name, (n, m))


def test_every_loss_of_the_kernels_has_a_class():
    for name, losses in LOSSES.items():
        assert {loss.distribution for loss in losses} == {K.LOSSES[name]}


@every_loss
def test_through_a_network(rng, name, loss):
    # The loss of the whole network changes along a direction as its gradient says.
    outputs = 6 if name == "gaussian" else 3
    net = nn.Network([nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)], dtype=np.float64, seed=3)
    x, (_, target) = rng.standard_normal((7, 4)), batch(rng, name, 7, 3)
    weight = rng.uniform(0.5, 2, 7)
    net.backward(loss(net.forward(x), target, weight)[1])
    gradient, direction = net.grad_arena.copy(), rng.standard_normal(net.arena.shape)
    direction[net.arena == 0] = 0  # biases and the gaps between tensors
    h, start, values = 1e-6, net.arena.copy(), []
    for step in (h, -h):
        net.arena[:] = start + step * direction
        values.append(float(loss(net.predict(x), target, weight)[0]))
    difference = (values[0] - values[1]) / (2 * h)
    np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-6, atol=1e-8)


@every_loss
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reduction(rng, name, loss, reduction):
    if name == "softmax_cross_entropy":
        pytest.skip("a row has one loss")
    prediction, target = batch(rng, name, 6, 4)
    weight = rng.uniform(0.5, 2, 6)
    mean = loss(prediction, target, weight)
    other = dataclasses.replace(loss, reduction=reduction)
    factor = 4.0 if reduction == "sum" else 1.0
    for one, two in zip(mean, other(prediction, target, weight), strict=True):
        np.testing.assert_allclose(factor * one, two, rtol=1e-14)


@every_loss
def test_targets_of_one_axis(rng, name, loss):
    if name == "softmax_cross_entropy":
        pytest.skip("its targets of one axis are class ids")
    prediction, target = batch(rng, name, 6, 1)
    for one, two in zip(loss(prediction, target), loss(prediction, target[:, 0]), strict=True):
        np.testing.assert_array_equal(one, two)
    prediction, target = batch(rng, name, 6, 2)
    for prediction in (batch(rng, name, 6, 2)[0], batch(rng, name, 6, 3)[0]):
        shape = rf"\(6, {prediction.shape[1]}\)"
        with pytest.raises(
            ValueError, match=rf"^\[{name}\] target has shape \(6,\), but prediction {shape}: "
        ):
            loss(prediction, target[:, 0])


def test_values(rng):
    prediction, target = batch(rng, "huber", 9, 2)
    weight = rng.uniform(0.5, 2, 9)
    for loss, expected in [
        (nn.MeanSquaredError(half=True), reference.squared_error(prediction, target, weight, half=True)),
        (nn.Huber(0.4), reference.pointwise_loss("huber", prediction, target, weight, 0.4)),
        (nn.Quantile(0.9), reference.pointwise_loss("quantile", prediction, target, weight, 0.9)),
        (
            nn.Hinge(0.5, reduction="sum"),
            reference.pointwise_loss("hinge", prediction, target, weight, 0.5, "sum"),
        ),
    ]:
        for one, two in zip(loss(prediction, target, weight), expected, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-13, atol=1e-15)


@every_loss
def test_copies_and_pickles(name, loss):
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert other == loss
        assert repr(other) == repr(loss)
        assert other.distribution == loss.distribution


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Huber(0.0), "delta is 0.0; it must lie strictly between 0.0 and inf"),
        (lambda: nn.Huber(float("nan")), "delta is nan"),
        (lambda: nn.Quantile(1.0), "quantile is 1.0; it must lie strictly between 0.0 and 1.0"),
        (lambda: nn.Hinge(float("inf")), "margin is inf"),
        (lambda: nn.Poisson(reduction="none"), "reduction is 'none', not 'mean' or 'sum'"),
        (lambda: nn.Quantile(reduction=None), "reduction is None"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


@every_loss
def test_type_checkers_take_every_loss(name, loss):
    """The protocol has a property: Pyright takes a class attribute for it, but not one annotated as ClassVar."""
    assert not any("distribution" in vars(base).get("__annotations__", {}) for base in type(loss).__mro__)
    assert loss.distribution == K.LOSSES[name]
