"""Every update rule in float32: the tensors of a 784-128-64-10 network, and 20 million parameters (CUDA: 100).

An update reads p, g and the rule's states, and writes p and the states: 12 bytes for each parameter, and 8 more for
each state array. `bench_adam` compares Adam with more libraries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
from bench.device import to_host
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, captured

NETWORK = ((784, 128), (128,), (128, 64), (64,), (64, 10), (10,))
LARGE = {"cpu": ((4096, 4096), (3_222_784,)), "cuda": ((8192, 8192), (32_891_136,))}
LR = 1e-3
CHECKED_STEPS = 3
# Largest number of parameters that are all checked; in larger tensors every n-th is, n odd.
ALL_CHECKED = 20_000_000


@dataclass(frozen=True)
class Rule:
    """Names of an update rule in the oracle, in the kernels and in PyTorch."""

    name: str
    states: int = 0
    options: dict[str, Any] = field(default_factory=dict)  # keywords of the kernel
    oracle: dict[str, Any] = field(default_factory=dict)
    torch: str = "SGD"
    torch_options: dict[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("fused", "foreach")
    max_norm: float | None = None


MOMENTUM = {"momentum": 0.9}
RULES = {
    "SGD": Rule("sgd"),
    "momentum": Rule("momentum", 1, MOMENTUM, MOMENTUM, torch_options=MOMENTUM),
    # PyTorch's foreach version adds the velocities to the gradients in place, which would change the next step.
    "Nesterov": Rule(
        "nesterov",
        1,
        MOMENTUM | {"nesterov": True},
        MOMENTUM,
        torch_options=MOMENTUM | {"nesterov": True},
        kinds=("fused",),
    ),
    "AdaGrad": Rule("adagrad", 1, torch="Adagrad"),
    "RMSprop": Rule("rmsprop", 1, torch="RMSprop", kinds=("foreach",)),
    "Adam": Rule("adam", 2, torch="Adam"),
    "AdamW": Rule(
        "adam",
        2,
        {"weight_decay": 0.01},
        {"decay": 0.01},
        torch="AdamW",
        torch_options={"weight_decay": 0.01},
    ),
    "Adam, clipped": Rule("adam", 2, torch="Adam", max_norm=10.0),
}


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    large = LARGE[options.device.name]
    for name, rule in RULES.items():
        if name == "Adam":  # bench_adam measures it
            continue
        if not options.quick:
            yield update_case(f"{name}, {parameters(large)}, 2 tensors", rule, large, peers)
        yield update_case(f"{name}, {parameters(NETWORK)}, 6 tensors", rule, NETWORK, peers)


def size(shapes) -> int:
    return sum(int(np.prod(s)) for s in shapes)


def parameters(shapes) -> str:
    count = size(shapes)
    return f"{round(count / 1e6)} M parameters" if count >= 1e6 else f"{round(count / 1e4) * 10} k parameters"


@lru_cache(maxsize=1)
def host_arrays(shapes) -> list[list[np.ndarray]]:
    """Parameters and gradients, the same in every call."""
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(s, dtype=np.float32) for s in shapes] for _ in range(2)]


class State:
    """Parameters, gradients and states of the rule, as lists of NumPy or CuPy arrays."""

    def __init__(self, rule: Rule, shapes, device):
        xp = device.xp
        self.params, self.grads = ([xp.array(a) for a in arrays] for arrays in host_arrays(shapes))
        self.states = [[xp.zeros(s, np.float32) for s in shapes] for _ in range(rule.states)]
        self.step = xp.zeros((), np.int64)


def sample(shapes) -> slice:
    """Slices of the parameters of each tensor that are checked."""
    return slice(None, None, size(shapes) // ALL_CHECKED | 1)


def checked(arrays, shapes) -> dict[str, np.ndarray]:
    """The checked parameters of a contestant, whose arrays may belong to any library."""
    return {"params": flat([to_host(a.reshape(-1)[sample(shapes)]) for a in arrays])}


def flat(arrays) -> np.ndarray:
    return np.concatenate([a.ravel() for a in arrays])


def expected(rule: Rule, shapes) -> tuple[np.ndarray, np.ndarray]:
    """The checked parameters after CHECKED_STEPS updates, and their tolerances."""
    values, grads = host_arrays(shapes)
    clip = reference.clipping(grads, rule.max_norm)
    p, g = (flat([a.ravel()[sample(shapes)] for a in arrays]) for arrays in (values, grads))
    row, g = [p.astype(np.float64), *(np.zeros(p.shape) for _ in range(rule.states))], g.astype(np.float64)
    options = {"lr": LR, "clip": clip, **rule.oracle}
    tolerance = 0.0
    for step in range(1, CHECKED_STEPS + 1):
        # Error of one update in float32; the errors of steps add up, and those of velocities add up twice.
        of_step = tolerances.update(
            rule.name, np.float32, row[0], g, row[1:], step=step, count=size(shapes), **options
        )
        tolerance = tolerance + (1 + step) * of_step[0]
        row = list(reference.update(rule.name, row[0], g, row[1:], step=step, **options))
    return row[0], tolerance


def update_case(name: str, rule: Rule, shapes, peers: Peers) -> Case:
    device = peers.device
    count = size(shapes)
    job = {"rule": rule, "shapes": shapes, "device": device}
    small = count < 1_000_000
    contestants = [build_ours(OURS, **job)]
    if small:
        contestants += [build_graph(f"{OURS} graph", **job)]
    kinds = list(rule.kinds)
    if small and device.name == "cuda" and rule.max_norm is None:
        kinds.append(f"{kinds[0]} graph")
    for kind in kinds:
        build = partial(build_torch, kind=kind, **job)
        contestants.append(peers.contestant(f"PyTorch {kind}", "torch", build))

    params, tolerance = expected(rule, shapes)
    moved = 4.0 * (3 + 2 * rule.states + (rule.max_norm is not None)) * count
    working_set = 4.0 * (2 + rule.states) * count
    return Case(
        name,
        contestants,
        oracle={"params": params},
        tolerance={"params": tolerance},
        moved=moved,
        working_set=working_set,
        params={"parameters": count, "tensors": len(shapes), "dtype": "float32"},
        cold=working_set > device.l2_bytes > 0,
    )


def step_of(rule: Rule, s: State) -> None:
    from steepest import kernels as K

    options = rule.options if rule.max_norm is None else {**rule.options, "max_norm": rule.max_norm}
    function = getattr(K, K.UPDATE_RULES[rule.name][0])
    counted = ()
    if rule.name == "adam":
        K.increment(s.step)
        counted = (s.step,)
    function(s.params, s.grads, *s.states, *counted, lr=LR, **options)


def build_ours(name: str, rule: Rule, shapes, device) -> Contestant:
    state = State(rule, shapes, device)

    def result():
        fresh = State(rule, shapes, device)
        for _ in range(CHECKED_STEPS):
            step_of(rule, fresh)
        return checked(fresh.params, shapes)

    return Contestant(name, lambda: step_of(rule, state), result)


def build_graph(name: str, rule: Rule, shapes, device, units: int = 100) -> Contestant:
    """The captured update, replayed `units` times in a call."""
    import steepest

    def captured_update(s):
        with steepest.capture() as graph:
            step_of(rule, s)
        return graph

    def result():
        fresh = State(rule, shapes, device)
        captured_update(fresh).replay(CHECKED_STEPS)
        return checked(fresh.params, shapes)

    graph = captured_update(State(rule, shapes, device))
    return Contestant(name, lambda: graph.replay(units), result, units=units)


def build_torch(name: str, torch, rule: Rule, shapes, device, kind: str) -> Contestant:
    graph = kind.endswith("graph")
    options = {kind.split()[0]: True, **rule.torch_options} | ({"capturable": True} if graph else {})

    def make():
        values, grads = host_arrays(shapes)
        params = [torch.nn.Parameter(device.tensor(torch, p)) for p in values]
        for p, g in zip(params, grads, strict=True):
            p.grad = device.tensor(torch, g)
        optimizer = getattr(torch.optim, rule.torch)(params, lr=LR, **options)

        def step():
            if rule.max_norm is not None:
                torch.nn.utils.clip_grad_norm_(params, rule.max_norm)
            optimizer.step()

        return params, optimizer, step

    @torch.no_grad()
    def reset(params, optimizer):
        for p, value in zip(params, host_arrays(shapes)[0], strict=True):
            p.copy_(torch.from_numpy(value))
        for state in optimizer.state.values():
            for value in state.values():
                if value is not None:
                    value.zero_()

    def result():
        params, optimizer, step = make()
        step = captured(torch, step) if graph else step
        reset(params, optimizer)
        for _ in range(CHECKED_STEPS):
            step()
        return checked([p.detach() for p in params], shapes)

    step = make()[2]
    return Contestant(name, captured(torch, step) if graph else step, result)
