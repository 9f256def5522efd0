"""Memory of a fit of discriminant analysis beyond its samples, and a fit to 10⁸ samples that are streamed in chunks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from bench.harness import OURS, Case, Contestant, Options
from bench.peak_memory import CHUNK, measure
from bench.peers import Peers

SHAPES = [(1_000_000, 50, 5), (100_000, 100, 10), (60_000, 784, 10)]
STREAMED = (100_000_000, 20, 5)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    if sys.platform != "linux":
        return
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    for n, d, k in [(20_000, 20, 4)] if options.quick else SHAPES:

        def contestant(label, library, shape=(n, d, k)):
            return Contestant(label, finish=lambda: measure(library, *shape, environment))

        solvers = {"scikit-learn": "svd", "scikit-learn lsqr": "lsqr"}
        if options.quick:
            del solvers["scikit-learn lsqr"]
        yield Case(
            f"LDA, {n:,} × {d}, {k} classes",
            [
                contestant(OURS, "steepest"),
                *(
                    peers.contestant(
                        name, "sklearn", lambda label, _, solver=solver: contestant(label, solver)
                    )
                    for name, solver in solvers.items()
                ),
            ],
            params={"n": n, "d": d, "classes": k, "dtype": "float32"},
        )
    if options.quick:
        return
    n, d, k = STREAMED
    yield Case(
        f"LDA, {n:,} × {d}, {k} classes, made and read in chunks of {CHUNK:,}",
        [Contestant(OURS, finish=lambda: measure("streamed", n, d, k, environment))],
        params={"n": n, "d": d, "classes": k, "dtype": "float32", "chunk": CHUNK},
    )
