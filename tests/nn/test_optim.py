"""Update rules against the oracles over several steps; every public rule is found by introspection."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
import reference
from tolerances import eps

import steepest
from steepest import kernels as K
from steepest import nn, optim
from steepest.optim import schedules

RULES = [
    rule
    for rule in vars(optim).values()
    if inspect.isclass(rule) and issubclass(rule, optim.Optimizer) and not inspect.isabstract(rule)
]
PENALTIES = {"l1": 0.02, "l2": 0.1, "weight_decay": 0.3, "max_norm": 2.0}
# Options that the tests try beside the defaults.
OPTIONS = {
    optim.SGD: [
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"l2": 0.1},
    ],
    optim.Momentum: [{"momentum": 0.5}],
    optim.Nesterov: [{"momentum": 0.5}],
    optim.AdaGrad: [{"eps": 0.1}],
    optim.RMSprop: [{"rho": 0.9, "eps": 1e-6}],
    optim.Adam: [{"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.01}],
    optim.AdamW: [{"weight_decay": 0.2}],
}
CASES = [(rule, options) for rule in RULES for options in ({}, *OPTIONS.get(rule, ()), PENALTIES)]
cases = pytest.mark.parametrize(
    ("rule", "options"),
    CASES,
    ids=[f"{rule.__name__}-{'-'.join(options) or 'default'}" for rule, options in CASES],
)


def network(dtype):
    return nn.Network([nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)], seed=1, dtype=dtype)


class Oracle:
    """The rule in float64, on copies; penalties act on weights alone."""

    def __init__(self, optimizer):
        self.rule, self.t = optimizer.rule, 0
        if isinstance(optimizer, optim.SGD) and optimizer.momentum:
            self.rule = "nesterov" if optimizer.nesterov else "momentum"
        _, _, _, _, _, *numbers = inspect.signature(reference.UPDATE_RULES[self.rule].step).parameters
        self.numbers = {k: getattr(optimizer, k) for k in numbers if hasattr(optimizer, k)}
        if hasattr(optimizer, "betas"):
            self.numbers["beta1"], self.numbers["beta2"] = optimizer.betas
        self.max_norm = optimizer.max_norm
        self.penalties = {"l1": optimizer.l1, "l2": optimizer.l2, "decay": optimizer.weight_decay}
        self.is_weight = [p.value.ndim == 2 for p in optimizer.params]
        values = [p.value.astype(np.float64) for p in optimizer.params]
        kept = len(K.UPDATE_RULES[self.rule][1])
        self.rows = [[v, *(np.zeros(v.shape) for _ in range(kept))] for v in values]

    def step(self, grads, lr):
        self.t += 1
        clip = reference.clipping(grads, self.max_norm)
        for i, (row, g) in enumerate(zip(self.rows, grads, strict=True)):
            penalties = self.penalties if self.is_weight[i] else {}
            self.rows[i] = list(
                reference.update(
                    self.rule, row[0], g, row[1:], lr=lr, step=self.t, clip=clip, **penalties, **self.numbers
                )
            )


def test_every_rule_is_here():
    assert set(RULES) == set(optim.RULES)
    assert {rule.rule for rule in RULES} == set(K.UPDATE_RULES)


@cases
def test_steps(rng, dtype, rule, options):
    net = network(dtype)
    optimizer = rule(net.parameters(), lr=0.01, **options)
    oracle = Oracle(optimizer)
    for _ in range(5):
        for p in net.parameters():
            p.grad[...] = rng.standard_normal(p.grad.shape)
        oracle.step([p.grad.astype(np.float64) for p in net.parameters()], 0.01)
        optimizer.step()
    for p, (expected, *_) in zip(net.parameters(), oracle.rows, strict=True):
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
    with pytest.raises(ValueError, match=r"^\[Adam\] cannot load the state of SGD"):
        adam.load_state_dict(optim.SGD(net.parameters()).state_dict())
    other = nn.Network([nn.Linear(2, 2)])
    with pytest.raises(ValueError, match=r"^\[Adam\] exp_avg has shapes"):
        adam.load_state_dict({**optim.Adam(other.parameters()).state_dict(), "lr": 5.0})
    assert adam.lr == before["lr"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s["exp_avg_sq"].__setitem__(1, np.array(["a", "b", "c"])),
            "exp_avg_sq is <U1 in the state",
        ),
        (
            lambda s: s["exp_avg_sq"].__setitem__(1, np.zeros(3, complex)),
            "exp_avg_sq is complex128 in the state",
        ),
        (lambda s: s.update(exp_avg_sq=3), "exp_avg_sq must be a list of arrays in the state, got int"),
        (lambda s: s.update(steps=[np.array(2.5)]), "steps is float64 in the state, but int64 here"),
        (lambda s: s.update(steps=[np.array(-1)]), "steps counts steps, and cannot be negative"),
        (lambda s: s.update(steps=[]), r"steps has shapes \[\] in the state"),
        (lambda s: s.update(lr="fast"), "lr must be a number in the state, got 'fast'"),
        (lambda s: s.update(lr=float("nan")), r"lr must be in \[0, inf\), got nan"),
        (lambda s: s.pop("lr"), "lr must be a number in the state, got None"),
    ],
)
def test_a_state_that_is_refused_changes_nothing(change, message):
    adam = optim.Adam(nn.Network([nn.Linear(2, 3)]).parameters())
    before = adam.state_dict()
    state = adam.state_dict()
    state["lr"] = 0.5
    for array in (*state["exp_avg"], *state["steps"]):
        array[...] = 7
    change(state)
    with pytest.raises(ValueError, match=rf"^\[Adam\] {message}"):
        adam.load_state_dict(state)
    np.testing.assert_equal(adam.state_dict(), before)


class _Negative(schedules.Schedule):
    def _rate(self, t):
        return 2.0 - t


def test_penalties_make_weights_exactly_zero_and_spare_biases(rng, dtype):
    net = network(dtype)
    net.arena[...] = rng.standard_normal(net.arena.shape)
    net.grad_arena[...] = 0
    biases = [p.value.copy() for p in net.parameters() if p.name.endswith("bias")]
    optimizer = optim.SGD(net.parameters(), lr=0.5, l1=1.0, weight_decay=0.1)
    for _ in range(4):
        optimizer.step()
    for p in net.parameters():
        if p.name.endswith("bias"):
            assert p.value.tobytes() == biases.pop(0).tobytes()
        else:
            assert (p.value == 0).any()


def test_a_clipped_step_of_a_network_is_short(rng):
    net = network(np.float64)
    before = net.arena.copy()
    net.grad_arena[...] = 0
    for p in net.parameters():
        p.grad[...] = rng.standard_normal(p.grad.shape)
    optim.SGD(net.parameters(), lr=0.5, max_norm=1e-3).step()
    np.testing.assert_allclose(np.linalg.norm(net.arena - before), 0.5e-3, rtol=1e-10)


# ------------------------------------------------------------------------------------------------ schedules

RATES = schedules.WarmUp(3, schedules.Cosine(0.1, 5, 0.01))


@pytest.mark.parametrize("rule", RULES)
def test_captured_steps_follow_a_schedule(rng, rule):
    """Eager steps follow it too; steps after the schedule's end keep its last rate."""
    nets = [network(np.float64) for _ in range(3)]
    optimizers = [rule(net.parameters()) for net in nets]
    gradient = rng.standard_normal(nets[0].grad_arena.shape)
    for net in nets:
        net.grad_arena[...] = gradient
    for optimizer in optimizers[:2]:
        optimizer.follow(RATES, 10)
    with steepest.capture() as graph:
        optimizers[0].step()
    rates = [*RATES.rates(10), RATES(9), RATES(9)]
    for done, n in ((0, 1), (1, 4), (5, 7)):
        graph.replay(n)
        for rate in rates[done : done + n]:
            optimizers[1].step()
            optimizers[2].lr = rate
            optimizers[2].step()
        assert optimizers[0].lr == optimizers[1].lr == rates[done + n - 1]
        assert nets[0].arena.tobytes() == nets[1].arena.tobytes() == nets[2].arena.tobytes()


def test_the_place_in_a_schedule_is_saved(rng):
    first, second = network(np.float32), network(np.float32)
    gradient = rng.standard_normal(first.grad_arena.shape)
    first.grad_arena[...] = second.grad_arena[...] = gradient
    optimizer, resumed = optim.Adam(first.parameters()), optim.Adam(second.parameters())
    optimizer.follow(RATES, 10)
    for _ in range(4):
        optimizer.step()
    second.arena[...] = first.arena
    with pytest.raises(
        ValueError, match=r"^\[Adam\] cannot load the state of an optimizer that follows a schedule"
    ):
        resumed.load_state_dict(optimizer.state_dict())
    resumed.follow(RATES, 10)
    resumed.load_state_dict(optimizer.state_dict())
    for _ in range(3):
        optimizer.step()
        resumed.step()
    assert first.arena.tobytes() == second.arena.tobytes()
    assert resumed.lr == RATES(6)


def test_a_schedule_is_left():
    net = network(np.float32)
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    optimizer.follow(schedules.Step(0.2, 1, 0.5), 5)
    assert optimizer.lr == 0.2
    optimizer.step()
    optimizer.step()
    optimizer.follow(None)
    optimizer.step()
    assert optimizer.lr == 0.1
    optimizer.lr = 0.3
    optimizer.step()
    assert optimizer.lr == 0.3
    assert "schedule_step" not in optimizer.state_dict()


def test_captured_steps_follow_a_later_schedule_of_as_many_steps():
    parameter = nn.Network([nn.Linear(1, 1, bias=False, init=0.0)], dtype=np.float64).parameters()[0]
    parameter.grad[...] = 1.0
    optimizer = optim.SGD([parameter])
    optimizer.follow(schedules.Constant(1.0), 2)
    with steepest.capture() as graph:
        optimizer.step()
    graph.replay(2)
    optimizer.follow(schedules.InverseScaling(8.0, 1.0), 2)
    graph.replay(2)
    assert parameter.value.item() == -(1 + 1 + 8 + 4)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda p: optim.SGD([]), r"^\[SGD\] there are no parameters"),
        (lambda p: optim.SGD(p, lr=-1.0), r"^\[SGD\] lr must be in \[0, inf\), got -1.0"),
        (lambda p: optim.SGD(p, lr=float("nan")), r"^\[SGD\] lr must be"),
        (lambda p: optim.SGD(p, momentum=1.5), r"^\[SGD\] momentum"),
        (lambda p: optim.SGD(p, nesterov=True), r"^\[SGD\] nesterov needs a momentum above 0"),
        (lambda p: optim.Momentum(p, momentum=0.0), r"^\[Momentum\] momentum must be above 0, got 0.0"),
        (lambda p: optim.Nesterov(p, l1=-1.0), r"^\[Nesterov\] l1 must be in \[0, inf\), got -1.0"),
        (lambda p: optim.AdaGrad(p, l2=float("inf")), r"^\[AdaGrad\] l2"),
        (lambda p: optim.AdaGrad(p, eps=-1.0), r"^\[AdaGrad\] eps"),
        (lambda p: optim.RMSprop(p, rho=1.0), r"^\[RMSprop\] rho must be in \[0, 1\), got 1.0"),
        (lambda p: optim.AdamW(p, max_norm=0.0), r"^\[AdamW\] max_norm must be above 0, got 0.0"),
        (
            lambda p: optim.Adam(p).follow(schedules.Constant(0.1), 0),
            r"^\[Adam\] steps must be at least 1, got 0",
        ),
        (
            lambda p: optim.Adam(p).follow(_Negative(), 9),
            r"^\[Adam\] the rate of step 3 must be finite and at least 0, got -1.0",
        ),
        (lambda p: optim.SGD(p, weight_decay=-1.0), r"^\[SGD\] weight_decay"),
        (lambda p: optim.Adam(p, betas=(0.9, 1.0)), r"^\[Adam\] betas\[1\]"),
        (lambda p: optim.Adam(p, eps=-1.0), r"^\[Adam\] eps"),
    ],
)
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make(network(np.float32).parameters())


def test_wrong_objects():
    net = network(np.float32)
    for bad in (net, net.parameters, [net.arena], 3):
        with pytest.raises(
            TypeError, match=r"^\[Adam\] params must be parameters, as net.parameters\(\) returns them"
        ):
            optim.Adam(bad)
    with pytest.raises(
        TypeError, match=r"^\[Adam\] schedule must be one of steepest.optim.schedules, got 0.1"
    ):
        optim.Adam(net.parameters()).follow(0.1, 3)


@pytest.mark.parametrize("old", ["sgd.Momentum", "adaptive.RMSprop", "adam.Adam"])
def test_old_pickles(old):
    """Classes are found by the modules that pickles of earlier states of the package name."""
    module, _, name = old.partition(".")
    net = nn.Network([nn.Linear(2, 1)])
    made = pickle.dumps((net, getattr(optim, name)(net.parameters(), lr=0.25)), protocol=0)
    named = made.replace(b"steepest.optim.first_order.", b"steepest.optim.")
    assert named.count(f"steepest.optim.{module}\n".encode()) == 1
    _, loaded = pickle.loads(named)
    assert type(loaded) is getattr(optim, name)
    assert loaded.lr == 0.25


def test_old_pickles_of_the_natural_gradient(rng):
    net = nn.Network([nn.Linear(2, 1)], dtype=np.float64)
    optimizer = optim.NaturalGradient(net, nn.MeanSquaredError())
    done = optimizer.step(rng.standard_normal((5, 2)), rng.standard_normal((5, 1)))
    made = pickle.dumps(optimizer, protocol=0)
    named = made.replace(b"optim.natural.natural_gradient", b"optim.natural_gradient")
    named = named.replace(b"optim.natural.step_diagnostics", b"optim._step_diagnostics")
    assert named.count(b"optim.natural.") == 0
    assert pickle.loads(named).diagnostics == done
