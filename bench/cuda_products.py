"""Square matrix products on CUDA in each precision, against cuBLAS and cuBLASLt in the same precision.

The row has every contestant's error against float64, so that "high", three products of tf32 parts, can be compared
with float32. The error covers all columns of every n-th row, with n odd, so that the rows have different places in the
kernels' tiles. `bfloat16` rounds float32 operands during the product, as PyTorch does when it casts them. PyTorch on
arrays that already are bfloat16 reads half the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, blas_contestant, jax_contestant

SIZES = (4096, 8192, 1024, 2048)  # the most important sizes first, in case the time runs out
CHECKED_ROWS = 64


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n in (96,) if options.quick else SIZES:
        operands = Operands(n, options)
        yield float32_case(operands, peers)
        for precision in ("tf32", "bfloat16"):
            yield lower_case(operands, precision, peers)
    if not options.quick:
        # The matrices have 12 MiB, which would otherwise stay in the cache.
        yield float32_case(Operands(1024, options), peers, cold=True)


class Operands:
    """Two n x n matrices on the host and on the device, and the rows of the result that are checked."""

    def __init__(self, n: int, options: Options):
        self.n, self.device = n, options.device
        self.host = np.random.default_rng(n).standard_normal((2, n, n), dtype=np.float32)
        self.a, self.b = (self.device.xp.asarray(v) for v in self.host)
        self.rows = slice(None, None, n // CHECKED_ROWS | 1)
        self.product = reference.matmul(self.host[0][self.rows], self.host[1])

    def case(self, precision: str, contestants: list[Contestant], cold: bool = False) -> Case:
        n = self.n
        return Case(
            f"{precision} product {n}³" + (", caches emptied" if cold else ""),
            contestants,
            oracle={"out": self.product},
            tolerance={
                "out": tolerances.matmul_at_precision(precision, self.host[0][self.rows], self.host[1])
            },
            flops=2.0 * n**3,
            moved=4.0 * 3 * n * n,
            working_set=float("inf") if cold else 0.0,
            params={"m": n, "n": n, "k": n, "dtype": "float32", "precision": precision},
            cold=cold,
        )

    def ours(self, name: str, precision: str) -> Contestant:
        from steepest import kernels as K

        out = self.device.xp.empty((self.n, self.n), np.float32)
        call = partial(K.matmul, self.a, self.b, out, precision=precision)
        return Contestant(name, call, partial(self.poisoned, out, call))

    def poisoned(self, out, call) -> dict[str, object]:
        """The checked rows of `out` after `call`; `out` starts as NaN, which reveals items left unwritten."""
        out[...] = float("nan")
        call()
        return {"out": out[self.rows]}


def float32_case(operands: Operands, peers: Peers, cold: bool = False) -> Case:
    def build_cupy(name, cupy):
        out = cupy.empty((operands.n, operands.n), np.float32)

        def call():
            cupy.dot(operands.a, operands.b, out=out)

        return Contestant(name, call, partial(operands.poisoned, out, call))

    def build_jax(name, jax):
        x, y = (jax.numpy.asarray(v) for v in operands.host)
        f = jax.jit(jax.numpy.matmul)
        result = lambda: {"out": f(x, y)[operands.rows]}  # noqa: E731
        return jax_contestant(operands.device, name, jax, lambda: f(x, y), result)

    contestants = [
        operands.ours(OURS, "float32"),
        operands.ours(f"{OURS} high", "high"),
        peers.contestant(f"{operands.device.library[0]} cuBLAS", operands.device.library[1], build_cupy),
        *torch_contestants(operands, peers, "float32", "highest"),
    ]
    if not cold:
        contestants.append(peers.contestant("JAX", "jax", build_jax))
    return operands.case("float32", contestants, cold)


def lower_case(operands: Operands, precision: str, peers: Peers) -> Case:
    contestants = [operands.ours(OURS, precision)]
    if precision == "tf32":
        contestants += torch_contestants(operands, peers, "float32", "high")
    else:
        contestants += torch_contestants(operands, peers, "bfloat16", "highest")
        build = partial(build_casting, operands=operands)
        contestants.append(peers.contestant("PyTorch cuBLAS, casting", "torch", build))
    return operands.case(precision, contestants)


def torch_contestants(operands: Operands, peers: Peers, dtype: str, precision: str) -> list[Contestant]:
    """Contestants that run torch.mm by cuBLAS and by cuBLASLt."""

    def build(name, torch, library):
        x, y = (operands.device.tensor(torch, v).to(getattr(torch, dtype)) for v in operands.host)
        out = torch.empty_like(x)

        def call():
            torch.mm(x, y, out=out)

        return blas_contestant(
            torch, name, call, partial(operands.poisoned, out, call), library=library, precision=precision
        )

    return [
        peers.contestant(f"PyTorch {label}", "torch", partial(build, library=label.lower()))
        for label in ("cuBLAS", "cuBLASLt")
    ]


def build_casting(name, torch, operands: Operands) -> Contestant:
    """A product from float32 to float32 that casts to bfloat16 inside."""
    x, y = (operands.device.tensor(torch, v) for v in operands.host)

    def call():
        return torch.mm(x.bfloat16(), y.bfloat16()).float()

    return Contestant(name, call, lambda: {"out": call()[operands.rows]})
