"""Capture and replay: the recorded operations, bitwise equality with eager runs, and how a replay stops."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import cases
import numpy as np
import pytest
from backends import DTYPES
from training_step import TrainingStep

import steepest
from steepest import kernels as K


def capture(step):
    with steepest.capture() as graph:
        step()
    return graph


def test_capture_records_and_does_not_execute(dtype):
    step = TrainingStep(dtype)
    before = step.bytes()
    graph = capture(step)
    assert step.bytes() == before
    assert len(graph) == len(step.OPERATIONS)
    assert tuple(graph.operations) == step.OPERATIONS


def test_replay_is_bit_identical_to_eager_runs(dtype, threads):
    eager, captured = TrainingStep(dtype), TrainingStep(dtype)
    graph = capture(captured)
    for n in (1, 2, 9):
        for _ in range(n):
            eager()
        graph.replay(n)
        assert captured.bytes() == eager.bytes()
    assert captured.cursor == 12 * step_batch(captured)
    assert captured.count == 12


def step_batch(step):
    return len(step.x_batch)


def test_replay_does_not_depend_on_the_number_of_threads(dtype, threads):
    step = TrainingStep(dtype)
    capture(step).replay(10)
    steepest.set_num_threads(1)
    alone = TrainingStep(dtype)
    capture(alone).replay(10)
    assert step.bytes() == alone.bytes()


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("name", cases.CASES)
def test_every_kernel(name, large, threads):
    for dtype in DTYPES:
        eager, captured = cases.make(name, dtype, large), cases.make(name, dtype, large)
        before = captured.bytes()
        with steepest.capture() as graph:
            captured.run()
        # The gradient of a convolution's input is a transposed convolution of its own.
        assert len(graph) == (2 if name.startswith("conv2d_backward") else 1)
        assert captured.bytes() == before
        for _ in range(2):
            eager.run()
            graph.replay()
            assert captured.bytes() == eager.bytes()


def test_outputs_are_allocated_at_capture_and_filled_by_replay(rng, dtype):
    x, w = rng.standard_normal((7, 5)).astype(dtype), rng.standard_normal((5, 3)).astype(dtype)
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    with steepest.capture() as graph:
        y = K.linear(x, w)
        loss, d_y = K.softmax_cross_entropy(y, labels)
        _, d_w, _ = K.linear_backward(d_y, x, w)
        bits = K.random_bits(5, seed=3)
    graph.replay()
    assert y.tobytes() == K.linear(x, w).tobytes()
    expected, d_expected = K.softmax_cross_entropy(K.linear(x, w), labels)
    assert loss == expected
    assert d_w.tobytes() == K.linear_backward(d_expected, x, w)[1].tobytes()
    assert bits.tolist() == K.random_bits(5, seed=3).tolist()


@pytest.mark.not_on_gpu("CuPy's arrays can always be written")
def test_arrays_made_read_only_after_the_capture(rng, dtype):
    """A replay raises an error, and writes nothing, if one of its outputs has become read-only."""
    x, given = rng.standard_normal((7, 5)).astype(dtype), np.full((7, 5), -77.25, dtype)
    with steepest.capture() as graph:
        K.relu(x, out=given)
        made = K.tanh(x)
    for array in (given, made):
        array.flags.writeable = False
        for run in (graph.replay, lambda: graph.profile(1)):
            with pytest.raises(
                ValueError, match=r"^\[\w+\] an array that the graph writes has been made read-only$"
            ):
                run()
        assert (given == -77.25).all()
        array.flags.writeable = True
    x.flags.writeable = False
    graph.replay()
    assert (given == np.maximum(x, 0)).all()


def test_inputs_are_read_when_the_graph_runs(rng):
    x, w = rng.standard_normal((4, 3)), rng.standard_normal((3, 2))
    with steepest.capture() as graph:
        y = K.matmul(x, w)
    for _ in range(3):
        x += 1.0
        graph.replay()
        assert y.tobytes() == K.matmul(x, w).tobytes()


def test_scalar_arrays_are_read_at_run_time_and_numbers_are_frozen():
    p, g = np.zeros(3), np.ones(3)
    lr, frozen = np.array(1.0), 1.0
    with steepest.capture() as graph:
        K.sgd_update(p, g, lr=lr)
    with steepest.capture() as graph_frozen:
        K.sgd_update(p, g, lr=frozen)
    graph.replay()
    lr[...] = 10.0
    frozen = 10.0
    graph.replay()
    assert p.tolist() == [-11.0] * 3
    graph_frozen.replay()
    assert p.tolist() == [-12.0] * 3


def test_cursor_and_step_are_read_at_run_time():
    x, indices = np.arange(10.0), np.arange(10)[::-1].copy()
    cursor, count, out = np.array(0), np.array(0), np.empty(2)
    p, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
    with steepest.capture() as graph:
        K.take_rows(x, indices, out=out, start=cursor)
        K.increment(cursor, 2)
        K.increment(count)
        K.adam_update(p, np.ones(1), m, v, count, lr=1.0, eps=0.0)
    graph.replay(3)
    assert out.tolist() == [5.0, 4.0]
    cursor[...] = 8
    graph.replay()
    assert out.tolist() == [1.0, 0.0]
    assert count == 4
    # A constant gradient of 1 gives m_hat = v_hat = 1 at every step if and only if the step number is right.
    np.testing.assert_allclose(p, -4.0, rtol=1e-14)


def test_graph_keeps_its_arrays_alive_and_lets_them_go(rng):
    x, w = rng.standard_normal((300, 200)), rng.standard_normal((200, 100))
    expected = K.matmul(x, w)
    references = [weakref.ref(x), weakref.ref(w)]
    with steepest.capture() as graph:
        hidden = K.matmul(x, w)
        out = K.relu(hidden)
    references.append(weakref.ref(hidden))
    del x, w, hidden
    gc.collect()
    rubbish = [np.full((300, 200), np.nan) for _ in range(20)]
    graph.replay()
    assert (out == np.maximum(expected, 0.0)).all()
    assert all(r() is not None for r in references)
    del graph, rubbish
    gc.collect()
    assert all(r() is None for r in references)


def test_exception_discards_the_capture(rng):
    x = rng.standard_normal((4, 4))
    with pytest.raises(ZeroDivisionError), steepest.capture():  # noqa: PT012 (the block is what is tested)
        K.relu(x)
        _ = 1 // 0
    # Calls run immediately again, and the next capture starts empty.
    assert (K.relu(x) == np.maximum(x, 0.0)).all()
    with steepest.capture() as graph:
        K.relu(x)
    assert len(graph) == 1


def test_bad_arguments_are_found_at_capture():
    with pytest.raises(ValueError, match=r"^\[matmul\] "), steepest.capture():
        K.matmul(np.ones((2, 3)), np.ones((2, 3)))
    assert K.matmul(np.ones((1, 2)), np.ones((2, 1))) == 2.0


def test_nested_capture_is_an_error():
    with pytest.raises(ValueError, match="captur"), steepest.capture(), steepest.capture():
        pass
    assert K.relu(np.array([-1.0])) == 0.0
    with steepest.capture() as graph:
        K.relu(np.array([-1.0]))
    assert len(graph) == 1


def test_capture_belongs_to_its_python_thread():
    results = []
    other = threading.Thread(target=lambda: results.append(K.relu(np.array([-2.0, 3.0])).tolist()))
    with steepest.capture() as graph:
        other.start()
        other.join()
        K.relu(np.ones(3))
    assert results == [[0.0, 3.0]]
    assert len(graph) == 1


def test_permutation_refuses_to_be_captured():
    # permutation sorts random keys in Python, which do not exist yet during a capture.
    with pytest.raises((RuntimeError, ValueError), match=r"^\[permutation\] "), steepest.capture():
        K.permutation(50, seed=1)


def test_empty_graph_and_number_of_replays():
    with steepest.capture() as empty:
        pass
    assert len(empty) == 0
    empty.replay(3)
    counter = np.array(0)
    with steepest.capture() as graph:
        K.increment(counter)
    graph.replay(0)
    assert counter == 0
    graph.replay(12345)
    assert counter == 12345
    with pytest.raises(ValueError, match="replay"):
        graph.replay(-1)
    assert counter == 12345


def test_replay_inside_capture_is_an_error():
    counter = np.array(0)
    with steepest.capture() as graph:
        K.increment(counter)
    with pytest.raises((RuntimeError, ValueError), match="captur"), steepest.capture():
        graph.replay()
    assert counter == 0


# ------------------------------------------------------------------------------------- stopping in a replay


def test_label_error_stops_the_step(dtype, threads):
    step, eager = TrainingStep(dtype), TrainingStep(dtype)
    graph = capture(step)
    # The fourth step reads the bad label, at row 5 of its batch.
    step.y[step.indices[3 * step_batch(step) + 5]] = 12
    with pytest.raises(ValueError, match=r"^\[softmax_cross_entropy\] label 12 at row 5 is outside 0\.\.9"):
        graph.replay(10)
    for _ in range(3):
        eager()
    assert step.parameter_bytes() == eager.parameter_bytes()
    assert step.count == 3


def test_index_error_stops_the_step(dtype, threads):
    step, eager = TrainingStep(dtype), TrainingStep(dtype)
    graph = capture(step)
    step.indices[2 * step_batch(step) + 7] = len(step.x)
    last = len(step.x) - 1
    with pytest.raises(
        IndexError, match=rf"^\[take_rows\] index {last + 1} at position .* is outside 0\.\.{last}"
    ):
        graph.replay(10)
    for _ in range(2):
        eager()
    assert step.parameter_bytes() == eager.parameter_bytes()
    assert step.x_batch.tobytes() == eager.x_batch.tobytes()
    assert step.cursor == eager.cursor


def test_cursor_past_the_end_is_an_error():
    x, cursor, out = np.arange(10.0), np.array(0), np.empty(4)
    with steepest.capture() as graph:
        K.take_rows(x, np.arange(10), out=out, start=cursor)
        K.increment(cursor, 4)
    with pytest.raises((IndexError, ValueError), match=r"^\[take_rows\] "):
        graph.replay(3)
    assert out.tolist() == [4.0, 5.0, 6.0, 7.0]
    assert cursor == 8


def test_divergence_names_the_step_and_leaves_the_parameters(dtype, threads):
    step, eager = TrainingStep(dtype), TrainingStep(dtype)
    graph = capture(step)
    step.x[step.indices[3 * step_batch(step) + 1], 0] = np.nan
    with pytest.raises(steepest.DivergenceError, match=r"^\[require_finite\] .* nan") as caught:
        graph.replay(10)
    assert caught.value.step == 3
    assert np.isnan(step.loss)
    for _ in range(3):
        eager()
    assert step.parameter_bytes() == eager.parameter_bytes()
    assert step.count == 3
    # The graph works again once the data are valid.
    step.x[...] = eager.x
    step.cursor[...] = eager.cursor
    graph.replay(2)
    eager()
    eager()
    assert step.parameter_bytes() == eager.parameter_bytes()


def test_divergence_counts_steps_within_one_replay(rng):
    value, growth = np.array(1.0), np.array(1e150)
    with steepest.capture() as graph:
        K.require_finite(value)
        K.accumulate(value, growth, scale=1e150)
        K.accumulate(growth, growth, scale=1e3)
    graph.replay(1)
    with pytest.raises(steepest.DivergenceError, match=r"^\[require_finite\] .* inf") as caught:
        graph.replay(100)
    # The first step adds 1e300, and each later step adds 1e3 times more. The fourth step overflows; the fifth step,
    # step 3 of the second replay, detects it.
    assert caught.value.step == 3


# ---------------------------------------------------------------------------------------------- concurrency


def test_two_python_threads_replay_at_once(dtype, threads):
    expected = TrainingStep(dtype)
    for _ in range(11):
        expected()
    steps = [TrainingStep(dtype) for _ in range(2)]
    graphs = [capture(s) for s in steps]
    failures = []

    def work(graph):
        try:
            for _ in range(11):
                graph.replay()
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(g,)) for g in graphs]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert failures == []
    for s in steps:
        assert s.bytes() == expected.bytes()


# -------------------------------------------------------------------------------------------------- profile


def test_profile_lists_every_operation():
    step = TrainingStep(np.float32)
    graph = capture(step)
    table = str(graph.profile(n=5))
    for word in ("operation", "calls", "share", "GFLOP/s", "GB/s"):
        assert word in table
    for name in set(step.OPERATIONS):
        assert any(line.split()[0] == name for line in table.splitlines() if line.split()), name


def test_capture_takes_a_time_proportional_to_the_operations():
    """Eight times as many operations would take 64 times as long if each were compared with all earlier ones."""

    def seconds(n):
        arrays = [np.ones((2, 2)) for _ in range(n)]
        start = time.process_time()
        with steepest.capture():
            for a in arrays:
                K.relu(a, out=a)
        return time.process_time() - start

    few = min(seconds(1000) for _ in range(3))
    assert min(seconds(8000) for _ in range(2)) < 24 * few


@pytest.mark.parametrize("method", ["replay", "profile"])
def test_numbers_of_steps(method):
    counter = np.array(0)
    with steepest.capture() as graph:
        K.increment(counter)
    getattr(graph, method)(np.int32(3))
    assert counter == 3
    for bad in (1.5, "3", None, -1, 2**70, np.array(2)):
        with pytest.raises((TypeError, ValueError), match=rf"^\[{method}\] n "):
            getattr(graph, method)(bad)
    assert counter == 3
