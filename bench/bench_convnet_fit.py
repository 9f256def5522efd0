"""A whole fit of LeNet-5: five epochs of MNIST at a batch size of 128, from the arrays to the trained model.

All fits use Adam with one cycle of the learning rate, whose peak was chosen on a part of the training images. PyTorch
runs the usual eager loop with fused Adam and shuffled row indices. The accuracy of this package averages over the
seeds 0 to 4, that of PyTorch over those of its rounds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from bench import convnet, convnet_torch
from bench.bench_fit import summary
from bench.device import to_host
from bench.environment import ROOT
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers

NET, BATCH, EPOCHS, PEAK = convnet.NETS["LeNet-5"], 128, 5, 5e-3
ROUNDS, SEEDS = 3, 5


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    folder = options.data or ROOT.parent / "shared" / "data" / "mnist"
    if options.quick or not folder.is_dir():
        # Random images cannot be learned from a few hundred of them: the accuracy is that of guessing.
        (x, y), expected, tolerance = convnet.random_images(1024), 0.1, 0.2
        data = (x[:512], y[:512], x[512:], y[512:])
    else:
        from steepest.datasets import load_mnist

        x, y, x_test, y_test = load_mnist(folder)
        side = convnet.SIDE
        data = (x.reshape(-1, side, side, 1), y, x_test.reshape(-1, side, side, 1), y_test)
        # LeCun et al. report 0.9905 for LeNet-5, after 20 epochs.
        expected, tolerance = 0.9905, 0.002
    what = "MNIST" if expected > 0.5 else "random images"
    yield Case(
        f"LeNet-5, {what}, {len(data[0])} images, {EPOCHS} epochs, batch {BATCH}",
        [
            build_ours(OURS, data, options.device.compute),
            peers.contestant(
                "PyTorch", "torch", lambda name, torch: build_torch(name, torch, data, options.device)
            ),
        ],
        oracle={"accuracy": np.asarray(expected)},
        tolerance={"accuracy": np.asarray(tolerance)},
        params={"batch": BATCH, "epochs": EPOCHS, "rows": len(data[0]), "dtype": "float32"},
        rounds=ROUNDS,
        calls=1,
    )


def build_ours(name: str, data, compute: str) -> Contestant:
    from steepest.neural_network import ConvClassifier

    x, y, x_test, y_test = data
    models, accuracies = [], []

    def fit(seed):
        model = ConvClassifier(
            "lenet",
            batch_size=BATCH,
            max_iter=EPOCHS,
            alpha=0.0,
            learning_rate="one_cycle",
            learning_rate_init=PEAK,
            random_state=seed,
            device=compute,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(x, y)

    def result():
        accuracies.extend(fit(seed).score(x_test, y_test) for seed in range(ROUNDS, SEEDS))
        return {"accuracy": np.mean(accuracies)}

    def finish():
        accuracies.extend(model.score(x_test, y_test) for model in models)
        return summary(accuracies)

    return Contestant(name, lambda: models.append(fit(len(models))), result, finish=finish)


def build_torch(name: str, torch, data, device) -> Contestant:
    x, y, x_test, y_test = data
    models, layout = [], torch.contiguous_format

    def fit():
        torch.manual_seed(len(models))
        model = convnet_torch.Model(torch, NET, device, layout)
        images, labels = model.images(x, device, layout), device.tensor(torch, y.astype(np.int64))
        optimizer = torch.optim.Adam(model.module.parameters(), lr=PEAK, fused=True)
        steps = EPOCHS * -(-len(x) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, PEAK, total_steps=steps, cycle_momentum=False
        )
        for _ in range(EPOCHS):
            for i in torch.randperm(len(x), device=device.compute).split(BATCH):
                optimizer.zero_grad(set_to_none=True)
                torch.nn.functional.cross_entropy(model.module(images[i]), labels[i]).backward()
                optimizer.step()
                schedule.step()
        models.append(model)

    @torch.no_grad()
    def finish():
        return summary(
            [(to_host(m.module(m.images(x_test, device, layout)).argmax(1)) == y_test).mean() for m in models]
        )

    return Contestant(name, fit, finish=finish)
