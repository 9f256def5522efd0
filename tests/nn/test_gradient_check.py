"""`nn.gradient_check`: right gradients pass, planted faults are found, kinks are reported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from programs import (
    Bilinear,
    Lookup,
    arguments,
    by_complex_steps,
    diamond,
    listed,
    recurrent,
    residual,
    siamese,
    tied,
    two_inputs,
    two_outputs,
)

import steepest
from steepest import nn

NETWORKS = [residual, siamese, tied, two_inputs, two_outputs, diamond, recurrent]


def inner_product(d):
    """A loss whose gradient with respect to the outputs is d."""

    def loss(outputs, _):
        value = sum((z * g).sum() for z, g in zip(listed(outputs), d, strict=True))
        return value, (tuple(d) if len(d) > 1 else d[0])

    return loss


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_differences_and_their_bounds_hold_against_complex_steps(make, rng):
    net = make()
    for p in net.parameters():
        p.value[...] = rng.uniform(-1, 1, p.value.shape)
    inputs = arguments(net, rng, 3)
    d = [rng.standard_normal(y.shape) for y in listed(net.predict(*inputs))]
    report = nn.gradient_check(net, inner_product(d), tuple(inputs), None, items=12, inputs=True)
    assert report.ok, report
    _, of_parameters, of_inputs = by_complex_steps(make, net, inputs, d)
    assert len(report.tensors) == len(net.parameters()) + len(inputs) + 1
    for tensor, derivatives in zip(report.tensors, of_parameters + of_inputs, strict=False):
        assert tensor.size == min(12, derivatives.size)
        worst = tensor.worst
        assert abs(worst.left - derivatives[worst.index]) <= worst.bound
        # The bound is small enough to find faults.
        assert worst.bound < 1e-7 * (1 + np.abs(derivatives).max())


def test_several_losses_and_inputs_of_integers(rng):
    net = two_outputs()
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 2))
    losses, targets = (
        (nn.SoftmaxCrossEntropy(), nn.MeanSquaredError(), None),
        (rng.integers(0, 3, 6), y, None),
    )
    report = nn.gradient_check(net, losses, x, targets)
    assert report.ok
    z, t, _ = net.predict(x)
    cross_entropy = -np.log((np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))[range(6), targets[0]]).mean()
    np.testing.assert_allclose(report.loss, cross_entropy + ((t - y) ** 2).mean(), rtol=1e-14)
    words = nn.Input(4, dtype=np.int64)
    net = nn.Network(words, nn.Linear(12, 2)(nn.Flatten()(Lookup()(words))))
    report = nn.gradient_check(net, nn.MeanSquaredError(), rng.integers(0, 7, (6, 4)), y, inputs=True)
    assert report.ok
    assert [t.name for t in report.tensors] == ["0.table", "2.weight", "2.bias", "directions"]


def test_dropout_in_float32(rng):
    """Every evaluation draws the same masks, and the network stays as it was."""
    net = nn.Network([nn.Linear(5, 30), nn.Tanh(), nn.Dropout(0.4), nn.Linear(30, 3)], seed=2)
    x, y = rng.standard_normal((8, 5)).astype(np.float32), rng.integers(0, 3, 8)
    net.backward(nn.SoftmaxCrossEntropy()(net.forward(x), y)[1])
    before = net.arena.tobytes(), net.grad_arena.tobytes(), int(net._passes)
    report = nn.gradient_check(net, nn.SoftmaxCrossEntropy(), x, y)
    assert report.ok, report
    assert (net.arena.tobytes(), net.grad_arena.tobytes(), int(net._passes)) == before
    # The loss is that of the network's next pass.
    np.testing.assert_allclose(
        report.loss, nn.SoftmaxCrossEntropy()(net.forward(x), y)[0], rtol=10 * np.finfo(np.float32).eps
    )


@dataclass(frozen=True)
class Faulty(Bilinear):
    """A bilinear layer, one of whose gradients is wrong by a small factor."""

    wrong: str = ""
    by: float = 0.0

    def vjp(self, d, inputs, output, parameters):
        (d_a, d_b), found = super().vjp(d, inputs, output, parameters)
        if self.wrong == "weight":
            found["weight"][-1, -1] *= 1 + self.by
        elif self.wrong == "a":
            d_a[:, 0] *= 1 + self.by
        return (d_a, d_b), found


@pytest.mark.parametrize("by", [0.0, 1e-6, -2.0])
@pytest.mark.parametrize(("wrong", "found"), [("weight", {"2.weight"}), ("a", {"0.weight", "0.bias"})])
def test_a_wrong_vjp_is_found(rng, wrong, found, by):
    a, b = nn.Input(3, name="a"), nn.Input(4, name="b")
    hidden = nn.Tanh()(nn.Linear(3, 3)(a))
    net = nn.Network([a, b], Faulty(2, wrong=wrong, by=by)(hidden, b), seed=1, dtype=np.float64)
    x, y = (rng.standard_normal((6, 3)), rng.standard_normal((6, 4))), rng.standard_normal((6, 2))
    report = nn.gradient_check(net, nn.MeanSquaredError(), x, y)
    names = {t.name for t in report.tensors if not t.ok} - {"directions"}
    assert names == (found if by else set())
    assert report.ok == (not by)
    if by == -2.0:
        assert not report["directions"].ok
        assert "THE GRADIENT IS WRONG" in str(report)
        worst = report[min(found)].worst
        np.testing.assert_allclose(worst.gradient, -worst.left, rtol=1e-7)
        assert f"wrong at {worst.index}: backward" in str(report)


def test_the_chosen_items_follow_from_the_seed(rng):
    """A fault in one item of many is found by the items that hold it, and along every direction."""
    net = nn.Network([nn.Input(4), Flipped()])
    x, y = rng.standard_normal((5, 4)), rng.standard_normal((5, 200))
    reports = [
        nn.gradient_check(net, nn.MeanSquaredError(reduction="sum"), x, y, items=400, seed=seed)
        for seed in (0, 0, 1, 2, 3)
    ]
    assert reports[0] == reports[1]
    verdicts = [report["0.weight"].ok for report in reports]
    assert set(verdicts) == {True, False}
    for report in reports:
        assert report["0.weight"].size == 400
        assert not report["directions"].ok
        if not report["0.weight"].ok:
            assert report["0.weight"].worst.index == (3, 199)


@dataclass(frozen=True)
class Flipped(nn.CustomLayer):
    """``x @ w``, where the gradient of the last item of w has the wrong sign."""

    def output_shape(self, *shapes):
        return (200,)

    def parameters(self, *shapes):
        return {"weight": nn.ParameterSpec((shapes[0][0], 200), "glorot_uniform", decays=True)}

    def forward(self, inputs, parameters):
        return inputs[0] @ parameters["weight"]

    def vjp(self, d, inputs, output, parameters):
        d_weight = inputs[0].T @ d
        d_weight[-1, -1] *= -1
        return (d @ parameters["weight"].T,), {"weight": d_weight}


def test_kinks_are_reported(rng):
    """A row of zeros in front of biases of zero: each bias has one slope to the left and another to the right."""
    net = nn.Network([nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1)], seed=3, dtype=np.float64)
    x, y = rng.standard_normal((7, 4)), rng.standard_normal((7, 1))
    x[2] = 0
    report = nn.gradient_check(net, nn.MeanSquaredError(), x, y, items=100)
    assert report.ok, report
    assert [t.name for t in report.tensors if t.kinks] == ["0.bias", "directions"]
    kinks = report["0.bias"].kinks
    assert report["0.bias"].worst is None
    w, _, v, _ = (p.value for p in net.parameters())
    z = x @ w
    residuals = 2 * (np.maximum(z, 0) @ v - y) / 7
    for k in kinks:
        (i,) = k.index
        slopes = residuals * v[i, 0]
        left = slopes[z[:, i] > 0].sum()
        np.testing.assert_allclose((k.left, k.right), (left, left + slopes[2, 0]), rtol=0, atol=k.bound)
        assert k.gradient in (pytest.approx(k.left, abs=k.bound), pytest.approx(k.right, abs=k.bound))
    assert "8 derivatives are at a kink" in str(report)
    # Just beside the kink, shorter steps find the derivative.
    net.parameters()[1].value[...] = 2e-7
    report = nn.gradient_check(net, nn.MeanSquaredError(), x, y)
    assert report.ok
    assert not report["0.bias"].kinks
    only = nn.gradient_check(net, nn.MeanAbsoluteError(), x, net.predict(x))
    assert not only.ok
    assert "nothing but kinks" in str(only)


def test_what_is_not_finite_is_wrong(rng):
    net = nn.Network([nn.Linear(4, 2)])
    report = nn.gradient_check(
        net, nn.MeanSquaredError(), np.full((3, 4), np.nan), rng.standard_normal((3, 2))
    )
    assert not report.ok
    assert report["0.weight"].relative_error == np.inf


def test_arguments(rng):
    net, loss = nn.Network([nn.Linear(4, 2)]), nn.MeanSquaredError()
    x, y = rng.standard_normal((3, 4)), rng.standard_normal((3, 2))
    for bad, error, text in (
        (
            lambda: nn.gradient_check(net, loss, x, y, items=-1),
            ValueError,
            "items is -1; it must be in 0",
        ),
        (lambda: nn.gradient_check(net, loss, x, y, directions=0.5), TypeError, "directions"),
        (lambda: nn.gradient_check(net, (loss,) * 2, x, (y, y)), ValueError, "1 outputs, but 2 losses and 2"),
        (lambda: nn.gradient_check(net, loss, (x, x), y), ValueError, "takes 1 inputs, got 2"),
        (lambda: nn.gradient_check(net, loss, x, y)["1.weight"], KeyError, "1.weight"),
    ):
        with pytest.raises(error, match=text):
            bad()
    with pytest.raises(RuntimeError, match="cannot be captured"), steepest.capture():
        nn.gradient_check(net, loss, x, y)


def test_cupy_arrays(cupy, rng):
    """A network on CUDA is compared there, with the numbers of the CPU up to rounding."""
    net = nn.Network([nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.25), nn.Linear(5, 3)], seed=1)
    x, y = rng.standard_normal((6, 4)).astype(np.float32), rng.integers(0, 3, 6)
    options = {"items": 4, "directions": 1, "inputs": True}
    expected = nn.gradient_check(net, nn.SoftmaxCrossEntropy(), x, y, **options)
    on_cuda = net.to("cuda")
    report = nn.gradient_check(on_cuda, nn.SoftmaxCrossEntropy(), cupy.asarray(x), cupy.asarray(y), **options)
    assert report.ok, report
    for found, want in zip(report.tensors, expected.tensors, strict=True):
        np.testing.assert_allclose(found.scale, want.scale, rtol=1e-8)
