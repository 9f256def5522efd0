"""Means of outer products of rows in float32: the factors of K-FAC.

The other libraries compute the full product x^T x, into existing memory where they can (`out` of PyTorch and NumPy).
SciPy's ssyrk computes and writes only one triangle.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import tolerances
from bench.peers import Peers

ROUNDS = 15


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n, d in ((60, 40),) if options.quick else ((128, 64), (512, 784), (1000, 1000)):
        yield moment_case(n, d, options, peers)


def moment_case(n: int, d: int, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    rng = np.random.default_rng(n)
    # Scaled so that the other libraries' product is the mean.
    x = rng.standard_normal((n, d), dtype=np.float32)
    scaled = x / np.float32(np.sqrt(n))
    xp = options.device.xp
    on_device, out = xp.asarray(x), xp.empty((d, d), dtype=np.float32)

    def ours():
        return {"out": K.second_moment(on_device, out=out)}

    def build_library(label, xp):
        a, result = xp.asarray(scaled), xp.empty((d, d), dtype=np.float32)

        def call():
            return {"out": xp.matmul(a.T, a, out=result)}

        return Contestant(label, call, call)

    def build_torch(label, torch):
        a = options.device.tensor(torch, scaled)
        result = torch.empty((d, d), dtype=a.dtype, device=a.device)

        def call():
            return {"out": torch.matmul(a.T, a, out=result)}

        return Contestant(label, call, call)

    def build_scipy(label, _):
        from scipy.linalg.blas import ssyrk

        result = np.zeros((d, d), np.float32, order="F")

        def call():
            return ssyrk(1 / n, x.T, c=result, lower=1, overwrite_c=1)

        def whole():
            triangle = call()
            return {"out": np.tril(triangle) + np.tril(triangle, -1).T}

        return Contestant(label, call, whole)

    wide = x.astype(np.float64)
    contestants = [
        Contestant(OURS, ours, ours),
        peers.contestant(*options.device.library, build_library),
        peers.contestant("PyTorch", "torch", build_torch),
    ]
    if options.device.name == "cpu":
        # SciPy is a dependency of scikit-learn.
        contestants.append(peers.contestant("SciPy ssyrk", "sklearn", build_scipy))
    return Case(
        f"{n:,} × {d}",
        contestants,
        oracle={"out": wide.T @ wide / n},
        tolerance={"out": tolerances.second_moment(np.float32, x)},
        flops=float(n) * d * (d + 1),
        moved=4.0 * n * d + 4.0 * d * d,
        rounds=ROUNDS,
        params={"n": n, "d": d, "dtype": "float32"},
    )
