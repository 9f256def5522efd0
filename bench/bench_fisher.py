"""Fisher matrices of 784-128-64-10 with softmax cross-entropy in float32: costs relative to a gradient and to peers.

Each row includes a gradient or Adam step of this package, so that targets for their ratio come from one run. kfac-jax,
curvlinops and nngeometry do the same job where they support it (see fisher_jax.py and fisher_torch.py). "JAX" and
"PyTorch" are the same formulas, written with these libraries' own functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from bench import fisher_jax, fisher_torch, network
from bench.fisher_job import LAYERS, Job
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers

BATCH, STEP_BATCH = 512, 128
# The damping is far above the rounding errors of the float32 Gram matrix in all steps of a round.
LR, DAMPING = 1.0, 1.0
ROUNDS = 20
# Relative error in the Euclidean norm: products of 784 terms in float32 err by a few times 6e-8, and a factor of about
# 10 covers the passes through three layers.
TOLERANCE = 1e-5
# The linear system of a step has a condition number of largest eigenvalue / damping, a few hundred here.
STEP_TOLERANCE = 1e-3
# Monte Carlo error with one label for each of n samples: sqrt(10 / n) in the second factors, whose rank is at most 10.
DRAWN_TOLERANCE = 0.5


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    n, step_n = (64, 16) if options.quick else (BATCH, STEP_BATCH)
    job = Job(n)
    for build in (gradient_case, product_case, factors_case, gram_case):
        yield build(job, peers)
    yield step_case(Job(step_n, DAMPING), peers)


def make_case(
    name: str, job: Job, contestants, flops: float, tolerance: dict[str, float], note: str = ""
) -> Case:
    return Case(
        f"{name}, batch {job.n}",
        contestants,
        oracle={key: np.zeros(()) for key in tolerance},
        tolerance={key: np.asarray(value) for key, value in tolerance.items()},
        peer_tolerance=1.0,
        flops=flops,
        params={"widths": network.WIDTHS, "batch": job.n, "dtype": "float32"},
        rounds=ROUNDS,
        note=note,
    )


def contestants_of(peers: Peers, builds: dict[str, tuple], job: Job) -> list[Contestant]:
    """Contestants of other libraries; `builds` maps a name to (required modules, function that builds it with them)."""
    found = []
    for label, (modules, build) in builds.items():

        def load(name, module, modules=modules, build=build):
            return build(name, job, *(peers.load(m) for m in modules))

        found.append(peers.contestant(label, modules[-1], load))
    return found


class Ours:
    """The network and its gradient, as a user of this package computes it."""

    def __init__(self, job: Job):
        from steepest import nn

        layers = []
        for a, b in LAYERS:
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.job, self.x, self.y = job, job.x, job.y
        self.net = nn.Network(layers[:-1])
        self.loss = nn.SoftmaxCrossEntropy()
        self.reset()

    def reset(self) -> None:
        for p, value in zip(self.net.parameters(), self.job.parameters, strict=True):
            p.value[...] = value

    def gradient(self):
        _, d = self.loss(self.net.forward(self.x), self.y)
        self.net.backward(d)
        return [p.grad for p in self.net.parameters()]

    def contestant(self, name: str = OURS) -> Contestant:
        return Contestant(name, self.gradient, lambda: self.job.gradient_error(self.gradient()))


def unchecked(contestant: Contestant) -> Contestant:
    """The contestant without a check, for a row with a different oracle; the contestant's own row checks it."""
    contestant.result = None
    return contestant


def gradient_case(job: Job, peers: Peers) -> Case:
    builds = {
        "PyTorch": (("torch",), fisher_torch.gradient),
        "JAX": (("jax",), fisher_jax.gradient),
    }
    contestants = [Ours(job).contestant(), *contestants_of(peers, builds, job)]
    return make_case("gradient", job, contestants, job.gradient_flops, {"gradient": TOLERANCE})


def product_case(job: Job, peers: Peers) -> Case:
    from steepest import fisher

    ours = Ours(job)
    matrix = fisher.FisherMatrix(ours.net, ours.loss, ours.x)

    def product():
        return matrix @ job.v

    builds = {
        "PyTorch": (("torch",), fisher_torch.product),
        "JAX": (("jax",), fisher_jax.product),
        "kfac-jax": (("jax", "kfac_jax"), fisher_jax.kfac_product),
        "curvlinops": (("torch", "curvlinops"), fisher_torch.curvlinops_product),
        "nngeometry": (("torch", "nngeometry"), fisher_torch.nngeometry_product),
    }
    contestants = [
        Contestant(OURS, product, lambda: job.product_error(product())),
        unchecked(Ours(job).contestant("steepest gradient")),
        *contestants_of(peers, builds, job),
    ]
    whole = job.product_flops + job.forward_flops
    note = (
        f"The product is {job.product_flops / 1e6:.0f} MFLOP with a forward pass that is kept, {whole / 1e6:.0f} with "
        f"one of its own, as kfac-jax and curvlinops make it: {whole / job.product_flops:.2f} times as long at the "
        "same rate"
    )
    return make_case(
        "Fisher-vector product", job, contestants, job.product_flops, {"product": TOLERANCE}, note
    )


def factors_case(job: Job, peers: Peers) -> Case:
    from steepest import fisher

    ours = Ours(job)

    def factors():
        matrix = fisher.FisherMatrix(ours.net, ours.loss, ours.x, kind="monte_carlo", structure="kfac")
        return matrix._structure.kronecker

    builds = {
        "JAX": (("jax",), fisher_jax.factors),
        "kfac-jax": (("jax", "kfac_jax"), fisher_jax.kfac_factors),
        "curvlinops": (("torch", "curvlinops"), fisher_torch.curvlinops_factors),
        "nngeometry": (("torch", "nngeometry"), fisher_torch.nngeometry_factors),
    }
    contestants = [
        Contestant(OURS, factors, lambda: job.factors_error(factors())),
        unchecked(Ours(job).contestant("steepest gradient")),
        *contestants_of(peers, builds, job),
    ]
    more = (job.factors_flops - job.gradient_flops) / job.gradient_flops
    note = (
        f"A gradient is {job.gradient_flops / 1e6:.0f} MFLOP; the forward and the backward pass of the factors with "
        f"one triangle of each are {job.factors_flops / 1e6:.0f}, of which the triangles are "
        f"{job.triangle_flops / 1e6:.0f}: at the same rate {more:.2f} gradients more than a gradient"
    )
    tolerance = {"inputs": TOLERANCE, "gradients": DRAWN_TOLERANCE}
    return make_case("K-FAC factors", job, contestants, job.factors_flops, tolerance, note)


def gram_case(job: Job, peers: Peers) -> Case:
    from steepest import fisher

    ours = Ours(job)

    def gram():
        matrix = fisher.FisherMatrix(ours.net, ours.loss, ours.x, ours.y, kind="empirical")
        return matrix._batch.factors.gram()

    def formed():
        scores = fisher.score(ours.net, ours.loss, ours.x, ours.y)
        return scores @ scores.T

    builds = {
        "PyTorch vmap, gradients formed": (("torch",), fisher_torch.formed_gram),
        "JAX vmap, gradients formed": (("jax",), fisher_jax.formed_gram),
        "nngeometry": (("torch", "nngeometry"), fisher_torch.nngeometry_gram),
    }
    contestants = [
        # F averages over samples, so its Gram matrix has a factor 1 / n.
        Contestant(OURS, gram, lambda: job.gram_error(job.n * gram())),
        Contestant("steepest, gradients formed", formed, lambda: job.gram_error(formed()), max_rounds=3),
        *contestants_of(peers, builds, job),
    ]
    return make_case("Gram matrix of the scores", job, contestants, job.gram_flops, {"gram": TOLERANCE})


def step_case(job: Job, peers: Peers) -> Case:
    builds = {
        "JAX": (("jax",), fisher_jax.step),
        "nngeometry": (("torch", "nngeometry"), fisher_torch.nngeometry_step),
    }
    contestants = [
        natural_step(job, OURS, certify=False),
        natural_step(job, "steepest with diagnostics", certify=True),
        unchecked(adam_step(job, "steepest Adam", captured=False)),
        unchecked(adam_step(job, "steepest Adam captured", captured=True)),
        *contestants_of(peers, builds, job),
    ]
    return make_case("natural-gradient step", job, contestants, job.step_flops, {"step": STEP_TOLERANCE})


def natural_step(job: Job, name: str, certify: bool) -> Contestant:
    from steepest import optim

    ours = Ours(job)
    optimizer = optim.NaturalGradient(
        ours.net,
        ours.loss,
        LR,
        kind="empirical",
        structure="dense",
        solver="gram",
        damping=DAMPING,
        certify=certify,
    )
    step = partial(optimizer.step, ours.x, ours.y)

    def result():
        ours.reset()
        step()
        return job.step_error([p.value for p in ours.net.parameters()])

    return Contestant(name, step, result, prepare=ours.reset)


def adam_step(job: Job, name: str, captured: bool) -> Contestant:
    import steepest
    from steepest import optim

    ours = Ours(job)
    optimizer = optim.Adam(ours.net.parameters(), lr=network.LR)

    def step():
        ours.gradient()
        optimizer.step()

    if not captured:
        return Contestant(name, step, prepare=ours.reset)
    with steepest.capture() as graph:
        step()
    return Contestant(name, graph.replay, prepare=ours.reset)
