"""Matrix products in float32 of many shapes, on the CPU: those of networks and of linear models, squares, odd sizes.

NumPy brings OpenBLAS, PyTorch brings MKL.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, jax_contestant

# (m, n, k) of products of (m, k) by (k, n): squares, layers with few and many rows, gradients of weights, and products
# with one axis that is much longer or shorter than the others.
SHAPES = (
    *((n, n, n) for n in (16, 32, 64, 128, 256, 512, 1024, 2048)),
    *(
        (m, n, k)
        for m in (1, 32, 256, 2048)
        for k, n in ((784, 128), (128, 64), (64, 10), (1024, 1024), (100, 100), (10, 512))
    ),
    (784, 128, 32),
    (784, 128, 256),
    (128, 64, 2048),
    (50, 50, 100_000),
    (100, 100, 20_000),
    (4096, 32, 32),
    (4096, 64, 4096),
    # Sizes that are no multiple of a vector or a tile.
    (17, 17, 17),
    (37, 45, 53),
    (93, 119, 131),
    (255, 257, 251),
    (511, 513, 509),
    (1000, 1001, 999),
    (5, 777, 333),
    (777, 5, 333),
    (3000, 7, 40),
    (7, 3000, 400),
)
# Products of transposed operands, which backward passes need: "tn" is a.T @ b, "nt" is a @ b.T.
TRANSPOSED = (
    *(("tn", m, n, k) for m, n, k in ((784, 128, 32), (784, 128, 256), (784, 128, 2048), (128, 64, 2048))),
    *(("tn", m, n, k) for m, n, k in ((64, 10, 256), (512, 512, 512), (1024, 1024, 1024), (50, 50, 100_000))),
    *(("nt", m, n, k) for m, n, k in ((32, 784, 128), (256, 784, 128), (2048, 784, 128), (2048, 128, 64))),
    *(("nt", m, n, k) for m, n, k in ((512, 512, 512), (1024, 1024, 1024), (101, 203, 307))),
)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for shape in SHAPES[: 2 if options.quick else None]:
        yield product_case(*shape, "nn", peers)
    for form, *shape in TRANSPOSED[: 1 if options.quick else None]:
        yield product_case(*shape, form, peers)


def product_case(m: int, n: int, k: int, form: str, peers: Peers) -> Case:
    """a @ b of (m, k) and (k, n) into an existing output; `form` says which of the two is a transposed array."""
    from steepest import kernels as K

    rng = np.random.default_rng(m + n + k)
    left = rng.standard_normal((k, m) if form[0] == "t" else (m, k), dtype=np.float32)
    right = rng.standard_normal((n, k) if form[1] == "t" else (k, n), dtype=np.float32)

    def oriented(left, right):
        return left.T if form[0] == "t" else left, right.T if form[1] == "t" else right

    a, b = oriented(left, right)
    out = np.empty((m, n), np.float32)

    def build_numpy(name, np_):
        own = np.empty_like(out)
        return Contestant(name, lambda: np_.matmul(a, b, out=own), lambda: {"out": np_.matmul(a, b)})

    def build_torch(name, torch):
        x, y = oriented(torch.from_numpy(left), torch.from_numpy(right))
        own = torch.empty(m, n)
        return Contestant(name, lambda: torch.mm(x, y, out=own), lambda: {"out": torch.mm(x, y)})

    def build_jax(name, jax):
        x, y = jax.numpy.asarray(left), jax.numpy.asarray(right)
        f = jax.jit(lambda x, y: jax.numpy.matmul(*oriented(x, y)))
        return jax_contestant(peers.device, name, jax, lambda: f(x, y), lambda: {"out": f(x, y)})

    written = {"nn": "a b", "tn": "aᵀ b", "nt": "a bᵀ"}[form]
    return Case(
        f"{written}, {m} × {n} × {k}",
        [
            Contestant(OURS, lambda: K.matmul(a, b, out), lambda: {"out": K.matmul(a, b)}),
            peers.contestant("NumPy", "numpy", build_numpy),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"out": reference.matmul(a, b)},
        tolerance={"out": tolerances.matmul(np.float32, a, b)},
        flops=2.0 * m * n * k,
        moved=4.0 * (m * k + k * n + m * n),
        params={"m": m, "n": n, "k": k, "form": form, "dtype": "float32"},
    )
