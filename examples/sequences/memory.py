"""
What gates remember
===================

Two numbers of a long sequence are marked, and their sum is asked for at its end: the adding problem [#hochreiter]_. A
plain recurrent network multiplies its state with the same weights and with the slope of tanh, at most 1, in every step.
What the first steps contribute to the gradient shrinks with every step after them, so that the network learns to
answer with the mean, whose squared error is 1/6.

The gates of a GRU and an LSTM decide how much of the state goes on to the next step. At first, those of a GRU let a
half through, and its gradient shrinks even faster; those of the LSTM let more through, since the bias of its forget
gate begins at 1. But gates can learn to open: after the training, the gradient reaches all steps.

.. [#hochreiter] S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997.
"""

import matplotlib.pyplot as plt
import numpy as np

import steepest
from steepest import kernels as K
from steepest import nn, optim

plt.style.use("petroff10")
STEPS, UNITS, BATCH, EPOCHS = 60, 32, 50, 16
LAYERS = {"plain": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


def marked_numbers(n, seed):
    """Numbers in [0, 1) beside a mark that is 1 at two steps of each sequence; the sums of the marked numbers."""
    rng = np.random.default_rng(seed)
    X = np.zeros((n, STEPS, 2), np.float32)
    X[:, :, 0] = rng.random((n, STEPS))
    X[np.arange(n), rng.integers(0, STEPS // 2, n), 1] = 1
    X[np.arange(n), rng.integers(STEPS // 2, STEPS, n), 1] = 1
    return X, (X[:, :, 0] * X[:, :, 1]).sum(axis=1, keepdims=True)


X, y = marked_numbers(6000, seed=0)
X_test, y_test = marked_numbers(1000, seed=1)


def gradients_over_time(net):
    """The size of the loss's gradient with respect to the input of each step."""
    _, d = nn.MeanSquaredError()(net.forward(X_test), y_test)
    return np.sqrt((net.backward(d, inputs=True) ** 2).sum(axis=2)).mean(axis=0)


def train(net):
    """Train by Adam; return the squared error on new sequences before the first epoch and after each."""
    loss, optimizer = nn.MeanSquaredError(), optim.Adam(net.parameters(), lr=0.01, max_norm=1.0)
    order, cursor = np.arange(len(X)), np.zeros((), np.int64)
    x_batch, y_batch = np.empty((BATCH, STEPS, 2), np.float32), np.empty((BATCH, 1), np.float32)
    with steepest.capture() as graph:
        K.take_rows(X.reshape(len(X), -1), order, x_batch.reshape(BATCH, -1), start=cursor)
        K.take_rows(y, order, y_batch, start=cursor)
        _, d = loss(net.forward(x_batch), y_batch)
        net.backward(d)
        optimizer.step()
        K.increment(cursor, BATCH)
    errors = [float(((net.predict(X_test) - y_test) ** 2).mean())]
    for epoch in range(EPOCHS):
        order[:] = K.permutation(len(X), seed=0, stream=epoch)
        cursor[...] = 0
        graph.replay(len(X) // BATCH)
        errors.append(float(((net.predict(X_test) - y_test) ** 2).mean()))
    return errors


figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for name, layer in LAYERS.items():
    net = nn.Network([nn.Input((STEPS, 2)), layer(2, UNITS, output="last"), nn.Linear(UNITS, 1)], seed=0)
    before = gradients_over_time(net)
    errors = train(net)
    after = gradients_over_time(net)
    print(
        f"{name:5}  gradient of the first step / of the last: {before[0] / before[-1]:.0e} before the training, "
        f"{after[0] / after[-1]:.0e} after it; squared error {errors[-1]:.4f}"
    )
    left.semilogy(1 + np.arange(STEPS), before / before[-1], label=name)
    middle.semilogy(1 + np.arange(STEPS), after / after[-1], label=name)
    right.semilogy(errors, label=name)
left.set(xlabel="step", ylabel="gradient, relative to the last step", title="Before the training")
middle.set(xlabel="step", title="After the training")
right.axhline(1 / 6, color="grey", linestyle=":", label="mean of all")
right.set(xlabel="epoch", ylabel="squared error on new sequences", title="Sum of two marked numbers")
right.legend()
figure.savefig("memory.png", dpi=150)
