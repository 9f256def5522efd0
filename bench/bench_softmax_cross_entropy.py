"""Softmax cross-entropy with integer labels: mean loss and gradient with respect to the logits, float32.

With a linear layer before it, as at the end of a language model, also the memory that a library takes beyond its
inputs: this package computes the logits in blocks of rows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peak_memory import RESET, resident
from bench.peers import Peers, PeerUnavailableError, compiled, jax_contestant

SHAPES = {
    "cpu": ((32, 10), (4096, 10), (4096, 1000)),
    # Memory-bound shapes first: 512 MiB of logits, with a large and a moderate number of classes.
    "cuda": ((4096, 32768), (131072, 1024), (32, 10), (4096, 10)),
}
QUICK = ((32, 10), (4096, 10))
# Rows, inputs of the layer, and tokens of the vocabulary.
LINEAR = (4096, 128, 16384)
QUICK_LINEAR = (512, 32, 10000)
# Largest number of logits whose gradients are all checked; in larger arrays every n-th row is, n odd.
ALL_CHECKED = 1 << 23
ORACLE_ROWS = 256


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n, c in QUICK if options.quick else SHAPES[options.device.name]:
        yield loss_case(n, c, options, peers)
    yield linear_case(*(QUICK_LINEAR if options.quick else LINEAR), options, peers)


def linear_case(n: int, n_in: int, c: int, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    device, xp = options.device, options.device.xp
    rng = np.random.default_rng(c)
    host = [rng.standard_normal(shape, dtype=np.float32) for shape in ((n, n_in), (n_in, c), (c,))]
    host[0] *= 3 / np.sqrt(n_in)
    labels = rng.integers(0, c, n)
    names = ("loss", "d_x", "d_w", "d_b")

    def measured(call, free):
        """Return a function that measures what a call that allocates its results takes at its peak, on the host."""

        def finish():
            if device.name != "cpu":
                return {}
            free()
            ctypes.CDLL(None).malloc_trim(0)  # what has been freed before does not count
            RESET.write_text("5")
            before = resident("VmRSS")
            call()
            return {"peak_mib": round(resident("VmHWM") - before, 1)}

        return finish

    def build_ours(label, rows):
        x, w, b, y = (xp.asarray(a) for a in (*host, labels))
        results = {
            "loss": xp.zeros(()),
            **{f"d_{k}": xp.empty_like(a) for k, a in zip("xwb", (x, w, b), strict=True)},
        }

        def memory():
            return {} if rows is None else {"logits": xp.empty((rows, c), np.float32)}

        held = memory()

        def call():
            return K.linear_cross_entropy(x, w, b, y, **results, **held)

        def alone():
            return K.linear_cross_entropy(x, w, b, y, **memory())

        def result():
            return dict(zip(names, call(), strict=True))

        return Contestant(label, call, result, finish=measured(alone, held.clear))

    def build_torch(label, torch):
        if options.quick and "compiled" in label:
            raise PeerUnavailableError("not compiled in a quick run")
        x, w, b, y = (device.tensor(torch, a) for a in (*host, labels))
        leaves = [x.requires_grad_(), w.T.contiguous().requires_grad_(), b.requires_grad_()]
        F = torch.nn.functional

        def loss_of():
            return F.cross_entropy(F.linear(*leaves), y)

        run = compiled(torch, loss_of) if "compiled" in label else loss_of

        def cleared():
            for leaf in leaves:
                leaf.grad = None

        def call():
            cleared()
            value = run()
            value.backward()
            return value

        def result():
            value = call()
            return dict(zip(names, (value, leaves[0].grad, leaves[1].grad.T, leaves[2].grad), strict=True))

        return Contestant(label, call, result, finish=measured(call, cleared))

    z = reference.linear(*host)
    oracle = dict(zip(("loss", "d"), reference.softmax_cross_entropy(z, labels), strict=True))
    gradients = reference.linear_backward(oracle["d"], host[0], host[1])
    # A rounding error of the products for each of some dozen steps of their sums.
    bounds = [1e-4 * np.abs(g).max() for g in gradients]
    return Case(
        f"linear layer, loss and gradients, {n} × {n_in} × {c}",
        [
            build_ours(OURS, None),
            build_ours(f"{OURS}, all logits", n),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("PyTorch compiled", "torch", build_torch),
        ],
        oracle=dict(zip(names, (np.asarray(oracle["loss"]), *gradients), strict=True)),
        tolerance=dict(zip(names, (np.asarray(1e-5 * oracle["loss"]), *bounds), strict=True)),
        flops=6.0 * n * n_in * c,
        params={"n": n, "n_in": n_in, "c": c, "dtype": "float32", "labels": "int64"},
        peer_tolerance=1.0,
    )


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
