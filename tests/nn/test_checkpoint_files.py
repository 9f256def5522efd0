"""Checkpoints that do not fit, are damaged or crafted: a named error, and nothing has changed."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import steepest
from steepest import nn, optim
from steepest._saving.tensor_file import encode_tensors
from steepest.neural_network import MLPClassifier
from steepest.optim import schedules

pytestmark = pytest.mark.cpu_only("it does not test kernels")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def network(n_out=3, **options):
    return nn.Network([nn.Linear(4, 5), nn.Dropout(0.5), nn.ReLU(), nn.Linear(5, n_out)], **options)


def begun(net=None, **options):
    net = network() if net is None else net
    optimizer = optim.Adam(net.parameters(), 0.1, **options)
    optimizer.follow(schedules.Step(0.1, 3), 8)
    natural = optim.NaturalGradient(net, nn.SoftmaxCrossEntropy(), factor_decay=0.9)
    return {
        "net": net,
        "adam": optimizer,
        "natural": natural,
        "rng": np.random.default_rng(0),
        "old": np.random.RandomState(0),
        "adaptive": schedules.Adaptive(0.1),
        "count": np.zeros(2, np.int64),
    }


def trained():
    run = begun()
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((6, 4)).astype(np.float32), rng.integers(0, 3, 6)
    run["natural"].step(X, y)
    run["adam"].step()
    run["rng"].random(3)
    run["count"] += 1
    return run


def state_of(run):
    """Return everything that a load could change."""
    return (
        run["net"].arena.tobytes(),
        int(run["net"]._passes),
        run["adam"].state_dict(),
        np.array(run["adam"]._rates),
        run["natural"].state_dict(),
        run["rng"].bit_generator.state,
        run["old"].get_state(legacy=False),
        dict(vars(run["adaptive"])),
        run["count"].copy(),
    )


# ------------------------------------------------------------------------------------- objects that do not fit


def without_schedule(run):
    run["adam"].follow(None)


def other_schedule(run):
    run["adam"].follow(schedules.Constant(0.1), 9)


CHANGES = {
    "width": (
        lambda run: run.update(begun(network(2))),
        r"another network as net: .*n_out=3,.*, but into has Network\(.*n_out=2,.*They differ in layers\.3\.n_out",
    ),
    "layers": (
        lambda run: run.update(net=nn.Network([nn.Linear(4, 3)])),
        "They differ in layers",
    ),
    "form": (
        lambda run: run.update(net=nn.Network(x := nn.Input(4), nn.Linear(4, 3)(x))),
        "They differ in their form",
    ),
    "dtype": (lambda run: run.update(net=network(dtype=np.float64)), "They differ in dtype"),
    "seed": (lambda run: run.update(net=network(seed=7)), "the seed of dropout, 0 in the file and 7 in into"),
    "network": (lambda run: run.pop("net"), "an optimizer of other parameters as adam: pass its network in"),
    "other network": (lambda run: run.update(net=network()), "an optimizer of other parameters as adam"),
    "order": (
        lambda run: run.update(adam=optim.Adam(run["net"].parameters()[::-1])),
        "an optimizer of other parameters as adam",
    ),
    "rule": (
        lambda run: run.update(adam=optim.AdamW(run["net"].parameters())),
        r"the state of steepest\.optim\.Adam as adam, but into has steepest\.optim\.AdamW",
    ),
    "argument": (
        lambda run: run.update(begun(run["net"], eps=0.5)),
        r"Adam with eps=1e-08, but into has one with eps=0\.5",
    ),
    "loss": (
        lambda run: run.update(
            natural=optim.NaturalGradient(run["net"], nn.MeanSquaredError(), factor_decay=0.9)
        ),
        "another optimizer as natural: .*NaturalGradient with loss=",
    ),
    "no schedule": (without_schedule, "follows a schedule of 8 steps, but the one in into follows 0"),
    "schedule": (other_schedule, "follows a schedule of 8 steps, but the one in into follows 9"),
    "bit generator": (
        lambda run: run.update(rng=np.random.Generator(np.random.SFC64(0))),
        "the state of PCG64 as rng, but into has SFC64",
    ),
    "two objects": (
        lambda run: run.update(same=np.random.default_rng(0)),
        "one object as same and elsewhere, but into has two",
    ),
    "kind": (
        lambda run: run.update(adaptive=run["net"]),
        "an object of kind adaptive as adaptive, but into has one of type Network",
    ),
    "array": (
        lambda run: run.update(count=np.zeros(3, np.int64)),
        r"an array of shape \(2,\) and dtype int64 as count, but into has one of \(3,\) and int64",
    ),
    "name": (
        lambda run: run.update(extra=network()),
        "no extra, but net, adam, .*leave it out of into",
    ),
    "data": (
        lambda run: run.update(epoch=3),
        "nothing as epoch that can be loaded into an object of type int",
    ),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_what_does_not_fit_is_refused(change, message, path):
    saved = trained()
    steepest.save_checkpoint(path, **saved, same=saved["rng"], epoch=3)
    run = begun()
    into = dict(run)
    change(into)
    before = state_of(run), into["net"].arena.tobytes() if "net" in into else b""
    with pytest.raises(ValueError, match=rf"^\[load_checkpoint\] {re.escape(str(path))} holds .*{message}"):
        steepest.load_checkpoint(path, into=into)
    after = state_of(run), into["net"].arena.tobytes() if "net" in into else b""
    np.testing.assert_equal(after, before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda run: run["adam"],
            "item updates parameters of a network that is not there: pass the network too",
        ),
        (lambda run: run["natural"], "item updates parameters of a network that is not there"),
        (lambda run: run["net"].parameters(), r"item\[0\] is a parameter"),
        (lambda run: MLPClassifier(), "item is an estimator: steepest.save keeps it"),
        (lambda run: [len], r"item\[0\] is of type builtins.builtin_function_or_method"),
        (lambda run: np.random.RandomState(np.random.PCG64(0)), "item is a RandomState of PCG64"),
    ],
    ids=["optimizer", "natural", "parameter", "estimator", "function", "random state"],
)
def test_what_cannot_be_saved_is_refused(make, message, path):
    with pytest.raises(TypeError, match=rf"^\[save_checkpoint\] {message}"):
        steepest.save_checkpoint(path, item=make(begun()))
    assert os.listdir(path.parent) == []


def test_models_and_checkpoints_are_told_apart(path):
    steepest.save_checkpoint(path, net=network())
    with pytest.raises(
        ValueError, match=r"^\[load\] .* holds a checkpoint: steepest.load_checkpoint reads it"
    ):
        steepest.load(path)
    steepest.save(network(), path)
    with pytest.raises(ValueError, match=r"^\[load_checkpoint\] .* holds a model: steepest.load reads it"):
        steepest.load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=r"\[load_checkpoint\] there is no file"):
        steepest.load_checkpoint(path.parent / "none")
    with pytest.raises(ValueError, match=r"^\[load_checkpoint\] device 'gpu' is not one of"):
        steepest.load_checkpoint(path, device="gpu")
    with pytest.raises(
        TypeError, match=r"^\[load_checkpoint\] into must be a dict of objects by name, got Network"
    ):
        steepest.load_checkpoint(path, into=network())


# --------------------------------------------------------------------------------------------- damaged and crafted


def test_damage_is_noticed(path, rng):
    steepest.save_checkpoint(path, **trained())
    content, run = path.read_bytes(), begun()
    before = state_of(run)
    for bit in rng.integers(0, 8 * len(content), 60):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^\[load_checkpoint\] "):
            steepest.load_checkpoint(path, into=run)
    for end in (0, 7, 500, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"^\[load_checkpoint\] .* is (empty|truncated or damaged)"):
            steepest.load_checkpoint(path, into=run)
    np.testing.assert_equal(state_of(run), before)


def test_an_interrupted_save_keeps_the_old_file(path, monkeypatch):
    steepest.save_checkpoint(path, epoch=1)

    def full(descriptor):
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        steepest.save_checkpoint(path, epoch=2)
    assert steepest.load_checkpoint(path)["epoch"] == 1
    assert os.listdir(path.parent) == [path.name]


def crafted(path, change):
    """Change the description and the tensors of a checkpoint, and write it with a right checksum."""
    with safe_open(path, framework="np") as file:
        header = file.metadata()
    run, tensors = json.loads(header.pop("checkpoint")), load_file(path)
    header.pop("checksum")
    change({described["name"]: described for described in run["objects"]}, tensors, run)
    path.write_bytes(b"".join(encode_tensors(tensors, {**header, "checkpoint": json.dumps(run)})))


def set_at(name, *keys, to):
    def change(objects, tensors, run):
        place = objects[name]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


def set_tensor(name, to):
    def change(objects, tensors, run):
        tensors[name] = to

    return change


CRAFTED = {
    "class": (
        set_at("adam", "$optimizer", to="steepest.nn.Network"),
        "code of your program|into has steepest",
    ),
    "argument": (
        set_at("adam", "arguments", "run", to=1),
        "adam: .*Adam has no argument run|another optimizer",
    ),
    "value": (set_at("adam", "arguments", "eps", to="x"), "adam: TypeError|another optimizer"),
    "twice": (set_at("adam", "parameters", to=[[0, ["0.weight"] * 9]]), "adam: a parameter is there twice"),
    "unknown": (set_at("adam", "parameters", to=[[0, ["9.weight"]]]), "adam: KeyError: '9.weight'"),
    "later": (set_at("adam", "parameters", to=[[1, ["0.weight"]]]), "adam: object 1 is no network"),
    "negative": (set_at("adam", "parameters", to=[[-1, ["0.weight"]]]), "adam: object -1 is no network"),
    "lr": (set_at("adam", "state", "lr", to="fast"), r"adam: \[Adam\] lr must be a number"),
    "moments": (
        set_tensor("adam.exp_avg.0", np.zeros((1, 2), np.float32)),
        r"adam: \[Adam\] exp_avg has shapes",
    ),
    "steps": (set_tensor("adam.steps.0", np.array(-1)), r"adam: \[Adam\] steps counts steps"),
    "position": (
        set_tensor("adam.schedule_step.0", np.array(-1)),
        r"adam: \[Adam\] schedule_step counts steps",
    ),
    "rates": (set_tensor("adam.rates", np.full(8, np.nan)), "adam: its rates are no learning rates"),
    "damping": (set_at("natural", "state", "damping", to=-1.0), r"natural: \[NaturalGradient\] .*damping"),
    "averages": (
        set_at("natural", "state", "averages", to=[{"$array": ["a"], "shape": [1], "dtype": "<U1"}]),
        "natural: .*an average must be numeric",
    ),
    "part": (
        set_at("natural", "parameters", to=[[0, ["0.weight"]]]),
        "all parameters of one network|of other",
    ),
    "passes": (set_at("net", "$network", "passes", to=-1), "net: "),
    "shape": (
        set_tensor("net.0.bias", np.zeros(7, np.float32)),
        "net: the parameters .* do not fit|another network",
    ),
    "width": (set_at("net", "$network", "dtype", to={"$dtype": "<f2"}), "do not fit|They differ in dtype"),
    "wide": (
        set_tensor("net.0.bias", np.zeros(5)),
        "net: the parameters of its network do not fit its layers",
    ),
    "inc": (set_at("rng", "$generator", "state", "inc", to=2), "rng: this is no state of PCG64"),
    "state": (set_at("rng", "$generator", "state", "state", to=2**128), "rng: this is no state of PCG64"),
    "uinteger": (set_at("rng", "$generator", "has_uint32", to=True), "rng: this is no state of PCG64"),
    "bits": (
        set_at("rng", "$generator", "bit_generator", to="Generator"),
        "rng: this is no state of MT19937, ",
    ),
    "words": (set_at("old", "$random_state", "state", "pos", to=625), "old: this is no state of MT19937"),
    "divide": (set_at("adaptive", "$adaptive", "divide_by", to=0.5), r"adaptive: \[Adaptive\] divide_by"),
    "object": (
        lambda objects, tensors, run: run["objects"].append({"$x": 1, "name": "x"}),
        "knows no object \\$x",
    ),
    "number": (
        lambda objects, tensors, run: run["items"].update(x={"$state": 99}),
        "x: there is no object 99",
    ),
    "estimator": (
        lambda objects, tensors, run: run["items"].update(
            x={"$estimator": "steepest.neural_network.MLPClassifier"}
        ),
        r"x: this version of steepest knows no \$estimator",
    ),
    "nested": (lambda objects, tensors, run: run.update(items=[]), "AttributeError|no net"),
}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("change", "message"), CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_file_is_named(change, message, in_place, path):
    steepest.save_checkpoint(path, **trained())
    crafted(path, change)
    run = begun()
    before = state_of(run)
    with pytest.raises(ValueError, match=rf"^\[load_checkpoint\] {re.escape(str(path))} .*({message})"):
        steepest.load_checkpoint(path, into=run if in_place else None)
    np.testing.assert_equal(state_of(run), before)


@pytest.mark.parametrize("entry", ["buffer_pos", "counter", "buffer"])
def test_a_crafted_philox_is_named(entry, path):
    """NumPy would read its buffer at any position."""
    steepest.save_checkpoint(path, rng=np.random.Generator(np.random.Philox(0)))
    crafted(
        path,
        {
            "buffer_pos": set_at("rng", "$generator", "buffer_pos", to=10**9),
            "counter": set_tensor("rng.state.counter", np.zeros(3, np.uint64)),
            "buffer": set_tensor("rng.buffer", np.zeros(4)),
        }[entry],
    )
    with pytest.raises(ValueError, match="rng: this is no state of Philox"):
        steepest.load_checkpoint(path)
