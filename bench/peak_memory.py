"""Peak memory of a fit of discriminant analysis beyond its samples, measured in a process for each fit.

`python -m bench.peak_memory LIBRARY N D K` prints MiB and seconds. LIBRARY is steepest, svd or lsqr (scikit-learn's
solvers), or streamed (this package, with samples generated in chunks of 100,000).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bench.environment import ROOT

CHUNK = 100_000
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure(library: str, n: int, d: int, k: int, environment: dict[str, str]) -> dict[str, float]:
    """Return the figures of one fit in a fresh process."""
    command = [sys.executable, "-m", "bench.peak_memory", library, str(n), str(d), str(k)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def resident(field: str) -> float:
    """A memory field of /proc/self/status in MiB."""
    return int(re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())[1]) / 1024


def samples(n: int, d: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n, dtype=np.int32)
    x = rng.standard_normal((n, d), dtype=np.float32)
    x[:, 0] += y
    return x, y


def chunks(n: int, d: int, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, n, CHUNK):
        yield samples(min(CHUNK, n - start), d, k, start)


def main(library: str, n: int, d: int, k: int) -> None:
    if library in ("steepest", "streamed"):
        from steepest.discriminant_analysis import LinearDiscriminantAnalysis

        model = LinearDiscriminantAnalysis()
    else:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as Theirs

        model = Theirs(library)
    # A first fit imports and sets up everything, which does not count. It is small: memory that it leaves free would
    # hide what the measured fit takes.
    model.fit(*samples(1000, 8, k, 0))
    if library == "streamed":
        model.fit_chunks(chunks(2 * CHUNK, d, k))
    else:
        x, y = samples(n, d, k, 1)
    RESET.write_text("5")  # resets the peak
    before, start = resident("VmRSS"), time.perf_counter()
    if library == "streamed":
        model.fit_chunks(chunks(n, d, k))
    else:
        model.fit(x, y)
    seconds = time.perf_counter() - start
    print(json.dumps({"peak_mib": round(resident("VmHWM") - before, 1), "seconds": round(seconds, 2)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
