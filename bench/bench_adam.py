"""Adam updates in float32: the six tensors of the 784-128-64-10 network, and 20 million parameters (CUDA: 100).

An update reads p, g, m and v and writes p, m and v: 28 bytes for each parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench.bench_update import (
    CHECKED_STEPS,
    LARGE,
    LR,
    NETWORK,
    RULES,
    State,
    checked,
    host_arrays,
    parameters,
    update_case,
)
from bench.harness import Case, Contestant, Options
from bench.peers import Peers, jax_contestant

ADAM = RULES["Adam"]
BETAS, EPS = (0.9, 0.999), 1e-8


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    large = LARGE[options.device.name]
    if not options.quick:
        yield adam_case(f"{parameters(large)}, 2 tensors", large, peers)
    yield adam_case(f"{parameters(NETWORK)}, 6 tensors", NETWORK, peers)


def adam_case(name: str, shapes, peers: Peers) -> Case:
    """The case of bench_update with two further contestants."""
    case, device = update_case(name, ADAM, shapes, peers), peers.device
    job = {"shapes": shapes, "device": device}
    if case.working_set < 16e6:
        case.contestants.insert(2, peers.contestant(*device.library, partial(build_library, **job)))
    case.contestants.append(peers.contestant("JAX", "jax", partial(build_jax, **job)))
    return case


def build_library(name: str, library, shapes, device) -> Contestant:
    state = State(ADAM, shapes, device)
    steps = [0]

    def call(s=state, steps=steps):
        steps[0] += 1
        t = steps[0]
        for p, g, m, v in zip(s.params, s.grads, *s.states, strict=True):
            m *= BETAS[0]
            m += (1 - BETAS[0]) * g
            v *= BETAS[1]
            v += (1 - BETAS[1]) * g * g
            p -= LR / (1 - BETAS[0] ** t) * m / (library.sqrt(v / (1 - BETAS[1] ** t)) + EPS)

    def result():
        fresh, count = State(ADAM, shapes, device), [0]
        for _ in range(CHECKED_STEPS):
            call(fresh, count)
        return checked(fresh.params, shapes)

    return Contestant(name, call, result)


def build_jax(name: str, jax, shapes, device) -> Contestant:
    """A jitted update that donates the old arrays, so that XLA can update in place."""
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
