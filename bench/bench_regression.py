"""A whole fit of `MLPRegressor` on a table: 20,000 rows of 8 columns, 100 hidden units, ten epochs at batch 200.

All parameters except the random state and the number of epochs have default values. Both estimators have the same
initial weights and sample orders, and take the same steps up to rounding. Cases are in float64, like most tables, and
float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers

ROWS, COLUMNS, EPOCHS, ROUNDS = 20_000, 8, 10, 5
QUICK_ROWS = 2_000


def table(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Friedman's first function with further irrelevant columns, standardised."""
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(rows, COLUMNS, noise=1.0, random_state=0)
    return (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    x, y = table(QUICK_ROWS if options.quick else ROWS)
    for dtype in (np.float64, np.float32):
        data = x.astype(dtype), y.astype(dtype)
        contestants = [
            build(OURS, "steepest.neural_network", *data, device=options.device.compute),
            peers.contestant("scikit-learn", "sklearn", partial(build_sklearn, data)),
        ]
        for contestant in contestants:
            # A fit ends on the host, so the host's clock times it.
            contestant.wait = options.device.wait
        yield Case(
            f"{len(x)} rows, {EPOCHS} epochs, batch 200, {np.dtype(dtype).name}",
            contestants,
            # The noise limits R² to 0.96, and with a tenth of the rows ten epochs do not reach that.
            oracle={"r2": np.asarray(0.5 if options.quick else 0.92)},
            tolerance={"r2": np.asarray(0.4 if options.quick else 0.03)},
            params={
                "hidden": [100],
                "batch": 200,
                "epochs": EPOCHS,
                "rows": len(x),
                "dtype": np.dtype(dtype).name,
            },
            rounds=ROUNDS,
            calls=1,
        )


def build_sklearn(data, name: str, _) -> Contestant:
    return build(name, "sklearn.neural_network", *data)


def build(name: str, module: str, x: np.ndarray, y: np.ndarray, **options) -> Contestant:
    """A contestant with one of the two estimators; every call makes a new fit."""
    estimator = __import__(module, fromlist=["MLPRegressor"]).MLPRegressor

    def fit():
        with warnings.catch_warnings():
            # Both estimators warn that ten epochs end before convergence.
            warnings.simplefilter("ignore")
            return estimator(max_iter=EPOCHS, random_state=0, **options).fit(x, y)

    return Contestant(name, fit, lambda: {"r2": np.asarray(fit().score(x, y))})
