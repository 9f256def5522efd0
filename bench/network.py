"""The 784-128-64-10 network of the training benchmarks: data, initial weights, training in float64."""

from __future__ import annotations

import itertools

import numpy as np
from bench.oracle import reference

WIDTHS = (784, 128, 64, 10)
ROWS = 48_000
LR = 1e-3


def initial_parameters(seed: int = 0) -> list[np.ndarray]:
    """[w1, b1, w2, b2, w3, b3]: Glorot uniform weights (n_in, n_out), zero biases, float32."""
    rng = np.random.default_rng(seed)
    params = []
    for n_in, n_out in itertools.pairwise(WIDTHS):
        limit = np.sqrt(6 / (n_in + n_out))
        params.append(rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        params.append(np.zeros(n_out, np.float32))
    return params


def random_digits(rows: int = ROWS, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Random images (rows, 784) in [0, 1), and labels that depend on them and can be learned."""
    rng = np.random.default_rng(seed)
    x = rng.random((rows, WIDTHS[0]), dtype=np.float32)
    teacher = rng.standard_normal((WIDTHS[0], WIDTHS[-1]), dtype=np.float32)
    return x, ((x - 0.5) @ teacher).argmax(axis=1)


def step_flops(batch: int) -> float:
    """Operations of the products: forward pass, weight gradients, input gradients of all layers but the first."""
    layers = list(itertools.pairwise(WIDTHS))
    forward = sum(a * b for a, b in layers)
    return 2.0 * batch * (2 * forward + sum(a * b for a, b in layers[1:]))


def parameter_count() -> int:
    return sum(a * b + b for a, b in itertools.pairwise(WIDTHS))


def trained(params: list[np.ndarray], batches) -> list[np.ndarray]:
    """The parameters after one Adam step on each (x, y), in float64."""
    params = [p.astype(np.float64) for p in params]
    moments = [(np.zeros(p.shape), np.zeros(p.shape)) for p in params]
    for step, (x, y) in enumerate(batches, 1):
        values = [x.astype(np.float64)]
        names = ["relu"] * (len(params) // 2 - 1) + ["identity"]
        for i, name in enumerate(names):
            values.append(reference.linear(values[-1], params[2 * i], params[2 * i + 1], name))
        d = reference.softmax_cross_entropy(values[-1], y)[1]
        grads = [None] * len(params)
        for i in reversed(range(len(names))):
            w, made_by = params[2 * i], names[i - 1] if i else "identity"
            d, grads[2 * i], grads[2 * i + 1] = reference.linear_backward(d, values[i], w, made_by)
        for i, g in enumerate(grads):
            params[i], *moments[i] = reference.update("adam", params[i], g, moments[i], lr=LR, step=step)
    return params
