"""PyTorch contestants of the training step, all with fused Adam: eager, compiled, captured in a CUDA graph.

A captured step reads its mini-batch at a cursor on the device, like this package's step, so a step is one launch.
"""

from __future__ import annotations

import itertools
from functools import partial

from bench import network
from bench.device import to_host
from bench.harness import Contestant, Options
from bench.peers import Peers, PeerUnavailableError, captured, compiled

CHECKED_STEPS = 5


def contestants(epoch, error, options: Options, peers: Peers) -> list[Contestant]:
    job = {"epoch": epoch, "error": error}
    ways = {
        "PyTorch": partial(build_loop, **job),
        "PyTorch compiled": partial(build_loop, wrap=compiled, **job),
    }
    if options.device.name == "cuda":
        fewer_launches = partial(compiled, mode="reduce-overhead")
        ways |= {
            "PyTorch graph": partial(build_graph, **job),
            "PyTorch compiled graph": partial(build_graph, wrap=compiled, **job),
            "PyTorch reduce-overhead": partial(build_loop, wrap=fewer_launches, **job),
        }
        if options.max_autotune:
            wrap = partial(compiled, mode="max-autotune")
            ways["PyTorch max-autotune"] = partial(build_loop, wrap=wrap, **job)

    def build(name, torch, way):
        if options.quick and "wrap" in way.keywords:
            raise PeerUnavailableError("not compiled in a quick run")
        return way(name, torch)

    return [peers.contestant(name, "torch", partial(build, way=way)) for name, way in ways.items()]


class Step:
    """A model with optimizer and data; `wrap(torch, f)` may compile the loss."""

    def __init__(self, torch, epoch, wrap=None, capturable: bool = False):
        device = epoch.device
        layers = []
        for a, b in itertools.pairwise(network.WIDTHS):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        self.model = model = torch.nn.Sequential(*layers[:-1]).to(device.compute)
        options = {"capturable": True} if capturable else {}
        self.optimizer = torch.optim.Adam(model.parameters(), lr=network.LR, fused=True, **options)
        self.x, self.y, self.order = (device.tensor(torch, v) for v in (epoch.x, epoch.y, epoch.order))
        self.loss = lambda a, b: torch.nn.functional.cross_entropy(model(a), b)
        if wrap is not None:
            self.loss = wrap(torch, self.loss)
        self.torch = torch

    def __call__(self, rows) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.x[rows], self.y[rows]).backward()
        self.optimizer.step()

    def reset(self) -> None:
        """Restore the initial parameters and zero moments in place."""
        with self.torch.no_grad():
            for p, value in zip(self.model.parameters(), network.initial_parameters(), strict=True):
                p.copy_(self.torch.from_numpy(value.T.copy()))
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def parameters(self) -> list:
        return [to_host(p).T for p in self.model.parameters()]


def build_loop(name: str, torch, epoch, error, wrap=None) -> Contestant:
    """A contestant with an eager loop over row indices."""
    step = Step(torch, epoch, wrap)
    # Calls have fewer steps, since an eager step takes a millisecond.
    steps = max(1, epoch.steps // 4)
    starts = itertools.cycle(epoch.starts)

    def run(rows, count):
        for i in rows[: count * epoch.batch].view(count, epoch.batch):
            step(i)

    def result():
        step.reset()
        run(step.order, CHECKED_STEPS)
        return error(step.parameters())

    run(step.order, 2)
    return Contestant(name, lambda: run(step.order[next(starts) :], steps), result, steps, prepare=step.reset)


def build_graph(name: str, torch, epoch, error, wrap=None) -> Contestant:
    """A contestant that replays a CUDA graph of one step."""
    step = Step(torch, epoch, wrap, capturable=True)
    cursor = torch.zeros((), dtype=torch.int64, device=epoch.device.compute)
    within = torch.arange(epoch.batch, device=epoch.device.compute)
    starts = itertools.cycle(epoch.starts)

    def one():
        step(step.order[cursor + within])
        cursor.add_(epoch.batch)

    replay = captured(torch, one)

    def run(start, count):
        cursor.fill_(start)
        for _ in range(count):
            replay()

    def result():
        step.reset()
        run(0, CHECKED_STEPS)
        return error(step.parameters())

    return Contestant(name, lambda: run(next(starts), epoch.steps), result, epoch.steps, prepare=step.reset)
