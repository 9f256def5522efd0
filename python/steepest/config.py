"""What this installation is and runs on."""

from __future__ import annotations

import importlib.util

from steepest import _cpu
from steepest._version import __version__


def _bytes(n: int) -> str:
    if n <= 0:
        return "unknown"
    return f"{n >> 20} MiB" if n >= 1 << 20 and n % (1 << 20) == 0 else f"{n >> 10} KiB"


def cuda_state() -> str:
    """Return, in words, whether this installation has CUDA kernels."""
    if importlib.util.find_spec("steepest._cuda") is None:
        return "not built"
    return "built"


def show_config() -> None:
    """Print the version, instruction set, threads, caches and CUDA state of this installation.

    Examples
    --------
    >>> import steepest
    >>> steepest.show_config()  # doctest: +SKIP
    steepest          0.1.0
    instruction set   avx512 (available: generic, avx2, avx512)
    ...
    """
    info = _cpu.info()
    lines = {
        "steepest": __version__,
        "instruction set": f"{info['isa']} (available: {', '.join(info['isas_available'])})",
        "threads": f"{info['num_threads']} of {info['cores']} processors",
        "caches": f"L1d {_bytes(info['l1d'])}, L2 {_bytes(info['l2'])}, L3 {_bytes(info['l3'])}",
        "compiler": info["compiler"],
        "CUDA": cuda_state(),
    }
    for name, value in lines.items():
        print(f"{name:<18}{value}")
