"""Pooling of batches of images, float32, forwards and backwards, into arrays that are there.

PyTorch gets its images in the format `channels_last`, which is that of the kernels, and allocates its results. Its
positions are int64, those of the kernels bytes. JAX has no positions: its backward pass finds the maxima again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, jax_contestant

IMAGES = {"cpu": 128, "cuda": 1024}


@dataclass
class Job:
    """Images (n, h, w, c), and windows of `size` rows and columns; (h, w) is global pooling."""

    kind: str
    shape: tuple[int, int, int, int]
    size: int
    stride: int
    backward: bool

    @property
    def name(self) -> str:
        way = ", backward" if self.backward else ""
        n, h, w, c = self.shape
        return f"{self.kind}{way}, {self.size} × {self.size} / {self.stride}, {n} × {h} × {w} × {c}"


def jobs(options: Options) -> Iterator[Job]:
    n = 2 if options.quick else IMAGES[options.device.name]
    windows = (
        ((28, 28, 1), 2, 2),
        ((26, 26, 32), 2, 2),
        ((24, 24, 6), 2, 2),
        ((12, 12, 64), 2, 2),
        ((56, 56, 64), 3, 2),
    )
    for kind in ("max", "mean"):
        for backward in (False, True):
            for image, size, stride in windows:
                yield Job(kind, (n, *image), size, stride, backward)
    yield Job("mean", (n, 7, 7, 512), 7, 7, False)
    yield Job("mean", (n, 7, 7, 512), 7, 7, True)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for job in jobs(options):
        yield job_case(job, options, peers)


def oracle_of(job: Job, x: np.ndarray, d_y: np.ndarray | None):
    """The expected result, and its tolerance, of all images."""
    size, stride = job.size, job.stride
    if job.kind == "max":
        y, index = reference.max_pool2d(x, size, stride)
        if not job.backward:
            return y, np.array(np.finfo(np.float64).tiny)
        return (
            reference.max_pool2d_backward(d_y, index, size, stride, d_x=x),
            tolerances.max_pool2d_backward(np.float32, d_y, index, size, stride, d_x=x),
        )
    if not job.backward:
        return reference.avg_pool2d(x, size, stride), tolerances.avg_pool2d(np.float32, x, size, stride)
    return (
        reference.avg_pool2d_backward(d_y, size, stride, d_x=x),
        tolerances.avg_pool2d_backward(np.float32, d_y, size, stride, d_x=x),
    )


def job_case(job: Job, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    device, xp = options.device, options.device.xp
    rng = np.random.default_rng(1)
    geometry = (job.size, job.stride)
    host = rng.standard_normal(job.shape, dtype=np.float32)
    n, h, w, c = job.shape
    pooled = (n, (h - job.size) // job.stride + 1, (w - job.size) // job.stride + 1, c)
    host_d_y = rng.standard_normal(pooled, dtype=np.float32)
    expected, tolerance = oracle_of(job, host, host_d_y)

    x, d_y = xp.asarray(host), xp.asarray(host_d_y)
    out, d_x, index = xp.empty_like(d_y), xp.empty_like(x), xp.empty(pooled, np.uint8)
    K.max_pool2d(x, *geometry, out=out, index=index)

    def ours():
        if job.kind == "max":
            if job.backward:
                return {"out": K.max_pool2d_backward(d_y, index, *geometry, d_x=d_x)}
            return {"out": K.max_pool2d(x, *geometry, out=out, index=index)[0]}
        if job.backward:
            return {"out": K.avg_pool2d_backward(d_y, *geometry, d_x=d_x)}
        return {"out": K.avg_pool2d(x, *geometry, out=out)}

    def build_torch(label, torch):
        def images(array):
            return (
                device.tensor(torch, array).permute(0, 3, 1, 2).requires_grad_(array is host and job.backward)
            )

        tx, td_y = images(host), images(host_d_y)
        pool = torch.nn.functional.max_pool2d if job.kind == "max" else torch.nn.functional.avg_pool2d

        def forward():
            if job.kind == "max":
                return pool(tx, *geometry, return_indices=True)[0]
            return pool(tx, *geometry)

        if job.backward:
            y = forward()

            def call():
                return torch.autograd.grad(y, tx, td_y, retain_graph=True)[0]
        else:
            call = torch.inference_mode()(forward)
        return Contestant(label, call, lambda: {"out": call().permute(0, 2, 3, 1)})

    def build_jax(label, jax):
        window, strides = (1, job.size, job.size, 1), (1, job.stride, job.stride, 1)

        def forward(images):
            if job.kind == "max":
                return jax.lax.reduce_window(images, -np.inf, jax.lax.max, window, strides, "VALID")
            return jax.lax.reduce_window(images, 0.0, jax.lax.add, window, strides, "VALID") / job.size**2

        def backward(images, gradient):
            return jax.vjp(forward, images)[1](gradient)[0]

        given = [jax.numpy.asarray(a) for a in ((host, host_d_y) if job.backward else (host,))]
        step = jax.jit(backward if job.backward else forward)
        return jax_contestant(device, label, jax, lambda: step(*given), lambda: {"out": step(*given)})

    moved = 4.0 * (x.size + d_y.size) + (index.size if job.kind == "max" else 0)
    return Case(
        job.name,
        [
            Contestant(OURS, ours, ours),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"out": expected},
        tolerance={"out": tolerance},
        moved=moved,
        params={"job": job.name, "dtype": "float32"},
        cold=moved > device.l2_bytes > 0,
    )
