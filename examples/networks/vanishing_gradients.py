"""
Vanishing gradients, and what changes them
==========================================

The backward pass through a layer multiplies a gradient by the weights and by the derivative of the activation. The
derivative of the sigmoid is at most 1/4, so after ten sigmoid layers little of the gradient reaches the first layer.
ReLU has derivative 1 where it is active, and weights of the right variance keep the product near one: 2 / (n_in +
n_out) (Glorot and Bengio, 2010) for activations that are linear around zero, and 2 / n_in (He et al., 2015) for ReLU,
which sets half of its inputs to zero. Inputs that are not normalised saturate the first layer before training starts.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

import steepest
from steepest import kernels as K
from steepest import nn, optim

plt.style.use("petroff10")
DEPTH, WIDTH, EPOCHS, LR = 10, 32, 40, 0.005

raw, y = load_digits(return_X_y=True)
scaled = StandardScaler().fit_transform(raw).astype(np.float32)
raw = raw.astype(np.float32)  # pixels from 0 to 16, without negative values


def deep_network(activation, init):
    layers = []
    for i in range(DEPTH):
        layers += [nn.Linear(64 if i == 0 else WIDTH, WIDTH, init=init), nn.Activation(activation)]
    return nn.Network([*layers, nn.Linear(WIDTH, 10)], seed=0)


def gradients(net, X):
    """Root mean square of the full-batch gradient of each layer's weights."""
    _, d_logits = nn.SoftmaxCrossEntropy()(net.forward(X), y)
    net.backward(d_logits)
    weights = [p for p in net.parameters() if p.name.endswith("weight")]
    return np.array([np.sqrt(np.mean(p.grad**2)) for p in weights])


def train(net, X):
    """Train by gradient descent on mini-batches of 32; return the mean loss of every epoch."""
    loss, optimizer = nn.SoftmaxCrossEntropy(), optim.SGD(net.parameters(), lr=LR, momentum=0.9)
    order, cursor, total = np.arange(len(X)), np.zeros((), np.int64), np.zeros(())
    x_batch, y_batch = np.empty((32, 64), np.float32), np.empty(32, y.dtype)
    with steepest.capture() as graph:
        K.take_rows(X, order, x_batch, start=cursor)
        K.take_rows(y, order, y_batch, start=cursor)
        value, d_logits = loss(net.forward(x_batch), y_batch)
        net.backward(d_logits)
        optimizer.step()
        K.accumulate(total, value, 32 / len(X))
        K.increment(cursor, 32)
    losses = []
    for epoch in range(EPOCHS):
        order[:] = K.permutation(len(X), seed=0, stream=epoch)
        cursor[...], total[...] = 0, 0.0
        graph.replay(len(X) // 32)
        losses.append(float(total))
    return losses


for name, X in (("raw", raw), ("standardised", scaled)):
    outputs = nn.Network([nn.Linear(64, WIDTH), nn.Tanh()], seed=0).predict(X)
    print(
        f"first tanh layer on {name} inputs: {np.mean(np.abs(outputs) > 0.99):.0%} of the outputs saturated"
    )

# %%
# The same ten hidden layers are trained in six settings. "small" weights are uniform in ±0.05, a common choice earlier.

settings = {
    "sigmoid, small weights": ("sigmoid", 0.05, scaled),
    "sigmoid, Glorot": ("sigmoid", "glorot_uniform", scaled),
    "tanh, Glorot, raw inputs": ("tanh", "glorot_uniform", raw),
    "tanh, Glorot": ("tanh", "glorot_uniform", scaled),
    "ReLU, Glorot": ("relu", "glorot_uniform", scaled),
    "ReLU, He": ("relu", "he_uniform", scaled),
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for i, (name, (activation, init, X)) in enumerate(settings.items()):
    net = deep_network(activation, init)
    sizes = gradients(net, X)
    losses = train(net, X)
    accuracy = np.mean(net.predict(X).argmax(axis=1) == y)
    print(f"{name:<25} first / last gradient {sizes[0] / sizes[-1]:8.1e}, training accuracy {accuracy:.2f}")
    style = {"color": f"C{i}", "linestyle": "--" if activation == "sigmoid" else "-", "label": name}
    left.semilogy(np.arange(1, DEPTH + 2), sizes, marker="o", markersize=4, **style)
    right.plot(np.arange(1, EPOCHS + 1), losses, **style)
left.set(xlabel="layer, from input to output", ylabel="gradient of its weights (rms) at the start")
right.set(xlabel="epoch", ylabel="cross-entropy (nats)")
figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
figure.savefig("vanishing_gradients.png", dpi=150)
