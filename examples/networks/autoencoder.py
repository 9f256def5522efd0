"""
An autoencoder against principal components
===========================================

Both models compress the 64 pixels of a digit into a few numbers, the code, and reconstruct the image from it. Principal
components are the best linear code [#baldi]_. Hidden layers in the encoder and decoder make the code nonlinear: with as
many numbers the autoencoder reconstructs more of the variance, and a code of two numbers separates the digits.

.. [#baldi] P. Baldi and K. Hornik, "Neural networks and principal component analysis: learning from examples without
   local minima", Neural Networks 2, 1989.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from steepest.decomposition import PCA
from steepest.neural_network import Autoencoder

plt.style.use("petroff10")

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
spread = np.sum((X_test - X_train.mean(axis=0)) ** 2)


def autoencoder(size):
    return Autoencoder(
        (128, 64, size),
        activation="tanh",
        batch_size=64,
        learning_rate_init=2e-3,
        max_iter=500,
        tol=1e-5,
        random_state=0,
    )


# %%
# Both are fitted to the same images and tested on others, by the explained variance of the reconstructions and by the
# accuracy of nearest neighbours in the code.

models, rebuilt = {}, {}
for size in (2, 8):
    for name, model in (("PCA", PCA(size)), ("autoencoder", autoencoder(size))):
        model.fit(X_train)
        code = model.transform(X_test)
        models[name, size], rebuilt[name, size] = model, model.inverse_transform(code)
        share = 1 - np.sum((X_test - rebuilt[name, size]) ** 2) / spread
        neighbours = KNeighborsClassifier(5).fit(model.transform(X_train), y_train).score(code, y_test)
        print(
            f"{name:>11}, {size} numbers: {share:.1%} of the variance, neighbours' digit right for {neighbours:.1%}"
        )

# %%
# The top row shows test images and their reconstructions, the bottom row the codes of two numbers.

figure = plt.figure(figsize=(9, 9), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(5, 6))
shown = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
rows = {
    "original": X_test,
    **{f"{name},\n{size} numbers": images for (name, size), images in rebuilt.items()},
}
grid = above.subplots(len(rows), len(shown))
for panels, (label, images) in zip(grid, rows.items(), strict=True):
    panels[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for panel, i in zip(panels, shown, strict=True):
        panel.imshow(images[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        panel.set(xticks=[], yticks=[])
for panel, name in zip(below.subplots(1, 2), ("PCA", "autoencoder"), strict=True):
    code = models[name, 2].transform(X_test)
    for digit in range(10):
        of_digit = code[y_test == digit]
        panel.plot(*of_digit.T, ".", color=f"C{digit}", markersize=3, alpha=0.5)
        for point in of_digit[::4]:
            panel.text(*point, digit, color=f"C{digit}", fontsize=9, ha="center", va="center")
    panel.set(title=f"{name}: the code", xlabel="first number", ylabel="second number")
figure.savefig("autoencoder.png", dpi=150)
