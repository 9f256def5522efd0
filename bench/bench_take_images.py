"""Mini-batches of images of uint8, gathered in a random order, as float32: converted only, and augmented.

NumPy and PyTorch convert the batch that they have gathered by indices. For the augmentation they pad the batch, then
take and flip a window of each image. Their draws are made beforehand, while the kernel draws in each call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers

BATCH = {"cpu": 128, "cuda": 4096}
PADDING = 4
SEED = 1


@dataclass
class Job:
    """A batch of images (h, w, c), converted, or also shifted and flipped."""

    n: int
    image: tuple[int, int, int]
    augmented: bool

    @property
    def name(self) -> str:
        h, w, c = self.image
        what = f"shifted by up to {PADDING}, flipped" if self.augmented else "converted"
        return f"{self.n} × {h} × {w} × {c}, {what}"


def jobs(options: Options) -> Iterator[Job]:
    n = 4 if options.quick else BATCH[options.device.name]
    for image in ((28, 28, 1), (32, 32, 3), (96, 96, 3)):
        for augmented in (False, True):
            yield Job(n, image, augmented)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for job in jobs(options):
        yield job_case(job, options, peers)


def augmentation_of(job: Job) -> dict[str, object]:
    return {"shift": PADDING, "flip": True, "seed": SEED} if job.augmented else {}


def job_case(job: Job, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    device, xp = options.device, options.device.xp
    rng = np.random.default_rng(1)
    # Many more images than a batch, so that they come from memory as those of an epoch do.
    samples = job.n if options.quick else 8 * job.n
    host = rng.integers(0, 256, (samples, *job.image), np.uint8)
    order = rng.permutation(samples)[: job.n]
    given = augmentation_of(job)
    expected, _ = reference.take_images(host, order, **given)
    tolerance = tolerances.take_images(np.float32, host, order, **given)

    images, rows = xp.asarray(host), xp.asarray(order)
    out = xp.empty((job.n, *job.image), np.float32)

    def ours():
        return {"out": K.take_images(images, rows, out, **given)}

    places = [draws_of(job, i) for i in range(job.n)] if job.augmented else []
    h, w, _ = job.image

    def build_numpy(label, numpy):
        def call():
            batch = host[order].astype(numpy.float32) / 255
            if not job.augmented:
                return {"out": batch}
            padded = numpy.pad(batch, ((0, 0), (PADDING,) * 2, (PADDING,) * 2, (0, 0)))
            for i, (top, left, flip) in enumerate(places):
                window = padded[i, top : top + h, left : left + w]
                batch[i] = window[:, ::-1] if flip else window
            return {"out": batch}

        return Contestant(label, call, call)

    def build_torch(label, torch):
        all_images, indices = device.tensor(torch, host), device.tensor(torch, order)

        @torch.inference_mode()
        def call():
            batch = all_images[indices].float() / 255
            if not job.augmented:
                return {"out": batch}
            padded = torch.nn.functional.pad(batch, (0, 0, *(PADDING,) * 4))
            for i, (top, left, flip) in enumerate(places):
                window = padded[i, top : top + h, left : left + w]
                batch[i] = window.flip(1) if flip else window
            return {"out": batch}

        return Contestant(label, call, call)

    moved = out.size * 5.0
    return Case(
        job.name,
        [
            Contestant(OURS, ours, ours),
            *([peers.contestant("NumPy", "numpy", build_numpy)] if device.name == "cpu" else []),
            peers.contestant("PyTorch", "torch", build_torch),
        ],
        oracle={"out": expected},
        tolerance={"out": tolerance},
        moved=moved,
        params={"job": job.name, "dtype": "float32"},
        cold=moved > device.l2_bytes > 0,
    )


def draws_of(job: Job, position: int) -> tuple[int, int, bool]:
    """The window's place in the padded image at a position, and whether it is flipped."""
    from by_kernel.take_images import draws  # on the path through bench.oracle

    drawn = draws(job.image[:2], position, **augmentation_of(job))
    return *drawn["place"], drawn["flip"]
