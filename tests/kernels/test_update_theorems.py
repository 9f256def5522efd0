"""Theorems about the update rules: their limits, equivalent rules, and agreement with PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
import tolerances
from backends import assert_close
from updates import RULES, call, make

from steepest import kernels as K

rules = pytest.mark.parametrize("rule", RULES)


def test_proximal_gradient_descent_finds_the_soft_threshold(rng, dtype):
    """The minimiser of sum (p - b)^2 / 2 + l1 |p| is the soft threshold of b; a rate of 1 reaches it in one step."""
    b = rng.standard_normal(500).astype(dtype)
    expected = reference.soft_threshold(b, 0.7)
    for lr, steps, rate in ((1.0, 1, 0.0), (0.5, 200, 0.5)):
        p = rng.standard_normal(500).astype(dtype)
        distance = np.abs(p - expected).max()
        for _ in range(steps):
            K.sgd_update(p, p - b, lr=lr, l1=0.7)
        # The distance shrinks by `rate` a step, and each step rounds a few times.
        bound = distance * rate**steps + 8 * tolerances.eps(dtype) * np.abs(b).max() / (1 - rate)
        assert_close(p, expected, bound, f"lr={lr}")
        clear = np.abs(np.abs(b) - 0.7) > bound
        assert ((p == 0) == (expected == 0))[clear].all()
        assert (p == 0).any()


def test_decoupled_decay_is_an_l2_penalty_for_gradient_descent_alone(rng):
    p, g, m, v = (arrays[0] for arrays in make(rng, "adam", np.float64, [(40,)]))
    a, b = p.copy(), p.copy()
    K.sgd_update(a, g, lr=0.1, l2=0.3)
    K.sgd_update(b, g, lr=0.1, weight_decay=0.3)
    np.testing.assert_allclose(a, b, rtol=0, atol=4 * tolerances.eps(np.float64) * (np.abs(p).max() + 1))
    a, b = p.copy(), p.copy()
    K.adam_update(a, g, m.copy(), v.copy(), 1, lr=0.1, l2=0.3)
    K.adam_update(b, g, m.copy(), v.copy(), 1, lr=0.1, weight_decay=0.3)
    assert np.abs(a - b).max() > 1e-3


@rules
def test_every_rule_descends(rule):
    """Every rule lowers an ill-conditioned quadratic with its minimum at 1."""
    curvature = np.logspace(-1, 0, 20)
    p = np.zeros(20)
    states = [np.zeros(20) for _ in K.UPDATE_RULES[rule][1]]
    lr = reference.UPDATE_RULES[rule].rate
    for step in range(1, 1001):
        call(rule, p, curvature * (p - 1.0), *states, lr=lr, step=step)
    assert curvature @ (p - 1.0) ** 2 < 1e-3 * curvature.sum()


# -------------------------------------------------------------------------------------------------- PyTorch

# kept by hand: PyTorch's class, its options and ours, for the rules that PyTorch has
TORCH = {
    "sgd": ("SGD", {}, {}),
    "momentum": ("SGD", {"momentum": 0.9}, {}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}, {}),
    "adagrad": ("Adagrad", {}, {}),
    "rmsprop": ("RMSprop", {}, {}),
    "adam": ("Adam", {}, {}),
    "adam, decoupled": ("AdamW", {"weight_decay": 0.1}, {"decay": 0.1}),
}


@pytest.mark.parametrize("max_norm", [None, 2.0])
@pytest.mark.parametrize("l2", [0.0, 0.01])
@pytest.mark.parametrize("name", TORCH)
def test_agrees_with_pytorch(rng, name, l2, max_norm):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    kind, theirs, ours = TORCH[name]
    rule = name.split(",")[0]
    if l2:
        if "weight_decay" in theirs:
            pytest.skip("AdamW has one penalty")
        theirs, ours = {**theirs, "weight_decay": l2}, {**ours, "l2": l2}
    shapes = [(7, 5), (33,)]
    p, _, *states = make(rng, rule, np.float64, shapes)
    for a in itertools.chain(*states):
        a[...] = 0
    tensors = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in p]
    optimizer = getattr(torch.optim, kind)(tensors, lr=0.01, **theirs)
    clip = {} if max_norm is None else {"max_norm": max_norm}
    for step in range(1, 11):
        g = make(rng, rule, np.float64, shapes)[1]
        for tensor, gradient in zip(tensors, g, strict=True):
            tensor.grad = torch.from_numpy(gradient.copy())
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(tensors, max_norm)
        optimizer.step()
        call(rule, p, g, *states, lr=0.01, step=step, **ours, **clip)
    for a, tensor in zip(p, tensors, strict=True):
        # Ten steps have a few rounding errors each. PyTorch adds 1e-6 to the norm, which is about 6 here, and adds
        # Adam's eps in another place, which changes a step by a relative 1e-8.
        bound = 1e-12 if max_norm is None else 10 * 0.01 * 1e-6
        np.testing.assert_allclose(a, tensor.detach().numpy(), rtol=0, atol=bound)
