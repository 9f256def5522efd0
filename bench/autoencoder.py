"""Train the MNIST autoencoder: `python -m bench.autoencoder --optimizer kfac|kfac-adaptive|adam [--epochs N]`.

The network is 784-1000-500-250-30-250-500-1000-784 with ReLU, a linear code and the Bernoulli likelihood of real-valued
pixels. The loss is the mean over images of the sum over pixels, plus 0.5e-5 times the squared norm of all parameters.
Batches have 1000 images. All optimizers start from the same parameters and see the same batches.

"kfac" has the settings that the K-BFGS repository used for K-FAC (D. Goldfarb, Y. Ren, A. Bahamou, "Practical
quasi-Newton methods for training deep neural networks", 2020; `renyiryry/kbfgs_neurips2020_public`): step length 1;
damping 3, with its square root on each factor; momentum, an average of the gradients with a decay of 0.9 that starts at
zero; one Monte Carlo label a sample; a decay of 0.9 for the factors; new inverses in the first 20 steps and every 20
steps afterwards.

"kfac-adaptive" has the same factors, but adapts step lengths and momentum (J. Martens, R. Grosse, "Optimizing neural
networks with Kronecker-factored approximate curvature", 2015), like `solver="natural"` of the perceptrons. The damping
of its inverses is the best of 3, 0.1, 0.01, 0.001 and 1e-8 in the first epochs. The settings of the other runs are the
best of their authors' grid.

A run takes 15 to 60 minutes on two cores. It writes its curve to bench/results/autoencoder-<optimizer>.json after every
epoch; seconds count training without evaluation. `--plot` draws the saved curves, and `--summary` compares them with
the goals.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench import environment

WIDTHS = (784, 1000, 500, 250, 30, 250, 500, 1000, 784)
BATCH, L2 = 1000, 1e-5
RATES = {"kfac": 1.0, "kfac-adaptive": 1.0, "adam": 1e-3}
RESULTS = environment.ROOT / "bench" / "results"
PICTURE = environment.ROOT / "docs" / "_static" / "autoencoder.png"
# Epoch -> (training loss, test loss) of K-FAC in the notebook of the K-BFGS repository.
PUBLISHED = {
    5: (73.97, 73.68),
    10: (61.65, 62.48),
    20: (56.72, 58.52),
    30: (55.14, 57.65),
    50: (53.75, 57.38),
}
GOALS = (10, 20, 50)
# Number of rows in a block of the evaluation.
BLOCK = 10_000


@dataclass
class Settings:
    """Settings of a training run."""

    optimizer: str
    lr: float
    widths: tuple[int, ...] = WIDTHS
    batch: int = BATCH
    epochs: int = 50
    seconds: float = float("inf")
    seed: int = 9999
    device: str = "cpu"


def build_network(settings: Settings):
    """The network with PyTorch's initial values: weights and biases are uniform up to ±1 / sqrt(n_in)."""
    from steepest import kernels as K
    from steepest import nn

    pairs = list(itertools.pairwise(settings.widths))
    code, layers = min(settings.widths), []
    for a, b in pairs:
        layers.append(nn.Linear(a, b, init=a**-0.5))
        if b != code:
            layers.append(nn.ReLU())
    net = nn.Network(layers[:-1], seed=settings.seed, device=settings.device)
    biases = [p for p in net.parameters() if p.name.endswith("bias")]
    for i, (p, (a, b)) in enumerate(zip(biases, pairs, strict=True)):
        K.random_uniform(
            (b,),
            -(a**-0.5),
            a**-0.5,
            seed=settings.seed,
            stream=len(net.parameters()) + i,
            dtype="float32",
            out=p.value,
        )
    return net


class Kfac:
    """Training with K-FAC: natural-gradient steps with Kronecker factors."""

    def __init__(self, net, loss, X, settings: Settings):
        from steepest import optim

        self.X, self.batch = X, settings.batch
        self.optimizer = optim.NaturalGradient(
            net,
            loss,
            settings.lr,
            damping=3.0,
            kind="monte_carlo",
            structure="kfac",
            split="even",
            factor_decay=0.9,
            inverse_period=20,
            momentum=0.9,
            momentum_rule="gradient",
            l2=L2,
            seed=settings.seed,
            certify=False,
        )

    def epoch(self, order) -> None:
        for rows in order.reshape(-1, self.batch):
            batch = self.X[rows]
            self.optimizer.step(batch, batch)


class AdaptiveKfac(Kfac):
    """Training as with `solver="natural"`: the quadratic model of the batch sets step length and damping."""

    def __init__(self, net, loss, X, settings: Settings):
        from steepest import optim

        self.X, self.batch = X, settings.batch
        self.optimizer = optim.NaturalGradient(
            net,
            loss,
            damping=1.0,
            kind="monte_carlo",
            structure="kfac",
            split="pi",
            adapt_damping=True,
            inverse_damping=1e-3,
            momentum_rule="model",
            factor_decay=0.95,
            inverse_period=20,
            l2=L2,
            seed=settings.seed,
        )


class Adam:
    """Training with Adam: a captured step is replayed for the batches of an epoch."""

    def __init__(self, net, loss, X, settings: Settings):
        import steepest
        from steepest import kernels as K
        from steepest import optim
        from steepest._runtime.memory import array_namespace, to_device

        xp, n = array_namespace(X), len(X) // settings.batch * settings.batch
        self.order = to_device(np.arange(n), settings.device)
        self.cursor = xp.zeros((), np.int64)
        self.steps = n // settings.batch
        batch = xp.empty((settings.batch, X.shape[1]), np.float32)
        optimizer = optim.Adam(net.parameters(), settings.lr, l2=L2)
        with steepest.capture() as self.graph:
            K.take_rows(X, self.order, batch, start=self.cursor)
            value, d = loss(net.forward(batch), batch)
            K.require_finite(value)
            net.backward(d)
            optimizer.step()
            K.increment(self.cursor, settings.batch)

    def epoch(self, order) -> None:
        self.order[...] = order
        self.cursor[...] = 0
        self.graph.replay(self.steps)


OPTIMIZERS = {"kfac": Kfac, "kfac-adaptive": AdaptiveKfac, "adam": Adam}
NAMES = {"kfac": "K-FAC", "kfac-adaptive": "K-FAC, adaptive", "adam": "Adam"}


def evaluate(net, loss, X) -> float:
    """The mean loss of the rows plus the penalty."""
    total = sum(
        float(loss(net.predict(block), block)[0]) * len(block)
        for block in (X[i : i + BLOCK] for i in range(0, len(X), BLOCK))
    )
    return total / len(X) + 0.5 * L2 * float((net.arena.astype(np.float64) ** 2).sum())


def train(X: np.ndarray, X_test: np.ndarray, settings: Settings) -> Iterator[dict[str, float]]:
    """Yield a point of the curve after every epoch; stop if the loss is not finite or the time is over."""
    from steepest import nn
    from steepest._runtime.memory import to_device

    if len(X) < settings.batch:
        raise ValueError(f"there are {len(X)} images, fewer than a batch of {settings.batch}")
    X, X_test = (to_device(a, settings.device) for a in (X, X_test))
    net, loss = build_network(settings), nn.BinaryCrossEntropy(reduction="sum")
    rng = np.random.default_rng(settings.seed)
    yield {"epoch": 0, "seconds": 0.0, "train": evaluate(net, loss, X), "test": evaluate(net, loss, X_test)}
    start = time.perf_counter()
    trainer = OPTIMIZERS[settings.optimizer](net, loss, X, settings)
    seconds = time.perf_counter() - start
    for epoch in range(1, settings.epochs + 1):
        order = to_device(
            rng.permutation(len(X))[: len(X) // settings.batch * settings.batch], settings.device
        )
        start = time.perf_counter()
        try:
            trainer.epoch(order)
        except FloatingPointError:
            yield {"epoch": epoch, "seconds": seconds, "train": float("inf"), "test": float("inf")}
            return
        seconds += time.perf_counter() - start
        point = {"train": evaluate(net, loss, X), "test": evaluate(net, loss, X_test)}
        yield {"epoch": epoch, "seconds": seconds, **point}
        if not np.isfinite(point["train"]) or seconds > settings.seconds:
            return


# --------------------------------------------------------------------------------------------------- the results


def best(results: dict) -> dict:
    """The run with the smallest final training loss."""
    return min(results["runs"], key=lambda run: run["curve"][-1]["train"])


def load(folder: Path) -> dict[str, dict]:
    """Return the saved results by optimizer."""
    paths = {name: folder / f"autoencoder-{name}.json" for name in OPTIMIZERS}
    return {n: json.loads(p.read_text(encoding="utf-8")) for n, p in paths.items() if p.exists()}


def seconds_to(curve: list[dict], loss: float) -> float | None:
    """Seconds of training until the training loss is at most `loss`."""
    return next((point["seconds"] for point in curve if point["train"] <= loss), None)


def summary(found: dict[str, dict]) -> list[str]:
    """Lines that say which goals the curves reach."""
    lines = []
    factored = {name: best(results) for name, results in found.items() if name != "adam"}
    for name, run in factored.items():
        curve = {point["epoch"]: point for point in run["curve"]}
        for epoch in GOALS:
            wanted = PUBLISHED[epoch][0]
            if epoch in curve:
                loss = curve[epoch]["train"]
                word = "met" if loss <= wanted else "MISSED"
                lines.append(
                    f"{word:<7} {NAMES[name]}, epoch {epoch}: training loss {loss:.2f}, at most {wanted} wanted"
                )
            else:
                lines.append(f"{'?':<7} {NAMES[name]}, epoch {epoch}: not yet measured")
    for name, run in factored.items() if "adam" in found else ():
        adam = best(found["adam"])
        reached = min(point["train"] for point in adam["curve"])
        theirs = seconds_to(adam["curve"], reached)
        ours = seconds_to(run["curve"], reached)
        end = f"Adam of rate {adam['lr']:g} reaches {reached:.2f} in {theirs:.0f} s, {NAMES[name]}"
        if ours is None:
            lines.append(f"MISSED  {end} does not")
        else:
            word = "met" if ours <= theirs / 3 else "MISSED"
            lines.append(f"{word:<7} {end} in {ours:.0f} s, {theirs / ours:.2f} times sooner, 3 wanted")
    return lines


def plot(found: dict[str, dict], path: Path) -> None:
    """Plot the training loss against epochs and against seconds, with the published points of K-FAC."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.0, 3.6), sharey=True, layout="constrained")
    for colour, (name, results) in zip(("C0", "C2", "C1"), found.items(), strict=False):
        chosen = best(results)
        for run in results["runs"]:
            points = [point for point in run["curve"] if point["epoch"] > 0 and np.isfinite(point["train"])]
            losses = [point["train"] for point in points]
            is_best = run is chosen
            style = {"color": colour, "alpha": 1.0 if is_best else 0.25, "linewidth": 1.6 if is_best else 0.8}
            rate = "" if name == "kfac-adaptive" else f", rate {run['lr']:g}"
            label = f"{NAMES[name]}{rate}" if is_best else None
            for ax, key in zip(axes, ("epoch", "seconds"), strict=True):
                ax.plot([point[key] for point in points], losses, label=label, **style)
    epochs, losses = zip(*((epoch, loss) for epoch, (loss, _) in PUBLISHED.items()), strict=True)
    axes[0].plot(epochs, losses, "kx", markersize=5, label="K-FAC, published")
    axes[0].set_ylim(50.0, 100.0)
    axes[0].set_ylabel("training loss, nats an image")
    axes[0].set_xlabel("epochs")
    axes[1].set_xlabel("seconds of training")
    for ax in axes:
        ax.set_xlim(left=0)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench.autoencoder", description=__doc__.splitlines()[0])
    parser.add_argument("--optimizer", choices=tuple(OPTIMIZERS), help="optimizer to train with")
    parser.add_argument("--lr", type=float, nargs="+", help="step lengths, one run each (default 1 or 1e-3)")
    parser.add_argument("--epochs", type=int, default=50, help="number of epochs (default 50)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="longest training time of a run")
    parser.add_argument("--seed", type=int, default=9999, help="seed of initial values and batches")
    parser.add_argument("--threads", type=int, default=2, help="threads (default 2)")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default cpu)"
    )
    parser.add_argument("--data", type=Path, help="folder of the four MNIST files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the curves")
    parser.add_argument("--plot", type=Path, nargs="?", const=PICTURE, help="draw the curves into this file")
    parser.add_argument("--summary", action="store_true", help="compare the curves with the goals")
    return parser.parse_args(argv)


def run(args: argparse.Namespace, X: np.ndarray, X_test: np.ndarray, **more) -> dict:
    """Train with each learning rate, and save the results after every epoch."""
    from steepest import set_num_threads

    threads = environment.prepare(args.threads, args.device)
    set_num_threads(threads)
    results = {"optimizer": args.optimizer, "run": environment.describe(threads), "runs": []}
    args.results.mkdir(parents=True, exist_ok=True)
    path = args.results / f"autoencoder-{args.optimizer}.json"
    for lr in args.lr or [RATES[args.optimizer]]:
        names = ("epochs", "seconds", "seed", "device")
        settings = Settings(args.optimizer, lr, **{name: getattr(args, name) for name in names}, **more)
        curve: list[dict[str, float]] = []
        results["runs"].append({"lr": lr, "seed": args.seed, "widths": settings.widths, "curve": curve})
        for point in train(X, X_test, settings):
            curve.append(point)
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(
                f"{args.optimizer} rate {lr:g}  epoch {point['epoch']:3d}  {point['seconds']:8.1f} s  "
                f"train {point['train']:8.3f}  test {point['test']:8.3f}",
                flush=True,
            )
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 2 if the data are missing."""
    args = parse(argv)
    if args.optimizer:
        from steepest.datasets import load_mnist

        folder = args.data or environment.ROOT.parent / "shared" / "data" / "mnist"
        try:
            X, _, X_test, _ = load_mnist(folder)
        except FileNotFoundError as error:
            print(f"skipped: {error}", file=sys.stderr)
            return 2
        run(args, X, X_test)
    found = load(args.results)
    if args.plot:
        plot(found, args.plot)
    if args.summary:
        print("\n".join(summary(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
