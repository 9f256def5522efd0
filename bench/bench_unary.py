"""Functions of one item in float32: on data in the caches and in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, jax_contestant

# Number of items: a batch in the second-level cache, and an array larger than every cache.
SIZES = {"cpu": (1 << 15, 1 << 24), "cuda": (1 << 20, 1 << 28)}
QUICK = (1 << 10,)
ALL_CHECKED = 1 << 20


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n in QUICK if options.quick else SIZES[options.device.name]:
        for name in reference.UNARY_FUNCTIONS:
            yield unary_case(name, n, options, peers)


def unary_case(name: str, n: int, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    device, xp = options.device, options.device.xp
    host = 3 * np.random.default_rng(n).standard_normal(n, dtype=np.float32)
    if reference.UNARY_FUNCTIONS[name].positive:
        np.abs(host, out=host)
    checked = slice(None, None, n // ALL_CHECKED | 1)

    def with_output(label, function, x, out):
        return Contestant(label, lambda: function(x, out=out), lambda: {"y": function(x, out=out)[checked]})

    def build_library(label, xp):
        x = xp.asarray(host)
        return with_output(label, getattr(xp, name), x, xp.empty_like(x))

    def build_torch(label, torch):
        z = device.tensor(torch, host)
        return with_output(label, getattr(torch, name), z, torch.empty_like(z))

    def build_jax(label, jax):
        f = jax.jit(getattr(jax.numpy, name, None) or getattr(jax.lax, name))
        z = jax.numpy.asarray(host)
        return jax_contestant(device, label, jax, lambda: f(z), lambda: {"y": f(z)[checked]})

    # NumPy and CuPy have no erf.
    library = [peers.contestant(*device.library, build_library)] if hasattr(np, name) else []
    x = xp.asarray(host)
    y = reference.unary(host[checked], name)
    # Other libraries may err by more than the bounds of our functions.
    tolerance = 4.0 * tolerances.unary(np.float32, y, name)
    return Case(
        f"{name}, {n} items",
        [
            with_output(OURS, getattr(K, name), x, xp.empty_like(x)),
            *library,
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"y": y},
        tolerance={"y": tolerance},
        moved=2.0 * host.nbytes,
        params={"function": name, "n": n, "dtype": "float32"},
        cold=2 * host.nbytes > device.l2_bytes > 0,
    )
