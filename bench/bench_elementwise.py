"""Sums, products and copies, float32, into arrays that are there: in the caches, from memory, broadcast, transposed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers

# Items: one batch of activations in the second-level cache, and arrays that no cache holds.
SIZES = {"cpu": (1 << 15, 1 << 24), "cuda": (1 << 20, 1 << 26)}
# Samples, steps and features of a batch of sequences, and the rows and columns of a matrix.
BATCH = {"cpu": (64, 128, 96), "cuda": (512, 512, 96)}
MATRIX = {"cpu": (1000, 1000), "cuda": (8000, 8000)}


@dataclass
class Job:
    """A call of a kernel: shapes of its operands, and what it and the libraries do with them and an output.

    `view` is applied to the operands of all contestants, and `part` to the output.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    out: tuple[int, ...]
    kernel: Callable
    library: Callable
    torch: Callable
    view: Callable = lambda x: x
    part: Callable = lambda out: out
    operation: str = "copy"


def jobs(options: Options) -> Iterator[Job]:
    from steepest import kernels as K

    sizes = (1 << 10,) if options.quick else SIZES[options.device.name]
    n, steps, features = (3, 5, 8) if options.quick else BATCH[options.device.name]
    matrix = (20, 30) if options.quick else MATRIX[options.device.name]
    batch = (n, steps, features)

    def added_product(xp, a, b, out):
        # NumPy has no product that is added.
        xp.add(out, xp.multiply(a, b), out=out)

    def add(**rest):
        return Job(
            kernel=lambda a, b, out: K.add(a, b, out=out),
            library=lambda xp, a, b, out: xp.add(a, b, out=out),
            torch=lambda torch, a, b, out: torch.add(a, b, out=out),
            operation="add",
            **rest,
        )

    def copy(**rest):
        return Job(
            kernel=lambda x, out: K.copy(x, out=out),
            library=lambda xp, x, out: xp.copyto(out, x),
            torch=lambda torch, x, out: out.copy_(x),
            **rest,
        )

    for size in sizes:
        yield add(name=f"sum, {size} items", shapes=((size,), (size,)), out=(size,))
        yield copy(name=f"copy, {size} items", shapes=((size,),), out=(size,))
        yield Job(
            name=f"product that is added, {size} items",
            shapes=((size,), (size,)),
            out=(size,),
            kernel=lambda a, b, out: K.multiply(a, b, out=out, accumulate=True),
            library=added_product,
            torch=lambda torch, a, b, out: out.addcmul_(a, b),
            operation="multiply",
        )
    shape = " × ".join(map(str, batch))
    yield add(name=f"sum with a row, {shape}", shapes=(batch, (features,)), out=batch)
    yield add(name=f"sum with a column, {shape}", shapes=(batch, (n, steps, 1)), out=batch)
    yield add(
        name=f"sum with a short row, {n * steps} × 10", shapes=((n * steps, 10), (10,)), out=(n * steps, 10)
    )
    swapped = (n, features, steps)
    yield copy(name=f"transposed, {shape}", shapes=(batch,), out=swapped, view=lambda x: x.swapaxes(1, 2))
    yield copy(
        name=f"part of a larger array, {shape}",
        shapes=(batch,),
        out=(n, 2 * steps, features),
        part=lambda out: out[:, :steps],
    )
    rows, cols = matrix
    yield copy(name=f"transposed, {rows} × {cols}", shapes=(matrix,), out=(cols, rows), view=lambda x: x.T)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for job in jobs(options):
        yield job_case(job, options, peers)


def job_case(job: Job, options: Options, peers: Peers) -> Case:
    device = options.device
    rng = np.random.default_rng(1)
    hosts = [rng.standard_normal(shape, dtype=np.float32) for shape in job.shapes]
    adds_up = job.operation == "multiply"

    def contestant(label, call, operands, out):
        operands, part = [job.view(x) for x in operands], job.part(out)

        def once():
            if adds_up:
                part[...] = 0
            call(*operands, part)
            return {"out": part}

        return Contestant(label, lambda: call(*operands, part), once)

    def of_arrays(label, xp, call):
        operands = [xp.asarray(host) for host in hosts]
        return contestant(label, call, operands, xp.zeros(job.out, np.float32))

    def build_library(label, xp):
        return of_arrays(label, xp, lambda *given: job.library(xp, *given))

    def build_torch(label, torch):
        operands = [device.tensor(torch, host) for host in hosts]
        out = device.tensor(torch, np.zeros(job.out, np.float32))
        return contestant(label, lambda *given: job.torch(torch, *given), operands, out)

    views = [job.view(host) for host in hosts]
    if job.operation == "copy":
        expected, tolerance = views[0].astype(np.float64), np.array(np.finfo(np.float64).tiny)
    else:
        expected = getattr(reference, job.operation)(*views)
        tolerance = getattr(tolerances, job.operation)(np.float32, *views) + np.finfo(np.float32).tiny
    moved = sum(host.nbytes for host in hosts) + 4.0 * expected.size * (2 if adds_up else 1)
    return Case(
        job.name,
        [
            of_arrays(OURS, device.xp, job.kernel),
            peers.contestant(*device.library, build_library),
            peers.contestant("PyTorch", "torch", build_torch),
        ],
        oracle={"out": expected},
        tolerance={"out": tolerance},
        moved=moved,
        params={"job": job.name, "dtype": "float32"},
        cold=moved > device.l2_bytes > 0,
    )
