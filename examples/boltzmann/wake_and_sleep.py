"""
Wake and sleep
==============

A deep belief network is a Boltzmann machine on top of directed layers. It is trained greedily, one layer on the
other. The wake-sleep algorithm then tunes all layers together. Awake, it sees data, and its generative weights learn
to make each layer from the one above. Asleep, it dreams samples of its own, and its recognition weights learn to find
their causes.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from steepest.neural_network import DeepBeliefNetwork

plt.style.use("petroff10")
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
parameters = {"label_units": True, "n_iter": 40, "batch_size": 10, "random_state": 0}
networks = {
    "greedy": DeepBeliefNetwork((100, 100, 200), **parameters),
    "wake-sleep": DeepBeliefNetwork(
        (100, 100, 200),
        tuning="wake_sleep",
        tuning_iter=60,
        tuning_learning_rate=0.05,
        tuning_gibbs=5,
        **parameters,
    ),
}
figure, axes = plt.subplots(1, 3, figsize=(10, 4.2), layout="constrained")


def show(ax, images, title):
    """Draw ten columns of eight images."""
    framed = np.pad(images.reshape(10, 8, 8, 8), [(0, 0), (0, 0), (1, 1), (1, 1)])
    ax.imshow(framed.transpose(1, 2, 0, 3).reshape(80, 100), cmap="gray_r")
    ax.set(title=title, xticks=np.arange(10) * 10 + 4.5, xticklabels=range(10), yticks=[])


show(axes[0], np.concatenate([X[1000:][y[1000:] == digit][:8] for digit in range(10)]), "digits")
for ax, (name, network) in zip(axes[1:], networks.items(), strict=True):
    network.fit(X[:1000], y[:1000])
    error = ((network.reconstruct(X[1000:]) - X[1000:]) ** 2).mean()
    right = (network.predict(X[1000:]) == y[1000:]).mean()
    print(f"{name}: reconstruction error {error:.4f}, {right:.0%} of new digits right")
    show(ax, network.sample(80, seed=0, n_steps=300, y=np.repeat(np.arange(10), 8), means=True), name)
figure.savefig("wake_and_sleep.png", dpi=150)
