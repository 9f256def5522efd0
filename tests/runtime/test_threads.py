"""The number of threads: one setting, which all kernels respect and which changes no result."""

from __future__ import annotations

import os
import threading

import cases
import numpy as np
import pytest
from backends import DTYPES, THREADS, run_python

import steepest
from steepest import _cpu

pytestmark = pytest.mark.cpu_only("threads are the CPU's")

PRINT = "import steepest; print(steepest.get_num_threads())"


def test_every_kernel_has_a_case():
    named = {name.split("/")[0] for name in cases.CASES}
    assert named | cases.WITHOUT_OUTPUT | cases.COMPOSED == cases.kernel_names()


@pytest.mark.parametrize("name", cases.CASES)
def test_results_do_not_depend_on_the_number_of_threads(name):
    before = steepest.get_num_threads()
    try:
        for dtype in DTYPES:
            results = []
            for n in (*THREADS, 7):
                steepest.set_num_threads(n)
                case = cases.make(name, dtype, large=True)
                untouched = case.bytes()
                case.run()
                results.append(case.bytes())
                assert all(a != b for a, b in zip(results[-1], untouched, strict=True))
            assert all(r == results[0] for r in results)
    finally:
        steepest.set_num_threads(before)


def test_setting(threads):
    assert steepest.get_num_threads() == threads


@pytest.mark.parametrize("bad", [0, -1, -100])
def test_less_than_one_thread_is_refused(bad):
    before = steepest.get_num_threads()
    with pytest.raises(ValueError, match="thread"):
        steepest.set_num_threads(bad)
    assert steepest.get_num_threads() == before


@pytest.mark.parametrize("bad", [1.5, "two", None])
def test_number_of_threads_is_an_integer(bad):
    with pytest.raises(TypeError, match=r"^\[set_num_threads\] n must be an integer"):
        steepest.set_num_threads(bad)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_environment_variable(n):
    assert run_python(PRINT, OMP_NUM_THREADS=str(n)).stdout.split() == [str(n)]


@pytest.mark.parametrize("text", ["", "many", "0", "-4"])
def test_meaningless_environment_variable_means_all_processors(text):
    assert run_python(PRINT, OMP_NUM_THREADS=text).stdout == run_python(PRINT).stdout


def test_setting_outranks_the_environment():
    code = "import steepest; steepest.set_num_threads(2); print(steepest.get_num_threads())"
    assert run_python(code, OMP_NUM_THREADS="3").stdout.split() == ["2"]


def test_threadpoolctl_limits_and_lists():
    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    run_python(
        """
import steepest
from threadpoolctl import threadpool_info, threadpool_limits
import steepest.kernels
steepest.set_num_threads(3)
mine = [pool for pool in threadpool_info() if "steepest" in pool["internal_api"]]
assert len(mine) == 1, threadpool_info()
assert mine[0]["num_threads"] == 3
with threadpool_limits(1):
    assert steepest.get_num_threads() == 1
assert steepest.get_num_threads() == 3
"""
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_a_thread_leaves_an_occupied_processor():
    """The scheduler may wake a worker on its caller's processor; there, a team is as slow as one thread."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("a single processor")
    left = []

    def leave():
        for _ in range(20):
            here = _cpu.current_processor()
            _cpu.leave_processor(here)
            # The system may move the thread back at any time.
            left.append(_cpu.current_processor() != here)
            assert os.sched_getaffinity(0) == allowed
        os.sched_setaffinity(0, {here})
        _cpu.leave_processor(here)
        left.append(os.sched_getaffinity(0) == {here})

    worker = threading.Thread(target=leave)
    worker.start()
    worker.join()
    assert left[-1], "a thread with a single processor stays there"
    assert sum(left[:-1]) > 10


def test_kernels_in_two_python_threads():
    names = ["matmul", "linear_backward", "softmax_cross_entropy", "sum/axis=None", "adam_update"]
    expected = {}
    for name in names:
        case = cases.make(name, np.float32, large=True)
        case.run()
        expected[name] = case.bytes()
    wrong = []

    def work():
        for _ in range(3):
            for name in names:
                case = cases.make(name, np.float32, large=True)
                case.run()
                if case.bytes() != expected[name]:
                    wrong.append(name)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert wrong == []
