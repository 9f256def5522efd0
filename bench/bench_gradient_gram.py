"""Gram matrix of the gradients of 512 samples, for the layers of 784-128-64-10, float32.

The other libraries multiply the Gram matrices of the inputs and of the output gradients of each layer elementwise. Or
they form the gradient of every sample as a row, and multiply the rows with one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import tolerances
from bench.peers import Peers

SIZES = (784, 128, 64, 10)
ROUNDS = 15
MOST_FORMED = 512  # largest number of samples whose gradients are formed, at 0.4 MB each


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n in (64,) if options.quick else (128, 512, 2048):
        yield gram_case(n, options, peers)


def gram_case(n: int, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    rng = np.random.default_rng(n)
    layers = [
        (rng.standard_normal((n, p), dtype=np.float32), rng.standard_normal((n, m), dtype=np.float32))
        for p, m in pairwise(SIZES)
    ]
    on_device = [tuple(options.device.xp.asarray(a) for a in layer) for layer in layers]
    out = options.device.xp.zeros((n, n))

    def ours():
        for i, (x, d) in enumerate(on_device):
            K.gradient_gram(x, d, bias=True, accumulate=i > 0, out=out)
        return {"out": out}

    def build_library(label, xp):
        def call():
            return {"out": sum((x @ x.T + np.float32(1)) * (d @ d.T) for x, d in on_device)}

        return Contestant(label, call, call)

    def build_direct(label, xp):
        def call():
            total = 0
            for x, d in on_device:
                gradients = xp.concatenate([(x[:, :, None] * d[:, None, :]).reshape(n, -1), d], axis=1)
                total = total + gradients @ gradients.T
            return {"out": total}

        return Contestant(label, call, call, max_rounds=3)

    def build_torch(label, torch):
        tensors = [tuple(options.device.tensor(torch, a) for a in layer) for layer in layers]

        def call():
            return {"out": sum((x @ x.T + 1) * (d @ d.T) for x, d in tensors)}

        return Contestant(label, call, call)

    wide = [tuple(a.astype(np.float64) for a in layer) for layer in layers]
    library = options.device.library
    contestants = [
        Contestant(OURS, ours, ours),
        peers.contestant(*library, build_library),
        peers.contestant("PyTorch", "torch", build_torch),
    ]
    if n <= MOST_FORMED:
        direct = peers.contestant(f"{library[0]}, gradients formed", library[1], build_direct)
        contestants.append(direct)
    return Case(
        f"{n:,} samples",
        contestants,
        oracle={"out": sum((x @ x.T + 1) * (d @ d.T) for x, d in wide)},
        tolerance={"out": sum(tolerances.gradient_gram(np.float32, x, d, True) for x, d in layers)},
        flops=float(n) * n * sum(p + m for p, m in pairwise(SIZES)),
        moved=4.0 * sum(x.size + d.size for x, d in layers) + 8.0 * len(layers) * n * n,
        rounds=ROUNDS,
        params={"n": n, "layers": "-".join(map(str, SIZES)), "dtype": "float32"},
    )
