"""Layer, RMS, group and batch norm and their gradients, float32: rows in the caches and beyond them, and images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers

EPSILON = 1e-5
ROWS = {"cpu": ((512, 64), (4096, 384)), "cuda": ((4096, 384), (65536, 1024))}
# Images, channels last: samples, height, width, channels; and the groups of group norm.
IMAGES = {"cpu": (128, 26, 26, 32), "cuda": (1024, 26, 26, 64)}
GROUPS = 8


@dataclass
class Job:
    """A norm, on x of a shape; `of_torch` maps (torch, x, weight, bias) to a call, or to one of its gradient."""

    kind: str
    shape: tuple[int, ...]
    backward: bool
    of_torch: Callable
    groups: int = 1


def jobs(options: Options) -> Iterator[Job]:
    rows = ((6, 8),) if options.quick else ROWS[options.device.name]
    images = (3, 4, 5, 16) if options.quick else IMAGES[options.device.name]
    for backward in (False, True):
        for shape in rows:
            yield Job("layer", shape, backward, torch_layer_norm)
        yield Job("rms", rows[-1], backward, torch_rms_norm)
        yield Job("group", images, backward, torch_group_norm, GROUPS)
        yield Job("batch", images, backward, torch_batch_norm)


# Each returns (forward, backward), which compute with the operators behind PyTorch's functions.


def torch_layer_norm(torch, x, weight, bias, d_y):
    def forward():
        return torch.native_layer_norm(x, x.shape[-1:], weight, bias, EPSILON)

    _, *statistics = forward()
    gradient = torch.ops.aten.native_layer_norm_backward
    return forward, lambda: gradient(d_y, x, x.shape[-1:], *statistics, weight, bias, [True] * 3)


def torch_rms_norm(torch, x, weight, bias, d_y):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = torch.nn.functional.rms_norm(x, x.shape[-1:], weight, EPSILON)

    def forward():
        with torch.no_grad():
            return (torch.nn.functional.rms_norm(x, x.shape[-1:], weight, EPSILON),)

    return forward, lambda: torch.autograd.grad(y, (x, weight), d_y, retain_graph=True)


def torch_group_norm(torch, x, weight, bias, d_y):
    x, d_y = (t.permute(0, 3, 1, 2) for t in (x, d_y))  # channels last in memory, as ours
    sizes = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3], GROUPS)

    def forward():
        return torch.native_group_norm(x, weight, bias, *sizes, EPSILON)

    _, *statistics = forward()
    gradient = torch.ops.aten.native_group_norm_backward
    return forward, lambda: gradient(d_y, x, *statistics, weight, *sizes, [True] * 3)


def torch_batch_norm(torch, x, weight, bias, d_y):
    x, d_y = (t.permute(0, 3, 1, 2) for t in (x, d_y))

    def forward():
        return torch.native_batch_norm(x, weight, bias, None, None, True, 0.1, EPSILON)

    _, *statistics = forward()
    gradient = torch.ops.aten.native_batch_norm_backward
    return forward, lambda: gradient(d_y, x, weight, None, None, *statistics, True, EPSILON, [True] * 3)


def numpy_norm(xp, kind, x, weight, bias, groups):
    """The formula as its users write it."""
    shape = x.shape
    axes = -1 if kind in ("layer", "rms") else tuple(range(len(shape) - 1))
    if kind == "group":
        x = x.reshape(shape[0], -1, groups, shape[-1] // groups)
        axes = (1, 3)
    if kind == "rms":
        return x / xp.sqrt((x * x).mean(axes, keepdims=True) + xp.float32(EPSILON)) * weight
    deviation = x - x.mean(axes, keepdims=True)
    xh = deviation / xp.sqrt((deviation * deviation).mean(axes, keepdims=True) + xp.float32(EPSILON))
    return xh.reshape(shape) * weight + bias


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for job in jobs(options):
        yield job_case(job, options, peers)


def job_case(job: Job, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    device, kind = options.device, job.kind
    rng = np.random.default_rng(1)
    x, d_y = (rng.standard_normal(job.shape, dtype=np.float32) for _ in range(2))
    weight, bias = (rng.standard_normal(job.shape[-1], dtype=np.float32) for _ in range(2))
    given = {"kind": kind, "groups": job.groups}
    oracle = {"y": reference.normalize(x, weight, None if kind == "rms" else bias, **given)[0]}
    tolerance = {
        "y": tolerances.normalize(np.float32, x, weight, None if kind == "rms" else bias, **given)[0]
    }
    names = ("d_x", "d_weight") if kind == "rms" else ("d_x", "d_weight", "d_bias")
    if job.backward:
        statistics = [s.astype(np.float32) for s in reference.normalize(x, **given)[1:]]
        arguments = (d_y, x, *statistics, weight)
        oracle = dict(zip(names, reference.normalize_backward(*arguments, kind=kind), strict=False))
        # A library has its own statistics and order of sums: twice the bound of ours.
        bounds = tolerances.normalize_backward(np.float32, *arguments, kind=kind)
        tolerance = {name: 2 * bound for name, bound in zip(names, bounds, strict=False)}

    def ours():
        xp = device.xp
        own_x, own_d_y, own_weight, own_bias = (xp.asarray(a) for a in (x, d_y, weight, bias))
        scales = (own_weight,) if kind == "rms" else (own_weight, own_bias)
        forward = getattr(K, f"{kind}_norm")
        parameters = ((job.groups,) if kind == "group" else ()) + scales
        results = forward(own_x, *parameters)
        outputs = dict(
            zip(("out", "rstd") if kind == "rms" else ("out", "mean", "rstd"), results, strict=True)
        )
        if not job.backward:
            return Contestant(
                OURS,
                lambda: forward(own_x, *parameters, **outputs),
                lambda: {"y": forward(own_x, *parameters)[0]},
            )
        backward = getattr(K, f"{kind}_norm_backward")
        arguments = (own_d_y, own_x, *results[1:], own_weight)
        gradients = dict(zip(names, backward(*arguments), strict=True))
        return Contestant(OURS, lambda: backward(*arguments, **gradients), lambda: gradients)

    def build_library(label, xp):
        arrays = [xp.asarray(a) for a in (x, weight, bias)]

        def call():
            return numpy_norm(xp, kind, *arrays, job.groups)

        return Contestant(label, call, lambda: {"y": call()})

    def build_torch(label, torch):
        tensors = [device.tensor(torch, a) for a in (x, weight, bias, d_y)]
        call = job.of_torch(torch, *tensors)[job.backward]

        def once():
            results = call()
            # PyTorch's images have their channels second.
            as_ours = [r.permute(0, 2, 3, 1) if r is not None and r.ndim == 4 else r for r in results]
            return dict(zip(names if job.backward else ("y",), as_ours, strict=False))

        return Contestant(label, call, once)

    contestants = [ours(), peers.contestant("PyTorch", "torch", build_torch)]
    if not job.backward:
        contestants.insert(1, peers.contestant(*device.library, build_library))
    shape = " × ".join(map(str, job.shape))
    moved = x.nbytes * (3.0 if job.backward else 2.0)
    return Case(
        f"{kind} norm{', gradient' if job.backward else ''}, {shape}",
        contestants,
        oracle=oracle,
        tolerance=tolerance,
        moved=moved,
        params={"kind": kind, "backward": job.backward, "shape": list(job.shape), "dtype": "float32"},
        cold=moved > device.l2_bytes > 0,
    )
