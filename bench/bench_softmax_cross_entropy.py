"""Softmax cross-entropy with integer labels: mean loss and gradient with respect to the logits, float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, PeerUnavailableError, compiled, jax_contestant

SHAPES = {
    "cpu": ((32, 10), (4096, 10), (4096, 1000)),
    # Memory-bound shapes first: 512 MiB of logits, with a large and a moderate number of classes.
    "cuda": ((4096, 32768), (131072, 1024), (32, 10), (4096, 10)),
}
QUICK = ((32, 10), (4096, 10))
# Largest number of logits whose gradients are all checked; in larger arrays every n-th row is, n odd.
ALL_CHECKED = 1 << 23
ORACLE_ROWS = 256


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n, c in QUICK if options.quick else SHAPES[options.device.name]:
        yield loss_case(n, c, options, peers)


def loss_case(n: int, c: int, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    device, xp = options.device, options.device.xp
    rng = np.random.default_rng(c)
    host_logits = 3 * rng.standard_normal((n, c), dtype=np.float32)
    # Some rows have a single large logit of either sign, since nearly equal logits are an easy case.
    host_logits[::7, 0] += 30
    host_logits[3::11, -1] -= 30
    host_labels = rng.integers(0, c, n)
    logits, labels = xp.asarray(host_logits), xp.asarray(host_labels)
    loss, gradient = xp.zeros(()), xp.empty_like(logits)
    checked = slice(None, None, n * c // ALL_CHECKED | 1)

    def ours():
        return K.softmax_cross_entropy(logits, labels, loss=loss, d_logits=gradient)

    def ours_result():
        value, d_logits = K.softmax_cross_entropy(logits, labels)
        return {"loss": value, "gradient": d_logits[checked]}

    def build_library(name, library):
        row = library.arange(n)

        def call():
            z = logits - logits.max(axis=1, keepdims=True)
            e = library.exp(z)
            s = e.sum(axis=1, keepdims=True)
            value = (library.log(s[:, 0]) - z[row, labels]).mean()
            e /= s
            e[row, labels] -= 1
            e /= n
            return value, e

        def result():
            value, e = call()
            return {"loss": value, "gradient": e[checked]}

        return Contestant(name, call, result)

    def build_torch(name, torch, wrap=lambda f: f):
        z = device.tensor(torch, host_logits).requires_grad_()
        y = device.tensor(torch, host_labels)
        f = wrap(lambda z, y: torch.nn.functional.cross_entropy(z, y))

        def call():
            z.grad = None
            value = f(z, y)
            value.backward()
            return value

        def result():
            return {"loss": call(), "gradient": z.grad[checked]}

        return Contestant(name, call, result)

    def build_compiled(name, torch):
        if options.quick:
            raise PeerUnavailableError("not compiled in a quick run")
        contestant = build_torch(name, torch, lambda f: compiled(torch, f))
        contestant.call()
        return contestant

    def build_jax(name, jax):
        jnp = jax.numpy

        def mean_loss(z, y):
            return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()

        f = jax.jit(jax.value_and_grad(mean_loss))
        z, y = jnp.asarray(host_logits), jnp.asarray(host_labels.astype(np.int32))

        def result():
            value, g = f(z, y)
            return {"loss": value, "gradient": g[checked]}

        return jax_contestant(device, name, jax, lambda: f(z, y)[1], result)

    oracle, tolerance = expected(host_logits, host_labels, checked)
    return Case(
        f"loss and gradient, {n} × {c}",
        [
            Contestant(OURS, ours, ours_result),
            peers.contestant(*device.library, build_library),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("PyTorch compiled", "torch", build_compiled),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle=oracle,
        tolerance=tolerance,
        # Logits are read once, and gradients are written once.
        moved=2.0 * host_logits.nbytes + host_labels.nbytes,
        params={"n": n, "c": c, "dtype": "float32", "labels": "int64"},
        cold=2 * host_logits.nbytes > device.l2_bytes > 0,
    )


def expected(logits: np.ndarray, labels: np.ndarray, checked: slice) -> tuple[dict, dict]:
    """Loss and gradient in the checked rows, and their tolerances.

    The loss is the mean over all rows, computed in blocks; its tolerance is the mean over the checked rows.
    """
    n, c = logits.shape
    blocks = [slice(i, i + ORACLE_ROWS) for i in range(0, n, ORACLE_ROWS)]
    losses = [reference.softmax_cross_entropy(logits[b], labels[b])[0] * len(labels[b]) for b in blocks]
    loss, z, y = sum(losses) / n, logits[checked], labels[checked]
    gradient = reference.softmax_cross_entropy(z, y)[1]
    target, weight = reference.one_hot(y, c), reference.row_weights(len(y))
    tolerance = tolerances.softmax_cross_entropy(np.float32, z, target, weight, loss)
    share = len(y) / n
    return (
        {"loss": np.asarray(loss), "gradient": gradient * share},
        {"loss": np.asarray(tolerance[0]), "gradient": tolerance[1] * share + tolerances.tiny(np.float32)},
    )
