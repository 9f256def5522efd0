"""The benchmark of the MNIST autoencoder on a few images and a small network: curves and their summary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "bench" / "__main__.py").is_file():
    pytest.skip("the source tree without bench/", allow_module_level=True)

from bench import autoencoder  # noqa: E402

WIDTHS = (12, 8, 3, 8, 12)
RNG = np.random.default_rng(0)
X, X_TEST = (RNG.random((n, 4), dtype=np.float32).repeat(3, axis=1) for n in (90, 20))


def settings(optimizer, lr, **more):
    return autoencoder.Settings(optimizer, lr, widths=WIDTHS, batch=20, seed=1, **more)


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.01), ("kfac", 1.0), ("kfac-adaptive", 1.0)])
def test_a_curve_falls_and_has_a_point_for_each_epoch(optimizer, lr):
    curve = list(autoencoder.train(X, X_TEST, settings(optimizer, lr, epochs=4)))
    assert [point["epoch"] for point in curve] == [0, 1, 2, 3, 4]
    assert curve[0]["seconds"] == 0
    assert (np.diff([point["seconds"] for point in curve]) > 0).all()
    assert curve[-1]["train"] < curve[0]["train"]
    assert np.isfinite([[point["train"], point["test"]] for point in curve]).all()


def test_both_start_from_the_same_parameters_and_stop_after_the_seconds():
    curves = [
        list(autoencoder.train(X, X_TEST, settings(optimizer, 1e-3, epochs=50, seconds=0.0)))
        for optimizer in autoencoder.OPTIMIZERS
    ]
    assert [len(curve) for curve in curves] == [2, 2, 2]
    assert curves[0][0] == curves[1][0] == curves[2][0]


def test_the_loss_is_that_of_the_protocol():
    from steepest import nn

    net = autoencoder.build_network(settings("adam", 1e-3))
    values = [p.value.astype(np.float64) for p in net.parameters()]
    z = X.astype(np.float64)
    for i, (w, b) in enumerate(zip(values[::2], values[1::2], strict=True)):
        assert np.abs(w).max() <= len(w) ** -0.5
        assert 0 < np.abs(b).max() <= len(w) ** -0.5
        z = z @ w + b
        if i in (0, 2):  # the code and the output are linear
            z = np.maximum(z, 0)
    losses = (np.logaddexp(0, z) - X * z).sum(axis=1)
    penalty = 0.5e-5 * sum((value**2).sum() for value in values)
    got = autoencoder.evaluate(net, nn.BinaryCrossEntropy(reduction="sum"), X)
    assert got == pytest.approx(losses.mean() + penalty, rel=1e-6)


def test_a_run_that_diverges_ends():
    curve = list(autoencoder.train(X, X_TEST, settings("adam", 1e30, epochs=9)))
    assert len(curve) < 10
    assert not np.isfinite(curve[-1]["train"])


def results(*runs):
    return {"runs": [{"lr": lr, "curve": curve} for lr, curve in runs]}


def curve_of(losses, seconds):
    return [
        {"epoch": i, "seconds": i * seconds, "train": loss, "test": loss} for i, loss in enumerate(losses)
    ]


def test_the_summary_reads_the_best_runs():
    kfac = curve_of([500.0, *np.linspace(100, 61, 10)], 1.0)
    adam = curve_of([500.0, 150.0, 70.0], 12.0)
    found = {"kfac": results((1.0, kfac)), "adam": results((1e-2, curve_of([500, 300], 1)), (1e-3, adam))}
    lines = autoencoder.summary(found)
    assert lines[0].startswith("met     K-FAC, epoch 10: training loss 61.00")
    assert lines[1].startswith("?       K-FAC, epoch 20")
    wanted = "met     Adam of rate 0.001 reaches 70.00 in 24 s, K-FAC in 8 s, 3.00 times sooner, 3 wanted"
    assert lines[3] == wanted
    found["kfac"]["runs"][0]["curve"] = kfac[:2]
    assert autoencoder.summary(found)[3].endswith("K-FAC does not")
    assert autoencoder.summary({}) == []


def test_command_line_saves_the_curve_and_draws_it(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib").use("agg")
    arguments = ["--optimizer", "adam", "--lr", "0.01", "0.1", "--epochs", "1", "--results", str(tmp_path)]
    monkeypatch.setattr(autoencoder.environment, "prepare", lambda threads, device: threads)
    autoencoder.run(autoencoder.parse(arguments), X, X_TEST, widths=WIDTHS, batch=20)
    saved = json.loads((tmp_path / "autoencoder-adam.json").read_text(encoding="utf-8"))
    assert [run["lr"] for run in saved["runs"]] == [0.01, 0.1]
    assert all(len(run["curve"]) == 2 for run in saved["runs"])
    assert "commit" in saved["run"]
    picture = tmp_path / "pictures" / "curve.png"
    assert autoencoder.main(["--results", str(tmp_path), "--plot", str(picture), "--summary"]) == 0
    assert picture.stat().st_size > 1000
    assert autoencoder.main(["--optimizer", "adam", "--data", str(tmp_path / "none")]) == 2
    assert "skipped: [load_mnist] there is no folder" in capsys.readouterr().err
