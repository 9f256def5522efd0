"""Where the contestants compute: the arrays, the clock and the description of the CPU and of a CUDA device.

The benchmarks are written once. What differs comes from the device: `xp` (NumPy or CuPy), `tensor` for
PyTorch, and `seconds`, the clock. CUDA's clock are events on the current stream, which is the same stream
for CuPy, PyTorch and this package; a contestant that computes elsewhere (JAX's own streams, the CPU) brings
`wait`, and the host's clock is read when that has returned.
"""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import time

import numpy as np

DEVICES = ("cpu", "cuda")
# The caches are emptied by reading this many times their size: lines that were written a kernel would have
# to write back first.
FLUSH = 4
_CLOCKS = ("clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "temperature.gpu")


def to_host(value) -> np.ndarray:
    """A NumPy array of an array of any of the libraries."""
    if hasattr(value, "detach"):
        return value.detach().double().cpu().numpy()  # PyTorch; NumPy has no bfloat16
    if hasattr(value, "get"):
        return value.get()  # CuPy
    return np.asarray(value)


def host_seconds(contestant, calls: int) -> float:
    """Wall time of `calls` calls and of waiting for them."""
    call, wait = contestant.call, contestant.wait
    start = time.perf_counter()
    for _ in range(calls):
        call()
    if wait is not None:
        wait()
    return time.perf_counter() - start


def forget_compiled() -> None:
    """Let PyTorch drop what it has compiled: of each function it keeps only a few versions."""
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()


class Cpu:
    """Calls return when they are done, and the host's clock is read."""

    name = "cpu"
    library = ("NumPy", "numpy")  # that of `xp` as a contestant, and as `Peers` knows it
    compute = "cpu"  # `device=` of the networks and estimators of this package
    l2_bytes = 0

    def __init__(self):
        self.xp = np

    def tensor(self, torch, array: np.ndarray):
        """A PyTorch tensor of its own memory."""
        return torch.from_numpy(array.copy())

    def wait(self) -> None:
        """Until all that was started is done."""

    def release(self) -> None:
        """Free what the contestants of a case held."""
        forget_compiled()

    def clock(self, contestant, cold: bool) -> str:
        """How a contestant is timed, in words."""
        return "host"

    def seconds(self, contestant, calls: int, cold: bool = False) -> float:
        """The time of `calls` calls; `cold` with the caches emptied before each, on CUDA."""
        return host_seconds(contestant, calls)

    def describe(self) -> dict[str, object]:
        """What a row says of the device besides the CPU."""
        return {}


class Cuda:
    """CuPy's current device. `cupy` is the module, or in the tests one that looks like it."""

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

        steepest.synchronize()  # raises what an operation found wrong

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
        """The events before and after all calls."""
        start, end = self.xp.cuda.Event(), self.xp.cuda.Event()
        start.record()
        for _ in range(calls):
            call()
        end.record()
        return start, end

    def _each(self, call, calls: int):
        """The events before and after each call; the host runs ahead while the caches are emptied."""
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
    """What nvidia-smi reads of the clocks; nothing where it is missing."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_CLOCKS)}", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        values = done.stdout.splitlines()[0].split(",")
        return dict(zip(_CLOCKS, (v.strip() for v in values), strict=True))
    return {}


def open_device(name: str):
    """The device of that name, or a RuntimeError that says what is missing."""
    if name == "cpu":
        return Cpu()
    from steepest._runtime import backends

    if problem := backends.cuda_problem():
        raise RuntimeError(f"CUDA is not available: {problem}")
    return Cuda(backends.import_cupy())
