"""
LeNet on handwritten digits
===========================

LeNet-5 [#lecun]_ is the first well-known convolutional network: two convolutions, each followed by pooling, and three
linear layers. Its filters act alike everywhere in an image, so that it needs fewer parameters than a perceptron, makes
fewer errors, and makes far fewer on images that are shifted.

The program takes MNIST if it finds its four files in the folder that the environment variable ``MNIST`` names, or in
``shared/data/mnist`` beside a folder above. Otherwise it takes scikit-learn's digits, enlarged from 8 x 8 to 28 x 28
pixels.

.. [#lecun] Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
   Proceedings of the IEEE 86, 1998.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

import steepest
from steepest import kernels as K
from steepest import nn, optim, plots
from steepest.datasets import load_digits, load_mnist

BATCH = 128

named = [Path(os.environ["MNIST"])] if "MNIST" in os.environ else []
folders = [*named, *(parent / "shared" / "data" / "mnist" for parent in Path.cwd().parents)]
folder = next((folder for folder in folders if folder.is_dir()), None)
if folder is not None:
    name, epochs = "MNIST", 3
    X_train, y_train, X_test, y_test = load_mnist(folder)
else:
    name, epochs = "digits", 15
    X, y = load_digits()
    X = np.pad(np.kron(X.reshape(-1, 8, 8), np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2))).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
X_train, X_test = X_train.reshape(-1, 28, 28, 1), X_test.reshape(-1, 28, 28, 1)

# %%
# An epoch is captured once and replayed without Python: a mini-batch is a matter of a cursor into a random order.


def train(net):
    """Train by Adam; return the mean loss and the test accuracy of every epoch."""
    loss, optimizer = nn.SoftmaxCrossEntropy(), optim.Adam(net.parameters(), lr=2e-3)
    n, shape = len(X_train), X_train.shape[1:]
    order, cursor, total = np.arange(n), np.zeros((), np.int64), np.zeros(())
    x_batch, y_batch = np.empty((BATCH, *shape), np.float32), np.empty(BATCH, y_train.dtype)
    with steepest.capture() as graph:
        K.take_rows(X_train.reshape(n, -1), order, x_batch.reshape(BATCH, -1), start=cursor)
        K.take_rows(y_train, order, y_batch, start=cursor)
        value, d_logits = loss(net.forward(x_batch), y_batch)
        net.backward(d_logits)
        optimizer.step()
        K.accumulate(total, value, 1 / (n // BATCH))
        K.increment(cursor, BATCH)
    losses, accuracies = [], []
    for epoch in range(epochs):
        order[:] = K.permutation(n, seed=0, stream=epoch)
        cursor[...], total[...] = 0, 0.0
        graph.replay(n // BATCH)
        losses.append(float(total))
        accuracies.append(np.mean(predict(net, X_test) == y_test))
    return losses, accuracies


def predict(net, images):
    return net.predict(images).argmax(axis=1)


head = [nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
features = [
    *(nn.Conv2d(1, 6, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
]
layers = {
    "perceptron": [nn.Flatten(), nn.Linear(784, 120), nn.ReLU(), *head],
    "LeNet": [*features, nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), *head],
}
shifted = np.roll(X_test, (2, 2), axis=(1, 2))
for kind, own in layers.items():
    net = nn.Network([nn.Input((28, 28, 1)), *own], seed=0)
    losses, accuracies = train(net)
    print(
        f"{name}, {kind}: {sum(p.value.size for p in net.parameters())} parameters, test accuracy "
        f"{accuracies[-1]:.4f}, {np.mean(predict(net, shifted) == y_test):.4f} for images shifted by two pixels"
    )

# %%
# The confusion matrix shows which digits LeNet takes for which, and the saliency maps which pixels of the images that
# it gets wrong decide on its answer.

predicted = predict(net, X_test)
wrong = np.flatnonzero(predicted != y_test)
figure = plt.figure(figsize=(11, 8), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(5, 3))
left, right = above.subplots(1, 2)
plots.learning_curve({"training loss": losses}, scores={"test accuracy": accuracies}, ax=left)
plots.confusion_matrix(y_test, predicted, ax=right)
plots.saliency(net, X_test[wrong], ax=below.subplots())
below.suptitle(f"LeNet gets {len(wrong)} of {len(y_test)} images wrong; the first of them, and what decides")
figure.savefig("lenet.png", dpi=150)
