"""Adam updates in float32: the six tensors of the 784-128-64-10 network, and 20 million parameters.

An update reads p, g, m and v and writes p, m and v: 28 bytes a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers

NETWORK = ((784, 128), (128,), (128, 64), (64,), (64, 10), (10,))
LARGE = ((4096, 4096), (3_222_784,))
LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8
CHECKED_STEPS = 3


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    yield update_case("110 k parameters, 6 tensors", NETWORK, peers)
    if not options.quick:
        yield update_case("20 M parameters, 2 tensors", LARGE, peers)


class State:
    """Parameters, gradients and moments as lists of arrays; always the same at the start."""

    def __init__(self, shapes):
        rng = np.random.default_rng(0)
        self.params = [rng.standard_normal(s, dtype=np.float32) for s in shapes]
        self.grads = [rng.standard_normal(s, dtype=np.float32) for s in shapes]
        self.exp_avg = [np.zeros(s, np.float32) for s in shapes]
        self.exp_avg_sq = [np.zeros(s, np.float32) for s in shapes]
        self.step = np.zeros((), np.int64)

    def lists(self):
        return self.params, self.grads, self.exp_avg, self.exp_avg_sq


def flat(arrays) -> np.ndarray:
    return np.concatenate([np.asarray(a).ravel() for a in arrays])


def update_case(name: str, shapes, peers: Peers) -> Case:
    count = sum(int(np.prod(s)) for s in shapes)
    small = count < 1_000_000
    contestants = [build_ours(OURS, shapes)]
    if small:
        contestants += [build_graph(f"{OURS} graph", shapes)]
        contestants += [peers.contestant("NumPy", "numpy", partial(build_numpy, shapes=shapes))]
    for kind in ("fused", "foreach"):
        build = partial(build_torch, shapes=shapes, kind=kind)
        contestants.append(peers.contestant(f"PyTorch {kind}", "torch", build))
    contestants.append(peers.contestant("JAX", "jax", partial(build_jax, shapes=shapes)))

    p, g, m, v = (flat(a).astype(np.float64) for a in State(shapes).lists())
    rule = {"lr": LR, "beta1": BETAS[0], "beta2": BETAS[1], "weight_decay": 0.0}
    tolerance = 0.0
    for step in range(1, CHECKED_STEPS + 1):
        # The error of one update in float32; those of the steps add up.
        tolerance = tolerance + tolerances.adam_update(np.float32, p, g, m, v, step, eps_adam=EPS, **rule)[0]
        p, m, v = reference.adam_update(p, g, m, v, step, eps=EPS, **rule)
    return Case(
        name,
        contestants,
        oracle={"params": p},
        tolerance={"params": tolerance},
        moved=28.0 * count,
        working_set=16.0 * count,
        params={"parameters": count, "tensors": len(shapes), "dtype": "float32"},
    )


def build_ours(name: str, shapes) -> Contestant:
    from steepest import kernels as K

    state = State(shapes)

    def call(s=state):
        s.step += 1
        K.adam_update(*s.lists(), s.step, lr=LR)

    def result():
        fresh = State(shapes)
        for _ in range(CHECKED_STEPS):
            call(fresh)
        return {"params": flat(fresh.params)}

    return Contestant(name, call, result)


def build_graph(name: str, shapes, units: int = 20) -> Contestant:
    """The same update captured, and replayed `units` times a call."""
    import steepest
    from steepest import kernels as K

    def captured(s):
        with steepest.capture() as graph:
            K.increment(s.step)
            K.adam_update(*s.lists(), s.step, lr=LR)
        return graph

    def result():
        fresh = State(shapes)
        captured(fresh).replay(CHECKED_STEPS)
        return {"params": flat(fresh.params)}

    graph = captured(State(shapes))
    return Contestant(name, lambda: graph.replay(units), result, units=units)


def build_numpy(name: str, _, shapes) -> Contestant:
    state = State(shapes)

    def call(s=state):
        s.step += 1
        t = int(s.step)
        for p, g, m, v in zip(*s.lists(), strict=True):
            m *= BETAS[0]
            m += (1 - BETAS[0]) * g
            v *= BETAS[1]
            v += (1 - BETAS[1]) * g * g
            p -= LR / (1 - BETAS[0] ** t) * m / (np.sqrt(v / (1 - BETAS[1] ** t)) + EPS)

    def result():
        fresh = State(shapes)
        for _ in range(CHECKED_STEPS):
            call(fresh)
        return {"params": flat(fresh.params)}

    return Contestant(name, call, result)


def build_torch(name: str, torch, shapes, kind: str) -> Contestant:
    def make():
        state = State(shapes)
        params = [torch.nn.Parameter(torch.from_numpy(p)) for p in state.params]
        for p, g in zip(params, state.grads, strict=True):
            p.grad = torch.from_numpy(g)
        return params, torch.optim.Adam(params, lr=LR, betas=BETAS, eps=EPS, **{kind: True})

    def result():
        params, optimizer = make()
        for _ in range(CHECKED_STEPS):
            optimizer.step()
        return {"params": flat([p.detach().numpy() for p in params])}

    optimizer = make()[1]
    return Contestant(name, optimizer.step, result)


def build_jax(name: str, jax, shapes) -> Contestant:
    """A jitted update that owns its state: the old arrays are donated."""
    jnp = jax.numpy

    def update(params, grads, exp_avg, exp_avg_sq, step):
        step = step + 1
        m = [BETAS[0] * m + (1 - BETAS[0]) * g for m, g in zip(exp_avg, grads, strict=True)]
        v = [BETAS[1] * v + (1 - BETAS[1]) * g * g for v, g in zip(exp_avg_sq, grads, strict=True)]
        m_scale, v_scale = 1 / (1 - BETAS[0] ** step), 1 / (1 - BETAS[1] ** step)

        def updated(p, m, v):
            return p - LR * (m * m_scale) / (jnp.sqrt(v * v_scale) + EPS)

        return [updated(*pmv) for pmv in zip(params, m, v, strict=True)], m, v, step

    f = jax.jit(update, donate_argnums=(0, 2, 3, 4))

    def make():
        state = State(shapes)
        return [[jnp.array(a) for a in arrays] for arrays in state.lists()] + [jnp.float32(0)]

    def advance(s):
        s[0], s[2], s[3], s[4] = f(*s)
        jax.block_until_ready(s[0])

    def result():
        fresh = make()
        for _ in range(CHECKED_STEPS):
            advance(fresh)
        return {"params": flat(fresh[0])}

    state = make()
    return Contestant(name, lambda: advance(state), result)
