"""PyTorch contestants of the convolutional networks, with fused Adam: as written, with channels last, and compiled."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
from bench import convnet
from bench.device import to_host
from bench.harness import Contestant, Options
from bench.peers import Peers, PeerUnavailableError, compiled

WAYS = ("PyTorch", "PyTorch channels last", "PyTorch compiled", "PyTorch channels last compiled")


def contestants(build, options: Options, peers: Peers) -> list[Contestant]:
    """Contestants of `build(name, torch, layout, wrap)`."""

    def one(name, torch):
        if options.quick and "compiled" in name:
            raise PeerUnavailableError("not compiled in a quick run")
        layout = torch.channels_last if "channels last" in name else torch.contiguous_format
        return build(name, torch, layout, compiled if "compiled" in name else None)

    return [peers.contestant(name, "torch", one) for name in WAYS]


class Model:
    """The network as a user of PyTorch writes it."""

    def __init__(self, torch, net: convnet.Net, device, layout):
        layers, before = [], 1
        for maps, window, padding in net.maps:
            convolution = torch.nn.Conv2d(before, maps, window, padding=padding)
            layers += [convolution, torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
            before = maps
        layers.append(torch.nn.Flatten())
        for n_in, n_out in itertools.pairwise(net.widths()):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        self.torch, self.net = torch, net
        self.module = torch.nn.Sequential(*layers[:-1]).to(device.compute, memory_format=layout)

    def images(self, x: np.ndarray, device, layout):
        """Images (n, h, w, c) as the network takes them."""
        return device.tensor(self.torch, x).permute(0, 3, 1, 2).contiguous(memory_format=layout)

    def set(self, params: list[np.ndarray]) -> None:
        with self.torch.no_grad():
            for p, value in zip(self.module.parameters(), self._theirs(params), strict=True):
                p.copy_(self.torch.from_numpy(np.ascontiguousarray(value)))

    def parameters(self) -> list[np.ndarray]:
        """Weights and biases in this package's layout."""
        side, channels = self.net.last
        found = []
        for i, p in enumerate(to_host(p) for p in self.module.parameters()):
            if p.ndim == 4:
                p = p.transpose(2, 3, 1, 0)
            elif p.ndim == 2:
                p = p.T
                if i == 2 * len(self.net.maps):
                    p = p.reshape(channels, side, side, -1).transpose(1, 2, 0, 3).reshape(p.shape)
            found.append(p)
        return found

    def _theirs(self, params: list[np.ndarray]) -> list[np.ndarray]:
        side, channels = self.net.last
        found = []
        for i, p in enumerate(params):
            if p.ndim == 4:
                p = p.transpose(3, 2, 0, 1)
            elif p.ndim == 2:
                if i == 2 * len(self.net.maps):
                    p = p.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(p.shape)
                p = p.T
            found.append(p)
        return found


def build_step(name: str, torch, layout, wrap, *, epoch, error, net, checked: int) -> Contestant:
    """A contestant with a loop of training steps over the mini-batches of an epoch."""
    device = epoch.device
    model = Model(torch, net, device, layout)
    optimizer = torch.optim.Adam(model.module.parameters(), lr=convnet.LR, fused=True)
    x = model.images(epoch.x, device, layout)
    y, order = device.tensor(torch, epoch.y), device.tensor(torch, epoch.order)

    def loss(a, b):
        return torch.nn.functional.cross_entropy(model.module(a), b)

    loss = loss if wrap is None else wrap(torch, loss)

    def step(rows) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(x[rows], y[rows]).backward()
        optimizer.step()

    def reset() -> None:
        model.set(net.initial_parameters())
        for state in optimizer.state.values():
            for value in state.values():
                value.zero_()

    def run(rows, count):
        for i in rows[: count * epoch.batch].view(count, epoch.batch):
            step(i)

    def result():
        reset()
        run(order, checked)
        return error(model.parameters())

    run(order, 2)
    starts = itertools.cycle(epoch.starts)
    return Contestant(
        name, lambda: run(order[next(starts) :], epoch.steps), result, epoch.steps, prepare=reset
    )


def build_prediction(name: str, torch, layout, wrap, *, net, x, device) -> Contestant:
    """A contestant that computes the output for images."""
    model = Model(torch, net, device, layout)
    model.set(net.initial_parameters())
    images = model.images(x, device, layout)
    forward = model.module if wrap is None else wrap(torch, model.module)

    @torch.inference_mode()
    def call():
        return forward(images)

    return Contestant(name, call, lambda: {"out": call()})


step_builder = partial(partial, build_step)
prediction_builder = partial(partial, build_prediction)
