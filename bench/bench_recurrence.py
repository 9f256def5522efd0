"""Recurrent layers, float32: hidden states of whole sequences, and the gradients of inputs, weights and biases.

A replayed graph holds forward and backward pass of the layer of steepest, as it does in training; for sequences of
different lengths, whose number of steps changes, the passes are called. PyTorch has its own layers (packed sequences
for different lengths), JAX a scan over steps behind one product for the inputs of all steps, compiled as one function.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.oracle import reference, tolerances
from bench.peers import Peers, jax_contestant

INPUTS = 64
KINDS = {"lstm": 4, "gru": 3, "rnn": 1}


@dataclass
class Job:
    """A layer, and the batch that it walks through."""

    kind: str
    batch: int
    steps: int
    units: int
    mixed: bool = False

    @property
    def name(self) -> str:
        lengths = f"1 to {self.steps} steps" if self.mixed else f"{self.steps} steps"
        return f"{self.kind}, batch {self.batch}, {lengths}, {self.units} units"

    @property
    def cell(self) -> str:
        return "rnn_tanh" if self.kind == "rnn" else self.kind

    @property
    def columns(self) -> int:
        return KINDS[self.kind] * self.units


def jobs(options: Options) -> Iterator[Job]:
    batch, steps = (3, 4) if options.quick else (32, 50)
    for kind in KINDS:
        yield Job(kind, batch, steps, 64)
        yield Job(kind, 1, steps, 64)
        yield Job(kind, batch, 2 * steps - 1, 64, mixed=True)
    for kind in ("lstm", "gru"):
        yield Job(kind, 4 * batch, steps, 128)
        yield Job(kind, batch, steps, 512)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for job in jobs(options):
        yield job_case(job, options, peers)


class Data:
    """The batch, the weights, the gradient of the hidden states, and what comes out in float64."""

    def __init__(self, job: Job) -> None:
        rng = np.random.default_rng(1)
        batch, steps, units, columns = job.batch, job.steps, job.units, job.columns
        self.x = rng.standard_normal((batch, steps, INPUTS), dtype=np.float32)
        self.d = rng.standard_normal((batch, steps, units), dtype=np.float32)
        self.lengths = 1 + rng.permutation(batch) * (steps - 1) // max(batch - 1, 1) if job.mixed else None
        self.w = (rng.standard_normal((INPUTS, columns)) / np.sqrt(INPUTS)).astype(np.float32)
        self.u = (rng.standard_normal((units, columns)) / np.sqrt(units)).astype(np.float32)
        self.b = rng.standard_normal(columns, dtype=np.float32)
        self.inside = np.ones((batch, steps), bool)
        if self.lengths is not None:
            self.inside = np.arange(steps) < self.lengths[:, None]
            self.x[~self.inside] = 0
            self.d[~self.inside] = 0
        self.rows = int(self.inside.sum())

    def expected(self, job: Job) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Results in float64 and their tolerances."""
        n, steps = job.batch, job.steps
        lengths = np.full(n, steps) if self.lengths is None else self.lengths
        spans = np.stack([np.arange(n) * steps, lengths], axis=1)
        x, d = self.x.reshape(-1, INPUTS).astype(np.float64), self.d.reshape(-1, job.units)
        a = x @ self.w + self.b
        args = (a, self.u, job.cell)
        out, d_gates, before, inner = self._all(args, d, spans)
        near_out = tolerances.recurrence(np.float32, *args, spans=spans)[1]
        near = tolerances.recurrence_backward(np.float32, d, None, None, *args, spans=spans)
        through, near_through = d_gates.copy(), near[0].copy()
        if job.kind == "gru":
            through[:, 2 * job.units :], near_through[:, 2 * job.units :] = inner, near[2]
        size = (len(x), np.float32)
        results = {
            "out": out,
            "d_x": d_gates @ self.w.T.astype(np.float64),
            "d_w": x.T @ d_gates,
            "d_u": before.T @ through,
        }
        allowed = {
            "out": near_out,
            "d_x": near[0] @ np.abs(self.w.T)
            + tolerances.dot(np.float32, job.columns, np.abs(d_gates) @ np.abs(self.w.T)),
            "d_w": np.abs(x.T) @ near[0] + tolerances.dot(size[1], size[0], np.abs(x.T) @ np.abs(d_gates)),
            "d_u": np.abs(before.T) @ near_through
            + near[1].T @ np.abs(through)
            + tolerances.dot(size[1], size[0], np.abs(before.T) @ np.abs(through)),
        }
        return results, allowed

    @staticmethod
    def _all(args, d, spans):
        out = reference.recurrence(*args, spans=spans)[1]
        d_gates, before, inner, _, _ = reference.recurrence_backward(d, None, None, *args, spans=spans)
        return out, d_gates, before, inner


def network(job: Job, data: Data, device):
    """The layer of this package as a network, with the weights of the data."""
    from steepest import nn

    layer = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[job.kind](INPUTS, job.units)
    x = nn.Input((job.steps, INPUTS))
    if job.mixed:
        lengths = nn.Input((), dtype=np.int64, name="lengths")
        net = nn.Network([x, lengths], layer(x, lengths=lengths), device=device.compute)
    else:
        net = nn.Network(x, layer(x), device=device.compute)
    values = {p.role: p.value for p in net.parameters()}
    for role, value in (("weight", data.w), ("recurrent_weight", data.u), ("bias", data.b)):
        values[role][...] = device.xp.asarray(value)
    return net


def job_case(job: Job, options: Options, peers: Peers) -> Case:
    import steepest

    device, xp = options.device, options.device.xp
    data = Data(job)
    expected, tolerance = data.expected(job)
    net = network(job, data, device)
    given = [xp.asarray(data.x), *([] if data.lengths is None else [xp.asarray(data.lengths)])]
    d = xp.asarray(data.d)
    grads = {p.role: p.grad for p in net.parameters()}

    def step():
        out, d_x = net.forward(*given), net.backward(d, inputs=True)
        d_x = d_x[0] if job.mixed else d_x
        return {
            "out": out.reshape(-1, job.units),
            "d_x": d_x.reshape(-1, INPUTS),
            "d_w": grads["weight"],
            "d_u": grads["recurrent_weight"],
        }

    if job.mixed:
        ours = Contestant(OURS, step, step)
    else:
        with steepest.capture() as graph:
            results = step()

        def replayed():
            graph.replay()
            return results

        ours = Contestant(OURS, graph.replay, replayed)
    flops = 2.0 * 3 * data.rows * job.columns * (INPUTS + job.units)
    return Case(
        job.name,
        [
            ours,
            peers.contestant(
                "PyTorch", "torch", lambda label, torch: torch_contestant(job, data, device, label, torch)
            ),
            peers.contestant("JAX", "jax", lambda label, jax: jax_layer(job, data, device, label, jax)),
        ],
        oracle=expected,
        tolerance=tolerance,
        flops=flops,
        params={"job": job.name, "dtype": "float32", "inputs": INPUTS},
    )


def torch_contestant(job: Job, data: Data, device, label, torch) -> Contestant:
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[job.kind](
        INPUTS, job.units, batch_first=True
    )
    with torch.no_grad():
        for name, value in (
            ("weight_ih_l0", data.w.T),
            ("weight_hh_l0", data.u.T),
            ("bias_ih_l0", data.b),
            ("bias_hh_l0", np.zeros_like(data.b)),
        ):
            getattr(layer, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    if device.name == "cuda":
        layer = layer.cuda()
    x, d = device.tensor(torch, data.x).requires_grad_(), device.tensor(torch, data.d)
    pack, unpack = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    lengths = None if data.lengths is None else torch.from_numpy(data.lengths)

    def step():
        layer.zero_grad()
        x.grad = None
        if lengths is None:
            out = layer(x)[0]
        else:
            packed = pack(x, lengths, batch_first=True, enforce_sorted=False)
            out = unpack(layer(packed)[0], batch_first=True, total_length=job.steps)[0]
        out.backward(d)
        return out

    def results():
        out = step()
        return {
            "out": out.detach().reshape(-1, job.units),
            "d_x": x.grad.reshape(-1, INPUTS),
            "d_w": layer.weight_ih_l0.grad.T,
            "d_u": layer.weight_hh_l0.grad.T,
        }

    return Contestant(label, step, results)


def jax_layer(job: Job, data: Data, device, label, jax) -> Contestant:
    jnp, units = jax.numpy, job.units

    def cell(state, a, u):
        h, c = state
        if job.kind == "rnn":
            h = jnp.tanh(a + h @ u)
        elif job.kind == "lstm":
            i, f, g, o = jnp.split(a + h @ u, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        else:
            s = h @ u
            r = jax.nn.sigmoid(a[:, :units] + s[:, :units])
            z = jax.nn.sigmoid(a[:, units : 2 * units] + s[:, units : 2 * units])
            new = jnp.tanh(a[:, 2 * units :] + r * s[:, 2 * units :])
            h = (1 - z) * new + z * h
        return h, c

    # Behind a sequence's end nothing counts, since the gradient is zero there; its output is masked.
    inside = jnp.asarray(data.inside[:, :, None], dtype=jnp.float32)

    def layer(x, w, u, b):
        a = (x @ w + b).swapaxes(0, 1)
        zeros = jnp.zeros((job.batch, units), jnp.float32)

        def step(state, one):
            state = cell(state, one, u)
            return state, state[0]

        return jax.lax.scan(step, (zeros, zeros), a)[1].swapaxes(0, 1) * inside

    @jax.jit
    def step(x, w, u, b, d):
        out, pull = jax.vjp(layer, x, w, u, b)
        return out, *pull(d)

    given = [jnp.asarray(value) for value in (data.x, data.w, data.u, data.b, data.d)]

    def results():
        out, d_x, d_w, d_u, _ = step(*given)
        return {"out": out.reshape(-1, units), "d_x": d_x.reshape(-1, INPUTS), "d_w": d_w, "d_u": d_u}

    return jax_contestant(device, label, jax, lambda: step(*given), results)
