"""Tasks that need a memory: `python -m bench.sequence_tasks [adding|copy|digits]`, each by several recurrent layers.

adding   the sum of two marked numbers among 200 (S. Hochreiter, J. Schmidhuber, 1997); the mean has the error 1/6
copy     ten symbols, to be repeated after 30 blanks; without a memory the loss is 10 log(8) / (30 + 20) a step
digits   scikit-learn's 8 x 8 digits, pixel by pixel: 64 steps of one number

Every fit is one captured step that is replayed, with random batches that the host draws in advance.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

import steepest
from steepest import kernels as K
from steepest import nn, optim

LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def adding(rng, n, steps=200):
    x = np.zeros((n, steps, 2), np.float32)
    x[:, :, 0] = rng.random((n, steps))
    first, second = rng.integers(0, steps // 2, n), rng.integers(steps // 2, steps, n)
    x[np.arange(n), first, 1] = x[np.arange(n), second, 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(axis=1, keepdims=True)


def copy(rng, n, blanks=30):
    """Symbols 0 to 7, a blank 8 and a signal 9; what is asked for is blank before the last ten steps."""
    symbols = rng.integers(0, 8, (n, 10))
    steps = blanks + 20
    x = np.full((n, steps), 8)
    x[:, :10], x[:, steps - 11] = symbols, 9
    y = np.full((n, steps), 8)
    y[:, -10:] = symbols
    return np.eye(10, dtype=np.float32)[x], y


def fit(net, loss, x, y, *, batch: int, steps: int, rate: float) -> float:
    """Train on batches in a random order, and return the seconds."""
    optimizer = optim.Adam(net.parameters(), lr=rate, max_norm=1.0)
    order = np.concatenate(
        [np.random.default_rng(i).permutation(len(x)) for i in range(-(-steps * batch // len(x)))]
    )
    cursor = np.zeros((), np.int64)
    x_batch, y_batch = np.empty((batch, *x.shape[1:]), x.dtype), np.empty((batch, *y.shape[1:]), y.dtype)

    def take(source, out):
        shape = (len(source), -1) if source.ndim > 1 else (len(source),)
        K.take_rows(source.reshape(shape), order, out.reshape((len(out), *shape[1:])), start=cursor)

    begun = time.perf_counter()
    with steepest.capture() as graph:
        take(x, x_batch), take(y, y_batch)
        value, d = loss(net.forward(x_batch), y_batch)
        K.require_finite(value)
        net.backward(d)
        optimizer.step()
        K.increment(cursor, batch)
    graph.replay(steps)
    return time.perf_counter() - begun


def run_adding() -> None:
    rng = np.random.default_rng(0)
    (x, y), (x_test, y_test) = adding(rng, 20_000), adding(rng, 2000)
    for name, kind in LAYERS.items():
        net = nn.Network([nn.Input(x.shape[1:]), kind(2, 64, output="last"), nn.Linear(64, 1)], seed=1)
        seconds = fit(net, nn.MeanSquaredError(), x, y, batch=50, steps=6000, rate=2e-3)
        error = float(((net.predict(x_test) - y_test) ** 2).mean())
        print(
            f"adding, 200 steps, {name}: mean squared error {error:.5f} (mean of all: 0.167), {seconds:.0f} s",
            flush=True,
        )


def run_copy() -> None:
    rng = np.random.default_rng(0)
    (x, y), (x_test, y_test) = copy(rng, 20_000), copy(rng, 2000)
    loss = nn.SoftmaxCrossEntropy()
    for name, kind in LAYERS.items():
        net = nn.Network([nn.Input(x.shape[1:]), kind(10, 128), nn.Linear(128, 9)], seed=1)
        seconds = fit(net, loss, x, y, batch=50, steps=6000, rate=2e-3)
        z = net.predict(x_test)
        right = (z[:, -10:].argmax(axis=2) == y_test[:, -10:]).mean()
        print(
            f"copy after 30 blanks, {name}: loss {float(loss(z, y_test)[0]):.4f} "
            f"(without a memory: {10 * math.log(8) / 50:.4f}), {right:.3f} of the symbols, {seconds:.0f} s",
            flush=True,
        )


def run_digits() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data, labels = load_digits(return_X_y=True)
    x = (data / 16).astype(np.float32)[:, :, None]
    x, x_test, y, y_test = train_test_split(x, labels, test_size=0.2, stratify=labels, random_state=0)
    for name, kind in LAYERS.items():
        net = nn.Network([nn.Input((64, 1)), kind(1, 64, output="last"), nn.Linear(64, 10)], seed=1)
        seconds = fit(net, nn.SoftmaxCrossEntropy(), x, y, batch=32, steps=4500, rate=2e-3)
        right = (net.predict(x_test).argmax(axis=1) == y_test).mean()
        print(f"digits pixel by pixel, {name}: {right:.3f} of the test images, {seconds:.0f} s", flush=True)


TASKS = {"adding": run_adding, "copy": run_copy, "digits": run_digits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"any of {', '.join(TASKS)} (default: all)")
    tasks = parser.parse_args().tasks
    if unknown := set(tasks) - set(TASKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for task in tasks or TASKS:
        TASKS[task]()


if __name__ == "__main__":
    main()
