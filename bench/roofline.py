"""The roofline of this machine, measured in the same run as the benchmarks and without steepest.

Peak: `roofline.c`, compiled with the machine's C compiler, runs independent chains of multiply-adds from registers on
all threads, so the figure reflects the clock under load. Bandwidth: the fastest of two copies and an update in place,
on all threads, within a working set of the case's size (which gives the bandwidth of a cache that it fits); bytes read
and written both count. Without a C compiler the peak comes from a large product of NumPy or PyTorch, which is lower,
and the copy is NumPy's. Each row says which method was used.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bench.environment import compiled_library

SOURCE = Path(__file__).with_name("roofline.c")
TRAFFIC = ("copy_library", "copy_vectors", "update_in_place")


def compile_probe(folder: str) -> ctypes.CDLL | None:
    """The library compiled from roofline.c, or None if no compiler can build it."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        library = compiled_library(SOURCE, Path(folder), "-O3", "-march=native")
    except RuntimeError:
        return None
    probe = ctypes.CDLL(str(library))
    probe.multiply_add.restype = ctypes.c_int64
    probe.multiply_add.argtypes = [ctypes.c_int64, ctypes.c_void_p]
    for name in TRAFFIC:
        getattr(probe, name).restype = None
        getattr(probe, name).argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    return probe


class Bound(NamedTuple):
    """Lower bound of a job's time in seconds, the limiting resource, and the measured rates (0: not measured)."""

    seconds: float
    by: str
    gflops: float
    gbps: float

    def describe(self) -> dict[str, object]:
        rates = {"gflops": self.gflops, "gbps": self.gbps}
        return {"bound_by": self.by} | {name: float(f"{rate:.4g}") for name, rate in rates.items()}


class Roofline:
    """Peak GFLOP/s (float32) and GB/s with `threads` threads; repeated measurements keep the best."""

    def __init__(self, threads: int, seconds: float = 0.002, samples: int = 15):
        self.threads = threads
        self.seconds = seconds
        self.samples = samples
        self.pool = ThreadPoolExecutor(threads)
        self.folder = tempfile.TemporaryDirectory()
        self.probe = compile_probe(self.folder.name)
        self.method = "multiply-adds from registers" if self.probe else "2048³ product of NumPy or PyTorch"
        self.gflops = 0.0
        self.gbps: dict[int, float] = {}

    def close(self) -> None:
        self.pool.shutdown()
        self.probe = None
        self.folder.cleanup()

    def _together(self, tasks) -> float:
        """Seconds until all tasks, one on each thread, are done."""
        start = time.perf_counter()
        for future in [self.pool.submit(task) for task in tasks]:
            future.result()
        return time.perf_counter() - start

    def _best_rate(self, tasks) -> float:
        """Highest number of repetitions per second of tasks(repetitions), one task on each thread."""
        repetitions = 1
        while min(self._together(tasks(repetitions)) for _ in range(3)) < self.seconds:
            repetitions *= 2
        return max(repetitions / self._together(tasks(repetitions)) for _ in range(self.samples))

    def sample_peak(self) -> float:
        """Measure the peak again; return the highest GFLOP/s seen so far."""
        if self.probe is None:
            if not self.gflops:
                self.gflops = best_product()
            return self.gflops
        sink = np.zeros(self.threads, np.float32)
        sinks = [sink.ctypes.data + 4 * i for i in range(self.threads)]
        flops = self.threads * self.probe.multiply_add(1, sinks[0])

        def tasks(iterations):
            return [partial(self.probe.multiply_add, iterations, s) for s in sinks]

        self.gflops = max(self.gflops, flops * self._best_rate(tasks) / 1e9)
        return self.gflops

    def bandwidth(self, working_set: float) -> float:
        """Highest GB/s, reads plus writes, within a working set of about `working_set` bytes."""
        # Rounded to a power of two, so that similar sizes share a measurement; 16 KiB fits every first-level cache.
        size = 1 << max(14, min(28, round(np.log2(max(1.0, working_set)))))
        each = size // 2 // self.threads // 64 * 64
        self.gbps.setdefault(size, 0.0)
        buffers = [np.zeros(2 * each + 128, np.uint8) for _ in range(self.threads)]
        starts = [b.ctypes.data + (-b.ctypes.data) % 64 for b in buffers]

        def compiled(name, times):
            return [partial(getattr(self.probe, name), s + each, s, each, times) for s in starts]

        def with_numpy(times):
            return [partial(repeat_copy, b, each, times) for b in buffers]

        ways = [partial(compiled, name) for name in TRAFFIC] if self.probe else [with_numpy]
        for tasks in ways:
            rate = 2 * each * self.threads * self._best_rate(tasks)
            self.gbps[size] = max(self.gbps[size], rate / 1e9)
        return self.gbps[size]

    def bound(self, flops: float, moved: float, working_set: float) -> Bound:
        """Lower bound of the time for `flops` operations and `moved` bytes."""
        peak = self.sample_peak() if flops else 0.0
        gbps = self.bandwidth(working_set) if moved else 0.0
        compute = flops / peak / 1e9 if flops else 0.0
        memory = moved / gbps / 1e9 if moved else 0.0
        return Bound(max(compute, memory), "compute" if compute >= memory else "memory", peak, gbps)

    def describe(self, bound: Bound) -> dict[str, object]:
        """The bound as a dict for a row."""
        return bound.describe() | {"method": self.method}


def repeat_copy(buffer: np.ndarray, each: int, times: int) -> None:
    for _ in range(times):
        np.copyto(buffer[each : 2 * each], buffer[:each])


def best_product(n: int = 2048, samples: int = 5) -> float:
    """GFLOP/s of the fastest n x n product of NumPy and PyTorch."""
    a = np.ones((n, n), np.float32)
    products = [lambda: a @ a]
    with contextlib.suppress(ImportError):
        import torch

        t = torch.from_numpy(a)
        products.append(lambda: torch.mm(t, t))
    best = float("inf")
    for product in products:
        for _ in range(samples):
            start = time.perf_counter()
            product()
            best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best / 1e9
