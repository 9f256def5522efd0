"""Update rules against the oracles over several steps; every public rule is found by introspection."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import reference
from tolerances import eps

import steepest
from steepest import nn, optim

RULES = [rule for rule in vars(optim).values() if inspect.isclass(rule) and not inspect.isabstract(rule)]
OPTIONS = {
    optim.SGD: [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"weight_decay": 0.1},
    ],
    optim.Adam: [{}, {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.01}],
}
CASES = [(rule, options) for rule in RULES for options in OPTIONS[rule]]
cases = pytest.mark.parametrize(
    ("rule", "options"),
    CASES,
    ids=[f"{rule.__name__}-{'-'.join(options) or 'default'}" for rule, options in CASES],
)


def network(dtype):
    return nn.Network([nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)], seed=1, dtype=dtype)


class Oracle:
    """The rule in float64, on copies."""

    def __init__(self, rule, options, params):
        self.rule, self.options, self.t = rule, dict(options), 0
        self.values = [p.value.astype(np.float64) for p in params]
        self.first, self.second = ([np.zeros(v.shape) for v in self.values] for _ in range(2))

    def step(self, grads, lr):
        self.t += 1
        for i, g in enumerate(grads):
            if self.rule is optim.SGD:
                velocity = self.first[i] if self.options.get("momentum") else None
                updated = reference.sgd_update(self.values[i], g, velocity, lr=lr, **self.options)
                self.values[i], self.first[i] = (
                    updated[0],
                    updated[1] if velocity is not None else self.first[i],
                )
            else:
                options = dict(self.options)
                beta1, beta2 = options.pop("betas", (0.9, 0.999))
                self.values[i], self.first[i], self.second[i] = reference.adam_update(
                    self.values[i],
                    g,
                    self.first[i],
                    self.second[i],
                    self.t,
                    lr=lr,
                    beta1=beta1,
                    beta2=beta2,
                    **options,
                )


def test_every_rule_is_here():
    assert set(RULES) == set(OPTIONS)


@cases
def test_steps(rng, dtype, rule, options):
    net = network(dtype)
    optimizer = rule(net.parameters(), lr=0.01, **options)
    oracle = Oracle(rule, options, net.parameters())
    for _ in range(5):
        for p in net.parameters():
            p.grad[...] = rng.standard_normal(p.grad.shape)
        oracle.step([p.grad.astype(np.float64) for p in net.parameters()], 0.01)
        optimizer.step()
    for p, expected in zip(net.parameters(), oracle.values, strict=True):
        # Five steps of a few roundings each, of numbers below 2.
        np.testing.assert_allclose(p.value, expected, rtol=0, atol=40 * eps(dtype))


@cases
def test_a_captured_step_sees_a_new_learning_rate(rng, rule, options):
    captured, eager = network(np.float64), network(np.float64)
    optimizers = [rule(net.parameters(), lr=0.01, **options) for net in (captured, eager)]
    gradient = rng.standard_normal(captured.grad_arena.shape)
    captured.grad_arena[...] = eager.grad_arena[...] = gradient
    with steepest.capture() as graph:
        optimizers[0].step()
    assert captured.arena.tobytes() == eager.arena.tobytes()
    for lr in (0.01, 0.5, 0.0):
        for optimizer in optimizers:
            optimizer.lr = lr
            assert optimizer.lr == lr
        graph.replay(3)
        for _ in range(3):
            optimizers[1].step()
        assert captured.arena.tobytes() == eager.arena.tobytes()


@cases
def test_state_is_restored(rng, rule, options):
    first, second = network(np.float32), network(np.float32)
    gradients = rng.standard_normal((6, *first.grad_arena.shape)).astype(np.float32)

    def steps(net, optimizer, gradients):
        for gradient in gradients:
            net.grad_arena[...] = gradient
            optimizer.step()

    optimizer = rule(first.parameters(), lr=0.02, **options)
    steps(first, optimizer, gradients[:3])
    state = optimizer.state_dict()
    second.arena[...] = first.arena
    resumed = rule(second.parameters(), **options)
    resumed.load_state_dict(state)
    assert resumed.lr == 0.02
    steps(first, optimizer, gradients[3:])
    steps(second, resumed, gradients[3:])
    assert first.arena.tobytes() == second.arena.tobytes()


def test_state_of_another_rule_or_shape_is_refused():
    net = network(np.float32)
    adam = optim.Adam(net.parameters())
    before = adam.state_dict()
    with pytest.raises(ValueError, match=r"^\[Adam\] this is the state of SGD"):
        adam.load_state_dict(optim.SGD(net.parameters()).state_dict())
    other = nn.Network([nn.Linear(2, 2)])
    with pytest.raises(ValueError, match=r"^\[Adam\] exp_avg has shapes"):
        adam.load_state_dict({**optim.Adam(other.parameters()).state_dict(), "lr": 5.0})
    assert adam.lr == before["lr"]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda p: optim.SGD([]), r"^\[SGD\] there are no parameters"),
        (lambda p: optim.SGD(p, lr=-1.0), r"^\[SGD\] lr must be in \[0, inf\), got -1.0"),
        (lambda p: optim.SGD(p, lr=float("nan")), r"^\[SGD\] lr must be"),
        (lambda p: optim.SGD(p, momentum=1.5), r"^\[SGD\] momentum"),
        (lambda p: optim.SGD(p, weight_decay=-1.0), r"^\[SGD\] weight_decay"),
        (lambda p: optim.Adam(p, betas=(0.9, 1.0)), r"^\[Adam\] betas\[1\]"),
        (lambda p: optim.Adam(p, eps=-1.0), r"^\[Adam\] eps"),
    ],
)
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make(network(np.float32).parameters())
