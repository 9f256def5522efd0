"""`optim.ParameterAverage`: the formula, captures, the averages in place of the parameters, copies and states."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import steepest
from steepest import nn, optim

WAYS = [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]


def network(dtype=np.float64):
    return nn.Network([nn.Linear(5, 8), nn.PReLU(8), nn.Linear(8, 3)], seed=3, dtype=dtype)


def means(history, decay, bias_correction):
    """The averages in float64, as weighted sums of the parameters after each step; the first are the initial ones."""
    steps = len(history) - 1
    weights = (1 - decay) * decay ** np.arange(steps - 1, -1, -1.0)
    first = 0.0 if bias_correction else decay**steps
    total = weights.sum() + first
    return [
        (first * tensors[0] + sum(w * p for w, p in zip(weights, tensors[1:], strict=True))) / total
        for tensors in zip(*history, strict=True)
    ]


def tensors_of(net):
    return [p.value.astype(np.float64) for p in net.parameters()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize(("decay", "steps"), [(0.0, 3), (0.5, 1), (0.9, 7), (0.999, 40)])
def test_the_formula(rng, dtype, bias_correction, decay, steps):
    net = network(dtype)
    average = optim.ParameterAverage(net.parameters(), decay, bias_correction=bias_correction)
    history = [tensors_of(net)]
    for _ in range(steps):
        net.arena[...] += rng.standard_normal(net.arena.shape).astype(dtype)
        average.update()
        history.append(tensors_of(net))
    assert average.steps == steps
    largest = max(np.abs(tensor).max() for tensors in history for tensor in tensors)
    # Two roundings in each update, of which decay^k is left after k more, those of the rate, and those of the division.
    tolerance = np.finfo(dtype).eps * largest * (min(steps, 1 / (1 - decay)) + 2)
    expected = means(history, decay, bias_correction)
    for found, p, want in zip(average.values(), net.parameters(), expected, strict=True):
        assert found.dtype == dtype
        assert not np.shares_memory(found, p.value)
        np.testing.assert_allclose(found, want, rtol=0, atol=tolerance)


def train(net, optimizer, average, x, y, n):
    for _ in range(n):
        net.backward(nn.MeanSquaredError()(net.forward(x), y)[1])
        optimizer.step()
        average.update()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_captured_updates(rng, dtype):
    x, y = rng.standard_normal((6, 5)).astype(dtype), rng.standard_normal((6, 3)).astype(dtype)
    net = network(dtype)
    optimizer, average = optim.Adam(net.parameters(), 0.1), optim.ParameterAverage(net.parameters(), 0.9)
    twin, of_twin, average_of_twin = copy.deepcopy((net, optimizer, average))
    train(twin, of_twin, average_of_twin, x, y, 5)
    with steepest.capture() as graph:
        net.backward(nn.MeanSquaredError()(net.forward(x), y)[1])
        optimizer.step()
        average.update()
    graph.replay(5)
    assert average.steps == 5
    for found, want in zip(average.values(), average_of_twin.values(), strict=True):
        np.testing.assert_array_equal(found, want)
    with pytest.raises(RuntimeError, match="only update can be captured"), steepest.capture():
        average.apply()


def test_averages_in_place_of_the_parameters(rng):
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    net = network()
    optimizer, average = optim.SGD(net.parameters(), 0.1), optim.ParameterAverage(net.parameters(), 0.9)
    train(net, optimizer, average, x, y, 4)
    before, state, twin = net.arena.tobytes(), average.state_dict(), copy.deepcopy(net)
    for p, value in zip(twin.parameters(), average.values(), strict=True):
        p.value[...] = value
    with average.applied() as same:
        assert same is average
        np.testing.assert_array_equal(net.predict(x), twin.predict(x))
        for bad, text in ((average.update, "call restore"), (average.apply, "applied already")):
            with pytest.raises(RuntimeError, match=text):
                bad()
    assert net.arena.tobytes() == before
    with pytest.raises(ZeroDivisionError), average.applied():
        raise ZeroDivisionError
    assert net.arena.tobytes() == before
    np.testing.assert_equal(average.state_dict(), state)
    with pytest.raises(RuntimeError, match="not applied: call apply"):
        average.restore()
    average.apply()
    assert net.arena.tobytes() == twin.arena.tobytes()
    average.restore()
    train(net, optimizer, average, x, y, 1)


@pytest.mark.parametrize("way", WAYS, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("is_applied", [False, True])
def test_copies(rng, way, is_applied):
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    net = network()
    optimizer, average = optim.Momentum(net.parameters(), 0.1), optim.ParameterAverage(net.parameters(), 0.9)
    train(net, optimizer, average, x, y, 3)
    if is_applied:
        average.apply()
    twins = way((net, optimizer, average))
    assert all(np.shares_memory(p.value, twins[0].arena) for p in twins[2].params)
    for one, other, third in ((net, optimizer, average), twins):
        if is_applied:
            third.restore()
        train(one, other, third, x, y, 2)
        third.apply()
    assert twins[0].arena.tobytes() == net.arena.tobytes()
    assert not np.shares_memory(twins[0].arena, net.arena)


def test_states(rng):
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    net = network()
    optimizer, average = optim.SGD(net.parameters(), 0.1), optim.ParameterAverage(net.parameters(), 0.9)
    train(net, optimizer, average, x, y, 3)
    state = average.state_dict()
    again = optim.ParameterAverage(net.parameters(), 0.9)
    again.load_state_dict(state)
    train(net, optimizer, average, x, y, 1)
    again.update()
    for found, want in zip(again.values(), average.values(), strict=True):
        np.testing.assert_array_equal(found, want)
    kept = again.state_dict()
    for change, text in (
        ({"rule": "Adam"}, "rule is 'Adam' in the state, but 'ParameterAverage' here"),
        ({"decay": 0.99}, "decay is 0.99 in the state, but 0.9 here"),
        ({"bias_correction": False}, "bias_correction is False"),
        ({"steps": [np.array(-1)]}, "counts steps"),
        ({"averages": state["averages"][1:]}, "averages has shapes"),
    ):
        with pytest.raises(ValueError, match=text):
            again.load_state_dict({**state, **change})
    np.testing.assert_equal(again.state_dict(), kept)


def test_the_average_of_noisy_steps_is_nearer_to_the_minimum(rng):
    """Least squares by single samples with a long step: the parameters move about the minimum, their mean does not."""
    x = rng.standard_normal((400, 4))
    y = x @ rng.standard_normal((4, 1)) + rng.standard_normal((400, 1))
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    net = nn.Network([nn.Linear(4, 1, bias=False)], dtype=np.float64)
    optimizer = optim.SGD(net.parameters(), 0.02)
    average = optim.ParameterAverage(net.parameters(), 0.998)
    distances = []
    for i in rng.integers(0, 400, 3000):
        net.backward(nn.MeanSquaredError()(net.forward(x[i : i + 1]), y[i : i + 1])[1])
        optimizer.step()
        average.update()
        distances.append(np.linalg.norm(net.parameters()[0].value - best))
    assert np.linalg.norm(average.values()[0] - best) < np.mean(distances[-500:]) / 3


def test_frozen_parameters_stay_in_the_average(rng):
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    net = network()
    net.freeze(0)
    average = optim.ParameterAverage(net.parameters(), 0.75)
    train(net, optim.SGD(net.parameters(), 0.1), average, x, y, 3)
    np.testing.assert_allclose(average.values()[0], net.parameters()[0].value, rtol=1e-15)


def test_arguments():
    net = network()
    for bad, error, text in (
        (lambda: optim.ParameterAverage([]), ValueError, "no parameters to average"),
        (lambda: optim.ParameterAverage([net.arena]), TypeError, "params must be parameters"),
        (
            lambda: optim.ParameterAverage(net.parameters(), 1.0),
            ValueError,
            r"decay must be in \[0, 1\), got 1.0",
        ),
        (lambda: optim.ParameterAverage(net.parameters(), np.nan), ValueError, "decay must be in"),
        (lambda: optim.ParameterAverage(net.parameters()).values(), RuntimeError, "call update"),
        (lambda: optim.ParameterAverage(net.parameters()).apply(), RuntimeError, "call update"),
    ):
        with pytest.raises(error, match=text):
            bad()
    average = optim.ParameterAverage(net.parameters(), bias_correction=False)
    before = net.arena.tobytes()
    average.apply()
    assert net.arena.tobytes() == before


def test_cupy_arrays(cupy, rng):
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    net = network()
    on_cuda = net.to("cuda")
    averages = [
        optim.ParameterAverage(one.parameters(), 0.9, bias_correction=False) for one in (net, on_cuda)
    ]
    train(net, optim.SGD(net.parameters(), 0.1), averages[0], x, y, 4)
    train(on_cuda, optim.SGD(on_cuda.parameters(), 0.1), averages[1], cupy.asarray(x), cupy.asarray(y), 4)
    twin = copy.deepcopy((on_cuda, averages[1]))[1]
    twin.load_state_dict(averages[1].state_dict())
    with averages[0].applied(), averages[1].applied():
        np.testing.assert_allclose(cupy.asnumpy(on_cuda.arena), net.arena, rtol=0, atol=1e-14)
    for found, want in zip(twin.values(), averages[0].values(), strict=True):
        np.testing.assert_allclose(cupy.asnumpy(found), want, rtol=0, atol=1e-14)
