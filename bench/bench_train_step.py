"""One training step of 784-128-64-10: gather a mini-batch, forward, loss, backward, Adam.

Every contestant runs through the same shuffled epoch of 48,000 rows (150 MB, more than any cache holds), a chunk of
steps in each call. PyTorch's contestants are in torch_step.py. JAX gets mini-batches stacked in advance, the best form
for `lax.scan`, so its time does not include the gather. A second JAX contestant gathers inside the scan.

Further cases compare steps whose products are in bfloat16, with float32 weights and updates, with JAX in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import numpy as np
from bench import network, torch_step
from bench.device import to_host
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers, jax_adam, jax_contestant

LR = network.LR
CHECKED_STEPS = torch_step.CHECKED_STEPS
# Relative error, in the Euclidean norm, of everything that the steps change. Adam divides a gradient by its size, so a
# gradient below its rounding error may step in the other direction in float32. One element of 110,000 in one step costs
# 0.2 %, and the tolerance allows a handful. A mistake in a formula changes most elements.
# With operands rounded to bfloat16, several percent of the gradients are below their error, and the first steps move
# such an element by twice the learning rate the other way: 3 % of them are an error of 0.35.
TOLERANCE = {"float32": 0.01, "bfloat16": 0.5}
# Batch size -> steps in a call. CUDA has more, so that the start and end of a replay do not dominate.
CHUNKS = {
    "cpu": ((32, 100), (256, 17), (2048, 4)),
    "cuda": ((32, 500), (256, 187), (2048, 23)),
}


class Epoch:
    """The data, a permutation of the rows, and a cycle of chunks of `steps` mini-batches."""

    def __init__(self, x, y, batch: int, steps: int, device):
        self.x, self.y, self.batch, self.steps, self.device = x, y, batch, steps, device
        self.order = np.random.default_rng(2).permutation(len(x))
        self.starts = range(0, len(x) - batch * steps + 1, batch * steps)
        self.on_device = [device.xp.asarray(v) for v in (x, y, self.order)]

    def indices(self, start: int) -> np.ndarray:
        """Row indices of a chunk of mini-batches, of shape (steps, batch)."""
        return self.order[start : start + self.steps * self.batch].reshape(self.steps, self.batch)

    def checked(self) -> np.ndarray:
        return self.order[: CHECKED_STEPS * self.batch].reshape(CHECKED_STEPS, self.batch)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    x, y = network.random_digits(2048 if options.quick else network.ROWS)
    for precision in TOLERANCE:
        for batch, steps in ((32, 8),) if options.quick else CHUNKS[options.device.name]:
            yield step_case(Epoch(x, y, batch, steps, options.device), precision, options, peers)


def step_case(epoch: Epoch, precision: str, options: Options, peers: Peers) -> Case:
    params = network.initial_parameters()
    want = network.trained(params, [(epoch.x[i], epoch.y[i]) for i in epoch.checked()])
    moved = flatten(want) - flatten(params)
    count = network.parameter_count()

    def error(trained) -> dict[str, np.ndarray]:
        difference = flatten(trained) - flatten(want)
        return {"update": np.linalg.norm(difference) / np.linalg.norm(moved)}

    job = {"epoch": epoch, "error": error}
    contestants = [
        *build_ours(epoch, error, precision),
        peers.contestant("JAX scan", "jax", partial(build_jax, gather=False, **job)),
        peers.contestant("JAX scan with gather", "jax", partial(build_jax, gather=True, **job)),
    ]
    if precision == "float32":
        contestants[2:2] = torch_step.contestants(epoch, error, options, peers)
    return Case(
        f"batch {epoch.batch}" + ("" if precision == "float32" else f", products in {precision}"),
        contestants,
        oracle={"update": np.zeros(())},
        tolerance={"update": np.asarray(TOLERANCE[precision])},
        peer_tolerance=1.0,
        flops=network.step_flops(epoch.batch),
        # The mini-batch is read from X, and Adam moves 28 bytes for each parameter.
        moved=4.0 * epoch.batch * network.WIDTHS[0] + 28.0 * count,
        working_set=16.0 * count + 8.0 * epoch.batch * sum(network.WIDTHS),
        params={"widths": network.WIDTHS, "batch": epoch.batch, "rows": len(epoch.x), "precision": precision},
    )


def flatten(arrays) -> np.ndarray:
    return np.concatenate([np.asarray(to_host(a), np.float64).ravel() for a in arrays])


class Trainer:
    """The training step as a user of this package writes it."""

    def __init__(self, epoch: Epoch, precision: str = "float32"):
        from steepest import kernels as K
        from steepest import nn, optim

        self.epoch, self.K, xp = epoch, K, epoch.device.xp
        widths = network.WIDTHS
        layers = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.net = nn.Network(layers[:-1], seed=0, device=epoch.device.compute, precision=precision)
        self.loss = nn.SoftmaxCrossEntropy()
        self.optimizer = optim.Adam(self.net.parameters(), lr=LR)
        self.initial = self.optimizer.state_dict()
        self.x = xp.empty((epoch.batch, widths[0]), np.float32)
        self.y = xp.empty(epoch.batch, epoch.y.dtype)
        self.cursor = xp.zeros((), np.int64)
        self.total = xp.zeros(())
        self.reset()

    def reset(self) -> None:
        for p, value in zip(self.net.parameters(), network.initial_parameters(), strict=True):
            p.value[...] = self.epoch.device.xp.asarray(value)
        self.optimizer.load_state_dict(self.initial)
        self.cursor[...] = 0
        self.total[...] = 0

    def step(self) -> None:
        K, (x, y, order) = self.K, self.epoch.on_device
        K.take_rows(x, order, self.x, start=self.cursor)
        K.take_rows(y, order, self.y, start=self.cursor)
        value, d_logits = self.loss(self.net.forward(self.x), self.y)
        K.require_finite(value)
        K.accumulate(self.total, value)
        self.net.backward(d_logits)
        self.optimizer.step()
        K.increment(self.cursor, self.epoch.batch)


def build_ours(epoch: Epoch, error, precision: str) -> list[Contestant]:
    """Two contestants of this package: steps replayed from a graph, and eager steps."""
    import steepest

    trainer = Trainer(epoch, precision)
    with steepest.capture() as graph:
        trainer.step()
    starts = itertools.cycle(epoch.starts)

    def replay():
        trainer.cursor[...] = next(starts)
        graph.replay(epoch.steps)

    def replay_result():
        trainer.reset()
        graph.replay(CHECKED_STEPS)
        return error([p.value for p in trainer.net.parameters()])

    eager = Trainer(epoch, precision)
    eager_starts = itertools.cycle(epoch.starts)

    def call():
        eager.cursor[...] = next(eager_starts)
        for _ in range(epoch.steps):
            eager.step()

    def call_result():
        eager.reset()
        for _ in range(CHECKED_STEPS):
            eager.step()
        return error([p.value for p in eager.net.parameters()])

    return [
        Contestant(OURS, replay, replay_result, epoch.steps, prepare=trainer.reset),
        Contestant(f"{OURS} without graph", call, call_result, epoch.steps, prepare=eager.reset),
    ]


def build_jax(name: str, jax, epoch: Epoch, error, gather: bool) -> Contestant:
    """A jitted lax.scan over the mini-batches with a donated state."""
    jnp = jax.numpy

    def mean_loss(params, x, y):
        for i, (w, b) in enumerate(params):
            x = x @ w + b
            if i < len(params) - 1:
                x = jax.nn.relu(x)
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

    def step(state, x, y):
        value, grads = jax.value_and_grad(mean_loss)(state[0], x, y)
        return jax_adam(jax, state, grads, LR), value

    if gather:
        x, y = jnp.asarray(epoch.x), jnp.asarray(epoch.y.astype(np.int32))

        def train(state, indices):
            return jax.lax.scan(lambda s, i: step(s, x[i], y[i]), state, indices)

        def batches(indices):
            return (jnp.asarray(indices.astype(np.int32)),)
    else:

        def train(state, xs, ys):
            return jax.lax.scan(lambda s, xy: step(s, *xy), state, (xs, ys))

        def batches(indices):
            return jnp.asarray(epoch.x[indices]), jnp.asarray(epoch.y[indices].astype(np.int32))

    train = jax.jit(train, donate_argnums=0)
    chunks = itertools.cycle([batches(epoch.indices(start)) for start in epoch.starts])
    state = []

    def reset():
        p = network.initial_parameters()
        values = [(jnp.array(w), jnp.array(b)) for w, b in zip(p[::2], p[1::2], strict=True)]
        zeros = [jax.tree.map(jnp.zeros_like, values) for _ in range(2)]
        state[:] = [(values, *zeros, jnp.float32(0))]
        jax.block_until_ready(state[0])

    def run(arguments):
        state[0], losses = train(state[0], *arguments)
        return losses

    def result():
        reset()
        run(batches(epoch.checked()))
        return error([a for pair in state[0][0] for a in pair])

    reset()
    run(next(chunks))
    rest = {"units": epoch.steps, "prepare": reset}
    return jax_contestant(epoch.device, name, jax, lambda: run(next(chunks)), result, **rest)
