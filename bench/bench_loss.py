"""Pointwise losses: mean loss and gradient with respect to the prediction, float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers

KINDS = ("squared_error", "log_loss")
SHAPES = {
    "cpu": ((200, 1), (100_000, 1), (4096, 784)),
    "cuda": ((200, 1), (1 << 20, 1), (1 << 17, 1024)),
}
QUICK = ((200, 1), (4096, 10))
# Largest number of predictions whose gradients are all checked; in larger arrays every n-th row is, n odd.
ALL_CHECKED = 1 << 23


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for kind in KINDS:
        for n, m in QUICK if options.quick else SHAPES[options.device.name]:
            yield loss_case(kind, n, m, options, peers)


def torch_loss(torch, kind: str):
    """The function that users of PyTorch call."""
    functions = torch.nn.functional
    return {
        "squared_error": functions.mse_loss,
        "log_loss": functions.binary_cross_entropy_with_logits,
    }[kind]


def loss_case(kind: str, n: int, m: int, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    device, xp = options.device, options.device.xp
    rng = np.random.default_rng(m)
    host_z = 3 * rng.standard_normal((n, m), dtype=np.float32)
    host_t = rng.integers(0, 2, (n, m)).astype(np.float32)
    z, t = xp.asarray(host_z), xp.asarray(host_t)
    loss, gradient = xp.zeros(()), xp.empty_like(z)
    function = getattr(K, kind)
    checked = slice(None, None, n * m // ALL_CHECKED | 1)

    def ours():
        return function(z, t, loss=loss, d_prediction=gradient)

    def ours_result():
        value, d = function(z, t)
        return {"loss": value, "gradient": d[checked]}

    def build_library(name, library):
        def squared_error():
            error = z - t
            value = library.mean(error * error)
            error *= np.float32(2 / error.size)
            return value, error

        def log_loss():
            e = library.exp(-library.abs(z))
            value = library.mean(library.maximum(z, 0) - t * z + library.log1p(e))
            d = library.where(z > 0, np.float32(1), e) / (1 + e)
            d -= t
            d *= np.float32(1 / d.size)
            return value, d

        call = {"squared_error": squared_error, "log_loss": log_loss}[kind]

        def result():
            value, d = call()
            return {"loss": value, "gradient": d[checked]}

        return Contestant(name, call, result)

    def build_torch(name, torch):
        x = device.tensor(torch, host_z).requires_grad_()
        y = device.tensor(torch, host_t)
        f = torch_loss(torch, kind)

        def call():
            x.grad = None
            value = f(x, y)
            value.backward()
            return value

        def result():
            return {"loss": call(), "gradient": x.grad[checked]}

        return Contestant(name, call, result)

    oracle, tolerance = expected(kind, host_z, host_t, checked)
    return Case(
        f"{kind}, {n} × {m}",
        [
            Contestant(OURS, ours, ours_result),
            peers.contestant(*device.library, build_library),
            peers.contestant("PyTorch", "torch", build_torch),
        ],
        oracle=oracle,
        tolerance=tolerance,
        # Predictions and targets are read once, and gradients are written once.
        moved=3.0 * host_z.nbytes,
        params={"kind": kind, "n": n, "m": m, "dtype": "float32"},
        cold=3 * host_z.nbytes > device.l2_bytes > 0,
    )


def expected(kind: str, z: np.ndarray, t: np.ndarray, checked: slice) -> tuple[dict, dict]:
    """Loss and gradient in the checked rows, and their tolerances.

    The other libraries average in float32 with pairwise sums, for which the tolerance adds the bound of a dot product.
    """
    loss = reference.pointwise_loss(kind, z, t)[0]
    rows = z[checked], t[checked]
    value, derivative = reference.pointwise_items(kind, *rows)
    w = reference.row_weights(len(value))
    _, gradient = reference.mean_of_items(value, derivative)
    bound = tolerances.pointwise_loss(np.float32, kind, *rows, w, value, derivative)
    # For large logits of the right sign the other libraries' subtraction cancels: an error of eps(1) in each item.
    magnitude = np.maximum(np.abs(derivative), 1.0) * w[:, None] / z.shape[1]
    share = len(value) / len(z)
    return (
        {"loss": np.asarray(loss), "gradient": gradient * share},
        {
            "loss": np.asarray(bound[0] + tolerances.dot(np.float32, z.size, loss)),
            "gradient": (bound[1] + 4 * tolerances.eps(np.float32) * magnitude) * share,
        },
    )
