"""Softmax-cross-entropy with integer labels: mean loss and gradient with respect to the logits, float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, PeerUnavailableError

SHAPES = ((32, 10), (4096, 10), (4096, 1000))


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n, c in SHAPES[:2] if options.quick else SHAPES:
        yield loss_case(n, c, peers, compiled=not options.quick)


def loss_case(n: int, c: int, peers: Peers, compiled: bool) -> Case:
    from steepest import kernels as K

    rng = np.random.default_rng(c)
    logits = 3 * rng.standard_normal((n, c), dtype=np.float32)
    # Equal logits test nothing: some rows have a single large one, of either sign.
    logits[::7, 0] += 30
    logits[3::11, -1] -= 30
    labels = rng.integers(0, c, n)
    loss, gradient = np.zeros(()), np.empty_like(logits)

    def ours():
        return K.softmax_cross_entropy(logits, labels, loss=loss, d_logits=gradient)

    def ours_result():
        value, d_logits = K.softmax_cross_entropy(logits, labels)
        return {"loss": value, "gradient": d_logits}

    def build_numpy(name, np_):
        row = np_.arange(n)

        def call():
            z = logits - logits.max(axis=1, keepdims=True)
            e = np_.exp(z)
            s = e.sum(axis=1, keepdims=True)
            value = (np_.log(s[:, 0]) - z[row, labels]).mean()
            e /= s
            e[row, labels] -= 1
            e /= n
            return {"loss": value, "gradient": e}

        return Contestant(name, call, call)

    def build_torch(name, torch, wrap=lambda f: f):
        z = torch.from_numpy(logits.copy()).requires_grad_()
        y = torch.from_numpy(labels)
        f = wrap(torch.nn.functional.cross_entropy)

        def call():
            z.grad = None
            value = f(z, y)
            value.backward()
            return value

        return Contestant(name, call, lambda: {"loss": call().item(), "gradient": z.grad.numpy().copy()})

    def build_compiled(name, torch):
        if not compiled:
            raise PeerUnavailableError("not compiled in a quick run")
        torch._dynamo.reset()
        contestant = build_torch(name, torch, lambda f: torch.compile(lambda z, y: f(z, y), dynamic=False))
        contestant.call()
        return contestant

    def build_jax(name, jax):
        jnp = jax.numpy

        def mean_loss(z, y):
            return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()

        f = jax.jit(jax.value_and_grad(mean_loss))
        z, y = jnp.asarray(logits), jnp.asarray(labels.astype(np.int32))

        def result():
            value, g = f(z, y)
            return {"loss": float(value), "gradient": np.asarray(g)}

        return Contestant(name, lambda: f(z, y)[1].block_until_ready(), result)

    want_loss, want_gradient = reference.softmax_cross_entropy(logits, labels)
    target, weight = reference.one_hot(labels, c), reference.row_weights(n)
    tolerance = tolerances.softmax_cross_entropy(np.float32, logits, target, weight, want_loss)
    return Case(
        f"loss and gradient, {n} × {c}",
        [
            Contestant(OURS, ours, ours_result),
            peers.contestant("NumPy", "numpy", build_numpy),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("PyTorch compiled", "torch", build_compiled),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"loss": np.asarray(want_loss), "gradient": want_gradient},
        tolerance={"loss": np.asarray(tolerance[0]), "gradient": tolerance[1]},
        # The logits are read once and the gradient is written once.
        moved=2.0 * logits.nbytes + labels.nbytes,
        params={"n": n, "c": c, "dtype": "float32", "labels": "int64"},
    )
