"""The largest error of each activation, exp, log and erf over all float32 numbers: `python -m bench.ulp [--write]`.

Errors are in units in the last place (ULP) of the exact result, whose exponent counts as at least that of the smallest
normal number; a correctly rounded result is within half a unit. Each instruction set runs in a process of its own, by
STEEPEST_ISA.

For 2**-31 <= |x| < 2**7, results are compared with float64 functions of NumPy and SciPy. Outside this range every
function but log is a constant or a multiple of x to within 0.01 units, and results are compared with that; log is
compared with NumPy's for all positive numbers. `--stride n` tries only every n-th number, for a quick look.

`--write` puts the figures into bench/results/ulp.json, which the table of the documentation uses.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from bench.environment import ROOT
from bench.oracle import reference

RESULT = ROOT / "bench" / "results" / "ulp.json"
CHUNK = 1 << 16  # numbers; a dozen float64 arrays of this size stay in the second-level cache
SMALL, LARGE = 2.0**-31, 2.0**7
BITS = {
    name: int(np.float32(value).view(np.uint32)) for name, value in {"small": SMALL, "large": LARGE}.items()
}
INFINITY = 0x7F800000
SIGN = 0x80000000
# The functions whose results are not simply rounded.
MEASURED = {
    **reference.ACTIVATIONS,
    **{name: entry for name, entry in reference.UNARY_FUNCTIONS.items() if entry.ulps > 0.5},
}


def units(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|y - exact| in units in the last place of exact, as float32."""
    exponent = np.maximum((exact.view(np.int64) >> 52) & 0x7FF, 1023 - 126)
    unit = ((exponent - 23) << 52).view(np.float64)
    return np.abs(y - exact) / unit


def floats(first: int, last: int, stride: int) -> np.ndarray:
    """The float32 numbers with the bit patterns first, first + stride, ... below last."""
    return np.arange(first, last, stride, dtype=np.uint32).view(np.float32)


class Worst:
    """The largest error and its argument x."""

    def __init__(self) -> None:
        self.error, self.x = 0.0, 0.0

    def add(self, x: np.ndarray, y: np.ndarray, exact: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):
            error = units(y.astype(np.float64), exact)
        if not np.isfinite(y).all():
            with np.errstate(over="ignore"):
                rounded = exact.astype(np.float32)
            error = np.where(np.isfinite(y), error, np.where(y == rounded, 0.0, np.inf))
        at = int(error.argmax())
        if error[at] > self.error:
            self.error, self.x = float(error[at]), float(x[at])


def compare(worst: Worst, f: Callable, oracle: Callable, first: int, last: int, stride: int) -> None:
    """Compare f with the oracle over a range of bit patterns, in chunks."""
    for begin in range(first, last, CHUNK * stride):
        x = floats(begin, min(last, begin + CHUNK * stride), stride)
        worst.add(x, f(x), oracle(x.astype(np.float64)))


def compare_with_line(worst: Worst, f: Callable, line: tuple, first: int, last: int, stride: int) -> None:
    """Compare f with a line over a range of bit patterns; exactly rounded chunks are skipped."""
    a, b = line
    start = int(np.float32(a + b * 0.0).view(np.uint32))
    for begin in range(first, last, CHUNK * stride):
        x = floats(begin, min(last, begin + CHUNK * stride), stride)
        y = f(x)
        if b == 0 and a == float(np.uint32(start).view(np.float32)):
            same = (y == np.float32(a)).all()
        elif b == 1:
            same = np.array_equal(y, x)
        else:
            same = False
        if not same:
            worst.add(x, y, a + b * x.astype(np.float64))


def largest_error(name: str, stride: int = 1) -> Worst:
    """The largest error over every `stride`-th float32, with the instruction set of this process."""
    from steepest import kernels as K

    out = np.empty(CHUNK, np.float32)

    def f(x: np.ndarray) -> np.ndarray:
        return getattr(K, name)(x, out=out[: x.size])

    def oracle(x: np.ndarray) -> np.ndarray:
        return reference.activation(x, name) if name in K.ACTIVATIONS else reference.unary(x, name)

    worst = Worst()
    small, large = BITS["small"], BITS["large"]
    lines = MEASURED[name].lines
    if lines is None:
        compare(worst, f, oracle, 1, INFINITY, stride)
        return worst
    below, to_zero, from_zero, above = lines
    compare(worst, f, oracle, SIGN + small, SIGN + large, stride)
    compare(worst, f, oracle, small, large, stride)
    compare_with_line(worst, f, below, SIGN + large, SIGN + INFINITY, stride)
    compare_with_line(worst, f, to_zero, SIGN, SIGN + small, stride)
    compare_with_line(worst, f, from_zero, 0, small, stride)
    compare_with_line(worst, f, above, large, INFINITY, stride)
    return worst


def measure(names: Sequence[str], stride: int) -> dict[str, dict[str, float]]:
    """Measure and print the figures of this process's instruction set."""
    from steepest import _cpu, set_num_threads

    set_num_threads(1)
    figures = {}
    for name in names:
        start = time.perf_counter()
        worst = largest_error(name, stride)
        figures[name] = {"ulp": round(worst.error, 3), "x": worst.x}
        print(
            f"{_cpu.info()['isa']:8} {name:13} {worst.error:6.3f} at {worst.x!r}, "
            f"{time.perf_counter() - start:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    return figures


def measure_on(isa: str, names: Sequence[str], stride: int) -> dict[str, dict[str, float]]:
    """Measure the figures of another instruction set, in a process of its own."""
    command = [sys.executable, "-m", "bench.ulp", "--here", "--stride", str(stride), *names]
    done = subprocess.run(
        command, env={**os.environ, "STEEPEST_ISA": isa}, cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def main(arguments: Sequence[str] | None = None) -> int:
    from steepest import _cpu

    parser = argparse.ArgumentParser(prog="python -m bench.ulp", description=__doc__)
    parser.add_argument("names", nargs="*", default=[], help="functions (default: all)")
    parser.add_argument("--stride", type=int, default=1, help="try every n-th number")
    parser.add_argument("--here", action="store_true", help="only this process's instruction set, as JSON")
    parser.add_argument("--write", action="store_true", help="save the figures")
    options = parser.parse_args(arguments)
    names = options.names or list(MEASURED)
    if options.here:
        print(json.dumps(measure(names, options.stride)))
        return 0
    figures = {isa: measure_on(isa, names, options.stride) for isa in _cpu.info()["isas_available"]}
    if options.write:
        saved = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        for isa, measured in figures.items():
            for name, figure in measured.items():
                saved.setdefault(isa, {})[name] = figure | {"stride": options.stride}
        RESULT.write_text(json.dumps(saved, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
