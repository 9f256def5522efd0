"""Directional derivative (JVP) of a layer tanh(x @ w + b): 512 rows, 784 to 128, float32.

The cases are a network's first layer, whose input is constant, and a later layer. The layer's outputs are given. Other
contestants compute the same from two calls of `linear`, their sum and `activation_backward`, from the formula in other
libraries, and from `torch.func.jvp`, which also computes the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers

ROWS, N_IN, N_OUT = 512, 784, 128


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    rows = 64 if options.quick else ROWS
    yield tangent_case("first layer", rows, False, options, peers)
    yield tangent_case("later layer", rows, True, options, peers)


def tangent_case(what: str, rows: int, moves: bool, options: Options, peers: Peers) -> Case:
    """A case for a layer whose input has a derivative too if `moves` is true."""
    from steepest import kernels as K

    device, xp = options.device, options.device.xp
    rng = np.random.default_rng(rows + moves)
    shapes = {"x": (rows, N_IN), "v": (N_IN, N_OUT), "c": (N_OUT,), "dx": (rows, N_IN), "w": (N_IN, N_OUT)}
    host = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    host["w"] *= np.float32(N_IN**-0.5)
    b = rng.standard_normal(N_OUT, dtype=np.float32)
    host_y = np.tanh(host["x"] @ host["w"] + b)
    x, v, c, dx, w = (xp.asarray(a) for a in host.values())
    y, out = xp.asarray(host_y), xp.empty((rows, N_OUT), np.float32)
    inner = (dx, w) if moves else (None, None)

    def ours():
        return {"out": K.linear_tangent(x, v, c, *inner, y=y, activation="tanh", out=out)}

    own, other = xp.empty_like(out), xp.empty_like(out)

    def separate():
        K.linear(x, v, c, out=own)
        if moves:
            xp.add(own, K.linear(dx, w, out=other), out=own)
        return {"out": K.activation_backward(own, y, "tanh", out=own)}

    def build_library(label, library):
        def call():
            total = library.matmul(x, v, out=own)
            total += c
            if moves:
                total += library.matmul(dx, w, out=other)
            total *= 1 - y * y
            return {"out": total}

        return Contestant(label, call, call)

    def build_torch(label, torch):
        tx, tv, tc, tdx, tw, ty = (device.tensor(torch, a) for a in (*host.values(), host_y))

        @torch.inference_mode()
        def call():
            total = torch.addmm(tc, tx, tv)
            if moves:
                total.addmm_(tdx, tw)
            return {"out": total.mul_(1 - ty * ty)}

        return Contestant(label, call, call)

    def build_jvp(label, torch):
        tx, tv, tc, tdx, tw, tb = (device.tensor(torch, a) for a in (*host.values(), b))

        def layer(weights, bias, inputs):
            return torch.tanh(torch.addmm(bias, inputs, weights))

        def first_layer(weights, bias):
            return layer(weights, bias, tx)

        def call():
            if moves:
                return {"out": torch.func.jvp(layer, (tw, tb, tx), (tv, tc, tdx))[1]}
            return {"out": torch.func.jvp(first_layer, (tw, tb), (tv, tc))[1]}

        return Contestant(label, call, call)

    arguments = [host[name] if moves or name in ("x", "v", "c") else None for name in shapes]
    derivative = reference.activation_backward(np.ones_like(host_y), host_y, "tanh")
    products = 2 if moves else 1
    return Case(
        f"{what}, {rows} × {N_IN} → {N_OUT}",
        [
            Contestant(OURS, ours, ours),
            Contestant(f"{OURS} in several passes", separate, separate),
            peers.contestant(*device.library, build_library),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("PyTorch jvp", "torch", build_jvp),
        ],
        oracle={"out": reference.linear_tangent(*arguments, host_y, "tanh")},
        tolerance={"out": tolerances.linear_tangent(np.float32, *arguments, derivative)},
        flops=2.0 * products * rows * N_IN * N_OUT,
        moved=4.0 * (products * (rows * N_IN + N_IN * N_OUT) + 2 * rows * N_OUT),
        params={"rows": rows, "n_in": N_IN, "n_out": N_OUT, "input_moves": moves, "dtype": "float32"},
    )
