"""
What a Boltzmann machine learns of digits
=========================================

A restricted Boltzmann machine has visible units, here the pixels, and hidden ones. It learns to give images like
those it has seen a high probability. The weights of a hidden unit are the pattern that it looks for, its filter. A
sample of the machine comes from a chain that draws the hidden units given the pixels, then the pixels given the
hidden units, many times. With label units, which belong to the classes, the chain can be held at a class, and the
machine classifies.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from steepest.neural_network import BernoulliRBM
from steepest.plots import weight_images

plt.style.use("petroff10")
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

machine = BernoulliRBM(
    100,
    label_units=True,
    n_iter=150,
    learning_rate=0.05,
    batch_size=20,
    n_gibbs=2,
    momentum=0.5,
    random_state=0,
)
machine.fit(X_train, y_train)
accuracy = (machine.predict(X_test) == y_test).mean()
print(f"label units: {accuracy:.1%} of new digits right")

# %%
# How good a machine is, its likelihood says. Its sum over all states has 2^100 terms; annealed importance sampling
# estimates it, with a standard error.

log_z, error = machine.annealed_log_partition(X_train, n_temperatures=1000)
binary = (X_test > 0.5).astype(np.float32)
print(
    f"log Z = {log_z:.1f} ± {error:.1f}; new digits: {machine.log_likelihood(binary, log_z).mean():.1f} nats each"
)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
weight_images(machine.components_.T, ax=left, n_units=64)
left.set_title("filters of 64 hidden units")
digits = np.repeat(np.arange(10), 8)
samples = machine.sample(80, seed=1, n_steps=500, y=digits, means=True)
framed = np.pad(samples.reshape(10, 8, 8, 8), [(0, 0), (0, 0), (1, 1), (1, 1)])
right.imshow(framed.transpose(1, 2, 0, 3).reshape(80, 100), cmap="gray_r")
right.set(
    title="eight samples of each class", xticks=np.arange(10) * 10 + 4.5, xticklabels=range(10), yticks=[]
)
figure.savefig("filters_and_samples.png", dpi=150)
