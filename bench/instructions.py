"""Instructions of representative kernels and of the Python between kernels, counted by valgrind and compared with
those on record.

    python -m bench.instructions            prints them, and fails if one is more than 2 % above its record
    python -m bench.instructions --write    records them

Instructions say less than times, but the same program takes the same number on every machine, however busy it is: a
change that makes a kernel longer is seen at once. Kernels run on one thread with AVX2, since valgrind has no AVX-512.
Counts belong to a compiler, those of Python also to the releases of Python and NumPy: with others, nothing is compared.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench.environment import ROOT, compiled_library

from steepest import _cpu, fisher, nn, optim
from steepest import kernels as K

RECORD = ROOT / "bench" / "results" / "instructions.json"
TOLERANCE = 0.02
SETTINGS = {
    "STEEPEST_ISA": "avx2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}
Job = Callable[[], object]


class UnavailableError(RuntimeError):
    """What counts instructions is not installed."""


def kernels() -> dict[str, Job]:
    """Return calls of kernels, each of some million instructions, so that Python's part is below one in a hundred."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    x, w, b = normal(128, 784), normal(784, 128), normal(128)
    d, d_x, d_w, d_b = normal(128, 128), np.empty_like(x), np.empty_like(w), np.empty_like(b)
    y, square, cube = np.empty_like(d), normal(224, 224), np.empty((224, 224), np.float32)
    logits, labels = normal(4096, 100), rng.integers(0, 100, 4096)
    loss, d_logits = np.zeros(()), np.empty_like(logits)
    p, g, m, v = (normal(1 << 19) for _ in range(4))
    v *= v
    step, curve = np.ones((), np.int64), normal(1 << 18)
    samples, target = normal(4000, 64), rng.integers(0, 2, 4000)
    of_class, coef, bias = rng.integers(0, 10, 4000), normal(64, 1), normal(1)
    count, rows = np.zeros((), np.int64), rng.permutation(4000)
    taken = np.empty((4000, 64), np.float32)
    moment, centre = np.empty((64, 64), np.float32), normal(10, 64)
    return {
        "linear 128x784x128, relu": lambda: K.linear(x, w, b, "relu", out=y),
        "linear_backward 128x784x128": lambda: K.linear_backward(d, x, w, d_x=d_x, d_w=d_w, d_b=d_b),
        "matmul 224x224x224": lambda: K.matmul(square, square, out=cube),
        "softmax_cross_entropy 4096x100": lambda: K.softmax_cross_entropy(
            logits, labels, loss=loss, d_logits=d_logits
        ),
        "adam_update of 524288": lambda: K.adam_update([p], [g], [m], [v], step, lr=1e-6),
        "tanh of 262144": lambda: K.tanh(curve, out=curve),
        "linear_sgd 4000x64, log loss": lambda: K.linear_sgd(
            samples, target, coef, bias, count, lr=1e-6, kind="log_loss", l2=1e-3
        ),
        "class_scatter 4000x64": lambda: K.class_scatter(samples, of_class, centre),
        "second_moment 4000x64": lambda: K.second_moment(samples, out=moment),
        "take_rows 4000x64": lambda: K.take_rows(samples, rows, out=taken),
    }


def paths() -> dict[str, Job]:
    """Return steps of a tiny network, in which Python takes longer than the kernels."""
    rng = np.random.default_rng(0)
    layers = [nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)]
    net, loss = nn.Network(layers, seed=0), nn.SoftmaxCrossEntropy()
    optimizer = optim.Adam(net.parameters(), 1e-6)
    x, y = rng.standard_normal((4, 8)).astype(np.float32), rng.integers(0, 3, 4)
    matrix = fisher.FisherMatrix(net, loss, x)
    direction = [np.ones_like(p.value) for p in net.parameters()]

    def train() -> None:
        net.backward(loss(net.forward(x), y)[1])
        optimizer.step()

    return {
        "step of 8-6-5-3": train,
        "prediction of 8-6-5-3": lambda: net.predict(x),
        "Fisher-vector product of 8-6-5-3": lambda: matrix @ direction,
    }


def versions() -> dict[str, str]:
    """Return what the counts depend on."""
    return {
        "compiler": str(_cpu.info()["compiler"]),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": ".".join(np.__version__.split(".")[:2]),
    }


def run_inside(library: str) -> None:
    """Run all jobs in a process that valgrind watches, each once after two calls that are not counted."""
    requests = ctypes.CDLL(library)
    jobs = kernels() | paths()
    for job in jobs.values():
        job()
        job()
    gc.disable()
    requests.start()
    for name, job in jobs.items():
        job()  # translates its code
        requests.zero()
        job()
        requests.dump(name.encode())


def counted(folder: Path) -> dict[str, int]:
    """Return the instructions of each job.

    Raises
    ------
    UnavailableError
        If valgrind, its headers or a C compiler are missing.
    RuntimeError
        If the run fails.
    """
    if shutil.which("valgrind") is None:
        raise UnavailableError("valgrind is not installed")
    try:
        library = compiled_library(Path(__file__).with_name("callgrind.c"), folder, "-O2")
    except RuntimeError as error:
        raise UnavailableError(str(error)) from error
    out = folder / "out"
    options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    inside = [sys.executable, "-m", "bench.instructions", "--inside", str(library)]
    run = subprocess.run(
        ["valgrind", *options, *inside],
        cwd=ROOT,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        raise RuntimeError(f"the run under valgrind failed: {run.stderr[-2000:]}")
    found = {}
    for file in sorted(folder.glob("out.*"), key=lambda file: int(file.suffix[1:])):
        text = file.read_text(errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
        if name and total:
            found[name[1]] = int(total[1])
    return found


def compare(found: dict[str, int], now: dict[str, str], record: dict) -> tuple[list[str], list[str]]:
    """Return lines of a table, and the names of the jobs that take more instructions than they did.

    Parameters
    ----------
    found : dict of str to int
        Instructions by job.
    now : dict of str to str
        What `versions` returns.
    record : dict
        The record: its versions, and its counts.
    """
    lines, slower, of_python = [], [], set(paths())
    for name, count in found.items():
        needs = ("compiler", "python", "numpy") if name in of_python else ("compiler",)
        other = [f"{n} {record['versions'][n]}" for n in needs if record["versions"][n] != now[n]]
        before = record["counts"].get(name)
        if before is None or other:
            said = "not on record" if before is None else f"not compared: the record is of {', '.join(other)}"
        else:
            said = f"{count / before:.3f} of the record"
            if count > (1 + TOLERANCE) * before:
                slower.append(name)
                said += ", MORE THAN 2 % ABOVE"
        lines.append(f"{name:36}{count:14,}   {said}")
    return lines, slower


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="record the counts")
    parser.add_argument("--inside", metavar="LIBRARY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run_inside(options.inside)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = counted(Path(folder))
        except UnavailableError as error:
            print(f"instructions are not counted: {error}")
            return 0
    if options.write:
        record = {"versions": versions(), "counts": found}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    lines, slower = compare(found, versions(), json.loads(RECORD.read_text()))
    print(*lines, sep="\n")
    if slower:
        print(
            f"more instructions than on record: {', '.join(slower)}. "
            "If they are worth it, record them: python -m bench.instructions --write"
        )
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
