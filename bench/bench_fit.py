"""A whole fit of 784-128-64-10: five epochs of MNIST, from the arrays to the trained model.

Fits use 48,000 of the 60,000 training rows and Adam without weight decay. PyTorch runs the usual eager loop with fused
Adam and shuffled row indices; scikit-learn runs its own estimator with the same parameters. Without MNIST the data are
scikit-learn's digits. All fits run the full number of epochs with the seeds 0, 1 and 2; the accuracy of this package
averages over two further seeds. On CUDA all but scikit-learn start from NumPy arrays and train on the device. This
package also runs on the CPU, to compare the accuracy. Contestants that take many seconds run once.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench.device import to_host
from bench.environment import ROOT
from bench.harness import OURS, Case, Contestant, Options
from bench.network import LR
from bench.peers import Peers

HIDDEN, BATCH, EPOCHS = (128, 64), 32, 5
ROUNDS, SEEDS = 3, 5


@dataclass
class Data:
    """Training and test arrays; `accuracy` is the expected value and the tolerance of a mean over seeds."""

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    accuracy: tuple[float, float]


def load(folder: Path | None, quick: bool) -> Data:
    """Load MNIST from `folder` or from ../shared/data/mnist beside the repository, else the digits."""
    default = ROOT.parent / "shared" / "data" / "mnist"
    folder = folder or (default if default.is_dir() and not quick else None)
    if folder is not None:
        from steepest.datasets import load_mnist

        x, y, x_test, y_test = load_mnist(folder)
        # Keras and scikit-learn reach 0.974 to 0.977 on this job.
        return Data("MNIST", x[:48_000], y[:48_000], x_test, y_test, (0.9755, 0.0045))
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    return Data("digits", x[:1437], y[:1437], x[1437:], y[1437:], (0.89, 0.08))


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    data, device = load(options.data, options.quick), options.device
    expected, tolerance = data.accuracy
    contestants = [build_ours(OURS, data, device.compute)]
    if device.name == "cuda":
        contestants.append(build_ours(f"{OURS} on the CPU", data, "cpu"))
    contestants += [
        peers.contestant("PyTorch", "torch", lambda name, torch: build_torch(name, torch, data, device)),
        peers.contestant("scikit-learn", "sklearn", lambda name, _: build_sklearn(name, data)),
    ]
    for contestant in contestants:
        # A fit ends on the host, so the host's clock times it.
        contestant.wait = device.wait
    if device.name == "cuda":
        contestants[-1].max_rounds = 1
    yield Case(
        f"{data.name}, {len(data.x)} rows, {EPOCHS} epochs, batch {BATCH}",
        contestants,
        oracle={"accuracy": np.asarray(expected)},
        tolerance={"accuracy": np.asarray(tolerance)},
        params={"hidden": HIDDEN, "batch": BATCH, "epochs": EPOCHS, "rows": len(data.x), "dtype": "float32"},
        rounds=ROUNDS,
        calls=1,
    )


def estimator_contestant(name: str, estimator, data: Data, extra_seeds=(), **options) -> Contestant:
    """An MLPClassifier of this package or of scikit-learn; each call fits with the next seed."""
    models = []
    accuracies = []

    def fit(seed):
        model = estimator(HIDDEN, batch_size=BATCH, max_iter=EPOCHS, alpha=0.0, random_state=seed, **options)
        with warnings.catch_warnings():
            # Both estimators warn that five epochs end before convergence.
            warnings.simplefilter("ignore")
            return model.fit(data.x, data.y)

    def result():
        accuracies.extend(fit(seed).score(data.x_test, data.y_test) for seed in extra_seeds)
        return {"accuracy": np.mean(accuracies)}

    def finish():
        accuracies.extend(model.score(data.x_test, data.y_test) for model in models)
        return summary(accuracies)

    return Contestant(
        name, lambda: models.append(fit(len(models))), result if extra_seeds else None, finish=finish
    )


def summary(accuracies) -> dict[str, object]:
    """The mean test accuracy and the number of seeds."""
    return {"accuracy": round(float(np.mean(accuracies)), 5), "seeds": len(accuracies)}


def build_ours(name: str, data: Data, compute: str) -> Contestant:
    from steepest.neural_network import MLPClassifier

    extra = range(ROUNDS, SEEDS)
    return estimator_contestant(name, MLPClassifier, data, extra_seeds=extra, device=compute)


def build_sklearn(name: str, data: Data) -> Contestant:
    from sklearn.neural_network import MLPClassifier

    return estimator_contestant(name, MLPClassifier, data)


def build_torch(name: str, torch, data: Data, device) -> Contestant:
    models = []

    def fit():
        torch.manual_seed(len(models))
        x, y = device.tensor(torch, data.x), device.tensor(torch, data.y.astype(np.int64))
        widths = (x.shape[1], *HIDDEN, 10)
        layers = []
        for a, b in itertools.pairwise(widths):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1]).to(device.compute)
        optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
        for _ in range(EPOCHS):
            for i in torch.randperm(len(x), device=device.compute).split(BATCH):
                optimizer.zero_grad(set_to_none=True)
                torch.nn.functional.cross_entropy(model(x[i]), y[i]).backward()
                optimizer.step()
        models.append(model)

    @torch.no_grad()
    def finish():
        x_test = device.tensor(torch, data.x_test)
        return summary([(to_host(m(x_test).argmax(1)) == data.y_test).mean() for m in models])

    return Contestant(name, fit, finish=finish)
