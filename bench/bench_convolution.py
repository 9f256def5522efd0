"""Convolutions of images, forward and backward: 1x1, 3x3 and 5x5 windows, depthwise ones, few and many channels.

PyTorch brings oneDNN; it takes part with its usual order of axes, and with channels last, which this package has.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, jax_contestant

# (images, height and width, channels in, channels out, window, padding, groups): the layers of LeNet and of Keras' net
# for MNIST at batches of 128 and 32, windows of 3x3 and 1x1 over 14x14 to 56x56 pixels, a depthwise one, and one image.
SHAPES = (
    (128, 28, 1, 6, 5, 2, 1),
    (128, 14, 6, 16, 5, 0, 1),
    (32, 28, 1, 32, 3, 0, 1),
    (32, 13, 32, 64, 3, 0, 1),
    (32, 56, 16, 16, 3, 1, 1),
    (32, 28, 32, 32, 3, 1, 1),
    (32, 14, 64, 64, 3, 1, 1),
    (8, 56, 64, 64, 3, 1, 1),
    (32, 28, 64, 64, 1, 0, 1),
    (32, 28, 64, 64, 3, 1, 64),
    (1, 28, 32, 32, 3, 1, 1),
)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for shape in SHAPES[: 1 if options.quick else None]:
        for backward in (False, True):
            yield convolution_case(shape, backward, options, peers)


def convolution_case(shape, backward: bool, options: Options, peers: Peers) -> Case:
    """A convolution with bias, or its three gradients, into existing arrays."""
    from steepest import kernels as K

    n, size, c_in, c_out, window, padding, groups = shape
    device, xp = options.device, options.device.xp
    rng = np.random.default_rng(n + size + c_in)
    host_x = rng.standard_normal((n, size, size, c_in), dtype=np.float32)
    host_w = rng.standard_normal((window, window, c_in // groups, c_out), dtype=np.float32)
    host_b = rng.standard_normal(c_out, dtype=np.float32)
    out_size = size + 2 * padding - window + 1
    host_d = rng.standard_normal((n, out_size, out_size, c_out), dtype=np.float32)
    x, w, b, d = (xp.asarray(v) for v in (host_x, host_w, host_b, host_d))
    arguments = {"padding": padding, "groups": groups}
    out, d_x, d_w, d_b = xp.empty_like(d), xp.empty_like(x), xp.empty_like(w), xp.empty_like(b)
    names = ("d_x", "d_weight", "d_bias")

    def ours():
        if backward:
            return dict(
                zip(
                    names,
                    K.conv2d_backward(d, x, w, d_x=d_x, d_weight=d_w, d_bias=d_b, **arguments),
                    strict=True,
                )
            )
        return {"out": K.conv2d(x, w, b, out=out, **arguments)}

    def build_torch(name, torch):
        layout = torch.channels_last if "channels last" in name else torch.contiguous_format

        def image(v):
            return device.tensor(torch, v).permute(0, 3, 1, 2).contiguous(memory_format=layout)

        tx, td, tb = image(host_x), image(host_d), device.tensor(torch, host_b)
        tw = device.tensor(torch, host_w).permute(3, 2, 0, 1).contiguous(memory_format=layout)

        @torch.inference_mode()
        def call():
            if not backward:
                return torch.nn.functional.conv2d(tx, tw, tb, padding=padding, groups=groups)
            rest = ([1, 1], [padding] * 2, [1, 1], False, [0, 0], groups, [True] * 3)
            return torch.ops.aten.convolution_backward(td, tx, tw, [c_out], *rest)

        def result():
            if not backward:
                return {"out": call().permute(0, 2, 3, 1)}
            of_x, of_w, of_b = call()
            return {"d_x": of_x.permute(0, 2, 3, 1), "d_weight": of_w.permute(2, 3, 1, 0), "d_bias": of_b}

        return Contestant(name, call, result)

    def build_jax(name, jax):
        jx, jw, jb, jd = (jax.numpy.asarray(v) for v in (host_x, host_w, host_b, host_d))

        def convolve(x, w, b):
            pads = [(padding, padding)] * 2
            dims = ("NHWC", "HWIO", "NHWC")
            y = jax.lax.conv_general_dilated(
                x, w, (1, 1), pads, dimension_numbers=dims, feature_group_count=groups
            )
            return y + b

        forward = jax.jit(convolve)
        pull = jax.jit(lambda x, w, b, d: jax.vjp(convolve, x, w, b)[1](d))
        call = (lambda: pull(jx, jw, jb, jd)) if backward else (lambda: forward(jx, jw, jb))
        result = (lambda: dict(zip(names, call(), strict=True))) if backward else (lambda: {"out": call()})
        return jax_contestant(device, name, jax, call, result)

    if backward:
        values = reference.conv2d_backward(host_d, host_x, host_w, **arguments)
        bounds = tolerances.conv2d_backward(np.float32, host_d, host_x, host_w, 1.0, **arguments)
        oracle, bound = (dict(zip(names, found, strict=True)) for found in (values, bounds))
    else:
        y = reference.conv2d(host_x, host_w, host_b, **arguments)
        oracle = {"out": y}
        bound = {"out": tolerances.conv2d(np.float32, host_x, host_w, host_b, y, 1.0, **arguments)}
    products = 2.0 * n * out_size**2 * window**2 * (c_in // groups) * c_out
    kind = "depthwise " if groups > 1 else ""
    what = "gradients" if backward else "convolution"
    return Case(
        f"{kind}{what}, {n} × {size} × {size} × {c_in} → {c_out}, {window} × {window}",
        [
            Contestant(OURS, ours, ours),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("PyTorch channels last", "torch", build_torch),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle=oracle,
        tolerance=bound,
        flops=products * (2 if backward else 1),
        moved=4.0 * (2 if backward else 1) * (host_x.size + host_d.size + host_w.size),
        params={"shape": list(shape), "backward": backward, "dtype": "float32"},
    )
