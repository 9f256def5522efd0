"""Frozen layers: gradients that are not computed, optimizers that leave parameters alone, copies and files."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from programs import (
    arguments,
    bilinear,
    diamond,
    listed,
    recurrent,
    residual,
    siamese,
    tied,
    two_inputs,
    two_outputs,
)
from safetensors import safe_open

import steepest
from steepest import nn, optim

NETWORKS = [residual, siamese, tied, two_inputs, two_outputs, diamond, recurrent, bilinear]
networks = pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)


def chain(dtype=np.float64, seed=0):
    layers = [nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.PReLU(6), nn.Linear(6, 3)]
    return nn.Network(layers, seed=seed, dtype=dtype)


def paths_of_backward(net):
    """Places of the layers in the backward pass, in its order."""
    backward, _ = net._main.backward(net._usual)
    return [i.node.path for i in backward.instructions if hasattr(i, "node")]


@networks
def test_gradients_of_what_is_trained(make, rng):
    net = make()
    inputs = arguments(net, rng)
    d = [rng.standard_normal(y.shape) for y in listed(net.forward(*inputs))]
    given = d if len(d) > 1 else d[0]
    expected_inputs = listed(net.backward(given, l2=0.3, inputs=True))
    expected = {p.name: p.grad.copy() for p in net.parameters()}
    scale = 1e-13 * (1 + max(np.abs(g).max() for g in expected.values()))
    names = list(expected)
    for frozen in [{name} for name in names] + [set(names) - {name} for name in names] + [set(names)]:
        net.unfreeze()
        net.grad_arena[...] = 7
        net.freeze(*frozen)
        assert net.frozen == frozen
        for calls in (1, 2):
            net.backward(given, l2=0.3, accumulate=calls == 2)
            for p in net.parameters():
                want = 0 if p.name in frozen else calls * expected[p.name]
                np.testing.assert_allclose(p.grad, want, rtol=0, atol=scale, err_msg=f"{p.name} of {frozen}")
        # Gradients of inputs pass through frozen layers.
        for found, want in zip(
            listed(net.backward(given, l2=0.3, inputs=True)), expected_inputs, strict=True
        ):
            np.testing.assert_allclose(found, want, rtol=0, atol=scale)
        assert all(not p.grad.any() for p in net.parameters(trained=False))


def test_nothing_before_the_first_trained_parameter_is_computed():
    net = chain()
    assert paths_of_backward(net) == ["4", "3", "2", "0"]
    net.freeze(0)
    assert paths_of_backward(net) == ["4", "3", "2"]
    assert "layer 0" not in net.program.partition("# backward")[2]
    net.freeze("2", 3)
    assert paths_of_backward(net) == ["4"]
    net.unfreeze("2.bias")
    assert paths_of_backward(net) == ["4", "3", "2"]
    net.freeze()
    assert paths_of_backward(net) == []
    net.unfreeze()
    assert paths_of_backward(net) == ["4", "3", "2", "0"]


def test_what_is_named():
    net = residual()
    assert [p.name for p in net.parameters(trained=True)] == [p.name for p in net.parameters()]
    net.freeze(0, "2.2", -1)
    assert net.frozen == {"0.weight", "0.bias", "2.2.weight", "2.2.bias", "4.weight", "4.bias"}
    assert [p.name for p in net.parameters("bias", trained=True)] == ["2.0.bias", "3.0.bias"]
    assert [p.name for p in net.parameters("weight", trained=False)] == ["0.weight", "2.2.weight", "4.weight"]
    net.freeze(1)  # an activation
    net.unfreeze("4", "2.2.weight")
    assert net.frozen == {"0.weight", "0.bias", "2.2.bias"}
    lines = net.summary().splitlines()
    assert lines[-1].split() == ["frozen", str(5 * 6 + 6 + 6)]
    net.unfreeze()
    assert not net.frozen
    for bad, error, text in (
        (lambda: net.freeze(0, 5), ValueError, r"^\[Network.freeze\] there is no layer 5: the network has 5"),
        (lambda: net.freeze(-6), ValueError, "there is no layer -6"),
        (
            lambda: net.freeze(0, "0.wieght"),
            ValueError,
            "no parameter at '0.wieght'; the parameters are 0.weight",
        ),
        (lambda: net.unfreeze("2.1"), ValueError, r"^\[Network.unfreeze\] there is no parameter at '2.1'"),
        (lambda: net.freeze(nn.ReLU()), TypeError, "not an object of type ReLU"),
        (lambda: net.freeze(True), TypeError, "not an object of type bool"),
    ):
        with pytest.raises(error, match=text):
            bad()
    assert not net.frozen


def test_a_name_is_no_prefix_of_another():
    net = nn.Network([nn.Linear(2, 2) for _ in range(11)])
    net.freeze(1)
    assert net.frozen == {"1.weight", "1.bias"}
    net.freeze("10")
    assert net.frozen == {"1.weight", "1.bias", "10.weight", "10.bias"}


def test_tied_weights_belong_to_their_layer(rng):
    net = tied()
    net.freeze(0)
    x = rng.standard_normal((6, 5))
    before = net.arena.copy()
    optimizer = optim.SGD(net.parameters(), 0.1, weight_decay=0.5)
    net.backward(nn.MeanSquaredError()(net.forward(x), x)[1])
    optimizer.step()
    assert [p.name for p in net.parameters(trained=True)] == ["2.bias"]
    moved = {
        p.name
        for p, old in zip(net.parameters(), tensors(net, before), strict=True)
        if (p.value != old).any()
    }
    assert moved == {"2.bias"}
    net.unfreeze(0)
    net.freeze(2)
    assert net.frozen == {"2.bias"}


def tensors(net, arena):
    """The tensors of a network in a copy of its arena."""
    return [arena[net._arena._places[p.name]].reshape(p.value.shape) for p in net.parameters()]


def train(net, optimizer, x, y, n=3):
    for _ in range(n):
        net.backward(nn.MeanSquaredError()(net.forward(x), y)[1], l2=0.1)
        optimizer.step()


OPTIONS = [{}, {"l1": 0.01, "l2": 0.02, "weight_decay": 0.03, "max_norm": 0.1}]
CASES = [(rule, options) for rule in optim.RULES for options in OPTIONS] + [(optim.SGD, {"momentum": 0.5})]


@pytest.mark.parametrize(("rule", "options"), CASES, ids=str)
def test_optimizers_leave_frozen_parameters_alone(rng, rule, options):
    """As if the optimizer had been made from the trained parameters; what is frozen keeps its bits and its state."""
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    net, twin = chain(), chain()
    optimizer = rule(net.parameters(), 0.1, **options)
    train(net, optimizer, x, y)  # momentum, for everything
    state = optimizer.state_dict()
    net.freeze(0, "2.weight", 3)
    before = {p.name: p.value.tobytes() for p in net.parameters()}
    twin.arena[...] = net.arena
    twin.freeze(*net.frozen)
    kept = [i for i, p in enumerate(net.parameters()) if p.trained]
    of_twin = rule(twin.parameters(trained=True), 0.1, **options)
    of_twin.load_state_dict(
        {
            name: [v[i] for i in kept] if isinstance(v, list) and len(v) == len(before) else v
            for name, v in state.items()
        }
    )
    train(net, optimizer, x, y)
    train(twin, of_twin, x, y)
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        assert p.value.tobytes() == q.value.tobytes()
        assert (p.value.tobytes() == before[p.name]) == (not p.trained)
    for name, arrays in optimizer.state_dict().items():
        if isinstance(arrays, list) and len(arrays) == len(before):
            for p, array, old in zip(net.parameters(), arrays, state[name], strict=True):
                assert (array.tobytes() == old.tobytes()) == (not p.trained), (name, p.name)
    net.unfreeze(0)
    before = {p.name: p.value.tobytes() for p in net.parameters()}
    train(net, optimizer, x, y, 1)
    moved = {p.name for p in net.parameters() if p.value.tobytes() != before[p.name]}
    assert moved == {"0.weight", "0.bias", "2.bias", "4.weight", "4.bias"}
    net.freeze()
    last = net.arena.tobytes()
    optimizer.step()
    assert net.arena.tobytes() == last


@pytest.mark.parametrize("way", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_train_on(rng, way):
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    net = chain()
    optimizer = optim.Adam(net.parameters(), 0.1)
    net.freeze(0, "4.bias")
    train(net, optimizer, x, y)
    twin, of_twin = way((net, optimizer))
    assert twin.frozen == net.frozen
    assert [p.trained for p in of_twin.params] == [p.trained for p in net.parameters()]
    for one, other in ((net, optimizer), (twin, of_twin)):
        one.unfreeze("4.bias")
        train(one, other, x, y)
    assert twin.arena.tobytes() == net.arena.tobytes()
    assert copy.copy(net).frozen == way(net).frozen == {"0.weight", "0.bias"}
    twin.unfreeze()
    assert net.frozen == {"0.weight", "0.bias"}


@pytest.mark.parametrize("make", [make for make in NETWORKS if make is not bilinear])
def test_files(make, tmp_path):
    net, path = make(), tmp_path / "net.safetensors"

    def described():
        steepest.save(net, path)
        with safe_open(path, "numpy") as file:
            return json.loads(file.metadata()["model"])

    # Nothing of it in a file where nothing is frozen, which earlier versions read.
    assert "frozen" not in described()["$network"]
    names = [p.name for p in net.parameters()]
    net.freeze(*names[1::2])
    assert described()["$network"]["frozen"] == sorted(names[1::2])
    assert steepest.load(path).frozen == set(names[1::2])
    net._arena.frozen = frozenset({"9.weight"})
    steepest.save(net, path)
    with pytest.raises(ValueError, match="parameters are frozen that its network does not have"):
        steepest.load(path)


def test_old_pickles():
    net = chain()
    net.freeze(0)
    state = net._arena.__getstate__()
    del state["frozen"]
    arena = type(net._arena).__new__(type(net._arena))
    arena.__setstate__(state)
    assert arena.frozen == frozenset()
    assert arena.parameter("0.weight").trained
    assert nn.Parameter("0.weight", net.arena, net.grad_arena).trained


@networks
def test_captured_steps(make, rng):
    net = make()
    net.freeze(net.parameters()[0].name)
    inputs = arguments(net, rng)
    d = [rng.standard_normal(y.shape) for y in listed(net.forward(*inputs))]
    d_output = d if len(d) > 1 else d[0]
    twin = copy.deepcopy(net)
    optimizer = optim.Momentum(net.parameters(), 0.01, weight_decay=0.1)
    of_twin = optim.Momentum(twin.parameters(), 0.01, weight_decay=0.1)
    with steepest.capture() as graph:
        net.forward(*inputs)
        net.backward(d_output)
        optimizer.step()
    for _ in range(3):
        twin.forward(*inputs)
        twin.backward(d_output)
        of_twin.step()
    graph.replay(2)
    net.freeze()  # the captured step goes on
    graph.replay()
    assert net.arena.tobytes() == twin.arena.tobytes()


def test_parameters_of_two_networks(rng):
    """An optimizer of several networks sees what each of them freezes."""
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    nets = [chain(seed=1), chain(seed=2)]
    optimizer = optim.SGD([p for net in nets for p in net.parameters()], 0.1)
    before = [net.arena.copy() for net in nets]
    nets[1].freeze()
    for net in nets:
        net.backward(nn.MeanSquaredError()(net.forward(x), y)[1])
    optimizer.step()
    assert (nets[0].arena != before[0]).any()
    assert (nets[1].arena == before[1]).all()


def test_natural_gradient_refuses(rng):
    net = nn.Network([nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)], dtype=np.float64)
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    optimizer = optim.NaturalGradient(net, nn.MeanSquaredError())
    net.freeze(0)
    before = net.arena.tobytes()
    for bad in (lambda: optimizer.step(x, y), lambda: optim.NaturalGradient(net, nn.MeanSquaredError())):
        with pytest.raises(
            ValueError, match=r"frozen parameters, got 0.bias, 0.weight: call net.unfreeze\(\)"
        ):
            bad()
    assert net.arena.tobytes() == before


def test_gradient_check(rng):
    net = chain()
    net.freeze(0, "2.weight")
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    report = nn.gradient_check(net, nn.MeanSquaredError(), x, y)
    assert report.ok
    assert [t.name for t in report.tensors] == ["2.bias", "3.slope", "4.weight", "4.bias", "directions"]


def test_cupy_arrays(cupy, rng):
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    net = chain()
    net.freeze(0, "2.bias")
    on_cuda = net.to("cuda")
    assert on_cuda.frozen == net.frozen
    train(net, optim.Adam(net.parameters(), 0.1, weight_decay=0.1), x, y)
    optimizer = optim.Adam(on_cuda.parameters(), 0.1, weight_decay=0.1)
    train(on_cuda, optimizer, cupy.asarray(x), cupy.asarray(y))
    np.testing.assert_allclose(cupy.asnumpy(on_cuda.arena), net.arena, rtol=0, atol=1e-12)
