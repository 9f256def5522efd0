"""VariationalAutoencoder: its bounds against exact likelihoods, gradients, codes, samples, files and messages."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import estimator_checks_generator

import steepest
from steepest import kernels as K
from steepest import nn, optim
from steepest.callbacks import Callback
from steepest.neural_network import VariationalAutoencoder
from steepest.training.batches import Batches, Samples
from steepest.training.variational import VariationalDescent, prior_divergence

pytestmark = pytest.mark.cpu_only("its fits take too long on the stand-in")
# kept by hand: sizes for quick fits
SMALL = {"n_latent": 2, "encoder": (8,), "max_iter": 3, "random_state": 0}


def factors(n=2000, d=6, k=2):
    """Samples of a linear model with k factors, whose likelihood is known."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((k, d))
    return rng.standard_normal((n, k)) @ W + 0.5 * rng.standard_normal((n, d)) + 1.0


def digits():
    return (load_digits().data / 16).astype(np.float32)


@pytest.fixture(scope="module")
def linear():
    X = factors()
    options = {"activation": "identity", "learning_rate_init": 0.01, "max_iter": 120, "random_state": 0}
    return X, VariationalAutoencoder(2, encoder=(), **options).fit(X)


@pytest.fixture(scope="module")
def of_digits():
    X = digits()
    return X, VariationalAutoencoder(2, likelihood="bernoulli", max_iter=30, random_state=0).fit(X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "check"),
    list(estimator_checks_generator(VariationalAutoencoder(**SMALL))),
    ids=lambda value: value.func.__name__ if hasattr(value, "func") else type(value).__name__,
)
def test_scikit_learn(model, check):
    check(model)


# ------------------------------------------------------------------------------------------------------- bounds


def exact_likelihoods(model, X):
    """The log-likelihoods of the samples in the linear model that a decoder without hidden layers is."""
    W, b = (p.value.astype(np.float64) for p in model.decoder_.parameters()[:2])
    covariance = W.T @ W + model.noise_variance_ * np.eye(X.shape[1])
    centred = X - b
    _, log_determinant = np.linalg.slogdet(2 * np.pi * covariance)
    return -0.5 * (log_determinant + (centred * np.linalg.solve(covariance, centred.T).T).sum(axis=1))


def test_the_linear_model_is_probabilistic_pca(linear):
    """The evidence lower bound lies below the likelihood of the model, which lies below that of the best one."""
    X, model = linear
    best = PCA(2).fit(X).score(X)
    exact = exact_likelihoods(model, X).mean()
    assert exact <= best
    assert exact > best - 0.02
    # Two standard errors of ten draws for each sample are below this.
    assert model.score(X) <= exact + 0.005
    assert model.score(X) > exact - 0.1
    assert abs(model.noise_variance_ - PCA(2).fit(X).noise_variance_) < 0.02
    # The loss of the last epoch is the bound, with its constant.
    assert abs(model.loss_curve_[-1] + model.score(X)) < 0.1


def test_bounds_rise_to_the_likelihood_with_the_draws(linear):
    X, model = linear
    exact = exact_likelihoods(model, X)
    rows = np.ascontiguousarray(X)
    evidence = model._bounds(rows, 5, "evidence", 0, shared=False).mean()
    few, more = (model._bounds(rows, n, "importance", 0, shared=False).mean() for n in (2, 50))
    assert evidence < few < more
    np.testing.assert_allclose(more, exact.mean(), atol=0.003)
    np.testing.assert_allclose(model.score_samples(X, 2000, bound="importance"), exact, atol=0.2)


def test_bounds_are_their_formulas():
    """The two bounds with their draws, written out in NumPy, for both likelihoods."""
    X = digits()[:7].astype(np.float64)
    for likelihood in ("bernoulli", "gaussian"):
        model = VariationalAutoencoder(3, (5,), likelihood=likelihood, max_iter=2, random_state=0).fit(X)
        mean, variance = model.posterior(X)
        z, logs, total = [], [], 0.0
        for draw in range(4):
            noise = K.sampled_score(np.zeros((1, 3)), "gaussian", seed=9, stream=draw)
            z.append(mean + np.sqrt(variance) * noise)
            means = model.inverse_transform(z[-1])
            if likelihood == "bernoulli":
                likely = (X * np.log(means) + (1 - X) * np.log1p(-means)).sum(axis=1)
            else:
                v = model.noise_variance_
                likely = -0.5 * (np.log(2 * np.pi * v) + (X - means) ** 2 / v).sum(axis=1)
            prior = -0.5 * (z[-1] ** 2 + np.log(2 * np.pi)).sum(axis=1)
            own = -0.5 * (noise**2 + np.log(2 * np.pi * variance)).sum(axis=1)
            logs.append(likely + prior - own)
            total = total + likely / 4
        divergence = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1)
        np.testing.assert_allclose(model.score_samples(X, 4, seed=9), total - divergence, rtol=1e-9)
        expected = np.logaddexp.reduce(logs, axis=0) - np.log(4)
        np.testing.assert_allclose(model.score_samples(X, 4, bound="importance", seed=9), expected, rtol=1e-9)


def test_a_bound_does_not_depend_on_other_samples(of_digits):
    X, model = of_digits
    np.testing.assert_allclose(model.score_samples(X)[40:50], model.score_samples(X[40:50]), rtol=1e-5)
    assert not np.array_equal(model.score_samples(X, seed=1), model.score_samples(X, seed=2))


# ---------------------------------------------------------------------------------------------------- gradients


def test_the_divergence_and_its_gradient(rng):
    code, step = rng.standard_normal((4, 6)), 1e-6
    m, s = code[:, :3], code[:, 3:]
    expected = 0.5 * (m**2 + np.exp(s) - 1 - s).sum(axis=1).mean()
    value, d = prior_divergence(code, beta=3.0)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for item in np.ndindex(code.shape):
        values = []
        for sign in (1, -1):
            moved = code.copy()
            moved[item] += sign * step
            values.append(float(prior_divergence(moved)[0]))
        np.testing.assert_allclose(d[item], 3 * (values[0] - values[1]) / (2 * step), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_gradients_of_the_bound_are_differences(beta, rng):
    """For the draws of one pass, of both networks, the shared variance among the parameters."""
    x = nn.Input(4)
    code = nn.Linear(5, 6)(nn.Tanh()(nn.Linear(4, 5)(x)))
    encoder = nn.Network(x, [code, nn.SampleGaussian()(code)], seed=1, dtype=np.float64)
    decoder = nn.Network(
        [nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.LogVariance(shared=True, init=-0.5)],
        seed=2,
        dtype=np.float64,
    )
    # A learning rate of nearly zero, so that a step is a gradient.
    rule = optim.SGD([*encoder.parameters(), *decoder.parameters()], 1e-300)
    program = VariationalDescent(
        encoder, decoder, lambda z, t: K.gaussian(z, t, reduction="sum"), rule, beta, constant=2.0
    )
    X = rng.standard_normal((6, 4))
    batch = Batches(Samples(X, np.zeros(6, np.uint8)), shuffle=False).take(6)

    def loss_of():
        encoder._passes[...] = 3
        program.begin()
        program.step(batch)
        return program.end(1).loss / 6

    value = loss_of()
    np.testing.assert_allclose(value, program.reconstruction + beta * program.divergence, rtol=1e-12)
    for network in (encoder, decoder):
        loss_of()
        found, step = network.grad_arena.copy(), 1e-6
        for place in np.flatnonzero(network.arena):
            kept, values = network.arena[place], []
            for sign in (1, -1):
                network.arena[place] = kept + sign * step
                values.append(loss_of())
            network.arena[place] = kept
            np.testing.assert_allclose(
                found[place], (values[0] - values[1]) / (2 * step), rtol=1e-5, atol=1e-8
            )


def test_a_given_variance_stays():
    X = factors(200)
    model = VariationalAutoencoder(**SMALL, noise_variance=0.3).fit(X)
    assert model.noise_variance_ == pytest.approx(0.3)
    learned = VariationalAutoencoder(**SMALL).fit(X)
    assert learned.noise_variance_ != pytest.approx(X.var(axis=0).mean(), rel=1e-6)
    assert VariationalAutoencoder(**SMALL, likelihood="bernoulli").fit(X > 0).noise_variance_ is None


# ------------------------------------------------------------------------------------------------ codes, samples


def test_digits_are_learnt(of_digits):
    X, model = of_digits
    assert model.score(X) > -27
    codes = model.transform(X)
    assert codes.dtype == np.float32
    # The codes of the data together have about the prior's distribution.
    assert (abs(codes.mean(axis=0)) < 0.5).all()
    assert (np.abs(codes.std(axis=0) - 1) < 0.5).all()
    mean, variance = model.posterior(X)
    np.testing.assert_array_equal(mean, codes)
    assert variance.max() < 1
    shown = model.reconstruct(X)
    assert shown.shape == X.shape
    assert ((X - shown) ** 2).mean() < 0.75 * X.var(axis=0).mean()
    np.testing.assert_array_equal(shown, model.inverse_transform(codes))


def test_beta_weighs_the_divergence():
    X = digits()
    found = [
        VariationalAutoencoder(2, likelihood="bernoulli", beta=beta, max_iter=10, random_state=0).fit(X)
        for beta in (0.1, 5.0)
    ]
    assert found[0].divergence_curve_[-1] > 2 * found[1].divergence_curve_[-1]
    assert found[0].reconstruction_curve_[-1] < found[1].reconstruction_curve_[-1]
    for model in found:
        np.testing.assert_allclose(
            model.loss_curve_,
            np.array(model.reconstruction_curve_) + model.beta * np.array(model.divergence_curve_),
        )


def test_samples(linear, of_digits):
    X, model = of_digits
    made = model.sample(50, seed=1)
    np.testing.assert_array_equal(made, model.sample(50, seed=1))
    np.testing.assert_array_equal(made[:9], model.sample(9, seed=1))
    assert not np.array_equal(made, model.sample(50, seed=2))
    drawn = model.sample(50, noise=True, seed=1)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    # A pixel is one with its mean as the probability: 3200 of them, within six standard errors.
    assert abs((drawn - made).mean()) < 6 * 0.5 / np.sqrt(drawn.size)
    X, model = linear
    drawn = model.sample(20_000, noise=True, seed=1)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(X.T), atol=0.4)


def test_images_and_layers_of_your_own():
    X = (255 * np.random.default_rng(0).random((40, 16, 16))).astype(np.uint8)
    model = VariationalAutoencoder(3, likelihood="bernoulli", n_maps=4, max_iter=2, random_state=0).fit(X)
    assert any(isinstance(layer, nn.Conv2d) for layer in model.encoder_.layers)
    assert model.sample(2).shape == (2, 16, 16)
    assert model.reconstruct(X).shape == X.shape
    assert model.transform(X).shape == (40, 3)
    floats = clone(model).fit(X / np.float32(255))
    np.testing.assert_allclose(floats.transform(X), model.transform(X), rtol=1e-3, atol=1e-4)
    own = VariationalAutoencoder(
        2,
        [nn.Conv2d(1, 3, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)],
        [nn.Linear(2, 16), nn.ReLU(), nn.Reshape((4, 4, 1)), nn.ConvTranspose2d(1, 1, 4, stride=4)],
        max_iter=2,
        random_state=0,
    ).fit(X)
    assert own.sample(2).shape == (2, 16, 16)
    mirrored = VariationalAutoencoder(2, (9, 5), max_iter=1, random_state=0).fit(digits())
    widths = [layer.n_out for layer in mirrored.decoder_.layers if isinstance(layer, nn.Linear)]
    assert widths == [5, 9, 64]


def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads():
    found, before = [], steepest.get_num_threads()
    try:
        for threads in (1, 2):
            steepest.set_num_threads(threads)
            model = VariationalAutoencoder(4, (64,), max_iter=3, random_state=0).fit(digits())
            found.append(model.encoder_.arena.tobytes() + model.decoder_.arena.tobytes())
    finally:
        steepest.set_num_threads(before)
    assert found[0] == found[1]


def test_callbacks_and_files(tmp_path, capsys):
    numbers = []

    class Watch(Callback):
        def epoch_done(self, model, epoch):
            numbers.append((epoch.number, model.transform(factors(5)).shape))
            return epoch.number == 2

    model = VariationalAutoencoder(**{**SMALL, "max_iter": 9}, verbose=True, callbacks=[Watch()]).fit(
        factors(100)
    )
    assert numbers == [(1, (5, 2)), (2, (5, 2))]
    assert model.n_iter_ == 2
    assert capsys.readouterr().out.splitlines()[1].startswith("Epoch 2, loss ")
    steepest.save(model, tmp_path / "vae")
    model.callbacks = None
    for twin in (steepest.load(tmp_path / "vae"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin.score_samples(factors(5)), model.score_samples(factors(5)))
        assert twin.set_params(n_latent=5).sample(2).shape == (2, 6)


# ------------------------------------------------------------------------------------------------- what goes wrong


def test_divergence_leaves_finite_parameters():
    model = VariationalAutoencoder(**{**SMALL, "max_iter": 50}, solver="sgd", learning_rate_init=1e6)
    with pytest.raises(
        steepest.DivergenceError, match=r"^\[VariationalAutoencoder\] training diverged in epoch \d, "
    ):
        model.fit(1e3 * factors(100))
    for network in (model.encoder_, model.decoder_):
        assert np.isfinite(network.arena).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "poisson"}, "The 'likelihood' parameter"),
        ({"likelihood": "bernoulli"}, r"X must be in \[0, 1\] with likelihood='bernoulli'"),
        ({"noise_variance": 0.0}, "The 'noise_variance' parameter"),
        ({"encoder": [nn.Linear(6, 4)]}, "decoder must be given beside an encoder of layers"),
        ({"encoder": [nn.Linear(6, 3)], "decoder": (4,)}, "encoder has 3 outputs, but must have 4"),
        ({"decoder": [nn.Linear(2, 5)]}, "decoder has 5 outputs, but must have 6"),
        ({"decoder": "lenet"}, "decoder must be one of auto, dense, convolutional"),
        ({"encoder": (3.5,)}, "encoder must be a name, positive numbers of units or layers"),
    ],
)
def test_bad_parameters(options, message):
    model = VariationalAutoencoder(**{**SMALL, **options})
    with pytest.raises(ValueError, match=message):
        model.fit(factors(50))
    assert not hasattr(model, "encoder_")


def test_bad_arguments(linear):
    X, model = linear
    with pytest.raises(NotFittedError):
        VariationalAutoencoder().sample()
    with pytest.raises(AttributeError, match="has no noise_variance_ before it is fitted"):
        VariationalAutoencoder().noise_variance_  # noqa: B018
    for call, message in (
        (lambda: model.score_samples(X, 0), "n_draws"),
        (
            lambda: model.score_samples(X, bound="upper"),
            "bound must be 'evidence' or 'importance', got 'upper'",
        ),
        (lambda: model.inverse_transform(np.zeros((2, 3))), r"X must have 2 columns, as transform returns"),
        (lambda: model.transform(X[:, :5]), "features"),
        (lambda: model.sample(-1), "n"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
