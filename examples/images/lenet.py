"""
LeNet on handwritten digits
===========================

LeNet-5 [#lecun]_ is the first well-known convolutional network: two convolutions, each followed by pooling, and three
linear layers. Its filters act alike everywhere in an image. It needs fewer parameters than a perceptron, makes less
than half as many errors on MNIST, and recognises more of the images that are shifted.

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

from steepest import plots
from steepest.datasets import load_digits, load_mnist
from steepest.neural_network import ConvClassifier, MLPClassifier

named = [Path(os.environ["MNIST"])] if "MNIST" in os.environ else []
folders = [*named, *(parent / "shared" / "data" / "mnist" for parent in Path.cwd().parents)]
folder = next((folder for folder in folders if folder.is_dir()), None)
if folder is not None:
    name, epochs = "MNIST", 3
    X_train, y_train, X_test, y_test = load_mnist(folder)
else:
    name, epochs = "digits", 15
    X, y = load_digits()
    X = np.pad(np.kron(X.reshape(-1, 8, 8), np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2)))
    X = X.reshape(-1, 784).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
shifted = np.roll(X_test.reshape(-1, 28, 28), (2, 2), axis=(1, 2)).reshape(-1, 784)

# %%
# The two estimators take the same rows of pixels and the same parameters. Behind its convolutions, LeNet has the hidden
# layers of the perceptron.

options = {
    "max_iter": epochs,
    "batch_size": 64,
    "learning_rate_init": 4e-3,
    "learning_rate": "one_cycle",
    "random_state": 0,
}
perceptron = MLPClassifier((120, 84), **options)
lenet = ConvClassifier("lenet", image_shape=(28, 28), **options)
for model in (perceptron, lenet):
    model.fit(X_train, y_train, eval_set=(X_test, y_test))
    size = sum(array.size for array in (*model.coefs_, *model.intercepts_))
    print(
        f"{name}, {type(model).__name__}: {size} parameters, test accuracy {model.score(X_test, y_test):.4f}, "
        f"{model.score(shifted, y_test):.4f} for images shifted by two pixels"
    )

# %%
# The confusion matrix shows which digits LeNet takes for which, and the saliency maps which pixels of the images that
# it gets wrong decide on its answer.

wrong = np.flatnonzero(lenet.predict(X_test) != y_test)
figure = plt.figure(figsize=(11, 8), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(5, 3))
left, right = above.subplots(1, 2)
plots.learning_curve(lenet, ax=left)
plots.confusion_matrix(y_test, lenet, X_test, ax=right)
plots.saliency(lenet, X_test[wrong], ax=below.subplots())
below.suptitle(f"LeNet gets {len(wrong)} of {len(y_test)} images wrong; the first of them, and what decides")
figure.savefig("lenet.png", dpi=150)
