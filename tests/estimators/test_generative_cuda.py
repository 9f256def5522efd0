"""Generative networks on CUDA arrays: the same fits, and results in the library of the data."""

from __future__ import annotations

import numpy as np
import pytest

from steepest.neural_network import GAN, VariationalAutoencoder

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def samples():
    return (np.random.default_rng(1).standard_normal((40, 4)) + 2).astype(np.float32)


@pytest.mark.parametrize(
    "options",
    [
        {"r1": 1.0},
        {"loss": "relativistic", "activation": "tanh", "r1": 0.5},
        {"loss": "wasserstein", "clip": 0.05},
    ],
)
def test_adversarial_networks(cupy, options):
    X, y = samples(), np.arange(40) % 2
    made = []
    for given in (X, cupy.asarray(X)):
        model = GAN(3, (8,), (8,), max_iter=2, batch_size=20, random_state=0, **options).fit(given, y)
        made.append(model.sample(5, 1, seed=0))
        scores = model.discriminate(given, y)
        assert type(scores) is type(given)
    assert model.device_ == "cuda"
    assert isinstance(made[1], cupy.ndarray)
    # Sums in other orders, through four steps of Adam, whose first ones are the signs of gradients.
    np.testing.assert_allclose(cupy.asnumpy(made[1]), made[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_variational_autoencoders(cupy, likelihood):
    X = samples().astype(np.float64)
    X = (X - X.min()) / (X.max() - X.min())
    scores = []
    for given in (X, cupy.asarray(X)):
        model = VariationalAutoencoder(
            2, (8,), likelihood=likelihood, max_iter=2, batch_size=20, random_state=0
        ).fit(given)
        found = model.score_samples(given, 2, bound="importance")
        for one in (found, model.transform(given), model.reconstruct(given), model.sample(2, noise=True)):
            assert type(one) is type(given)
        scores.append(found)
    assert model.device_ == "cuda"
    np.testing.assert_allclose(cupy.asnumpy(scores[1]), scores[0], rtol=1e-6)
