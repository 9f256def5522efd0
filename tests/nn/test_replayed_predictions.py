"""Predictions for few rows are replayed from a graph once they are asked for again, with the same results."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import steepest
from steepest import nn

pytestmark = pytest.mark.cpu_only("graphs of predictions are for the CPU")


def network(**options):
    layers = [
        nn.Input((6, 6, 2)),
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    ]
    return nn.Network([*layers, nn.Linear(16, 5), nn.Dropout(0.5), nn.Softmax()], **options)


def is_replayed(net, n):
    return n in net._main.replays._kept


def images(rng, n, dtype=np.float32):
    return rng.standard_normal((n, 6, 6, 2)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 5])
def test_same_bits(rng, n, dtype):
    net = network(dtype=dtype)
    given = [images(rng, n, dtype) for _ in range(6)]
    expected = [copy.deepcopy(net).predict(x) for x in given]
    found = [net.predict(x) for x in given]
    assert is_replayed(net, n)
    for a, b in zip(found, expected, strict=True):
        assert a.tobytes() == b.tobytes()
    # What is returned belongs to the caller.
    found[-1][...] = 0
    assert net.predict(given[-1]).tobytes() == expected[-1].tobytes()
    assert net.predict(given[0][:, ::-1]).tobytes() == copy.deepcopy(net).predict(given[0][:, ::-1]).tobytes()


def test_new_weights_and_averages_are_seen(rng):
    net, x = network(), images(rng, 2)
    for _ in range(4):
        before = net.predict(x)
    assert is_replayed(net, 2)
    for array in (*[p.value for p in net.parameters()], *net.states.values()):
        array[...] = rng.uniform(0.5, 1.5, array.shape)
    after = net.predict(x)
    assert not np.array_equal(after, before)
    assert after.tobytes() == copy.deepcopy(net).predict(x).tobytes()


def test_several_outputs_and_other_numbers_of_rows(rng):
    x = nn.Input(4)
    h = nn.Linear(4, 3)(x)
    net = nn.Network(x, [nn.ReLU()(h), h])
    for n in (1, 2, 3, 4, 5, 6) * 4:
        given = rng.standard_normal((n, 4)).astype(np.float32)
        for a, b in zip(net.predict(given), copy.deepcopy(net).predict(given), strict=True):
            assert a.tobytes() == b.tobytes()
    assert len(net._main.replays._kept) <= 4


def test_what_a_graph_cannot_hold_is_computed_anew(rng):
    class Doubled(nn.CustomLayer):
        def output_shape(self, *shapes):
            return shapes[0]

        def forward(self, inputs, parameters):
            return np.asarray(inputs[0]) * 2

        def vjp(self, d, inputs, output, parameters):
            return [d * 2], {}

    custom = nn.Network([nn.Linear(4, 3), Doubled()])
    x = nn.Input(4)
    passed, twice = nn.Network(x, [x, nn.Tanh()(x)]), nn.Network(x, [h := nn.Tanh()(x), h])
    for net in (custom, passed, twice):
        for _ in range(5):
            given = rng.standard_normal((2, 4)).astype(np.float32)
            found, fresh = net.predict(given), copy.deepcopy(net).predict(given)
            np.testing.assert_array_equal(np.asarray(found), np.asarray(fresh))
        assert not is_replayed(net, 2)
    large = nn.Network([nn.Linear(4, 1 << 12)])
    for _ in range(5):
        large.predict(np.zeros((64, 4), np.float32))
    assert not is_replayed(large, 64)


def test_predictions_within_a_capture_are_recorded(rng):
    net, x = network(), images(rng, 3)
    for _ in range(4):
        net.predict(x)
    with steepest.capture() as graph:
        output = net.predict(x)
    x[...] = images(rng, 3)
    graph.replay()
    assert output.tobytes() == copy.deepcopy(net).predict(x).tobytes()


def test_threads_predict_with_one_network(rng):
    net = network()
    given = [images(rng, 2) for _ in range(8)]
    expected = [copy.deepcopy(net).predict(x).tobytes() for x in given]
    wrong = []

    def work(x, want):
        wrong.extend(1 for _ in range(200) if net.predict(x).tobytes() != want)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(given, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert is_replayed(net, 2)
    assert not wrong


def test_threads_capture_the_same_number_of_rows(rng, monkeypatch):
    # All of them capture before the first one is done.
    meeting, made = threading.Barrier(3, timeout=60), nn.replayed._Replayed

    def wait_and_make(*arguments):
        meeting.wait()
        return made(*arguments)

    net, x = network(), images(rng, 2)
    expected, found = copy.deepcopy(net).predict(x).tobytes(), []
    for _ in range(2):
        net.predict(x)
    monkeypatch.setattr(nn.replayed, "_Replayed", wait_and_make)
    threads = [threading.Thread(target=lambda: found.append(net.predict(x).tobytes())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


def test_inputs_of_a_wrong_width_are_refused_after_a_capture(rng):
    net = nn.Network([nn.Linear(4, 3)])
    for _ in range(4):
        net.predict(rng.standard_normal((2, 4)).astype(np.float32))
    assert is_replayed(net, 2)
    with pytest.raises(ValueError, match=r"x has shape \(2, 1\)"):
        net.predict(np.ones((2, 1), np.float32))


def test_graphs_are_freed_and_not_copied(rng):
    net, x = network(), images(rng, 1)
    for _ in range(4):
        net.predict(x)
    assert not is_replayed(pickle.loads(pickle.dumps(net)), 1)
    net.release_buffers()
    assert not is_replayed(net, 1)
