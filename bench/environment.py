"""The machine of a benchmark: its cores and threads, and their description in a row.

`prepare` has to run before NumPy, PyTorch and JAX are imported, which read their thread settings at import. It limits
libraries that are already imported through threadpoolctl. The module itself imports only the standard library.
"""

from __future__ import annotations

import contextlib
import datetime
import multiprocessing
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNKNOWN = "unknown"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PJRT_NPROC", "NPROC")
PACKAGES = ("steepest", "numpy", "scikit-learn", "torch", "jax", "cupy-cuda12x", "cupy-cuda13x")
PACKAGES += ("kfac-jax", "curvlinops-for-pytorch", "nngeometry")


def physical_cores() -> list[int]:
    """One logical CPU of each physical core that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    first = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            core = (topology / "physical_package_id").read_text() + (topology / "core_id").read_text()
        except OSError:
            core = str(cpu)
        first.setdefault(core, cpu)
    return list(first.values())


def prepare(threads: int, device: str = "cpu") -> int:
    """Give every contestant the same `threads` cores and threads; return the number that is available.

    JAX has no setting for its number of threads, but counts the cores that the process may use. On CUDA the process
    keeps all its cores, for the libraries' compilers and for threads that launch kernels.
    """
    cores = physical_cores()[:threads]
    if device == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    for name in THREAD_VARIABLES:
        os.environ[name] = str(len(cores))
    os.environ.setdefault("JAX_PLATFORMS", device)
    # By default JAX reserves three quarters of the device's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if "numpy" in sys.modules:
        with contextlib.suppress(ImportError):
            import threadpoolctl

            threadpoolctl.threadpool_limits(len(cores))
    return len(cores)


def cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The short hash of the checked-out commit, with `-dirty` if the tree differs from it.

    For a copy of the tree without its repository, STEEPEST_COMMIT names the commit.
    """
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    found = ""
    if (ROOT / ".git").exists():
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            found = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    return found or os.environ.get("STEEPEST_COMMIT", "") or UNKNOWN


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def instruction_set() -> str:
    """The instruction set of steepest's kernels."""
    with contextlib.suppress(ImportError):
        from steepest import _cpu

        return str(_cpu.info()["isa"])
    return UNKNOWN


def compiled_library(source: Path, folder: Path, *options: str) -> Path:
    """Compile a C file with the machine's compiler (CC, or cc) into a shared library, or raise RuntimeError."""
    library = folder / f"{source.stem}.so"
    command = [os.environ.get("CC", "cc"), *options, "-shared", "-fPIC", "-o", str(library), str(source)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"no C compiler: {error}") from error
    if done.returncode != 0:
        raise RuntimeError(f"{source.name} cannot be compiled: {done.stderr}")
    return library


def others_cpu_seconds() -> float:
    """CPU seconds of all processes but this one and its children since the machine started; 0 if unknown."""
    try:
        fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    except (OSError, ValueError):
        return 0.0
    # Fields are user, nice, system, idle, iowait, irq, softirq, steal; idle and iowait do not count.
    busy = (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    own = os.times()
    children = own.children_user + own.children_system + _seconds_of_running_children()
    return busy - (own.user + own.system + children)


def _seconds_of_running_children() -> float:
    ticks = 0
    for child in multiprocessing.active_children():
        with contextlib.suppress(OSError, ValueError, IndexError):
            # Behind the name, which may hold anything: user and system time are fields 14 and 15 of all.
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def describe(threads: int, device: dict[str, object] | None = None) -> dict[str, object]:
    """The entries that all rows of a run share; `device` has the description of a device other than the CPU."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "device": cpu_model(),
        "host": cpu_model(),
        "isa": instruction_set(),
        "cores": len(physical_cores()),
        "threads": threads,
        "versions": versions(),
    } | (device or {})
