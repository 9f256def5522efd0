"""Weights, sums and scatter of ten classes, float32: the statistics behind discriminant analysis and PCA.

The other libraries subtract the class centres and form the product of the deviations with themselves. They compute
class sums as products with one-hot labels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import tolerances
from bench.peers import Peers

CLASSES = 10
ROUNDS = 9


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    shapes = [(2000, 30)] if options.quick else [(60_000, 784), (100_000, 100), (1_000_000, 50)]
    for n, d in shapes:
        yield scatter_case(n, d, options, peers)


def scatter_case(n: int, d: int, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    rng = np.random.default_rng(n)
    labels = rng.integers(0, CLASSES, n)
    centre = rng.standard_normal((CLASSES, d), dtype=np.float32)
    x = centre[labels] + rng.standard_normal((n, d), dtype=np.float32)
    on_device = [options.device.xp.asarray(a) for a in (x, labels, centre)]

    def ours():
        _, sums, scatter = K.class_scatter(*on_device)
        return {"sums": sums, "scatter": scatter}

    def build_library(label, xp):
        X, y, m = on_device

        def call():
            deviations = X - m[y]
            indicators = (y == xp.arange(CLASSES)[:, None]).astype(np.float32)
            return {"sums": indicators @ deviations, "scatter": deviations.T @ deviations}

        return Contestant(label, call, call)

    def build_torch(label, torch):
        X, y, m = (options.device.tensor(torch, a) for a in (x, labels, centre))

        def call():
            deviations = X - m[y]
            indicators = torch.nn.functional.one_hot(y, CLASSES).to(X.dtype)
            return {"sums": indicators.T @ deviations, "scatter": deviations.T @ deviations}

        return Contestant(label, call, call)

    deviations = x.astype(np.float64) - centre.astype(np.float64)[labels]
    indicators = (labels == np.arange(CLASSES)[:, None]).astype(np.float64)
    sums, scatter = tolerances.class_scatter(np.float32, deviations, np.ones(n))
    return Case(
        f"{n:,} × {d}",
        [
            Contestant(OURS, ours, ours),
            peers.contestant(*options.device.library, build_library),
            peers.contestant("PyTorch", "torch", build_torch),
        ],
        oracle={"sums": indicators @ deviations, "scatter": deviations.T @ deviations},
        tolerance={"sums": np.broadcast_to(sums, centre.shape), "scatter": scatter},
        flops=float(n) * d * (d + 3),
        moved=4.0 * n * d,
        rounds=ROUNDS,
        calls=1,
        params={"n": n, "d": d, "classes": CLASSES, "dtype": "float32"},
    )
