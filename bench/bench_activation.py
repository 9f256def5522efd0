"""Activations in float32: on data in the caches and in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, jax_contestant

# All activations except the identity.
NAMES = tuple(name for name in reference.ACTIVATIONS if name != "identity")
# PyTorch's names where they differ from ours, and its functions with further arguments.
TORCH_OPERATIONS = {"relu": "clamp_min", "hard_sigmoid": "hardsigmoid"}
TORCH_ARGUMENTS = {"relu": (0,), "leaky_relu": (0.01,)}
# Number of items: a batch in the second-level cache, and an array larger than every cache.
SIZES = {"cpu": (1 << 15, 1 << 24), "cuda": (1 << 20, 1 << 28)}
QUICK = (1 << 10,)
ALL_CHECKED = 1 << 20


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n in QUICK if options.quick else SIZES[options.device.name]:
        for name in NAMES:
            yield activation_case(name, n, options, peers)


def activation_case(name: str, n: int, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    device, xp = options.device, options.device.xp
    host = 3 * np.random.default_rng(n).standard_normal(n, dtype=np.float32)
    x = xp.asarray(host)
    out = xp.empty_like(x)
    checked = slice(None, None, n // ALL_CHECKED | 1)

    def ours():
        return K.activation(x, name, out=out)

    def build_torch(label, torch):
        z = device.tensor(torch, host)
        y = torch.empty_like(z)
        theirs = TORCH_OPERATIONS.get(name, name)
        # Few functions of `torch` take `out`, but the underlying aten operations do.
        operation = getattr(torch, theirs, None) or getattr(torch.ops.aten, theirs).out
        arguments = TORCH_ARGUMENTS.get(name, ())

        def in_given():
            return operation(z, *arguments, out=y)

        return Contestant(label, in_given, lambda: {"y": in_given()[checked]})

    def build_jax(label, jax):
        f = jax.jit(getattr(jax.nn, name) if name != "gelu" else lambda z: jax.nn.gelu(z, approximate=False))
        z = jax.numpy.asarray(host)
        return jax_contestant(device, label, jax, lambda: f(z), lambda: {"y": f(z)[checked]})

    y = reference.activation(host[checked], name)
    return Case(
        f"{name}, {n} items",
        [
            Contestant(OURS, ours, lambda: {"y": ours()[checked]}),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"y": y},
        tolerance={"y": tolerances.activation(np.float32, host[checked], y, name)},
        moved=2.0 * host.nbytes,
        params={"activation": name, "n": n, "dtype": "float32"},
        cold=2 * host.nbytes > device.l2_bytes > 0,
    )
