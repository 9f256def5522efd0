"""Linear models on 100,000 × 100: loss and gradient in one pass, and an epoch of steps on single samples.

scikit-learn's contestants are the loss that its `LogisticRegression` minimises, and `SGDClassifier.fit` with five
epochs, which includes checks and shuffling. Ours visits the rows in a precomputed order.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers

SHAPE, QUICK_SHAPE = (100_000, 100), (5_000, 100)
EPOCHS, ALPHA = 5, 1e-4
ORACLE_STEPS = 300  # number of steps that the oracle's plain loop checks


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for dtype in (np.float32, np.float64):
        yield loss_case(dtype, options, peers)
        if options.device.name == "cpu":
            for kind in ("hinge", "log_loss"):
                yield sgd_case(dtype, kind, options, peers)


def samples(dtype: type, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Samples, and classes that a hyperplane separates up to noise."""
    n, d = QUICK_SHAPE if options.quick else SHAPE
    rng = np.random.default_rng(d)
    x = rng.standard_normal((n, d), dtype=dtype)
    return x, (x @ rng.standard_normal(d) + rng.standard_normal(n) > 0).astype(np.int64)


def loss_case(dtype: type, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    xp = options.device.xp
    x, y = samples(dtype, options)
    n, d = x.shape
    host_w = (np.random.default_rng(1).standard_normal((d, 1)) / np.sqrt(d)).astype(dtype)
    target = y[:, None].astype(dtype)
    device_x, w, b, t = (xp.asarray(a) for a in (x, host_w, np.zeros(1, dtype), target))
    loss, d_w, d_b = xp.zeros(()), xp.empty_like(w), xp.empty_like(b)

    def ours():
        return K.linear_loss(device_x, w, b, t, loss=loss, d_w=d_w, d_b=d_b)

    def ours_result():
        return dict(zip(("loss", "d_w", "d_b"), K.linear_loss(device_x, w, b, t), strict=True))

    def build_library(name, library):
        def call():
            z = device_x @ w + b
            e = library.exp(-library.abs(z))
            value = (library.maximum(z, 0) - t * z + library.log1p(e)).mean()
            d_z = (library.where(z > 0, 1, e) / (1 + e) - t) / n
            return value, device_x.T @ d_z, d_z.sum(axis=0)

        return Contestant(name, call, lambda: dict(zip(("loss", "d_w", "d_b"), call(), strict=True)))

    def build_sklearn(name, _):
        from sklearn._loss import HalfBinomialLoss
        from sklearn.linear_model._linear_loss import LinearModelLoss

        model = LinearModelLoss(base_loss=HalfBinomialLoss(), fit_intercept=True)
        coefficients = np.append(host_w[:, 0], 0).astype(dtype)

        def call():
            return model.loss_gradient(coefficients, x, target[:, 0], n_threads=options.threads)

        def result():
            value, gradient = call()
            return {"loss": value, "d_w": gradient[:-1, None], "d_b": gradient[-1:]}

        return Contestant(name, call, result)

    def build_torch(name, torch):
        a, c = (options.device.tensor(torch, v) for v in (x, target))
        p = options.device.tensor(torch, host_w).requires_grad_()
        q = options.device.tensor(torch, np.zeros(1, dtype)).requires_grad_()

        def call():
            p.grad = q.grad = None
            value = torch.nn.functional.binary_cross_entropy_with_logits(a @ p + q, c)
            value.backward()
            return value

        return Contestant(name, call, lambda: {"loss": call(), "d_w": p.grad, "d_b": q.grad})

    oracle, tolerance = expected(x, host_w, target)
    return Case(
        f"logistic loss and gradient, {n} × {d}, {np.dtype(dtype).name}",
        [
            Contestant(OURS, ours, ours_result),
            peers.contestant("scikit-learn", "sklearn", build_sklearn),
            peers.contestant(*options.device.library, build_library),
            peers.contestant("PyTorch", "torch", build_torch),
        ],
        oracle=oracle,
        tolerance=tolerance,
        flops=4.0 * n * d,
        moved=float(x.nbytes + target.nbytes),
        params={"n": n, "d": d, "k": 1, "dtype": np.dtype(dtype).name},
    )


def expected(x: np.ndarray, w: np.ndarray, target: np.ndarray) -> tuple[dict, dict]:
    """Loss and gradients, and their tolerances."""
    values = reference.linear_loss(x, w, np.zeros(1), target, "log_loss")
    scores, error = reference.linear(x, w), tolerances.dot(x.dtype, x.shape[1], np.abs(x) @ np.abs(w))
    share = reference.row_weights(len(x))

    def items(z):
        return reference.pointwise_items("log_loss", z, target.astype(np.float64))

    bounds = tolerances.linear_loss(x.dtype, x, scores, error, items, share, 0.0, np.zeros_like(w))
    names = ("loss", "d_w", "d_b")
    return dict(zip(names, map(np.asarray, values), strict=True)), dict(zip(names, bounds, strict=True))


def sgd_case(dtype: type, kind: str, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    x, y = samples(dtype, options)
    n, d = x.shape
    orders = [np.random.default_rng(e).permutation(n) for e in range(EPOCHS)]
    rate = {"lr": 1 / ALPHA, "power": 1.0, "t0": ALPHA**-0.75 - 1, "l2": ALPHA}
    gentle = {**rate, "lr": 10.0, "t0": 99.0}  # for the check: small rates, which do not amplify errors

    def ours():
        w, b, step = np.zeros((d, 1), dtype), np.zeros(1, dtype), np.zeros((), np.int64)
        for order in orders:
            K.linear_sgd(x, y, w, b, step, kind=kind, order=order, **rate)
        return w, b

    def ours_result():
        w, b, step = np.zeros((d, 1), dtype), np.zeros(1, dtype), np.zeros((), np.int64)
        K.linear_sgd(x, y, w, b, step, kind=kind, order=orders[0][:ORACLE_STEPS], **gentle)
        return {"w": w, "b": b}

    def build_sklearn(name, _):
        from sklearn.linear_model import SGDClassifier

        def call():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns that it has not converged
                return SGDClassifier(loss=kind, alpha=ALPHA, max_iter=EPOCHS, tol=None, random_state=0).fit(
                    x, y
                )

        return Contestant(name, call, units=EPOCHS)

    oracle = reference.LinearSgd(np.zeros((d, 1)), np.zeros(1))
    target = np.where(y > 0, 1.0, 0.0 if kind == "log_loss" else -1.0)[:, None]
    parameter = 1.0 if kind == "hinge" else None
    oracle.epoch(x, target, kind, parameter=parameter, order=orders[0][:ORACLE_STEPS], **gentle)
    tolerance = tolerances.linear_sgd(dtype, ORACLE_STEPS, x, oracle.largest)
    return Case(
        f"an epoch of SGD, {kind}, {n} × {d}, {np.dtype(dtype).name}",
        [
            Contestant(OURS, ours, ours_result, units=EPOCHS),
            peers.contestant("scikit-learn", "sklearn", build_sklearn),
        ],
        oracle={"w": oracle.w, "b": oracle.b},
        tolerance={"w": np.full((d, 1), tolerance), "b": np.full(1, tolerance)},
        flops=4.0 * n * d,
        moved=float(x.nbytes + y.nbytes),
        params={"n": n, "d": d, "kind": kind, "dtype": np.dtype(dtype).name},
        rounds=5,
    )
