"""Report of the installation and the machine: version, instruction set, threads, caches, CUDA devices."""

from __future__ import annotations

from steepest import _cpu
from steepest._runtime.backends import NOT_BUILT, cuda_problem, load_cuda
from steepest._version import __version__


def _bytes(n: int) -> str:
    if n <= 0:
        return "unknown"
    return f"{n >> 20} MiB" if n >= 1 << 20 and n % (1 << 20) == 0 else f"{n >> 10} KiB"


def cuda_lines() -> dict[str, str]:
    """Return a line about the CUDA kernels and driver, and a line about each CUDA device, by name."""
    module = load_cuda()
    if module is None:
        problem = cuda_problem()
        return {"CUDA": "not built" if problem == NOT_BUILT else problem}
    info = module.info()
    driver = f", driver {info['driver']}" if info["driver"] else ""
    problem = f"; {info['problem']}" if info["problem"] else ""
    targets = ", ".join(info["built_for"])
    lines = {"CUDA": f"built for architectures {targets}; runtime {info['runtime']}{driver}{problem}"}
    for i, device in enumerate(info["devices"]):
        memory = f"{device['memory'] / 2**30:.1f} GiB"
        lines[f"CUDA device {i}"] = (
            f"{device['name']}, compute capability {device['capability']}, {memory}, "
            f"{device['multiprocessors']} multiprocessors"
        )
    return lines


def show_config() -> None:
    """Print the version, instruction set, threads, caches, and the CUDA kernels and devices of this installation.

    Examples
    --------
    >>> import steepest
    >>> steepest.show_config()  # doctest: +SKIP
    steepest          0.2.0
    instruction set   avx512 (available: generic, avx2, avx512)
    ...
    """
    info = _cpu.info()
    lines = {
        "steepest": __version__,
        "instruction set": f"{info['isa']} (available: {', '.join(info['isas_available'])})",
        "bfloat16": f"{info['bfloat16']} (available: {', '.join(info['bfloat16_available'])})",
        "threads": f"{info['num_threads']} of {info['cores']} processors",
        "caches": f"L1d {_bytes(info['l1d'])}, L2 {_bytes(info['l2'])}, L3 {_bytes(info['l3'])}",
        "compiler": info["compiler"],
        **cuda_lines(),
    }
    for name, value in lines.items():
        print(f"{name:<18}{value}")
