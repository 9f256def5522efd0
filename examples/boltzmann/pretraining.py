"""
A deep net that does not learn, and how pretraining helps
=========================================================

Gradients shrink from layer to layer on their way back through sigmoids. A net with six such layers stays at chance,
however long it is trained. Greedy pretraining was the first remedy (Hinton, Osindero and Teh, 2006): each layer first
learns as a Boltzmann machine to describe the output of the one before, without labels. The gradients then start from
features, and have little left to do. Today's remedies are others: see the example on vanishing gradients.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from steepest.neural_network import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed here
plt.style.use("petroff10")
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for color, pretrain in enumerate((None, "rbm")):
    for depth in (2, 4, 6):
        network = MLPClassifier(
            (100,) * depth,
            activation="logistic",
            batch_size=20,
            learning_rate_init=0.002,
            max_iter=50,
            n_iter_no_change=50,
            pretrain=pretrain,
            random_state=0,
        )
        network.fit(X_train, y_train, eval_set=(X_test, y_test))
        name = "plain" if pretrain is None else "pretrained"
        print(f"{depth} layers, {name}: {network.score(X_test, y_test):.0%} of new digits right")
        style = {
            "color": f"C{color}",
            "alpha": 0.3 + 0.1 * depth,
            "lw": depth / 2,
            "label": f"{name}, {depth} layers",
        }
        left.plot(network.loss_curve_, **style)
        right.plot(network.validation_scores_, **style)
left.set(xlabel="epoch", ylabel="training loss (nats)")
right.set(xlabel="epoch", ylabel="new digits classified correctly")
right.axhline(0.1, color="gray", ls=":")
right.text(30, 0.12, "chance", color="gray")
figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
figure.savefig("pretraining.png", dpi=150)
