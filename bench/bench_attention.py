"""Scaled dot-product attention, float32: sequences, with and without gradients, and steps beside a cache of keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers


@dataclass
class Job:
    """Sequences of some queries and keys; `gradient` for the forward pass and its gradient."""

    sequences: int
    queries: int
    keys: int
    heads: int
    d: int
    causal: bool
    gradient: bool = False

    @property
    def flops(self):
        products = 2.0 * self.sequences * self.heads * self.queries * self.keys * self.d
        return products * (7 if self.gradient else 2) * (0.5 if self.causal else 1.0)

    @property
    def name(self):
        parts = [f"{self.sequences} × {self.queries}", f"{self.heads} × {self.d}"]
        if self.queries != self.keys:
            parts[0] += f" beside {self.keys} keys"
        if self.causal:
            parts.append("causal")
        return ", ".join((*parts, "with gradient") if self.gradient else parts)


def jobs(options: Options) -> Iterator[Job]:
    if options.quick:
        yield from (Job(2, 5, 5, 2, 4, True, gradient) for gradient in (False, True))
        yield Job(2, 1, 9, 2, 4, False)
        return
    shapes = ((12, 64, 4, 32), (4, 256, 8, 64), (4, 1024, 8, 64))
    if options.device.name == "cuda":
        shapes = ((12, 64, 4, 32), (64, 256, 6, 64), (16, 1024, 12, 64))
    for gradient in (False, True):
        for sequences, n, heads, d in shapes:
            for causal in (False, True):
                yield Job(sequences, n, n, heads, d, causal, gradient)
    yield Job(8, 1, 512, 8, 64, False)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for job in jobs(options):
        yield job_case(job, options, peers)


def job_case(job: Job, options: Options, peers: Peers) -> Case:
    from steepest import kernels as K

    device, width = options.device, job.heads * job.d
    rng = np.random.default_rng(1)
    rows, key_rows = job.sequences * job.queries, job.sequences * job.keys
    q, d_y = (rng.standard_normal((rows, width), dtype=np.float32) for _ in range(2))
    k, v = (rng.standard_normal((key_rows, width), dtype=np.float32) for _ in range(2))
    given = {"heads": job.heads, "sequences": job.sequences, "causal": job.causal}
    oracle = {"y": reference.attention(q, k, v, **given)[0]}
    tolerance = {"y": tolerances.attention(np.float32, q, k, v, **given)[0]}
    names = ("d_q", "d_k", "d_v")
    if job.gradient:
        arguments = (d_y, q, k, v)
        oracle |= dict(zip(names, reference.attention_backward(*arguments, **given), strict=True))
        bounds = tolerances.attention_backward(np.float32, *arguments, **given)
        tolerance |= dict(zip(names, bounds, strict=True))

    def ours():
        own = [device.xp.asarray(a) for a in (q, k, v)]
        own_d_y = device.xp.asarray(d_y)
        y, sums = K.attention(*own, **given)
        outputs = {name: device.xp.empty_like(a) for name, a in zip(names, own, strict=True)}

        def call():
            K.attention(*own, **given, out=y, log_sum_exp=sums)
            if job.gradient:
                K.attention_backward(own_d_y, *own, y, sums, **given, **outputs)

        def once():
            call()
            return {"y": y, **(outputs if job.gradient else {})}

        return Contestant(OURS, call, once)

    def build_torch(label, torch):
        def by_heads(a, n):
            t = device.tensor(torch, a).reshape(job.sequences, n, job.heads, job.d).transpose(1, 2)
            return t.contiguous()

        tensors = [by_heads(q, job.queries), by_heads(k, job.keys), by_heads(v, job.keys)]
        gradient = by_heads(d_y, job.queries)
        attend = torch.nn.functional.scaled_dot_product_attention
        if job.gradient:
            tensors = [t.requires_grad_() for t in tensors]

        def call():
            if not job.gradient:
                with torch.no_grad():
                    return (attend(*tensors, is_causal=job.causal),)
            y = attend(*tensors, is_causal=job.causal)
            return (y, *torch.autograd.grad(y, tensors, gradient))

        def once():
            results = [t.detach().transpose(1, 2).reshape(-1, width) for t in call()]
            return dict(zip(("y", *names) if job.gradient else ("y",), results, strict=True))

        return Contestant(label, call, once)

    moved = (2.0 * q.nbytes + 2.0 * k.nbytes) * (3 if job.gradient else 1)
    return Case(
        job.name,
        [ours(), peers.contestant("PyTorch", "torch", build_torch)],
        oracle=oracle,
        tolerance=tolerance,
        flops=job.flops,
        moved=moved,
        params={**vars(job), "dtype": "float32"},
    )
