"""A deep belief network of 784-500-500-2000 units on MNIST, and the test error of what it is tuned to.

    python -m bench.mnist_belief_network [--tuning backprop|wake_sleep] [--seeds 1] [--data DIR]

Layers, and 1.25 % for the tuned generative model with label units, are those of G. E. Hinton, S. Osindero and
Y.-W. Teh, "A fast learning algorithm for deep belief nets", 2006. With ``--held-out``, ten thousand of the training
images are left out and scored: choose with these, and look at the test images once.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from bench.environment import ROOT

from steepest.datasets import load_mnist
from steepest.neural_network import DeepBeliefNetwork

TUNINGS = {
    "backprop": {"tuning": "backprop", "tuning_iter": 30, "tuning_learning_rate": 0.003},
    "wake_sleep": {"tuning": "wake_sleep", "tuning_iter": 60, "label_units": True, "tuning_gibbs": 3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "mnist")
    parser.add_argument("--tuning", choices=TUNINGS, default="backprop")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20, help="of the greedy training of each layer")
    parser.add_argument("--held-out", action="store_true", help="score on held-out training images instead")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    X, y, X_test, y_test = load_mnist(arguments.data)
    if arguments.held_out:
        X, y, X_test, y_test = X[:50_000], y[:50_000], X[50_000:], y[50_000:]
    for seed in range(arguments.seeds):
        began = time.perf_counter()
        model = DeepBeliefNetwork(
            (500, 500, 2000),
            batch_size=100,
            n_iter=arguments.epochs,
            random_state=seed,
            verbose=arguments.verbose,
            **TUNINGS[arguments.tuning],
        ).fit(X, y)
        error = np.mean(model.predict(X_test) != y_test)
        print(
            f"{arguments.tuning}, seed {seed}: {error:.2%} of {len(y_test):,} images wrong, "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
