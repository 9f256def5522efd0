"""Replays and the rest of the process: the interpreter lock, Ctrl-C, and forked children."""

from __future__ import annotations

import pytest
from backends import run_python

pytestmark = pytest.mark.cpu_only("its fresh interpreters compute on the CPU")

PREAMBLE = """
import multiprocessing, os, signal, threading, time
import numpy as np
import steepest
from steepest import kernels as K
from training_step import TrainingStep
"""


def test_replay_releases_the_interpreter_lock():
    # The replay would take hours; only another Python thread, which needs the lock, can end it.
    run_python(
        PREAMBLE
        + """
value = np.array(1.0)
with steepest.capture() as graph:
    K.matmul(np.ones((32, 32)), np.ones((32, 32)))
    K.require_finite(value)
def stop():
    value[...] = np.nan
threading.Timer(0.2, stop).start()
try:
    graph.replay(10**9)
except steepest.DivergenceError as error:
    assert error.step > 0
else:
    raise SystemExit("replayed to the end")
"""
    )


def test_keyboard_interrupt_stops_a_replay_between_operations():
    for threads in (1, 2):
        run_python(
            PREAMBLE
            + f"steepest.set_num_threads({threads})"
            + """
a = np.ones((64, 64), np.float32)
first, last = np.array(0), np.array(0)
with steepest.capture() as graph:
    K.increment(first)
    b = K.matmul(a, a)
    K.increment(last)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    graph.replay(10**9)
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("not interrupted")
# It stops between two operations: each one has run to its end, or not at all.
assert 0 < last <= first <= last + 1 < 10**9, (first, last)
before = int(last)
graph.replay(3)
assert last == before + 3
assert (b == 64).all() and (K.matmul(a, a) == 64).all()
"""
        )


def test_a_signal_handler_that_returns_does_not_stop_a_replay():
    run_python(
        PREAMBLE
        + """
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
value, counter = np.array(1.0), np.array(0)
with steepest.capture() as graph:
    K.require_finite(value)
    K.increment(counter)
    K.matmul(np.ones((32, 32)), np.ones((32, 32)))
def send():
    os.kill(os.getpid(), signal.SIGUSR1)
    # Long enough for a replay to look at its signals, whatever the machine is busy with.
    for _ in range(2000):
        if seen:
            break
        time.sleep(0.01)
    value[...] = np.nan
threading.Timer(0.1, send).start()
try:
    graph.replay(10**9)
except steepest.DivergenceError:
    pass
assert seen == [1]
"""
    )


def test_forked_child_runs_kernels_and_graphs():
    run_python(
        PREAMBLE
        + """
steepest.set_num_threads(2)
step, eager = TrainingStep(np.float32), TrainingStep(np.float32)
with steepest.capture() as graph:
    step()
graph.replay(2)
a = np.random.default_rng(0).standard_normal((600, 500))
expected = K.matmul(a, a.T)
for _ in range(5):
    eager()

def child(queue):
    assert (K.matmul(a, a.T) == expected).all()
    graph.replay(3)
    queue.put(step.bytes() == eager.bytes())

context = multiprocessing.get_context("fork")
queue = context.Queue()
for _ in range(2):
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=30)
    process.join(30)
    assert process.exitcode == 0
# The parent goes on with its own threads.
graph.replay(3)
assert step.bytes() == eager.bytes()
""",
        PYTHONWARNINGS="ignore::DeprecationWarning",  # Python 3.12 warns of forks in a process with threads
    )


def test_fork_before_the_first_kernel():
    run_python(
        PREAMBLE
        + """
def child():
    steepest.set_num_threads(2)
    a = np.ones((600, 500))
    assert (K.matmul(a, a.T) == 500).all()

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(30)
assert process.exitcode == 0
"""
    )


@pytest.mark.not_when_slow("the busy programs take the processor time")
def test_replay_beside_busy_programs_gives_the_same_bits():
    # Busy processors delay the thread team, so the replay switches between the team and one thread after steps.
    run_python(
        PREAMBLE
        + """
import subprocess, sys
code = "import os; parent = os.getppid()\\nwhile os.getppid() == parent: pass"  # it ends with this process
busy = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2 * os.cpu_count())]
try:
    results = []
    for threads in (1, 3):
        steepest.set_num_threads(threads)
        step = TrainingStep(np.float32)
        with steepest.capture() as graph:
            step()
        for _ in range(100):
            step.cursor[...] = 0
            graph.replay(12)
        results.append(step.bytes())
finally:
    for process in busy:
        process.kill()
        process.wait()
assert int(step.count) == 1200
assert results[0] == results[1]
"""
    )
