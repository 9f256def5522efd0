"""Adam updates in float32: the six tensors of the 784-128-64-10 network, and 20 million parameters (CUDA: 100).

An update reads p, g, m and v and writes p, m and v: 28 bytes a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np
from bench.device import to_host
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, captured, jax_contestant

NETWORK = ((784, 128), (128,), (128, 64), (64,), (64, 10), (10,))
LARGE = {"cpu": ((4096, 4096), (3_222_784,)), "cuda": ((8192, 8192), (32_891_136,))}
LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8
CHECKED_STEPS = 3
# More parameters are checked at an odd distance.
ALL_CHECKED = 20_000_000


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    large = LARGE[options.device.name]
    if not options.quick:
        millions = round(sum(int(np.prod(s)) for s in large) / 1e6)
        yield update_case(f"{millions} M parameters, 2 tensors", large, peers)
    yield update_case("110 k parameters, 6 tensors", NETWORK, peers)


@lru_cache(maxsize=1)
def host_arrays(shapes) -> list[list[np.ndarray]]:
    """Parameters and gradients; always the same."""
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(s, dtype=np.float32) for s in shapes] for _ in range(2)]


class State:
    """Parameters, gradients and moments as lists of arrays of NumPy or CuPy."""

    def __init__(self, shapes, device):
        xp = device.xp
        self.params, self.grads = ([xp.array(a) for a in arrays] for arrays in host_arrays(shapes))
        self.exp_avg, self.exp_avg_sq = ([xp.zeros(s, np.float32) for s in shapes] for _ in range(2))
        self.step = xp.zeros((), np.int64)

    def lists(self):
        return self.params, self.grads, self.exp_avg, self.exp_avg_sq


def sample(shapes) -> slice:
    """The parameters of each tensor that are checked."""
    return slice(None, None, sum(int(np.prod(s)) for s in shapes) // ALL_CHECKED | 1)


def checked(arrays, shapes) -> dict[str, np.ndarray]:
    """The result of a contestant, whose arrays may be of any library."""
    return {"params": flat([to_host(a.reshape(-1)[sample(shapes)]) for a in arrays])}


def flat(arrays) -> np.ndarray:
    return np.concatenate([a.ravel() for a in arrays])


def expected(shapes) -> tuple[np.ndarray, np.ndarray]:
    """The checked parameters after CHECKED_STEPS updates, and their tolerances."""
    p, g = (flat([a.ravel()[sample(shapes)] for a in arrays]) for arrays in host_arrays(shapes))
    p, g = p.astype(np.float64), g.astype(np.float64)
    m, v = np.zeros(p.shape), np.zeros(p.shape)
    rule = {"lr": LR, "beta1": BETAS[0], "beta2": BETAS[1], "weight_decay": 0.0}
    tolerance = 0.0
    for step in range(1, CHECKED_STEPS + 1):
        # The error of one update in float32; those of the steps add up.
        tolerance = tolerance + tolerances.adam_update(np.float32, p, g, m, v, step, eps_adam=EPS, **rule)[0]
        p, m, v = reference.adam_update(p, g, m, v, step, eps=EPS, **rule)
    return p, tolerance


def update_case(name: str, shapes, peers: Peers) -> Case:
    device = peers.device
    count = sum(int(np.prod(s)) for s in shapes)
    job = {"shapes": shapes, "device": device}
    small = count < 1_000_000
    contestants = [build_ours(OURS, **job)]
    if small:
        contestants += [build_graph(f"{OURS} graph", **job)]
        contestants += [peers.contestant(*device.library, partial(build_library, **job))]
    kinds = ["fused", "foreach"] + (["fused graph"] if small and device.name == "cuda" else [])
    for kind in kinds:
        contestants.append(
            peers.contestant(f"PyTorch {kind}", "torch", partial(build_torch, kind=kind, **job))
        )
    contestants.append(peers.contestant("JAX", "jax", partial(build_jax, **job)))

    params, tolerance = expected(shapes)
    return Case(
        name,
        contestants,
        oracle={"params": params},
        tolerance={"params": tolerance},
        moved=28.0 * count,
        working_set=16.0 * count,
        params={"parameters": count, "tensors": len(shapes), "dtype": "float32"},
        cold=16 * count > device.l2_bytes > 0,
    )


def build_ours(name: str, shapes, device) -> Contestant:
    from steepest import kernels as K

    state = State(shapes, device)

    def call(s=state):
        K.increment(s.step)
        K.adam_update(*s.lists(), s.step, lr=LR)

    def result():
        fresh = State(shapes, device)
        for _ in range(CHECKED_STEPS):
            call(fresh)
        return checked(fresh.params, shapes)

    return Contestant(name, call, result)


def build_graph(name: str, shapes, device, units: int = 100) -> Contestant:
    """The same update captured, and replayed `units` times a call."""
    import steepest
    from steepest import kernels as K

    def captured_update(s):
        with steepest.capture() as graph:
            K.increment(s.step)
            K.adam_update(*s.lists(), s.step, lr=LR)
        return graph

    def result():
        fresh = State(shapes, device)
        captured_update(fresh).replay(CHECKED_STEPS)
        return checked(fresh.params, shapes)

    graph = captured_update(State(shapes, device))
    return Contestant(name, lambda: graph.replay(units), result, units=units)


def build_library(name: str, library, shapes, device) -> Contestant:
    state = State(shapes, device)
    steps = [0]

    def call(s=state, steps=steps):
        steps[0] += 1
        t = steps[0]
        for p, g, m, v in zip(*s.lists(), strict=True):
            m *= BETAS[0]
            m += (1 - BETAS[0]) * g
            v *= BETAS[1]
            v += (1 - BETAS[1]) * g * g
            p -= LR / (1 - BETAS[0] ** t) * m / (library.sqrt(v / (1 - BETAS[1] ** t)) + EPS)

    def result():
        fresh, count = State(shapes, device), [0]
        for _ in range(CHECKED_STEPS):
            call(fresh, count)
        return checked(fresh.params, shapes)

    return Contestant(name, call, result)


def build_torch(name: str, torch, shapes, device, kind: str) -> Contestant:
    graph = kind.endswith("graph")
    options = {kind.split()[0]: True} | ({"capturable": True} if graph else {})

    def make():
        values, grads = host_arrays(shapes)
        params = [torch.nn.Parameter(device.tensor(torch, p)) for p in values]
        for p, g in zip(params, grads, strict=True):
            p.grad = device.tensor(torch, g)
        return params, torch.optim.Adam(params, lr=LR, betas=BETAS, eps=EPS, **options)

    @torch.no_grad()
    def reset(params, optimizer):
        for p, value in zip(params, host_arrays(shapes)[0], strict=True):
            p.copy_(torch.from_numpy(value))
        for state in optimizer.state.values():
            for value in state.values():
                value.zero_()

    def result():
        params, optimizer = make()
        step = captured(torch, optimizer.step) if graph else optimizer.step
        reset(params, optimizer)
        for _ in range(CHECKED_STEPS):
            step()
        return checked([p.detach() for p in params], shapes)

    step = make()[1].step
    return Contestant(name, captured(torch, step) if graph else step, result)


def build_jax(name: str, jax, shapes, device) -> Contestant:
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
        lists = [[jnp.array(a) for a in arrays] for arrays in host_arrays(shapes)]
        lists += [[jnp.zeros(s, jnp.float32) for s in shapes] for _ in range(2)]
        return [*lists, jnp.float32(0)]

    def advance(s):
        s[0], s[2], s[3], s[4] = f(*s)
        return s[0]

    def result():
        fresh = make()
        for _ in range(CHECKED_STEPS):
            advance(fresh)
        return checked(fresh[0], shapes)

    state = make()
    return jax_contestant(device, name, jax, lambda: advance(state), result)
