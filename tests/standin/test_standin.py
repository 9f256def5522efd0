"""Tests of the stand-in for CUDA: it computes what CUDA would, and detects races and other faults in kernels."""

from __future__ import annotations

import ctypes
import signal

import numpy as np
import on_device
import pytest
from backends import STANDIN, STANDIN_DEVICES, load_standin, run_python

from steepest import kernels as K

pytestmark = pytest.mark.skipif(not STANDIN, reason="STEEPEST_STANDIN names no stand-in for the CUDA kernels")

# Kernel with a fault -> pattern of the message, for every order in which its threads run.
FAULTS = {
    "race_read": r"bytes \d+\.\.\d+ .*(no barrier lies between|no thread of the block wrote)",
    "race_overwrite": r"(writes|reads) bytes .* which thread \d+ (read|wrote) at .*: no barrier lies between",
    "race_write": r"writes bytes .* which thread \d+ wrote at .*: no barrier lies between",
    "race_after_shuffle": r"which thread \d+ wrote at selftest.cpp:\d+: no barrier lies between",
    "ended_before_barrier": r"threads 0\.\.95 wait for the barrier at selftest.cpp:\d+; threads 96\.\.127 ended",
    "divergent_barrier": r"thread \d+ is at the barrier at selftest.cpp:\d+, while threads .* wait for the barrier",
    "barrier_or_shuffle": r"threads 0, 32, 64, 96 wait for the barrier .*; threads 1\.\.31, .* of their warp at",
    "index_past_end": r"thread 127 touches item 128 of a SharedArray of 128 at selftest.cpp:\d+",
    "index_negative": r"thread 0 touches item -1 of a SharedArray of 128",
    "vector_past_end": r"touches items \d+\.\.\d+ of a SharedArray of 128",
    "vector_misaligned": r"misaligns an access of 16 bytes to shared memory",
    "too_little_shared": r"takes 1024 bytes, but the launch gave 64",
    "never_written": r"thread 77 reads bytes 308\.\.311 .* which no thread of the block wrote",
    "written_by_earlier_block": r"block \([01],0,0\): .* which no thread of the block wrote",
    "lane_missing": r"threads 32\.\.39, 41\.\.63 wait for the lanes 0xffffffff of their warp",
    "lane_not_in_mask": r"thread \d+ is lane \d+, which the mask 0x0000ffff at .* does not name",
    "source_not_in_mask": r"reads lane 20, which is not in the mask",
    "masks_differ": r"threads 0\.\.15 wait for the lanes 0xffffffff of their warp .*; threads 16\.\.31 ended",
    "copy_read_early": r"reads bytes .*, to which the copy of thread \d+ at selftest.cpp:\d+ is on its way",
    "copy_read_by_another": r"(no thread of the block wrote|no barrier lies between|is on its way)",
    "copy_into_use": r"thread \d+ (reads|writes) bytes .*(no barrier lies between|is on its way)",
    "copy_not_committed": r"thread \d+ ended before its copy of selftest.cpp:\d+ arrived",
    "copy_misaligned": r"copies 16 bytes from a misaligned address",
    "no_threads": r"cannot launch: blocks of 0 threads",
    "too_many_threads": r"cannot launch: blocks of 1056 threads",
    "grid_too_high": r"cannot launch: a grid of \(1,65536,1\) blocks",
    "too_much_shared": r"cannot launch: 102400 bytes of shared memory a block; the device has 101376",
}


@pytest.fixture
def selftest():
    return load_standin().selftest


@pytest.fixture(params=["ascending", "descending", "shuffled"])
def order(request, monkeypatch):
    """Run threads and blocks in a given order."""
    monkeypatch.setenv("STANDIN_ORDER", request.param)
    return request.param


def test_every_fault_is_expected(selftest):
    assert sorted(FAULTS) == selftest.fault_names()


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found(selftest, name, order):
    with pytest.raises(RuntimeError, match=FAULTS[name]) as info:
        selftest.run_fault(name)
    assert str(info.value).startswith("[cuda stand-in] ")
    # The fault does not affect later kernels.
    np.testing.assert_array_equal(selftest.block_sums(np.ones(256)), [128, 128])


def test_race_is_found_by_whoever_comes_second(selftest, monkeypatch):
    texts = []
    for order in ("ascending", "descending"):
        monkeypatch.setenv("STANDIN_ORDER", order)
        with pytest.raises(RuntimeError) as info:
            selftest.run_fault("race_overwrite")
        texts.append(str(info.value))
    assert "writes bytes" in texts[0] and "which thread 0 read" in texts[0]
    assert "reads bytes" in texts[1] and "which thread 127 wrote" in texts[1]


def test_barriers(selftest, order, rng):
    x = rng.integers(-100, 100, 128 * 37).astype(np.float64)
    np.testing.assert_array_equal(selftest.block_sums(x), x.reshape(-1, 128).sum(axis=1))


@pytest.mark.parametrize("blocks", [1, 2, 7, 64])
def test_last_block(selftest, order, rng, blocks):
    x = rng.integers(-100, 100, 10_007).astype(np.float64)
    for _ in range(2):  # the kernel resets its ticket counter to zero
        assert selftest.grid_sum(x, blocks) == x.sum()


def test_warp_collectives(selftest, order):
    t = np.arange(64)
    lane, first = t % 32, t // 32 * 32
    expected = [
        first + 5,
        first + lane // 8 * 8 + (lane + 1) % 8,
        t ^ 3,
        np.where(lane % 16 < 14, t + 2, t),
        np.where(lane % 16 >= 2, t - 2, t),
        np.full(64, sum(1 << i for i in range(0, 32, 3))),
        np.where(t < 32, 2, 1),
        np.where(lane < 16, t ^ 1, t ^ 2),
        np.full(64, 10 + 100),
    ]
    np.testing.assert_array_equal(selftest.warp_collectives(), expected)


def test_warp_barrier(selftest, order):
    x = np.arange(128.0)
    np.testing.assert_array_equal(selftest.reverse_warps(x), x.reshape(-1, 32)[:, ::-1].ravel() + 1)


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 13])
def test_double_buffer(selftest, order, rng, rows):
    x = rng.integers(-100, 100, (10, 128)).astype(np.float32)
    np.testing.assert_array_equal(selftest.column_sums(x, rows), x[:rows].sum(axis=0))


@pytest.mark.parametrize(("bfloat16", "k", "bits"), [(False, 8, 11), (True, 16, 8)])
def test_matrix_instruction(selftest, order, rng, bfloat16, k, bits):
    # Integers that the narrow type represents exactly: every sum is exact.
    a, b = (rng.integers(-(2**7), 2**7, s).astype(np.float32) for s in ((16, k), (k, 8)))
    np.testing.assert_array_equal(selftest.multiply(a, b, bfloat16), a @ b)
    # Other numbers are rounded to nearest before the multiplication.
    a = rng.standard_normal((16, k)).astype(np.float32)
    identity = np.eye(k, 8, dtype=np.float32)
    error = np.abs(selftest.multiply(a, identity, bfloat16) - a[:, :8])
    ulp = 2.0 ** (np.floor(np.log2(np.abs(a[:, :8]))) - (bits - 1))
    assert (error <= ulp / 2).all() and (error > ulp / 8).any()


def test_order_is_checked(selftest, monkeypatch):
    monkeypatch.setenv("STANDIN_ORDER", "backwards")
    with pytest.raises(RuntimeError, match="STANDIN_ORDER is backwards"):
        selftest.block_sums(np.ones(128))


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, ""),
        ({"STANDIN_DEVICES": "0"}, "there is no NVIDIA GPU on this machine"),
        ({"STANDIN_DRIVER_VERSION": "0"}, "there is no NVIDIA driver on this machine"),
        (
            {"STANDIN_DRIVER_VERSION": "12020"},
            "the NVIDIA driver is for CUDA 12.2, but steepest was built with CUDA 13.0",
        ),
    ],
)
def test_devices(monkeypatch, environment, problem):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    info = load_standin().info()
    assert info["problem"].startswith(problem) and bool(info["problem"]) == bool(problem)
    counts = [device["multiprocessors"] for device in info["devices"]]
    assert counts == ([] if problem else list(STANDIN_DEVICES))


def test_the_host_cannot_read_device_memory():
    code = "from backends import load_standin; load_standin().selftest.read_device_memory()"
    done = run_python(code, check=False)
    assert done.returncode == -signal.SIGSEGV
    assert "[cuda stand-in] the host touches device memory, which is for kernels" in done.stderr


def test_kernels_run_when_the_host_waits(cupy):
    x, out = cupy.asarray(np.array([-1.0, 2.0])), cupy.empty(2)
    K.relu(x, out=out)
    assert (out._memory == 77).all()
    del x  # the kernel still holds its memory
    np.testing.assert_array_equal(cupy.asnumpy(out), [0, 2])


def test_memory_that_is_free_holds_poison(cupy):
    x = cupy.asarray(np.ones(4))
    memory = x._memory.view()
    # A view keeps the memory alive; an array made from the bare address does not.
    seen = np.frombuffer((ctypes.c_double * 4).from_address(memory.ctypes.data))
    np.testing.assert_array_equal(seen, 1)
    del x, memory
    float(cupy.asarray(np.array(0.0)))  # wait for the device
    assert np.isnan(seen[1:]).all()


def test_tests_on_a_gpu_can_ask_a_graph_what_they_ask_here():
    offered = {name for name in dir(load_standin().Graph) if not name.startswith("_")}
    assert offered <= set(dir(on_device._Graph))


def test_memory_runs_out():
    code = "from backends import load_standin; import numpy; load_standin().sum(numpy.ones(4))"
    done = run_python(code, check=False, STANDIN_FREE_MEMORY="100")
    assert "MemoryError: [cuda] the device has no memory for" in done.stderr


def test_a_forked_child_is_told_why_it_cannot_compute():
    code = """
import os, sys
from backends import load_standin
import numpy
standin = load_standin()
standin.sum(numpy.ones(4))
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    standin.sum(numpy.ones(4))
except RuntimeError as error:
    print(error)
"""
    done = run_python(code)
    assert done.stdout.startswith("[cuda] CUDA was used before this process was forked")
    assert "get_context('spawn')" in done.stdout
