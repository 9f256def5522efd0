"""When the system refuses threads or memory, the result is an error or the same, and everything works afterwards."""

from __future__ import annotations

import os

import pytest
from backends import run_python

from steepest import _cpu

pytestmark = pytest.mark.cpu_only("threads and their memory are the CPU's")

PREAMBLE = """
import contextlib, os, resource, threading
import numpy as np
import steepest
from steepest import kernels as K

def threads():
    return len(os.listdir("/proc/self/task"))

@contextlib.contextmanager
def limited(what, soft):
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)

def address_space(megabytes):
    '''Room for so much more than is in use.'''
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    return limited(resource.RLIMIT_AS, used + (megabytes << 20))
"""


@pytest.mark.not_when_slow("sanitizers reserve the address space")
def test_threads_that_cannot_be_started_are_done_without():
    run_python(
        PREAMBLE
        + """
steepest.set_num_threads(2)
x = np.ones((600, 600), np.float32)
with steepest.capture() as graph:
    y = K.matmul(x, x)
before = threads()
if os.getuid() == 0:  # for whom there is no limit
    os.setgid(65534)
    os.setuid(65534)
with limited(resource.RLIMIT_NPROC, 1):
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        pass
    else:
        raise SystemExit("the limit does not hold")
    for _ in range(3):
        assert (K.matmul(x, x) == 600).all()
        graph.replay(2)
        assert (y == 600).all()
    assert threads() == before
assert (K.matmul(x, x) == 600).all() and threads() == before + 1
"""
    )


def test_small_work_starts_no_thread():
    """Calls and replays of a few microseconds stay on their caller's thread; larger work starts the team."""
    run_python(
        PREAMBLE
        + """
steepest.set_num_threads(4)
before = threads()
for n in (1, 8, 45, 46, 64):
    x = np.ones((n, n), np.float32)
    y = K.matmul(x, x)
    K.relu(x, out=y)
    assert K.explain("matmul", x, x).threads == 1
x = np.ones((46, 46), np.float32)
y = K.matmul(x, x)
with steepest.capture() as graph:
    K.matmul(x, x, out=y)
    K.add(x, y, out=y)
graph.replay(100)
assert threads() == before
x = np.ones((600, 600), np.float32)
assert K.explain("matmul", x, x).threads == 4
K.matmul(x, x)
assert threads() == before + 3
"""
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_threads_follow_the_affinity_mask():
    run_python(
        """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import steepest
assert steepest.get_num_threads() == 1
"""
    )


@pytest.mark.not_when_slow("sanitizers reserve the address space")
def test_a_team_is_as_large_as_there_are_threads():
    run_python(
        PREAMBLE
        + """
steepest.set_num_threads(64)
x = np.ones((600, 600), np.float32)
K.matmul(x[:64], x)
before = threads()
steepest.set_num_threads(400)
with address_space(100):  # a thread's stack takes 8 MB of it
    for _ in range(3):
        assert (K.matmul(x, x) == 600).all()
    some = threads()
assert before <= some < before + 100, (before, some)
assert (K.matmul(x, x) == 600).all()
"""
    )


@pytest.mark.not_when_slow("sanitizers reserve the address space")
def test_no_memory_inside_a_team():
    run_python(
        PREAMBLE
        + """
steepest.set_num_threads(3)
x = np.ones((4, 4_000_000), np.float32)  # a row's scratch memory is 48 MB
out = np.empty_like(x)
with steepest.capture() as graph:
    K.softmax(x, out=out)
z = np.ones((300, 300))
K.matmul(z, z)  # the threads are there
def failing():
    yield "softmax", lambda: K.softmax(x, out=out)
    yield "softmax_backward", lambda: K.softmax_backward(x, x, out=out)
    yield "replay", graph.replay
    yield "profile", lambda: graph.profile(2)
with address_space(24):
    for name, call in failing():
        for _ in range(4):
            try:
                call()
            except MemoryError as error:
                assert str(error).startswith(f"[{name}] "), error
            else:
                raise SystemExit(f"{name} had the memory")
            assert (K.matmul(z, z) == 300).all()
for name, call in failing():
    call()
K.softmax(x, out=out)
assert np.allclose(out, 1 / x.shape[1])
"""
    )


@pytest.mark.parametrize(
    ("cgroups", "files", "expected"),
    [
        ("0::/a/b\n", {}, 0),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, 0),
        ("0::/a/b\n", {"a/b/cpu.max": "250000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "20000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a\n", {"a/cpu.max": "500000 100000\n", "cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/of/the/host\n", {"cpu.max": "200000 100000\n"}, 2),
        ("1:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "150000\n", "cpu/a/cpu.cfs_period_us": "50000\n"}, 3),
        ("1:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "50000\n"}, 0),
        (
            "5:cpu,cpuacct:/\n4:cpuset:/b\n0::/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        (
            "no such thing\n\n3:cpuacct:/\n",
            {"cpu/cpu.cfs_quota_us": "1\n", "cpu/cpu.cfs_period_us": "1\n"},
            0,
        ),
    ],
)
def test_processors_of_a_quota(tmp_path, cgroups, files, expected):
    list_of_groups, mount = tmp_path / "cgroup", tmp_path / "mount"
    list_of_groups.write_text(cgroups)
    for name, text in files.items():
        path = mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert _cpu.processors_of_quota(str(list_of_groups), str(mount)) == expected


def test_no_groups_no_quota(tmp_path):
    assert _cpu.processors_of_quota(str(tmp_path / "cgroup"), str(tmp_path)) == 0
