"""Convolutional networks on 28 x 28 images: a training step with Adam, and predictions for one image and for many.

Every contestant runs through the same shuffled epoch, a chunk of steps in each call. JAX gets mini-batches stacked in
advance, the best form for `lax.scan`, so that its time does not include the gather.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import numpy as np
from bench import convnet, convnet_torch
from bench.bench_train_step import Epoch, flatten
from bench.convnet import NETS, Net
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers, jax_adam, jax_contestant

ROWS = 12_800
CHECKED_STEPS = 2
# Batch size -> steps in a call.
CHUNKS = ((32, 40), (128, 10))
# As in bench_train_step: a gradient below its rounding error may move a weight the other way.
STEP_TOLERANCE = 0.02
PREDICTED = (1, 1000)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    x, y = convnet.random_images(512 if options.quick else ROWS)
    for name, net in NETS.items():
        for batch, steps in ((32, 2),) if options.quick else CHUNKS:
            yield step_case(name, net, Epoch(x, y, batch, steps, options.device), options, peers)
        for rows in PREDICTED[: 1 if options.quick else None]:
            yield prediction_case(name, net, x[:rows], options, peers)


def layers_of(net: Net) -> list:
    """The network as a user of this package writes it."""
    from steepest import nn

    layers, before = [nn.Input((convnet.SIDE, convnet.SIDE, 1))], 1
    for maps, window, padding in net.maps:
        layers += [nn.Conv2d(before, maps, window, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]
        before = maps
    layers.append(nn.Flatten())
    for n_in, n_out in itertools.pairwise(net.widths()):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return layers[:-1]


# ------------------------------------------------------------------------------------------------ training step


def step_case(name: str, net: Net, epoch: Epoch, options: Options, peers: Peers) -> Case:
    params = net.initial_parameters()
    order = epoch.order[: CHECKED_STEPS * epoch.batch].reshape(CHECKED_STEPS, epoch.batch)
    want = net.trained(params, [(epoch.x[i], epoch.y[i]) for i in order])
    moved = flatten(want) - flatten(params)

    def error(trained) -> dict[str, np.ndarray]:
        return {"update": np.linalg.norm(flatten(trained) - flatten(want)) / np.linalg.norm(moved)}

    job = {"epoch": epoch, "error": error, "net": net}
    return Case(
        f"training step of {name}, batch {epoch.batch}",
        [
            *build_ours(**job),
            *convnet_torch.contestants(
                convnet_torch.step_builder(checked=CHECKED_STEPS, **job), options, peers
            ),
            peers.contestant("JAX scan", "jax", partial(build_jax_step, **job)),
        ],
        oracle={"update": np.zeros(())},
        tolerance={"update": np.asarray(STEP_TOLERANCE)},
        peer_tolerance=1.0,
        flops=net.step_flops(epoch.batch),
        params={"net": name, "batch": epoch.batch, "rows": len(epoch.x)},
    )


def build_ours(epoch: Epoch, error, net: Net) -> list[Contestant]:
    """Two contestants of this package: steps replayed from a graph, and eager steps."""
    import steepest
    from steepest import kernels as K
    from steepest import nn, optim

    xp = epoch.device.xp

    def made(name: str, captured: bool) -> Contestant:
        network = nn.Network(layers_of(net), device=epoch.device.compute)
        loss, optimizer = nn.SoftmaxCrossEntropy(), optim.Adam(network.parameters(), lr=convnet.LR)
        initial = optimizer.state_dict()
        x, y, order = epoch.on_device
        rows, x_batch = x.reshape(len(x), -1), xp.empty((epoch.batch, *x.shape[1:]), np.float32)
        y_batch, cursor = xp.empty(epoch.batch, y.dtype), xp.zeros((), np.int64)

        def step() -> None:
            K.take_rows(rows, order, x_batch.reshape(epoch.batch, -1), start=cursor)
            K.take_rows(y, order, y_batch, start=cursor)
            value, d_logits = loss(network.forward(x_batch), y_batch)
            K.require_finite(value)
            network.backward(d_logits)
            optimizer.step()
            K.increment(cursor, epoch.batch)

        def reset() -> None:
            for p, value in zip(network.parameters(), net.initial_parameters(), strict=True):
                p.value[...] = xp.asarray(value)
            optimizer.load_state_dict(initial)
            cursor[...] = 0

        reset()
        if captured:
            with steepest.capture() as graph:
                step()
            run = graph.replay
        else:

            def run(count):
                for _ in range(count):
                    step()

        starts = itertools.cycle(epoch.starts)

        def call():
            cursor[...] = next(starts)
            run(epoch.steps)

        def result():
            reset()
            run(CHECKED_STEPS)
            return error([p.value for p in network.parameters()])

        return Contestant(name, call, result, epoch.steps, prepare=reset)

    return [made(OURS, True), made(f"{OURS} without graph", False)]


def jax_output(jax, net: Net, params, x):
    """The network's output in JAX, for images (n, h, w, c)."""
    for i, (_, _, padding) in enumerate(net.maps):
        w, b = params[i]
        dims = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, w, (1, 1), [(padding, padding)] * 2, dimension_numbers=dims) + b
        x = jax.nn.relu(x)
        x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = x.reshape(len(x), -1)
    for i, (w, b) in enumerate(params[len(net.maps) :], len(net.maps)):
        x = x @ w + b
        if i < len(params) - 1:
            x = jax.nn.relu(x)
    return x


def pairs(jax, params: list[np.ndarray]):
    """Weights and biases of each layer."""
    return [(jax.numpy.array(w), jax.numpy.array(b)) for w, b in zip(params[::2], params[1::2], strict=True)]


def build_jax_step(name: str, jax, epoch: Epoch, error, net: Net) -> Contestant:
    """A jitted lax.scan over the mini-batches with a donated state."""
    jnp = jax.numpy

    def mean_loss(params, x, y):
        logits = jax_output(jax, net, params, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

    def step(state, batch):
        value, grads = jax.value_and_grad(mean_loss)(state[0], *batch)
        return jax_adam(jax, state, grads, convnet.LR), value

    train = jax.jit(lambda state, xs, ys: jax.lax.scan(step, state, (xs, ys)), donate_argnums=0)

    def batches(start: int, count: int):
        rows = epoch.order[start : start + count * epoch.batch].reshape(count, epoch.batch)
        return jnp.asarray(epoch.x[rows]), jnp.asarray(epoch.y[rows].astype(np.int32))

    chunks = itertools.cycle([batches(start, epoch.steps) for start in epoch.starts])
    state = []

    def reset():
        values = pairs(jax, net.initial_parameters())
        zeros = [jax.tree.map(jnp.zeros_like, values) for _ in range(2)]
        state[:] = [(values, *zeros, jnp.float32(0))]
        jax.block_until_ready(state[0])

    def run(arguments):
        state[0], losses = train(state[0], *arguments)
        return losses

    def result():
        reset()
        run(batches(0, CHECKED_STEPS))
        return error([a for pair in state[0][0] for a in pair])

    reset()
    run(next(chunks))
    rest = {"units": epoch.steps, "prepare": reset}
    return jax_contestant(epoch.device, name, jax, lambda: run(next(chunks)), result, **rest)


# --------------------------------------------------------------------------------------------------- predictions


def prediction_case(name: str, net: Net, x: np.ndarray, options: Options, peers: Peers) -> Case:
    from steepest import nn

    device = options.device
    network = nn.Network(layers_of(net), device=device.compute)
    params = net.initial_parameters()
    for p, value in zip(network.parameters(), params, strict=True):
        p.value[...] = device.xp.asarray(value)
    images = device.xp.asarray(x)
    want = net.values([p.astype(np.float64) for p in params], x)[0][-1]

    def build_jax(label, jax):
        held, given = pairs(jax, params), jax.numpy.asarray(x)
        forward = jax.jit(lambda p, a: jax_output(jax, net, p, a))
        return jax_contestant(
            device, label, jax, lambda: forward(held, given), lambda: {"out": forward(held, given)}
        )

    job = convnet_torch.prediction_builder(net=net, x=x, device=device)
    # Rounding errors add up over the layers, each of sums of at most 2304 terms of size one.
    bound = 100 * np.finfo(np.float32).eps * np.abs(want).max()
    return Case(
        f"prediction of {name}, {len(x)} image{'s' * (len(x) > 1)}",
        [
            Contestant(OURS, lambda: network.predict(images), lambda: {"out": network.predict(images)}),
            *convnet_torch.contestants(job, options, peers),
            peers.contestant("JAX", "jax", build_jax),
        ],
        oracle={"out": want},
        tolerance={"out": np.full(want.shape, bound)},
        flops=net.forward_flops(len(x)),
        params={"net": name, "rows": len(x)},
    )
