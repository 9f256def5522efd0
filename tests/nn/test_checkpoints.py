"""Checkpoints: a run that goes on from one ends with the same bits as a run that was not stopped."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import programs
import pytest
from backends import run_python
from programs import arguments, listed
from safetensors.numpy import load_file

import steepest
from steepest import nn, optim
from steepest.optim import schedules

EPOCHS, BATCHES = 4, 3


def data():
    rng = np.random.default_rng(11)
    return rng.standard_normal((30, 5)).astype(np.float32), rng.integers(0, 3, 30)


# ------------------------------------------------------------------------------------------- runs, stopped and not


class Run:
    """A loop as a user writes it: batches in a random order, and one optimizer."""

    def __init__(self, state=None):
        self.state = self.begun() if state is None else state

    def begun(self):
        net = nn.Network([nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)], seed=3)
        return {
            "network": net,
            "optimizer": optim.SGD(net.parameters(), 0.1, momentum=0.9),
            "random_state": np.random.default_rng(4),
        }

    def step(self, X, y):
        net = self.state["network"]
        _, d = nn.SoftmaxCrossEntropy()(net.forward(X), y)
        net.backward(d)
        self.state["optimizer"].step()

    def train(self, epochs):
        X, y = data()
        for _ in range(epochs):
            for rows in np.split(self.state["random_state"].permutation(len(X)), BATCHES):
                self.step(X[rows], y[rows])

    def bits(self):
        return self.state["network"].arena.tobytes()


class ScheduleAndDropout(Run):
    def begun(self):
        layers = [nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.4), nn.Linear(6, 3)]
        net = nn.Network(layers, seed=3)
        optimizer = optim.Adam(net.parameters(), betas=[0.8, 0.99], weight_decay=np.float32(0.1), max_norm=1)
        optimizer.follow(schedules.Cosine(0.1, EPOCHS * BATCHES), EPOCHS * BATCHES)
        return {"network": net, "optimizer": optimizer, "random_state": np.random.RandomState(4)}


class Captured(ScheduleAndDropout):
    """The same with a step that is captured once; its batch lies in arrays that are overwritten."""

    def __init__(self, state=None):
        super().__init__(state)
        self.x, self.y = np.zeros((10, 5), np.float32), np.zeros(10, np.int64)
        with steepest.capture() as self.graph:
            super().step(self.x, self.y)

    def step(self, X, y):
        self.x[...], self.y[...] = X, y
        self.graph.replay()


class NaturalGradient(Run):
    def begun(self):
        net = nn.Network([nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)], seed=3)
        optimizer = optim.NaturalGradient(
            net,
            nn.SoftmaxCrossEntropy(),
            kind="monte_carlo",
            momentum=0.5,
            factor_decay=0.9,
            factor_period=2,
            inverse_period=3,
            l2=0.01,
            seed=5,
        )
        return {"network": net, "optimizer": optimizer, "random_state": np.random.default_rng(4)}

    def step(self, X, y):
        self.state["optimizer"].step(X, y)


class Ekfac(NaturalGradient):
    """EKFAC without averages, and with dropout."""

    def begun(self):
        net = nn.Network([nn.Linear(5, 6), nn.Dropout(0.3), nn.Tanh(), nn.Linear(6, 3)], seed=3)
        optimizer = optim.NaturalGradient(
            net, nn.SoftmaxCrossEntropy(), structure="ekfac", inverse_period=4, momentum_rule="spring"
        )
        return {"network": net, "optimizer": optimizer, "random_state": np.random.default_rng(4)}


class TwoOutputs(NaturalGradient):
    """A loss for each output."""

    def begun(self):
        x = nn.Input(5)
        h = nn.Tanh()(nn.Linear(5, 4)(x))
        net = nn.Network(x, [nn.Linear(4, 3)(h), nn.Linear(4, 1)(h)], seed=3)
        losses = (nn.SoftmaxCrossEntropy(), nn.MeanSquaredError(half=True, reduction="sum"))
        optimizer = optim.NaturalGradient(net, losses, kind="monte_carlo", factor_decay=0.9)
        return {"network": net, "optimizer": optimizer, "random_state": np.random.default_rng(4)}

    def step(self, X, y):
        self.state["optimizer"].step(X, (y, X[:, 0]))


RUNS = pytest.mark.parametrize(
    "kind", [Run, ScheduleAndDropout, NaturalGradient, Ekfac, TwoOutputs, Captured]
)


@functools.cache
def uninterrupted(kind):
    run = kind()
    run.train(EPOCHS)
    return run.bits()


@RUNS
@pytest.mark.parametrize("stopped", range(1, EPOCHS))
def test_a_run_goes_on_bit_for_bit(kind, stopped, tmp_path):
    run = kind()
    run.train(stopped)
    steepest.save_checkpoint(tmp_path / "run", **run.state, epoch=stopped)
    into = kind()
    into.train(1)  # whatever it did before is overwritten, and so is the schedule that it followed
    if isinstance(into, ScheduleAndDropout):
        into.state["optimizer"].follow(schedules.Constant(0.7), EPOCHS * BATCHES)
    found = steepest.load_checkpoint(tmp_path / "run", into=into.state)
    assert found.pop("epoch") == stopped
    assert all(found[name] is into.state[name] for name in into.state)
    resumed = [into]
    if kind is not Captured:
        resumed.append(
            kind({k: v for k, v in steepest.load_checkpoint(tmp_path / "run").items() if k != "epoch"})
        )
    for each in (run, *resumed):
        each.train(EPOCHS - stopped)
        assert each.bits() == uninterrupted(kind)


@pytest.mark.cpu_only("the other process has the kernels of the CPU")
def test_runs_go_on_in_another_process(tmp_path):
    kinds = (ScheduleAndDropout, NaturalGradient)
    for kind in kinds:
        run = kind()
        run.train(2)
        steepest.save_checkpoint(tmp_path / kind.__name__, **run.state)
    run_python(
        f"""
import sys
sys.path[:0] = {[str(Path(module).parent) for module in (programs.__file__, __file__)]}
import steepest, test_checkpoints as tests
for kind in (tests.ScheduleAndDropout, tests.NaturalGradient):
    path = {str(tmp_path)!r} + "/" + kind.__name__
    run = kind(steepest.load_checkpoint(path))
    run.train({EPOCHS - 2})
    open(path + ".bits", "wb").write(run.bits())
"""
    )
    for kind in kinds:
        assert (tmp_path / f"{kind.__name__}.bits").read_bytes() == uninterrupted(kind)


def test_saving_changes_nothing(tmp_path):
    run = ScheduleAndDropout()
    for _ in range(EPOCHS):
        run.train(1)
        steepest.save_checkpoint(tmp_path / "run", **run.state)
    assert run.bits() == uninterrupted(ScheduleAndDropout)


def test_a_run_on_cuda(cupy, tmp_path):
    """A checkpoint of a run on CUDA is read on the CPU, on CUDA, and into a network there, with the same numbers."""

    def steps(net, optimizer, count):
        for _ in range(count):
            net.grad_arena[...] = 0.5
            optimizer.step()
        return net.arena

    net = nn.Network([nn.Linear(5, 3)], device="cuda")
    optimizer = optim.Momentum(net.parameters(), 0.25)
    optimizer.follow(schedules.Step(0.25, 2, 0.5), 6)
    steps(net, optimizer, 3)
    steepest.save_checkpoint(tmp_path / "run", net=net, optimizer=optimizer)
    moved = steepest.load_checkpoint(tmp_path / "run", device="cuda")
    on_cpu = steepest.load_checkpoint(tmp_path / "run")
    assert (moved["net"].device, on_cpu["net"].device) == ("cuda", "cpu")
    expected = cupy.asnumpy(steps(net, optimizer, 3)).copy()
    assert cupy.asnumpy(steps(*moved.values(), 3)).tobytes() == expected.tobytes()
    np.testing.assert_allclose(steps(*on_cpu.values(), 3), expected, rtol=1e-6)
    steepest.load_checkpoint(tmp_path / "run", into={"net": net, "optimizer": optimizer})
    assert cupy.asnumpy(steps(net, optimizer, 3)).tobytes() == expected.tobytes()


# ------------------------------------------------------------------------------------ optimizers, networks and data


@pytest.mark.parametrize("into", [False, True])
@pytest.mark.parametrize("rule", optim.RULES)
def test_every_rule(rule, into, tmp_path, rng):
    """The penalties and the options of a rule are there again, and its arrays are those of the saved one."""
    given = {"l1": 0.02, "l2": 0.1, "weight_decay": 0.3, "max_norm": 2.0}

    def begun():
        net = nn.Network([nn.Linear(4, 3), nn.PReLU(3)], dtype=np.float64)
        return {"net": net, "optimizer": rule(net.parameters(), 0.05, **given)}

    def steps(run, gradients):
        for gradient in gradients:
            run["net"].grad_arena[...] = gradient
            run["optimizer"].step()
        return run["net"].arena.tobytes()

    run = begun()
    gradients = rng.standard_normal((5, run["net"].grad_arena.size))
    steps(run, gradients[:2])
    steepest.save_checkpoint(tmp_path / "run", **run)
    twin = steepest.load_checkpoint(tmp_path / "run", into=begun() if into else None)
    assert type(twin["optimizer"]) is rule
    assert twin["optimizer"].params[0].arena is twin["net"]._arena
    assert twin["optimizer"]._arguments() == run["optimizer"]._arguments()
    np.testing.assert_equal(twin["optimizer"].state_dict(), run["optimizer"].state_dict())
    assert steps(twin, gradients[2:]) == steps(run, gradients[2:])


@pytest.mark.parametrize(
    "make",
    [
        programs.residual,
        programs.siamese,
        programs.tied,
        programs.two_inputs,
        programs.two_outputs,
        programs.diamond,
        programs.recurrent,
        programs.bilinear,
    ],
)
def test_networks_of_any_form(make, tmp_path, rng):
    net, other = make(), make()
    optimizer, twin = (optim.AdamW(each.parameters(), 0.01) for each in (net, other))
    inputs = arguments(net, rng)

    def step(net, optimizer):
        outputs = listed(net.forward(*inputs))
        net.backward(outputs if len(outputs) > 1 else outputs[0])
        optimizer.step()
        return net.arena.tobytes()

    step(net, optimizer)
    steepest.save_checkpoint(tmp_path / "run", net=net, optimizer=optimizer)
    loaded = [steepest.load_checkpoint(tmp_path / "run", into={"net": other, "optimizer": twin})]
    if make is programs.bilinear:
        with pytest.raises(ValueError, match=r"a network with Bilinear, which is code .* pass it in into"):
            steepest.load_checkpoint(tmp_path / "run")
    else:
        loaded.append(steepest.load_checkpoint(tmp_path / "run"))
    expected = step(net, optimizer)
    assert [step(*each.values()) for each in loaded] == [expected] * len(loaded)


def test_several_optimizers_and_networks(tmp_path):
    """Two optimizers share a network, one updates two networks, and what is there twice stays one object."""
    a, b = (nn.Network([nn.Linear(3, 2), nn.Linear(2, 2)], seed=seed) for seed in (0, 1))
    first, second = a.parameters()[:2], a.parameters()[2:]
    rng = np.random.default_rng(0)
    run = {
        "optimizers": [optim.SGD(first, 0.1), optim.Adam([*second, *b.parameters()[1:]], 0.2)],
        "networks": {"a": a, "b": b},
        "numbered": {1: a, ("$state", 2): 5},
        "best": a,
        "rng": rng,
        "sampler": (rng,),
    }
    steepest.save_checkpoint(tmp_path / "run", **run)
    found = steepest.load_checkpoint(tmp_path / "run")
    assert found["best"] is found["networks"]["a"] is found["numbered"][1]
    assert found["rng"] is found["sampler"][0]
    sgd, adam = found["optimizers"]
    arenas = [found["networks"][name]._arena for name in "ab"]
    assert [(p.arena, p.name) for p in sgd.params] == [(arenas[0], "0.weight"), (arenas[0], "0.bias")]
    assert [p.arena for p in adam.params] == [arenas[0]] * 2 + [arenas[1]] * 3
    assert [p.name for p in adam.params] == ["1.weight", "1.bias", "0.bias", "1.weight", "1.bias"]
    assert (sgd.lr, adam.lr) == (0.1, 0.2)
    # A part of the objects may be the caller's own.
    b.arena[...] = 0
    part = {"networks": {"b": b}, "numbered": {1: a}, "sampler": [rng]}
    found = steepest.load_checkpoint(tmp_path / "run", into=part)
    assert found["networks"]["b"] is b
    assert found["networks"]["a"] is a
    assert b.arena.any()
    assert found["rng"] is rng


class Slower(optim.SGD):
    """A rule that a user writes."""


def test_an_optimizer_of_the_users(tmp_path):
    net = nn.Network([nn.Linear(3, 2)])
    run = {"net": net, "optimizer": Slower(net.parameters(), 0.1, momentum=0.5)}
    steepest.save_checkpoint(tmp_path / "run", **run)
    with pytest.raises(ValueError, match="the state of Slower as optimizer, which is code of your program"):
        steepest.load_checkpoint(tmp_path / "run")
    run["optimizer"].lr = 0.3
    steepest.load_checkpoint(tmp_path / "run", into=run)
    assert run["optimizer"].lr == 0.1


@pytest.mark.parametrize("kind", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_random_generators(kind, tmp_path):
    def drawn(generator):
        return [
            generator.random(3, np.float32).tolist(),
            generator.standard_normal(2).tolist(),
            generator.integers(9),
        ]

    rng = np.random.Generator(getattr(np.random, kind)(3))
    drawn(rng)
    steepest.save_checkpoint(tmp_path / "run", rng=rng)
    own = np.random.Generator(getattr(np.random, kind)(8))
    found = steepest.load_checkpoint(tmp_path / "run")["rng"]
    assert steepest.load_checkpoint(tmp_path / "run", into={"rng": own})["rng"] is own
    assert drawn(found) == drawn(own) == drawn(rng)


def test_data(tmp_path):
    """Plain data come back; an adaptive schedule and an array can be loaded in place."""
    adaptive, counter = schedules.Adaptive(0.5, patience=1), np.array(7)
    for loss in (1.0, 2.0, 3.0):
        adaptive(loss)
    plain = {
        "epoch": 3,
        "history": [0.5, {"loss": float("inf")}, (1, None)],
        "schedule": schedules.WarmUp(2, schedules.Constant(0.1)),
        "weights": {3: np.arange(4.0)},
    }
    steepest.save_checkpoint(tmp_path / "run", adaptive=adaptive, counter=counter, **plain)
    own = {"adaptive": schedules.Adaptive(0.5, patience=1), "counter": np.array(0)}
    for found in (
        steepest.load_checkpoint(tmp_path / "run"),
        steepest.load_checkpoint(tmp_path / "run", into=own),
    ):
        np.testing.assert_equal({name: found[name] for name in plain}, plain)
        assert vars(found["adaptive"]) == vars(adaptive)
        assert found["counter"] == 7
    assert found["adaptive"] is own["adaptive"]
    assert found["counter"] is own["counter"]


def test_the_tensors_have_names(tmp_path):
    run = Run()
    run.train(1)
    steepest.save_checkpoint(tmp_path / "run", **run.state)
    tensors = load_file(tmp_path / "run")
    assert {"network.0.weight", "network.2.bias", "optimizer.velocities.0"} <= set(tensors)
    np.testing.assert_array_equal(tensors["network.0.weight"], run.state["network"].parameters()[0].value)
