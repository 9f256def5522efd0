"""
Dropout, L1 and L2 on a small sample
====================================

A network with thousands of weights memorises three hundred images, together with the labels that are wrong here on
purpose: the training loss falls to zero, while the test loss rises. There are three remedies. A penalty on the squared
weights (L2) keeps all weights small, and a penalty on their absolute values (L1) makes many weights zero. Dropout
removes random units in every step, so that no unit can rely on the others.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import steepest
from steepest import nn, optim

plt.style.use("petroff10")
EPOCHS, EVERY = 1000, 10

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=300, stratify=y, random_state=0)
seen = X_train.std(axis=0) > 0  # constant pixels carry no information
X_train, X_test = X_train[:, seen].copy(), X_test[:, seen].copy()
rng = np.random.default_rng(0)
wrong = rng.random(len(y_train)) < 0.15
y_train[wrong] = (y_train[wrong] + rng.integers(1, 10, wrong.sum())) % 10
samples = ((X_train, y_train), (X_test, y_test))


def train(dropout=0.0, l1=0.0, l2=0.0):
    """Full-batch training; return training and test losses, test accuracy and the weights of the first layer."""
    layers = [
        nn.Linear(seen.sum(), 256, init="he_uniform"),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(256, 10),
    ]
    net, loss = nn.Network(layers, seed=0), nn.SoftmaxCrossEntropy()
    optimizer = optim.SGD(net.parameters(), lr=0.5, l1=l1, l2=l2)
    with steepest.capture() as graph:
        _, d_logits = loss(net.forward(X_train), y_train)
        net.backward(d_logits)
        optimizer.step()
    curves = []
    for _ in range(0, EPOCHS, EVERY):
        graph.replay(EVERY)
        # `predict` does not apply dropout.
        curves.append([float(loss(net.predict(part), labels)[0]) for part, labels in samples])
    accuracy = np.mean(net.predict(X_test).argmax(axis=1) == y_test)
    return np.array(curves), accuracy, net.parameters()[0].value


remedies = {"none": {}, "L2": {"l2": 4e-3}, "L1": {"l1": 1e-3}, "dropout": {"dropout": 0.7}}

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
epochs = np.arange(EVERY, EPOCHS + 1, EVERY)
for color, (name, remedy) in zip(("C0", "C1", "C2", "C4"), remedies.items(), strict=True):
    curves, accuracy, weights = train(**remedy)
    sizes = np.sort(np.abs(weights).ravel())
    print(
        f"{name:>7}: training loss {curves[-1, 0]:.4f}, test loss {curves[-1, 1]:.3f}, at its least "
        f"{curves[:, 1].min():.3f}, test accuracy {accuracy:.3f}, "
        f"{np.mean(sizes < 1e-3):.0%} of the weights below 0.001"
    )
    left.semilogy(epochs, curves[:, 0], ":", color=color)
    left.semilogy(epochs, curves[:, 1], color=color, label=name)
    right.semilogx(np.maximum(sizes, 1e-6), np.linspace(0, 1, len(sizes)), color=color)
left.set(title="loss: test solid, training dotted", xlabel="epoch", ylabel="cross-entropy (nats)")
right.set(title="weights of the first layer", xlabel="absolute value", ylabel="share of weights below")
figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
figure.savefig("regularization.png", dpi=150)
