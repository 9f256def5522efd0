"""Ctrl-C, the end of the process, and other threads at unexpected moments of captures, replays and long kernels."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from backends import run_python

import steepest
from steepest import _cpu
from steepest import kernels as K

pytestmark = pytest.mark.cpu_only("its threads and fresh interpreters compute on the CPU")

PREAMBLE = """
import os, signal, threading, time
import numpy as np
import steepest
from steepest import _cpu, kernels as K

x = np.ones((300, 300), np.float32)
with steepest.capture() as graph:
    y = K.matmul(x, x)

def interrupt_after(seconds):
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
"""


# ------------------------------------------------------------------------------------------------ captures


def capture_and_wait():
    """A generator that pauses inside a capture."""
    with steepest.capture() as graph:
        K.relu(np.ones(3))
        yield graph


def on_another_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_an_interrupt_at_any_moment_of_a_capture_ends_it():
    run_python(
        PREAMBLE
        + """
z, rng, interrupts = np.ones(3), np.random.default_rng(0), 0
signal.signal(signal.SIGALRM, signal.default_int_handler)
# After twice the time of the loop's body at most, when it has begun.
for _ in range(3000):
    try:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 60e-6))
        for _ in range(20):
            with steepest.capture() as g:
                K.relu(z)
            assert len(g) == 1
        time.sleep(1)
    except KeyboardInterrupt:
        interrupts += 1
        assert not _cpu.is_capturing()
        assert (K.relu(z) == 1).all()
assert interrupts == 3000
"""
    )


@pytest.mark.parametrize("end", ["close", "forget"])
def test_a_capture_may_end_on_another_thread(end):
    captures = [capture_and_wait()]
    graph = next(captures[0])
    assert _cpu.is_capturing()
    on_another_thread(captures[0].close if end == "close" else captures.clear)
    assert not _cpu.is_capturing()
    assert K.relu(np.array([-1.0, 2.0])).tolist() == [0.0, 2.0]
    assert len(graph) == 0  # the capture block was not completed
    with steepest.capture() as graph:
        y = K.relu(np.array([-1.0, 3.0]))
    graph.replay()
    assert y.tolist() == [0.0, 3.0]


def test_a_capture_that_another_thread_ends_while_a_new_one_has_begun():
    first = capture_and_wait()
    next(first)
    on_another_thread(first.close)
    second = capture_and_wait()
    next(second)
    on_another_thread(first.close)  # closes it a second time
    assert _cpu.is_capturing()
    second.close()
    assert not _cpu.is_capturing()


def test_a_thread_that_ends_within_a_capture():
    captures = []

    def begin():
        captures.append(capture_and_wait())
        next(captures[0])

    on_another_thread(begin)
    assert not _cpu.is_capturing()
    captures.clear()
    assert K.relu(np.array([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_a_recording_that_nobody_holds_is_recorded_no_more():
    _cpu.begin_capture(_cpu.Graph())
    assert not _cpu.is_capturing()
    assert K.relu(np.array([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_a_capture_is_entered_once():
    capture = steepest.capture()
    with capture:
        pass
    with pytest.raises(ValueError, match=r"^\[capture\] a capture can be entered only once"), capture:
        pass
    assert not _cpu.is_capturing()


# ------------------------------------------------------------------------------------------------ long work


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "call",
    [
        "K.matmul(wide, wide.T)",
        "K.linear_backward(wide.T, wide.T, np.ones((2000, 2000)), input_grad=False)",
        "K.second_moment(wide.T)",
        "K.gradient_gram(wide, wide)",
        "K.class_scatter(wide.T, None, np.zeros((1, 2000)))",
        "K.linear_sgd(wide.T[:, :9], labels, np.zeros((9, 3)), None, np.array(0), lr=0.1, order=order)",
        "graph.profile(10**7)",
        "graph.replay(10**9)",
    ],
)
def test_ctrl_c_ends_what_would_take_minutes(call, threads):
    run_python(
        PREAMBLE
        + f"""
steepest.set_num_threads({threads})
wide = np.broadcast_to(np.ones((2000, 1)), (2000, 1_000_000))  # without memory of its own
labels, order = np.broadcast_to(1, 10**6), np.broadcast_to(0, 10**9)
interrupt_after(0.2)
began = time.monotonic()
try:
    {call}
except KeyboardInterrupt:
    took = time.monotonic() - began
else:
    raise SystemExit("not interrupted")
assert 0.2 <= took < 2, took
assert (K.matmul(x, x) == 300).all()
graph.replay(2)
assert (y == 300).all()
"""
    )


@pytest.mark.not_when_slow("it compares running times")
def test_only_the_main_thread_looks_for_signals():
    # If a replay on another thread took the interpreter lock to check for signals, it would wait for the main thread.
    run_python(
        PREAMBLE
        + """
steepest.set_num_threads(1)
count = np.array(0)
with steepest.capture() as counting:
    K.increment(count)
    K.matmul(x, x)

def seconds(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began

steps = int(0.15 * 100 / seconds(lambda: counting.replay(100)))
numbers = int(0.8 * 10**6 / seconds(lambda: sum(range(10**6))))
count[...] = 0
thread = threading.Thread(target=counting.replay, args=(steps,))
thread.start()
while count == 0:
    time.sleep(0.001)
sum(range(numbers))  # one call, which does not let the lock go
assert count == steps, (count, steps)
thread.join()
"""
    )


# ------------------------------------------------------------------------------------------ exits of a process


@pytest.mark.parametrize(
    "work",
    ["graph.replay(10**9)", "graph.profile(10**9)", "while True: K.matmul(x, x)"],
    ids=["replay", "profile", "calls"],
)
def test_a_process_ends_while_a_daemon_thread_computes(work):
    run_python(
        PREAMBLE
        + f"""
def compute():
    {work}
threading.Thread(target=compute, daemon=True).start()
time.sleep(0.1)
"""
    )


def test_a_subinterpreter_is_refused():
    run_python(
        """
try:
    import _xxsubinterpreters as interpreters
except ModuleNotFoundError:  # Python 3.13
    import _interpreters as interpreters
code = '''
try:
    import steepest
except ImportError as error:
    assert "interpreter" in str(error), error
else:
    raise SystemExit("it was imported")
'''
failure = interpreters.run_string(interpreters.create(), code)
assert not failure, failure
import steepest, numpy
assert steepest.kernels.relu(numpy.ones(2)).tolist() == [1, 1]
"""
    )
