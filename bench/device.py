"""The devices of the benchmarks, the CPU and CUDA: arrays, clocks and descriptions.

Benchmarks are written once for all devices. A device provides `xp` (NumPy or CuPy), `tensor` for PyTorch, and
`seconds`, the clock. On CUDA events on the current stream measure time; CuPy, PyTorch and this package share this
stream. A contestant that computes elsewhere (JAX's own streams, the CPU) has a function `wait`, and the host's clock is
read once `wait` returns.
"""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import time

import numpy as np

DEVICES = ("cpu", "cuda")
# To empty the caches, this many times their size is read, not written, since kernels would have to write back modified
# lines first.
FLUSH = 4
_CLOCKS = ("clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "temperature.gpu")


def to_host(value) -> np.ndarray:
    """Convert an array of any of the libraries to a NumPy array."""
    if hasattr(value, "detach"):
        return value.detach().double().cpu().numpy()  # PyTorch; NumPy has no bfloat16
    if hasattr(value, "get"):
        return value.get()  # CuPy
    return np.asarray(value)


def host_seconds(contestant, calls: int) -> float:
    """Wall time in seconds of `calls` calls and of waiting for them."""
    call, wait = contestant.call, contestant.wait
    start = time.perf_counter()
    for _ in range(calls):
        call()
    if wait is not None:
        wait()
    return time.perf_counter() - start


def forget_compiled() -> None:
    """Drop PyTorch's compiled functions, since it limits the number of versions of each function."""
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()


class Cpu:
    """The CPU: calls return when they are done, and the host's clock measures time."""

    name = "cpu"
    library = ("NumPy", "numpy")  # name of `xp` as a contestant, and its name in `Peers`
    compute = "cpu"  # `device=` of the networks and estimators of this package
    l2_bytes = 0

    def __init__(self):
        self.xp = np

    def tensor(self, torch, array: np.ndarray):
        """A PyTorch tensor with a copy of the array."""
        return torch.from_numpy(array.copy())

    def wait(self) -> None:
        """Wait for all work on the device."""

    def release(self) -> None:
        """Free the memory that the contestants of a case used."""
        forget_compiled()

    def clock(self, contestant, cold: bool) -> str:
        """A text that says how a contestant is timed."""
        return "host"

    def seconds(self, contestant, calls: int, cold: bool = False) -> float:
        """The time of `calls` calls in seconds; on CUDA `cold` empties the caches before each call."""
        return host_seconds(contestant, calls)

    def describe(self) -> dict[str, object]:
        """Entries of a row that describe a device other than the CPU."""
        return {}


class Cuda:
    """CuPy's current device; `cupy` is the module, or a fake with the same interface in tests."""

    name = "cuda"
    library = ("CuPy", "cupy")

    def __init__(self, cupy, compute: str = "cuda"):
        self.xp = cupy
        self.compute = compute
        self.runtime = cupy.cuda.runtime
        self.properties = self.runtime.getDeviceProperties(self.runtime.getDevice())
        self.l2_bytes = int(self.properties["l2CacheSize"])
        self._large = cupy.ones(FLUSH * self.l2_bytes // 4, np.float32)
        self._sum = cupy.zeros((), np.float32)

    def tensor(self, torch, array: np.ndarray):
        return torch.from_numpy(array).to(self.compute, copy=True)

    def wait(self) -> None:
        self.runtime.deviceSynchronize()
        import steepest

        steepest.synchronize()  # raises pending errors of operations

    def release(self) -> None:
        forget_compiled()
        gc.collect()
        self.xp.get_default_memory_pool().free_all_blocks()
        if "torch" in sys.modules and self.compute == "cuda":
            sys.modules["torch"].cuda.empty_cache()

    def clock(self, contestant, cold: bool) -> str:
        if contestant.wait is not None:
            return "host"
        return "events, caches emptied" if cold else "events"

    def seconds(self, contestant, calls: int, cold: bool = False) -> float:
        self.wait()
        if contestant.wait is not None:
            return host_seconds(contestant, calls)
        spans = self._each(contestant.call, calls) if cold else [self._all(contestant.call, calls)]
        spans[-1][1].synchronize()
        return 1e-3 * sum(self.xp.cuda.get_elapsed_time(start, end) for start, end in spans)

    def _all(self, call, calls: int):
        """Events before and after all calls."""
        start, end = self.xp.cuda.Event(), self.xp.cuda.Event()
        start.record()
        for _ in range(calls):
            call()
        end.record()
        return start, end

    def _each(self, call, calls: int):
        """Events before and after each call; emptying the caches gives the host time to launch ahead."""
        spans = [(self.xp.cuda.Event(), self.xp.cuda.Event()) for _ in range(calls)]
        for start, end in spans:
            self.xp.sum(self._large, out=self._sum)
            start.record()
            call()
            end.record()
        return spans

    def describe(self) -> dict[str, object]:
        name = self.properties["name"]
        return {
            "device": name.decode() if isinstance(name, bytes) else str(name),
            "gpu": {
                "capability": f"{self.properties['major']}.{self.properties['minor']}",
                "multiprocessors": self.properties["multiProcessorCount"],
                "l2_bytes": self.l2_bytes,
                "driver": self.runtime.driverGetVersion(),
                "runtime": self.runtime.runtimeGetVersion(),
                **clocks(),
            },
        }


def clocks() -> dict[str, str]:
    """Clock rates from nvidia-smi; empty if it is missing."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_CLOCKS)}", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        values = done.stdout.splitlines()[0].split(",")
        return dict(zip(_CLOCKS, (v.strip() for v in values), strict=True))
    return {}


def open_device(name: str):
    """Return the device with this name, or raise a RuntimeError that says what is missing."""
    if name == "cpu":
        return Cpu()
    from steepest._runtime import backends

    if problem := backends.cuda_problem():
        raise RuntimeError(f"CUDA is not available: {problem}")
    return Cuda(backends.import_cupy())
