"""LeNet-5 on MNIST by Adam and by K-FAC: the mean loss on all training images after each epoch.

    python -m bench.lenet_kfac [--data DIR] [--seeds 3]

Adam takes batches of 128 with its usual learning rate, 1e-3; ``solver="natural"`` chooses its step sizes and damping
itself. The last line says in what part of Adam's epochs K-FAC has reached Adam's last loss.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from bench.environment import ROOT
from sklearn.metrics import log_loss

from steepest.callbacks import Callback
from steepest.datasets import load_mnist
from steepest.neural_network import ConvClassifier

EPOCHS = 5


class FullLoss(Callback):
    """Records the loss on all training images, and the time that the epochs took."""

    def __init__(self, X, y):
        self.X, self.y, self.losses, self.seconds = X, y, [], 0.0

    def epoch_done(self, model, epoch):
        self.losses.append(log_loss(self.y, model.predict_proba(self.X)))
        self.seconds += epoch.seconds


def losses(solver: str, X: np.ndarray, y: np.ndarray, seed: int) -> tuple[list[float], float]:
    """The loss after each epoch, and the seconds of an epoch."""
    record = FullLoss(X, y)
    model = ConvClassifier(
        "lenet",
        solver=solver,
        alpha=0.0,
        batch_size=128,
        max_iter=EPOCHS,
        random_state=seed,
        callbacks=[record],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    return record.losses, record.seconds / EPOCHS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "mnist")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    X, y, _, _ = load_mnist(arguments.data)
    X = X.reshape(-1, 28, 28)
    shares = []
    for seed in range(arguments.seeds):
        found = {}
        for solver in ("adam", "natural"):
            began = time.perf_counter()
            found[solver], seconds = losses(solver, X, y, seed)
            curve = " ".join(f"{loss:.4f}" for loss in found[solver])
            took = time.perf_counter() - began
            print(
                f"seed {seed} {solver:8} {curve}   {seconds:.1f} s an epoch, {took:.0f} s in all", flush=True
            )
        reached = [i for i, loss in enumerate(found["natural"], 1) if loss <= found["adam"][-1]]
        shares.append(reached[0] / EPOCHS if reached else np.inf)
    print(f"K-FAC reaches Adam's last loss in {', '.join(f'{share:.1f}' for share in shares)} of its epochs")


if __name__ == "__main__":
    main()
