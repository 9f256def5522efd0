"""
What batch normalisation changes in a deep sigmoid network
==========================================================

Eight hidden layers of sigmoids hardly learn: the derivative of each is at most 1/4, so that what distinguishes the
images shrinks from layer to layer. Batch normalisation [#ioffe]_ subtracts from the input of each sigmoid its mean over
the batch, and divides by its standard deviation. Each layer then gets inputs of one size, whatever comes before it.

.. [#ioffe] S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
   covariate shift", ICML 2015.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import steepest
from steepest import kernels as K
from steepest import nn, optim

plt.style.use("petroff10")
DEPTH, WIDTH, BATCH, EPOCHS = 8, 64, 32, 40

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)


def sigmoid_network(normalised):
    layers, n_in = [], X.shape[1]
    for _ in range(DEPTH):
        layers += [nn.Linear(n_in, WIDTH), *([nn.BatchNorm(WIDTH)] if normalised else []), nn.Sigmoid()]
        n_in = WIDTH
    return nn.Network([*layers, nn.Linear(WIDTH, 10)], seed=0)


def train(net):
    """Train by Adam; return the mean loss of every epoch."""
    loss, optimizer = nn.SoftmaxCrossEntropy(), optim.Adam(net.parameters(), lr=2e-3)
    n = len(X_train)
    order, cursor, total = np.arange(n), np.zeros((), np.int64), np.zeros(())
    x_batch, y_batch = np.empty((BATCH, X.shape[1]), np.float32), np.empty(BATCH, y.dtype)
    with steepest.capture() as graph:
        K.take_rows(X_train, order, x_batch, start=cursor)
        K.take_rows(y_train, order, y_batch, start=cursor)
        value, d_logits = loss(net.forward(x_batch), y_batch)
        net.backward(d_logits)
        optimizer.step()
        K.accumulate(total, value, 1 / (n // BATCH))
        K.increment(cursor, BATCH)
    losses = []
    for epoch in range(EPOCHS):
        order[:] = K.permutation(n, seed=0, stream=epoch)
        cursor[...], total[...] = 0, 0.0
        graph.replay(n // BATCH)
        losses.append(float(total))
    return losses


def sigmoid_inputs(net):
    """What the sigmoids of each layer get for the test images; batch normalisation takes its running averages."""
    at = [i for i, layer in enumerate(net.layers) if isinstance(layer, nn.Sigmoid)]
    return [net.predict(X_test, layers=slice(i)) for i in at]


# %%
# The networks start with the same weights. Without normalisation the images differ less from layer to layer, so that
# the last layer gets nearly the same numbers for all of them. It learns nothing from these until the weights have
# grown, and they grow too far: many sigmoids saturate, where their derivative is next to zero.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
numbers = np.arange(1, DEPTH + 1)
for i, (name, normalised) in enumerate((("without", False), ("with batch normalisation", True))):
    net = sigmoid_network(normalised)
    for _ in range(100):
        net.forward(X_train)  # averages of the weights at the start, for the predictions
    at_start = [inputs.std(axis=0).mean() for inputs in sigmoid_inputs(net)]
    losses = train(net)
    accuracy = np.mean(net.predict(X_test).argmax(axis=1) == y_test)
    trained = sigmoid_inputs(net)
    saturated = np.mean([np.abs(inputs) > 4 for inputs in trained])
    print(
        f"{name}: loss {losses[-1]:.3f}, test accuracy {accuracy:.2f}, spread in the last layer at the start "
        f"{at_start[-1]:.1e}, {saturated:.0%} of the sigmoids saturated"
    )
    style = {"color": f"C{i}", "label": name, "linestyle": "-" if normalised else "--"}
    left.plot(np.arange(1, EPOCHS + 1), losses, **style)
    middle.semilogy(numbers, at_start, marker="o", markersize=5, **style)
    low, median, high = np.percentile(np.stack([a.ravel() for a in trained]), [5, 50, 95], axis=1)
    at = numbers + 0.16 * (2 * i - 1)
    right.errorbar(
        at, median, (median - low, high - median), fmt="s" if normalised else "o", capsize=4, color=f"C{i}"
    )
left.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="training loss")
left.set_ylim(bottom=0)
middle.set(
    xlabel="hidden layer",
    ylabel="standard deviation over the images",
    title="inputs of the sigmoids at the start",
)
right.axhspan(-4, 4, color="#dddddd", alpha=0.6, zorder=0)
right.set(xlabel="hidden layer", ylabel="inputs, 5 % to 95 %", title="after training; on white: saturated")
right.set_xticks(numbers)
figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
figure.savefig("batch_norm.png", dpi=150)
