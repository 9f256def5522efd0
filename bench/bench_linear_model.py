"""Fits of linear models with default parameters to 100,000 samples of 100 features: from arrays to the trained model.

Every contestant's objective is first compared with the minimum in float64 (from Newton's method for logistic
regression, from `lstsq` for least squares). Stochastic gradient descent stops by its own rule near the minimum. On CUDA
the data start as NumPy arrays, as for scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers

ROWS, QUICK_ROWS, FEATURES = 100_000, 2_000, 100
ALPHA = 1e-4  # L2 penalty, the default of SGDClassifier


def data(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X with correlated features, overlapping classes, and regression targets."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((FEATURES, FEATURES)) / np.sqrt(FEATURES)
    X = rng.standard_normal((rows, FEATURES)) @ mixing
    score = X @ rng.standard_normal(FEATURES) / np.sqrt(10)
    y = (score + rng.logistic(size=rows) > 0).astype(np.int64)
    return X, y, score + rng.standard_normal(rows)


def logistic(X, y, coef, intercept, penalty) -> float:
    t = 2 * y - 1
    return float(np.logaddexp(0, -t * (X @ coef + intercept)).mean() + penalty / 2 * coef @ coef)


def hinge(X, y, coef, intercept, penalty) -> float:
    t = 2 * y - 1
    return float(np.maximum(0, 1 - t * (X @ coef + intercept)).mean() + penalty / 2 * coef @ coef)


def squares(X, y, coef, intercept, penalty) -> float:
    return float(((X @ coef + intercept - y) ** 2).mean())


def logistic_minimum(X, y, penalty) -> float:
    Z, w = np.c_[X, np.ones(len(X))], np.zeros(X.shape[1] + 1)
    l2 = np.r_[np.full(X.shape[1], penalty), 0.0]
    for _ in range(10):
        p = 1 / (1 + np.exp(-Z @ w))
        hessian = (Z * (p * (1 - p) / len(Z))[:, None]).T @ Z + np.diag(l2)
        w -= np.linalg.solve(hessian, Z.T @ (p - y) / len(Z) + l2 * w)
    return logistic(X, y, w[:-1], w[-1], penalty)


def squares_minimum(X, y, penalty) -> float:
    Z = np.c_[X, np.ones(len(X))]
    w = np.linalg.lstsq(Z, y, rcond=None)[0]
    return squares(X, y, w[:-1], w[-1], 0.0)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    rows = QUICK_ROWS if options.quick else ROWS
    X, y, target = data(rows)
    least_of_logistic = logistic_minimum(X, y, 1 / rows)
    # Name, class, parameters, targets, objective, minimum or None, relative excess over the minimum that is allowed.
    jobs = [
        ("logistic regression", "LogisticRegression", {}, y, (logistic, 1 / rows), least_of_logistic, 1e-4),
        (
            "least squares",
            "LinearRegression",
            {},
            target,
            (squares, 0.0),
            squares_minimum(X, target, 0.0),
            1e-6,
        ),
        ("linear SVM by SGD", "SGDClassifier", {"random_state": 0}, y, (hinge, ALPHA), None, 0.0),
        (
            "logistic regression by SGD",
            "SGDClassifier",
            {"random_state": 0, "loss": "log_loss"},
            y,
            (logistic, ALPHA),
            logistic_minimum(X, y, ALPHA),
            1.0,
        ),
    ]
    for name, kind, parameters, targets, objective, least, near in jobs:
        for dtype in (np.float32, np.float64):
            build = Fit(kind, parameters, X, targets, dtype, objective, least, options)
            checked = least is not None
            yield Case(
                f"{name}, {rows:,} × {FEATURES}, {np.dtype(dtype).name}",
                [
                    build(OURS, "steepest.linear_model", {"device": options.device.compute}),
                    peers.contestant(
                        "scikit-learn",
                        "sklearn",
                        lambda label, _, b=build: b(label, "sklearn.linear_model", {}),
                    ),
                ],
                oracle={"excess": np.zeros(())} if checked else {},
                tolerance={"excess": np.asarray(near)} if checked else {},
                params={
                    "rows": rows,
                    "features": FEATURES,
                    "dtype": np.dtype(dtype).name,
                    "model": kind,
                    **parameters,
                },
                rounds=5,
                calls=1,
            )


class Fit:
    """A fit of one model; a call with a library's name and module makes its contestant."""

    def __init__(self, kind, parameters, X, y, dtype, objective, least, options) -> None:
        self.kind, self.parameters, self.y, self.least = kind, parameters, y, least
        self.X, self.exact, (self.objective, self.penalty) = X.astype(dtype), X, objective
        self.wait = options.device.wait

    def __call__(self, name: str, module: str, extra: dict) -> Contestant:
        cls = getattr(__import__(module, fromlist=[self.kind]), self.kind)
        models = []

        def fit():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                models[:] = [cls(**self.parameters, **extra).fit(self.X, self.y)]

        def reached() -> float:
            model = models[0]
            coef, intercept = np.ravel(model.coef_).astype(float), float(np.ravel(model.intercept_)[0])
            return self.objective(self.exact, self.y, coef, intercept, self.penalty)

        def result() -> dict:
            fit()
            # Rounding of float32 data can give less than the minimum.
            return {"excess": np.asarray(max(0.0, reached() / self.least - 1))}

        def finish() -> dict[str, object]:
            steps = getattr(models[0], "n_iter_", None)
            return {"objective": round(reached(), 8)} | (
                {} if steps is None else {"n_iter": int(np.max(steps))}
            )

        return Contestant(
            name, fit, result if self.least is not None else None, finish=finish, wait=self.wait
        )
