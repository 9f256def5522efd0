"""Fixed costs: the import, a call on tiny arrays, the size of the wheel.

Calls are compared with NumPy's functions on the same tiny arrays, or with CuPy's on CUDA. NumPy's functions do less,
since a kernel checks shapes, overlap and dtypes of several arguments. NumPy is expected to win; the ratio is of
interest.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from bench.environment import ROOT
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers

REPEATS = 1000


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    if options.device.name == "cuda":
        yield from tiny_cases(peers)
        return
    yield import_case(rounds=15)
    yield from tiny_cases(peers)
    yield wheel_case()


def python(code: str) -> str:
    """The output of `code` in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def import_case(rounds: int) -> Case:
    """The time of a process that imports a package and exits; a third contestant imports nothing."""

    def starts(name: str, code: str) -> Contestant:
        return Contestant(name, lambda: python(code))

    def finish():
        timed = "import time; t = time.perf_counter(); import steepest; print(time.perf_counter() - t)"
        seconds = [float(python(timed)) for _ in range(rounds)]
        return {"import_ms": round(1e3 * float(np.median(seconds)), 1)}

    ours = starts(OURS, "import steepest")
    ours.finish = finish
    return Case(
        "process that imports the package",
        [ours, starts("NumPy", "import numpy"), starts("no import", "pass")],
        rounds=rounds,
        calls=1,
    )


def repeated(function: Callable[..., object], *arguments: object, out: np.ndarray) -> Callable[[], None]:
    """REPEATS calls in one loop, which makes the harness's overhead negligible."""

    def call():
        for _ in range(REPEATS):
            function(*arguments, out=out)

    return call


def tiny_cases(peers: Peers) -> Iterator[Case]:
    """Calls on a handful of numbers, each into an existing output."""
    from steepest import kernels as K

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 4), dtype=np.float32)
    flat, rows = x.ravel(), np.array([2, 0, 15, 1])
    product_tolerance = tolerances.matmul(np.float32, x, w)
    exact = float(np.finfo(np.float32).tiny)  # positive, since errors are divided by the tolerance
    want_relu, want_product, want_rows = np.maximum(x, 0), reference.matmul(x, w), flat[rows]
    xp = peers.device.xp
    x, w, flat, rows = (xp.asarray(v) for v in (x, w, flat, rows))
    jobs = (
        ("relu of 4 × 4", (K.relu, x), (xp.maximum, x, np.float32(0)), want_relu, exact),
        ("product of 4 × 4", (K.matmul, x, w), (xp.matmul, x, w), want_product, product_tolerance),
        ("4 rows of 16", (K.take_rows, flat, rows), (xp.take, flat, rows), want_rows, exact),
    )
    for name, ours, librarys, want, tolerance in jobs:
        yield tiny_case(name, ours, librarys, want, tolerance, peers)


def tiny_case(name: str, ours: tuple, librarys: tuple, want: np.ndarray, tolerance, peers: Peers) -> Case:
    """A case with two jobs, each a function and its arguments, that write the same numbers."""
    out = peers.device.xp.empty(want.shape, np.float32)

    def result(function, *arguments):
        out[...] = float("nan")
        function(*arguments, out=out)
        return {"out": out.copy()}

    def contestant(label, _, job):
        return Contestant(label, repeated(*job, out=out), lambda: result(*job), REPEATS)

    library = peers.contestant(*peers.device.library, partial(contestant, job=librarys))
    return Case(
        f"call: {name}",
        [contestant(OURS, None, ours), library],
        oracle={"out": want},
        tolerance={"out": tolerance},
        params={"dtype": "float32"},
    )


def wheel_case() -> Case:
    """The size of the newest wheel in dist/, if there is one."""
    wheels = sorted((ROOT / "dist").glob("steepest-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        return Case("wheel", [Contestant.skip(OURS, "no wheel in dist/ (`make wheel` builds one)")])
    size = round(wheels[-1].stat().st_size / 1e6, 2)
    return Case("wheel", [Contestant(OURS, finish=lambda: {"megabytes": size})])
