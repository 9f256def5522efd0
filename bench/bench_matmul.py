"""Matrix products, and linear layers with bias and ReLU, in float32.

Squares of 64 to 2048, and the layers of the 784-128-64-10 network at batches of 32, 256 and 2048. A library
that has a fused layer of its own runs it: oneDNN's through PyTorch, XLA's under JAX.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers

LAYERS = ((784, 128), (128, 64), (64, 10))


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n in (64, 128) if options.quick else (64, 128, 256, 512, 1024, 2048):
        yield product_case(n, peers)
    for rows in (32,) if options.quick else (32, 256, 2048):
        for n_in, n_out in LAYERS:
            yield layer_case(rows, n_in, n_out, peers)


def product_case(n: int, peers: Peers) -> Case:
    """a @ b of n x n matrices into an existing output."""
    from steepest import kernels as K

    rng = np.random.default_rng(n)
    a, b = rng.standard_normal((2, n, n), dtype=np.float32)
    out = np.empty((n, n), np.float32)

    def build_numpy(name, np_):
        own = np.empty_like(out)
        return Contestant(name, lambda: np_.matmul(a, b, out=own), lambda: {"out": np_.matmul(a, b)})

    def build_torch(name, torch):
        x, y = torch.from_numpy(a), torch.from_numpy(b)
        own = torch.empty(n, n)
        return Contestant(name, lambda: torch.mm(x, y, out=own), lambda: {"out": torch.mm(x, y).numpy()})

    def build_jax(name, jax):
        x, y = jax.numpy.asarray(a), jax.numpy.asarray(b)
        f = jax.jit(jax.numpy.matmul)
        return Contestant(name, lambda: f(x, y).block_until_ready(), lambda: {"out": np.asarray(f(x, y))})

    return Case(
        f"product {n} × {n} × {n}",
        [
            Contestant(OURS, lambda: K.matmul(a, b, out), lambda: {"out": K.matmul(a, b)}),
            peers.contestant("NumPy", "numpy", build_numpy),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"out": reference.matmul(a, b)},
        tolerance={"out": tolerances.matmul(np.float32, a, b)},
        flops=2.0 * n**3,
        moved=4.0 * 3 * n * n,
        params={"m": n, "n": n, "k": n, "dtype": "float32"},
    )


def layer_case(rows: int, n_in: int, n_out: int, peers: Peers) -> Case:
    """relu(x @ w + b)."""
    from steepest import kernels as K

    rng = np.random.default_rng(rows + n_in)
    x = rng.standard_normal((rows, n_in), dtype=np.float32)
    w = rng.standard_normal((n_in, n_out), dtype=np.float32)
    b = rng.standard_normal(n_out, dtype=np.float32)
    out = np.empty((rows, n_out), np.float32)

    def build_numpy(name, np_):
        own = np.empty_like(out)

        def call():
            np_.matmul(x, w, out=own)
            np_.add(own, b, out=own)
            return np_.maximum(own, 0, out=own)

        return Contestant(name, call, lambda: {"out": call().copy()})

    def torch_arguments(torch):
        # PyTorch's layers keep the weights as (n_out, n_in).
        return torch.from_numpy(x), torch.from_numpy(w.T.copy()), torch.from_numpy(b)

    def build_torch(name, torch):
        tx, tw, tb = torch_arguments(torch)

        @torch.inference_mode()
        def call():
            return torch.nn.functional.linear(tx, tw, tb).relu_()

        return Contestant(name, call, lambda: {"out": call().numpy()})

    def build_onednn(name, torch):
        tx, tw, tb = torch_arguments(torch)
        fused = torch.ops.mkldnn._linear_pointwise

        @torch.inference_mode()
        def call():
            return fused(tx, tw, tb, "relu", [], "")

        call()
        return Contestant(name, call, lambda: {"out": call().numpy()})

    def build_jax(name, jax):
        arguments = [jax.numpy.asarray(v) for v in (x, w, b)]
        f = jax.jit(lambda x, w, b: jax.nn.relu(x @ w + b))
        return Contestant(
            name, lambda: f(*arguments).block_until_ready(), lambda: {"out": np.asarray(f(*arguments))}
        )

    y = reference.linear(x, w, b, "relu")
    return Case(
        f"relu(x w + b), {rows} rows, {n_in} → {n_out}",
        [
            Contestant(
                OURS, lambda: K.linear(x, w, b, "relu", out), lambda: {"out": K.linear(x, w, b, "relu")}
            ),
            peers.contestant("NumPy", "numpy", build_numpy),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("PyTorch fused oneDNN", "torch", build_onednn),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"out": y},
        tolerance={"out": tolerances.linear(np.float32, x, w, b, y, 1.0)},
        flops=2.0 * rows * n_in * n_out,
        moved=4.0 * (rows * n_in + n_in * n_out + rows * n_out),
        params={"rows": rows, "n_in": n_in, "n_out": n_out, "dtype": "float32"},
    )
