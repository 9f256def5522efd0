"""
An autoencoder against principal components
===========================================

Both squeeze the 64 pixels of a digit through a few numbers, the code, and rebuild the image from them. Principal
components are the best that a linear code can do [#baldi]_. Hidden layers before and behind the code let it bend:
the autoencoder rebuilds more from as many numbers, and a code of two of them keeps the digits apart.

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
# Both are fitted to the same images and judged on others: the share of the variance that the rebuilt images have
# back, and how often the nearest neighbours in the code are of the same digit.

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
# Above, images that were not fitted and what comes back of them; below, the codes of two numbers.

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
