"""Linear layers with bias and ReLU in float32; products in bfloat16, on CUDA those of cuda_products.py.

Layers are those of the 784-128-64-10 network with batches of 32, 256 and 2048. A library with a fused layer runs it:
oneDNN's or cuBLASLt's through PyTorch, XLA's under JAX.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench import cuda_products
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, jax_contestant

LAYERS = ((784, 128), (128, 64), (64, 10))
# (m, n, k) of products in bfloat16 on the CPU: squares, a layer, and the gradient of its weights.
BFLOAT16 = ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (256, 128, 784), (2048, 128, 784))


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    if options.device.name == "cuda":
        yield from cuda_products.cases(options, peers)
    else:
        for shape in BFLOAT16[: 1 if options.quick else None]:
            yield bfloat16_case(*shape, peers)
    for rows in (32,) if options.quick else (32, 256, 2048):
        for n_in, n_out in LAYERS:
            yield layer_case(rows, n_in, n_out, options, peers)


def layer_case(rows: int, n_in: int, n_out: int, options: Options, peers: Peers) -> Case:
    """relu(x @ w + b)."""
    from steepest import kernels as K

    device, xp = options.device, options.device.xp
    rng = np.random.default_rng(rows + n_in)
    host_x = rng.standard_normal((rows, n_in), dtype=np.float32)
    host_w = rng.standard_normal((n_in, n_out), dtype=np.float32)
    host_b = rng.standard_normal(n_out, dtype=np.float32)
    x, w, b = (xp.asarray(v) for v in (host_x, host_w, host_b))
    out = xp.empty((rows, n_out), np.float32)

    def build_library(name, library):
        own = library.empty_like(out)

        def call():
            library.matmul(x, w, out=own)
            library.add(own, b, out=own)
            return library.maximum(own, 0, out=own)

        return Contestant(name, call, lambda: {"out": call()})

    def torch_arguments(torch):
        # PyTorch's layers keep the weights as (n_out, n_in).
        return [device.tensor(torch, v) for v in (host_x, host_w.T.copy(), host_b)]

    def build_torch(name, torch):
        tx, tw, tb = torch_arguments(torch)

        @torch.inference_mode()
        def call():
            return torch.nn.functional.linear(tx, tw, tb).relu_()

        return Contestant(name, call, lambda: {"out": call()})

    def build_fused(name, torch):
        tx, tw, tb = torch_arguments(torch)
        one_dnn = torch.ops.mkldnn._linear_pointwise if device.name == "cpu" else None

        @torch.inference_mode()
        def call():
            if one_dnn is not None:
                return one_dnn(tx, tw, tb, "relu", [], "")
            return torch._addmm_activation(tb, tx, tw.T)

        call()
        return Contestant(name, call, lambda: {"out": call()})

    def build_jax(name, jax):
        arguments = [jax.numpy.asarray(v) for v in (host_x, host_w, host_b)]
        f = jax.jit(lambda x, w, b: jax.nn.relu(x @ w + b))
        return jax_contestant(device, name, jax, lambda: f(*arguments), lambda: {"out": f(*arguments)})

    fused = "oneDNN" if device.name == "cpu" else "cuBLASLt"
    y = reference.linear(host_x, host_w, host_b, "relu")
    return Case(
        f"relu(x w + b), {rows} rows, {n_in} → {n_out}",
        [
            Contestant(
                OURS, lambda: K.linear(x, w, b, "relu", out), lambda: {"out": K.linear(x, w, b, "relu")}
            ),
            peers.contestant(*device.library, build_library),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant(f"PyTorch fused {fused}", "torch", build_fused),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"out": y},
        tolerance={"out": tolerances.linear(np.float32, host_x, host_w, host_b, y, 1.0)},
        flops=2.0 * rows * n_in * n_out,
        moved=4.0 * (rows * n_in + n_in * n_out + rows * n_out),
        params={"rows": rows, "n_in": n_in, "n_out": n_out, "dtype": "float32"},
    )


def bfloat16_case(m: int, n: int, k: int, peers: Peers) -> Case:
    """a @ b of float32 arrays whose items are rounded to bfloat16; PyTorch also on arrays that are bfloat16 already."""
    from steepest import kernels as K

    rng = np.random.default_rng(m + n + k)
    a, b = (rng.standard_normal(shape, dtype=np.float32) for shape in ((m, k), (k, n)))
    out = np.empty((m, n), np.float32)

    def ours(name, precision):
        return Contestant(
            name,
            lambda: K.matmul(a, b, out, precision=precision),
            lambda: {"out": K.matmul(a, b, precision=precision)},
        )

    def build_torch(name, torch):
        x, y = torch.from_numpy(a).bfloat16(), torch.from_numpy(b).bfloat16()
        own = torch.empty(m, n, dtype=torch.bfloat16)
        return Contestant(
            name, lambda: torch.mm(x, y, out=own), lambda: {"out": torch.mm(x, y).float().numpy()}
        )

    def build_medium(name, torch):
        x, y, own = torch.from_numpy(a), torch.from_numpy(b), torch.empty(m, n)
        torch.set_float32_matmul_precision("medium")
        return Contestant(name, lambda: torch.mm(x, y, out=own), lambda: {"out": torch.mm(x, y).numpy()})

    def build_jax(name, jax):
        x, y = jax.numpy.asarray(a), jax.numpy.asarray(b)
        f = jax.jit(lambda x, y: jax.numpy.matmul(x, y, precision="bfloat16"))
        return jax_contestant(peers.device, name, jax, lambda: f(x, y), lambda: {"out": f(x, y)})

    tolerance = tolerances.matmul_at_precision("bfloat16", a, b)
    product = reference.matmul(a, b)
    return Case(
        f"a b in bfloat16, {m} × {n} × {k}",
        [
            ours(OURS, "bfloat16"),
            ours(f"{OURS} in float32", "float32"),
            peers.contestant("PyTorch on bfloat16 arrays", "torch", build_torch),
            peers.contestant('PyTorch at precision "medium"', "torch", build_medium),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"out": product},
        # PyTorch also rounds the result.
        tolerance={"out": tolerance + 2.0**-8 * np.abs(product)},
        flops=2.0 * m * n * k,
        moved=4.0 * (m * k + k * n + m * n),
        params={"m": m, "n": n, "k": k, "dtype": "float32", "precision": "bfloat16"},
    )
