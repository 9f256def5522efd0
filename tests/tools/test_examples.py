"""Every example runs in a fresh interpreter, prints the expected text and writes its picture."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import reader

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.rglob("*.py"))
# Example -> a text that its output must contain.
EXPECTED = {
    "activations": "sigmoid: from  0.007 to 0.993, steepest slope 0.250",
    "autoencoder": "autoencoder, 8 numbers: 8",
    "batch_norm": "with batch normalisation: loss 0.0",
    "bilinear_layer": "test accuracy 0.9",
    "bumpy_curve": "with momentum 0.95: 4 of 6 in the deepest hollow",
    "cart_pole": "natural gradient: after 59",
    "convolution": "shift by 6: the pooled map changes by 0%",
    "cross_entropy": "squared error: below 0.2 after 373 steps",
    "curve_from_activations": "pairs of ReLUs: largest error 0.0754 with 16 ramps; doubling them divides it by 4.0",
    "custom_step": "training accuracy 0.9",
    "deep_regression": "three hidden layers: R² 0.9",
    "empirical_fisher": "natural gradient: best learning rate 1, excess loss after 50 steps 1.0e-16",
    "feature_scaling": "standardised: condition number 1.7",
    "forecast": "values ahead lie in the interval that 90% of the paths keep to",
    "filters_and_samples": "label units: 9",
    "fisher_direction": "Fisher's discriminant: 117.5°, J = 9.21, 6% misclassified",
    "fit_a_curve": "learning rate 0.001: mean squared error ",
    "kl_balls": "σ = 1.0: F = diag(1.00, 2.00); a step of (0.1, 0.1) has the divergence 0.0127, and by F 0.0150",
    "lda_and_pca": "LDA: 68.9% of new digits right along 2 axes, 96.4% along 9",
    "latent_plane": "evidence lower bound -2",
    "lenet": "digits, ConvClassifier: 61706 parameters, test accuracy 0.9",
    "memory": "plain  gradient of the first step / of the last: ",
    "many_features": "58 features: LDA 100% right in training, 5",
    "batch_modes": "mini-batch of 32: within 10 % of it after",
    "pretraining": "6 layers, pretrained: 9",
    "regularization": "dropout: training loss 0.0",
    "reparametrisation": "normal distribution: paths of the gradient up to 1.41 apart, natural 5.9e-03",
    "ring_of_gaussians": "relativistic, with R1: 8 of 8 Gaussians",
    "score_and_hessian": "covariance of the score: relative error 0.010 with 3000 draws a row, falling as n^-0.50",
    "sorting": "of 500 new sequences are sorted without a fault",
    "step_size": "DivergenceError at step ",
    "train_digits": "test accuracy 0.9",
    "update_rules": "Adam: best learning rate 0.01",
    "vanishing_gradients": "ReLU, He                  first / last gradient  ",
    "wake_and_sleep": "wake-sleep: reconstruction error 0.04",
    "writing": "docstrings of NumPy: ",
    "when_they_fail": "small variance: neighbours along the component 48%, along the discriminant axis 99%",
}
# Example -> a module beyond the package's dependencies that it needs; the extra `test` installs it.
NEEDED = {"cart_pole": "gymnasium"}


def test_every_example_is_here():
    assert sorted(path.stem for path in EXAMPLES) == sorted(EXPECTED)


# The slowest examples; `make docs` also runs them for the gallery.
LONG = {
    "autoencoder",
    "cart_pole",
    "many_features",
    "memory",
    "pretraining",
    "ring_of_gaussians",
    "sorting",
    "wake_and_sleep",
    "writing",
}
in_the_gallery = pytest.mark.deep("it takes more than 5 s, and the gallery runs it")


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=in_the_gallery) if p.stem in LONG else p for p in EXAMPLES],
    ids=lambda path: path.stem,
)
def test_example(path, tmp_path, tmp_path_factory):
    if path.stem in NEEDED and importlib.util.find_spec(NEEDED[path.stem]) is None:
        pytest.skip(f"{NEEDED[path.stem]} is not installed")
    hidden = reader.hide_what_only_tests_need(tmp_path_factory.mktemp("hidden"))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(hidden)},
    )
    assert done.returncode == 0, done.stderr
    assert EXPECTED[path.stem] in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == [f"{path.stem}.png"]
    check_picture(tmp_path / f"{path.stem}.png")


def check_picture(path):
    """Assert that a picture is large enough to read and has more than one colour."""
    from matplotlib.image import imread

    pixels = imread(path)
    height, width = pixels.shape[:2]
    assert width >= 800
    assert height >= 400
    assert pixels.reshape(height * width, -1).std(axis=0).max() > 0.01
