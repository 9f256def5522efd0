"""A network and its optimizer that are copied, or pickled, together train as the originals do."""

from __future__ import annotations

import copy
import io
import pickle

import joblib
import numpy as np
import pytest

from steepest import fisher, nn, optim


def by_joblib(value):
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return joblib.load(buffer)


WAYS = [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value)), by_joblib]
RULES = {rule.__name__: rule for rule in optim.RULES}
OPTIONS = {"AdamW": {"l1": 0.01, "max_norm": 0.5}}
ways = pytest.mark.parametrize("way", WAYS, ids=["deepcopy", "pickle", "joblib"])


def network(**options):
    return nn.Network(
        [nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.25), nn.PReLU(8), nn.Linear(8, 5, tied_to=0)],
        seed=3,
        **options,
    )


def train(net, optimizers, x, n=3):
    for _ in range(n):
        _, d = nn.MeanSquaredError()(net.forward(x), x)
        net.backward(d)
        for optimizer in optimizers:
            optimizer.step()
    return net.arena.tobytes()


@ways
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("optimizer_first", [False, True])
def test_a_pair_trains_on(rng, way, rule, optimizer_first):
    x = rng.standard_normal((6, 5)).astype(np.float32)
    net = network()
    optimizer = RULES[rule](net.parameters(), 0.1, **OPTIONS.get(rule, {}))
    optimizer.follow(optim.schedules.Cosine(0.2, 8), 8)
    train(net, [optimizer], x)
    if optimizer_first:
        twin_optimizer, twin = way((optimizer, net))
    else:
        twin, twin_optimizer = way((net, optimizer))
    assert twin.arena.tobytes() == net.arena.tobytes()
    assert not np.shares_memory(twin.arena, net.arena)
    for own, parameter in zip(twin_optimizer.params, twin.parameters(), strict=True):
        assert own.name == parameter.name
        assert np.shares_memory(own.value, parameter.value)
        assert np.shares_memory(own.grad, parameter.grad)
        assert own.value.ctypes.data % 64 == 0
    before = net.arena.tobytes()
    after = train(twin, [twin_optimizer], x)
    assert net.arena.tobytes() == before  # the original is untouched
    assert after == train(net, [optimizer], x) != before


@ways
def test_several_optimizers_of_one_network(rng, way):
    x = rng.standard_normal((6, 5)).astype(np.float32)
    net = network()
    weights, others = net.parameters()[:1], net.parameters()[1:]
    optimizers = {"weights": optim.Adam(weights, 0.1), "others": optim.SGD(others, 0.1)}
    twin, copies = way([net, optimizers])
    assert train(twin, copies.values(), x) == train(net, optimizers.values(), x)


@ways
def test_an_optimizer_alone_takes_its_parameters_along(rng, way):
    net = network()
    optimizer = way(optim.SGD(net.parameters(), 1.0))
    before = net.arena.copy()
    for parameter in optimizer.params:
        parameter.grad[...] = 1
    optimizer.step()
    np.testing.assert_array_equal(net.arena, before)
    for own, parameter in zip(optimizer.params, net.parameters(), strict=True):
        np.testing.assert_array_equal(own.value, parameter.value - np.float32(1))


@ways
def test_parameters_stay_views_of_their_network(way):
    """Whatever else holds parameters, such as a list of those that are trained."""
    net = network()
    twin, listed = way((net, net.parameters()))
    listed[0].value[...] = 7
    assert (twin.parameters()[0].value == 7).all()


@ways
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.5, "factor_decay": 0.9, "inverse_period": 2, "structure": "ekfac"},
        {"structure": "dense"},
    ],
    ids=["default", "averages", "dense"],
)
def test_a_natural_gradient_keeps_its_network(rng, way, options):
    """Also with averages of the Fisher matrix, and an inverse that is some steps old."""
    net = nn.Network([nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)], dtype=np.float64)
    x, y = rng.standard_normal((12, 5)), np.arange(12) % 2
    natural = optim.NaturalGradient(net, nn.SoftmaxCrossEntropy(), damping=0.1, kl_clip=0.1, **options)
    for _ in range(3):
        natural.step(x, y)
    twin, copied = way((net, natural))
    assert copied.net is twin
    for _ in range(3):
        natural.step(x, y)
        copied.step(x, y)
    assert twin.arena.tobytes() == net.arena.tobytes()


def test_parameters_without_a_network():
    """Those that were made by hand are copied as they are."""
    parameter = nn.Parameter("0.weight", np.ones(3), np.zeros(3))
    twin, optimizer = copy.deepcopy((parameter, optim.SGD([parameter], 0.5)))
    twin.grad[...] = 1
    optimizer.step()
    np.testing.assert_array_equal(twin.value, np.full(3, 0.5))
    np.testing.assert_array_equal(parameter.value, np.ones(3))


@ways
@pytest.mark.parametrize("structure", ["dense", "kfac"])
def test_after_steps_of_all_kinds(rng, way, structure):
    """What a network keeps for its batches, and what a Fisher matrix keeps of the network, is no hindrance."""
    net, x = network(), rng.standard_normal((6, 5)).astype(np.float32)
    rule = optim.NaturalGradient(net, nn.MeanSquaredError(), structure=structure)
    train(net, [], x)
    rule.step(x, x)
    twin, twin_rule = way((net, rule))
    assert twin_rule.net is twin
    train(net, [], x)
    train(twin, [], x)
    rule.step(x, x)
    twin_rule.step(x, x)
    assert twin.arena.tobytes() == net.arena.tobytes()
    matrix = fisher.FisherMatrix(net, nn.MeanSquaredError(), x, structure=structure)
    np.testing.assert_array_equal(way(matrix).diagonal(), matrix.diagonal())
