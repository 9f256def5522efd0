"""GAN: what it learns, labels, seeds, averages, files, the guard, and messages."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import estimator_checks_generator

import steepest
from steepest import nn
from steepest.callbacks import Callback
from steepest.neural_network import GAN
from steepest.neural_network._generative.diagnosis import ADVICE, diagnose
from steepest.training.adversarial_losses import ADVERSARIAL_LOSSES, AdversarialLoss

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.cpu_only("its fits take too long on the stand-in"),
]
# kept by hand: sizes for quick fits
SMALL = {"n_latent": 3, "generator": (8,), "discriminator": (8,), "max_iter": 3, "random_state": 0}


def samples(n=60, d=4, dtype=np.float32):
    return (np.random.default_rng(1).standard_normal((n, d)) + 2).astype(dtype)


def two_places(n=600):
    """Samples about 3 with the label "right", and about -3 with "left", which are twice as many."""
    rng = np.random.default_rng(2)
    y = np.array(["left", "right"])[(rng.random(n) < 1 / 3).astype(int)]
    return (np.where(y == "right", 3.0, -3.0)[:, None] + 0.1 * rng.standard_normal((n, 2))).astype(
        np.float32
    ), y


def fitted(X=None, y=None, **options):
    return GAN(**{**SMALL, **options}).fit(samples() if X is None else X, y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "check"),
    list(estimator_checks_generator(GAN(**SMALL))),
    ids=lambda value: value.func.__name__ if hasattr(value, "func") else type(value).__name__,
)
def test_scikit_learn(model, check):
    check(model)


# ------------------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_mean_and_deviation_are_learnt(loss):
    X = np.random.default_rng(0).standard_normal((1000, 2)) * [1.0, 0.5] + [2.0, -1.0]
    model = GAN(4, (32,), (32,), loss=loss, r1=0.1, max_iter=80, average_decay=0.99, random_state=0).fit(X)
    made = model.sample(4000, seed=1)
    np.testing.assert_allclose(made.mean(axis=0), [2.0, -1.0], atol=0.25)
    np.testing.assert_allclose(made.std(axis=0), [1.0, 0.5], atol=0.3)
    assert model.diagnosis_ == []


def test_labels_choose_what_is_made():
    X, y = two_places()
    options = {"r1": 0.1, "max_iter": 60, "batch_size": 32, "learning_rate_init": 3e-3, "average_decay": 0.98}
    model = GAN(4, (32,), (32,), random_state=0, **options).fit(X, y)
    assert model.classes_.tolist() == ["left", "right"]
    np.testing.assert_allclose(model.class_prior_, [(y == "left").mean(), (y == "right").mean()])
    for label, place in (("left", -3.0), ("right", 3.0)):
        made = model.sample(200, label, seed=0)
        assert (abs(made.mean(axis=0) - place) < 0.7).all()
    mixed = model.sample(4, ["right", "left", "left", "right"], seed=0)
    assert (np.sign(mixed[:, 0]) == [1, -1, -1, 1]).all()
    # Without labels they come in the proportions of the data.
    assert abs((model.sample(900, seed=3)[:, 0] > 0).mean() - 1 / 3) < 0.1
    right = X[y == "right"]
    assert model.discriminate(right, "right").mean() > model.discriminate(right, "left").mean()


def test_images_are_made_in_their_shape():
    X = (255 * np.random.default_rng(0).random((40, 16, 18))).astype(np.uint8)
    model = GAN(5, n_maps=4, max_iter=2, random_state=0, r1=1.0).fit(X)
    assert model.image_shape_ == (16, 18, 1)
    assert any(isinstance(layer, nn.ConvTranspose2d) for layer in model.generator_.layers)
    made = model.sample(7, seed=0)
    assert made.shape == (7, 16, 18)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    assert model.discriminate(X).shape == (40,)
    np.testing.assert_allclose(
        model.discriminate(X), model.discriminate(X / np.float32(255)), rtol=1e-4, atol=1e-5
    )
    flat = clone(model).set_params(image_shape=(16, 18)).fit(X.reshape(40, -1))
    np.testing.assert_array_equal(flat.sample(7, seed=0), made.reshape(7, -1))
    coloured = fitted(np.zeros((10, 4, 4, 3), np.float32), generator="convolutional", n_maps=2)
    assert coloured.sample(2).shape == (2, 4, 4, 3)
    assert coloured.image_shape_ == (4, 4, 3)


def test_layers_of_your_own():
    layers = [nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 16), nn.Reshape((4, 4, 1))]
    judge = [nn.Conv2d(1, 2, 3), nn.SiLU(), nn.Flatten(), nn.Linear(8, 1)]
    model = fitted(np.zeros((20, 4, 4), np.float32), generator=layers, discriminator=judge, r1=1.0)
    assert model.sample(2).shape == (2, 4, 4)
    assert model.discriminate(np.zeros((3, 4, 4))).shape == (3,)


def test_norms_keep_their_averages():
    """The generator that makes samples has the running averages of the one that was trained."""
    layers = [nn.Linear(3, 6), nn.BatchNorm(6), nn.ReLU(), nn.Linear(6, 4)]
    model = fitted(generator=layers, max_iter=5)
    assert all(state.any() for state in model.generator_.states.values())


# -------------------------------------------------------------------------------------------------------- options


def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads():
    found, before = [], steepest.get_num_threads()
    try:
        for threads in (1, 2):
            steepest.set_num_threads(threads)
            model = fitted(samples(2000), r1=1.0, generator=(64,), discriminator=(64,), batch_size=500)
            found.append((model.generator_.arena.tobytes(), model.sample(300, seed=4).tobytes()))
    finally:
        steepest.set_num_threads(before)
    assert found[0] == found[1]
    other = fitted(
        samples(2000), r1=1.0, generator=(64,), discriminator=(64,), batch_size=500, random_state=1
    )
    assert other.generator_.arena.tobytes() != found[0][0]


def test_seeds_of_samples():
    model = fitted()
    np.testing.assert_array_equal(model.sample(5, seed=3), model.sample(5, seed=3))
    np.testing.assert_array_equal(model.sample(5, seed=3), model.sample(9, seed=3)[:5])
    assert not np.array_equal(model.sample(5, seed=3), model.sample(5, seed=4))
    assert not np.array_equal(model.sample(5), model.sample(5))
    assert model.sample(0).shape == (0, 4)


def test_the_average_of_the_generator():
    """With a decay of 0 it is the last generator, with a longer one it is not."""
    last, none, longer = (fitted(average_decay=decay) for decay in (0.0, None, 0.9))
    np.testing.assert_allclose(last.generator_.arena, none.generator_.arena, rtol=1e-6)
    assert not np.allclose(longer.generator_.arena, none.generator_.arena, rtol=1e-3)


def test_clipped_discriminators():
    model = fitted(loss="wasserstein", clip=0.02, solver="rmsprop")
    assert abs(model.discriminator_.arena).max() <= np.float32(0.02) * (1 + 1e-6)


def test_orders_of_updates_and_numbers_of_steps():
    curves = [
        fitted(**options).generator_loss_curve_
        for options in (
            {},
            {"updates": "simultaneous"},
            {"discriminator_steps": 2, "batch_size": 20},
            {"batch_size": 20},
            {"discriminator_learning_rate_init": 0.01},
        )
    ]
    assert len({tuple(curve) for curve in curves}) == 5


def test_curves_and_callbacks(capsys):
    seen = []

    class Watch(Callback):
        def fit_begun(self, model):
            seen.append("begun")

        def epoch_done(self, model, epoch):
            seen.append(model.sample(1, seed=0).tobytes())
            return epoch.number == 4

        def fit_done(self, model):
            seen.append("done")

    model = fitted(max_iter=9, callbacks=[Watch()], verbose=True)
    assert seen[0] == "begun"
    assert seen[-1] == "done"
    assert len(set(seen[1:-1])) == 4
    assert model.n_iter_ == 4
    assert len(model.generator_loss_curve_) == len(model.discriminator_loss_curve_) == 4
    np.testing.assert_allclose(
        model.loss_curve_, np.add(model.generator_loss_curve_, model.discriminator_loss_curve_)
    )
    assert capsys.readouterr().out.splitlines()[-1].startswith("Epoch 4, discriminator ")


def test_labels_come_back_from_files(tmp_path):
    X, y = two_places(60)
    model = fitted(X, y)
    steepest.save(model, tmp_path / "gan")
    for twin in (steepest.load(tmp_path / "gan"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin.sample(5, "right", seed=1), model.sample(5, "right", seed=1))
        np.testing.assert_array_equal(twin.discriminate(X, y), model.discriminate(X, y))


# ------------------------------------------------------------------------------------------------- what goes wrong


def test_divergence_leaves_finite_parameters():
    with pytest.raises(
        steepest.DivergenceError, match=r"^\[GAN\] training diverged in epoch \d+, .* or pass r1"
    ):
        fitted(1e18 * samples(), loss="least_squares", solver="sgd", learning_rate_init=1e3, max_iter=50)
    model = GAN(
        **{**SMALL, "loss": "least_squares", "solver": "sgd", "learning_rate_init": 1e3, "max_iter": 50}
    )
    with pytest.raises(steepest.DivergenceError):
        model.fit(1e18 * samples())
    assert np.isfinite(model.discriminator_.arena).all()
    assert np.isfinite(model.generator_.arena).all()


@pytest.mark.parametrize("loss", ["wasserstein", "hinge", "non_saturating"])
def test_a_step_to_infinity_does_not_join_the_average(loss):
    options = {"solver": "sgd", "learning_rate_init": 1e19, "max_iter": 4, "batch_size": 32}
    model = GAN(2, (8,), (8,), loss=loss, random_state=0, **options)
    with pytest.raises(steepest.DivergenceError):
        model.fit(np.random.default_rng(0).random((256, 6)).astype(np.float32))
    assert np.isfinite(model.sample(4, seed=0)).all()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        # The generator does not move, and the discriminator learns to tell.
        ({"learning_rate_init": 1e-9, "discriminator_learning_rate_init": 0.02}, "discriminator_won"),
        # One sample alone can be made.
        (
            {"generator": [nn.Linear(3, 4, init=1e-6)], "learning_rate_init": 1e-9, "max_iter": 4},
            "mode_collapse",
        ),
        ({"loss": "wasserstein", "solver": "sgd", "learning_rate_init": 0.01, "max_iter": 10}, "divergence"),
    ],
)
@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_the_guard_names_what_goes_wrong(options, name):
    with pytest.warns(ConvergenceWarning, match=rf"^\[GAN\] {name}: ") as caught:
        model = fitted(5 * samples(500), **{"max_iter": 60, **options})
    assert name in model.diagnosis_
    assert [str(one.message).split(": ")[0] for one in caught] == [f"[GAN] {n}" for n in model.diagnosis_]


def test_diagnoses_of_losses():
    plain, hinge, wasserstein = (AdversarialLoss(n) for n in ("non_saturating", "hinge", "wasserstein"))
    well = [1.3] * 10, [0.8] * 10
    assert diagnose(plain, *well, 0.9) == []
    assert diagnose(plain, *well, 0.01) == ["mode_collapse"]
    assert diagnose(plain, *well, float("nan")) == ["mode_collapse"]
    assert diagnose(plain, [1.3] * 7 + [0.01] * 3, [0.8] * 7 + [6.0] * 3, 0.9) == ["discriminator_won"]
    # The start of a fit counts for nothing, and a fit that is too short for nothing at all.
    assert diagnose(plain, [0.01] * 7 + [1.3] * 3, [6.0] * 7 + [0.8] * 3, 0.9) == []
    assert diagnose(plain, [0.01] * 2, [6.0] * 2, 0.0) == []
    assert diagnose(hinge, [0.01] * 5, [3.0] * 5, 0.9) == ["discriminator_won"]
    assert diagnose(wasserstein, [0.0] * 5, [0.1] * 5, 0.9) == []
    assert diagnose(wasserstein, [-1e4] * 5, [-1e4] * 5, 0.9) == ["divergence"]
    assert set(ADVICE) == {"mode_collapse", "discriminator_won", "divergence"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "minimax"}, "The 'loss' parameter of GAN must be"),
        ({"generator": "resnet"}, r"^\[GAN\] generator must be one of auto, dense, convolutional"),
        (
            {"discriminator": (8, 0)},
            r"^\[GAN\] discriminator must be a name, positive numbers of units or layers",
        ),
        ({"generator": [nn.Linear(3, 4), 5]}, r"^\[GAN\] generator must have layers only, or numbers only"),
        ({"generator": [nn.Linear(3, 5)]}, r"^\[GAN\] generator has 5 outputs, but must have 4"),
        ({"discriminator": [nn.Linear(5, 1)]}, r"^\[GAN\] discriminator: Linear\(5, 1\) takes"),
        ({"discriminator": [nn.Linear(4, 2)]}, r"^\[GAN\] discriminator has 2 outputs, but must have 1"),
        (
            {"generator": "convolutional"},
            r"^\[GAN\] generator='convolutional' takes images: pass image_shape",
        ),
        ({"image_shape": (3, 3)}, r"^\[GAN\] image_shape=\(3, 3\) has 9 items, but X has 4 features"),
        (
            {"updates": "simultaneous", "discriminator_steps": 2},
            r"^\[GAN\] discriminator_steps must be 1 with updates='simultaneous', got 2",
        ),
        ({"activation": "sine"}, "activation"),
    ],
)
def test_bad_parameters(options, message):
    model = GAN(**{**SMALL, **options})
    with pytest.raises(ValueError, match=message):
        model.fit(samples())
    assert not hasattr(model, "generator_")


def test_bad_callbacks():
    with pytest.raises(TypeError, match=r"^\[GAN\] callbacks must be objects of steepest.callbacks.Callback"):
        fitted(callbacks=[print])


def test_bad_samples_and_labels():
    X, y = two_places(60)
    with pytest.raises(NotFittedError):
        GAN().sample()
    with pytest.raises(ValueError, match=r"^\[GAN\] X has 60 samples, but y has 59"):
        fitted(X, y[:59])
    with pytest.raises(ValueError, match=r"^\[GAN\] Unknown label type"):
        fitted(X, X[:, 0])
    with pytest.raises(
        ValueError, match=r"^\[GAN\] X has images of shape \(3, 3, 1\), but image_shape is \(2, 2, 1\)"
    ):
        fitted(np.zeros((5, 3, 3)), image_shape=(2, 2))
    with pytest.raises(ValueError, match=r"^\[GAN\] X must have shape"):
        fitted(np.zeros((5, 3, 3, 1, 1)))
    model = fitted(X, y)
    for call, message in (
        (lambda: model.sample(-1), "n"),
        (lambda: model.sample(2, "up"), "y has the label .*'up'.*, but the model knows"),
        (
            lambda: model.sample(2, ["left"]),
            r"y must be a label or 2 labels, one for each sample, got shape \(1,\)",
        ),
        (lambda: model.discriminate(X), "the model was fitted with labels: pass y"),
        (lambda: fitted(X).sample(2, "left"), "y is for a model that was fitted with labels"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
