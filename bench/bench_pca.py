"""Principal component analysis of tall data, from the array to the components.

scikit-learn runs its solver for such data, which also decomposes the covariance. Both centre the samples, form the
covariance, and compute the leading eigenvectors. Variances are checked against NumPy in float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers

ROUNDS = 7


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    shapes = [(3000, 50, 5)] if options.quick else [(60_000, 784, 50), (100_000, 100, 10), (1_000_000, 20, 5)]
    for n, d, k in shapes:
        yield pca_case(n, d, k, options, peers)


def pca_case(n: int, d: int, k: int, options: Options, peers: Peers) -> Case:
    """The k leading components of n float32 samples with d features, whose means equal their spread."""
    from steepest.decomposition import PCA

    rng = np.random.default_rng(d)
    x = (rng.standard_normal((n, d)) * np.linspace(3.0, 0.1, d) + 1.0).astype(np.float32)
    variances = np.linalg.eigvalsh(np.cov(x.astype(np.float64).T))[::-1]

    def contestant(name, kind, data, **solver):
        def call():
            return kind(k, **solver).fit(data)

        return Contestant(name, call, lambda: {"variances": call().explained_variance_})

    def build_sklearn(name, _):
        from sklearn import decomposition

        return contestant(name, decomposition.PCA, x, svd_solver="covariance_eigh")

    return Case(
        f"PCA, {n} × {d}, {k} components",
        [
            contestant(OURS, PCA, options.device.xp.asarray(x)),
            peers.contestant("scikit-learn", "sklearn", build_sklearn),
        ],
        oracle={"variances": variances[:k]},
        # Sums of n products with random rounding errors.
        tolerance={"variances": np.full(k, 4.0 * np.sqrt(n) * np.finfo(np.float32).eps * variances[0])},
        flops=float(n) * d * d,
        moved=4.0 * n * d,
        rounds=ROUNDS,
        calls=1,
        params={"n": n, "d": d, "components": k, "dtype": "float32"},
    )
