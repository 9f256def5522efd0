"""Estimators of images: what they take, the networks that they make, and what they learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from steepest import nn
from steepest.callbacks import Callback
from steepest.neural_network import Augmentation, ConvAutoencoder, ConvClassifier, ConvRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.cpu_only("its fits take too long on the stand-in; test_device.py has short ones"),
]
every = pytest.mark.parametrize("estimator", [ConvClassifier, ConvRegressor, ConvAutoencoder])


def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32).reshape(-1, 8, 8), y


def make(estimator, **options):
    return estimator(**{"blocks": [4, "pool"], "max_iter": 2, "random_state": 0, **options})


def fitted(estimator, X, y, **options):
    return make(estimator, **options).fit(X, y)


def output(model, X):
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    return model.predict(X) if hasattr(model, "predict") else model.transform(X)


# ------------------------------------------------------------------------------------------- scikit-learn


class OfRows:
    """Estimators that see any row of features as an image of one row."""

    def _given_shape(self, n_features):
        return (1, n_features, 1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


class Classifier(OfRows, ConvClassifier):
    pass


class Regressor(OfRows, ConvRegressor):
    pass


class Code(OfRows, ConvAutoencoder):
    pass


def of_rows():
    options = {"blocks": [4], "hidden_layer_sizes": (30,), "max_iter": 200, "random_state": 0}
    return [estimator(**options) for estimator in (Classifier, Regressor, Code)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "check"),
    [case for model in of_rows() for case in estimator_checks_generator(model)],
    ids=lambda value: value.func.__name__ if hasattr(value, "func") else type(value).__name__,
)
def test_scikit_learn(model, check):
    check(model)


def test_selection_of_models():
    X, y = digits()
    flat = X.reshape(len(X), -1)
    model = make_pipeline(
        MinMaxScaler(), make(ConvClassifier, image_shape=(8, 8), learning_rate_init=0.02, max_iter=10)
    )
    assert cross_val_score(clone(model), flat[:600], y[:600], cv=2).min() > 0.7


# ----------------------------------------------------------------------------------------- shapes of images


@every
def test_images_in_all_shapes(estimator):
    X, y = digits()
    X, y = X[:100], y[:100]
    model = fitted(estimator, X, y)
    assert model.image_shape_ == (8, 8, 1)
    assert model.n_features_in_ == 64
    expected = output(model, X)
    flat, channels = X.reshape(100, 64), X[..., None]
    for same, options in (
        (channels, {}),
        (flat, {"image_shape": (8, 8)}),
        (flat, {"image_shape": (8, 8, 1)}),
    ):
        twin = fitted(estimator, same, y, **options)
        assert twin.image_shape_ == (8, 8, 1)
        np.testing.assert_array_equal(output(twin, X), expected)
    padded = np.zeros((100, 9, 10), np.float32)
    padded[:, 1:, 2:] = X
    transposed = np.ascontiguousarray(X.transpose(0, 2, 1)).transpose(0, 2, 1)
    for same in (padded[:, 1:, 2:], transposed, flat, channels, X.astype(np.float64)):
        np.testing.assert_array_equal(output(model, same), expected)
    np.testing.assert_array_equal(output(model, X.tolist()), expected)
    np.testing.assert_allclose(output(model, X[:1]), expected[:1], rtol=0, atol=1e-5)


def test_colours_and_heights():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 6, 5, 3)), np.arange(20) % 3
    model = fitted(ConvClassifier, X, y)
    assert model.coefs_[0].shape == (3, 3, 3, 4)
    assert model.coefs_[-1].shape == (3 * 2 * 4, 3)
    by_rows = fitted(ConvClassifier, X.reshape(20, -1), y, image_shape=(6, 5, 3))
    np.testing.assert_array_equal(by_rows.predict_proba(X), model.predict_proba(X))
    # A convolution of an image with its channels in front is that of the image with its axes moved.
    first = X.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(model.predict(first.transpose(0, 2, 3, 1)), model.predict(X))


@every
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 64), {}, r"X has flat rows of 64 features: pass image_shape=\(height, width\)"),
        ((8, 64), {"image_shape": (8, 9)}, r"image_shape=\(8, 9\) has 72 items, but X has 64 features"),
        ((8, 8, 8), {"image_shape": (4, 16)}, r"shape \(8, 8, 1\), but image_shape is \(4, 16, 1\)"),
        ((8, 64), {"image_shape": (8, -8)}, "of positive whole numbers, got"),
        ((8, 64), {"image_shape": (64,)}, "must have a shape"),
        (
            (8, 2, 2),
            {"blocks": ["pool", 4, "pool"]},
            r"block 2, MaxPool2d\(2\), has windows that cover 2 rows",
        ),
        ((8, 8, 8), {"blocks": [nn.Conv2d(3, 4, 3)]}, r"block 0, .* takes 3 channels, .* shape \(8, 8, 1\)"),
        ((8, 8, 8), {"blocks": [nn.Conv2d(1, 6, 3), nn.BatchNorm(4)]}, "block 1, .* 4 features"),
        ((8, 8, 8), {"blocks": ["pol"]}, "block 0 must be a number of maps"),
        ((8, 8, 8), {"blocks": [(4, 3, 3)]}, "block 0 must be a number of maps"),
        ((8, 8, 8), {"blocks": [True]}, "block 0 must be a number of maps"),
        ((8, 8, 8), {"blocks": [0]}, "block 0 must be a number of maps"),
        ((8, 8, 8), {"blocks": [nn.Flatten(), 4]}, "block 1, 4, takes images, but features of shape"),
        ((8, 8, 8), {"blocks": "lenett"}, "blocks must be one of lenet, small, resnet8"),
        ((8, 8, 8), {"blocks": "lenet"}, r"block 3, Conv2d\(6, 16, 5\), has windows that cover 5 rows"),
        ((0, 8, 8), {}, "0 sample"),
        ((8, 0, 8), {}, "X must have a shape"),
        ((2, 2, 2, 2, 2), {}, r"X must have shape \(n, height, width\), .* got \(2, 2, 2, 2, 2\)"),
    ],
)
def test_images_that_do_not_fit(estimator, shape, options, message):
    X = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=rf"^\[{estimator.__name__}\] .*{message}"):
        make(estimator, **options).fit(X, np.arange(len(X)) % 2)


@every
def test_images_that_are_others_than_at_fit(estimator):
    X, y = digits()
    model = fitted(estimator, X[:50], y[:50])
    with pytest.raises(ValueError, match=r"shape \(9, 8, 1\), but those at fit had shape \(8, 8, 1\)"):
        output(model, np.zeros((2, 9, 8)))
    with pytest.raises(ValueError, match="65 features"):
        output(model, np.zeros((2, 65)))
    bad = X[:3].copy()
    bad[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="X is nan in image 1 at row 2, column 3, channel 0"):
        output(model, bad)
    model.warm_start = True
    with pytest.raises(ValueError, match=r"blocks, batch_norm, image_shape, .* cannot change once fitted"):
        model.set_params(blocks=[5, "pool"]).fit(X[:50], y[:50])
    model.set_params(blocks=[4, "pool"], image_shape=(4, 16))
    with pytest.raises(ValueError, match=r"image_shape, .* cannot change once fitted"):
        model.fit(X[:50].reshape(-1, 64), y[:50])


# ------------------------------------------------------------------------------------------------ networks


@pytest.mark.parametrize(
    ("name", "depth", "parameters"),
    [
        ("lenet", 6, 61_706),
        ("small", 4, 34_826),  # as Keras counts for its network of this kind
        ("resnet8", 9, 144 + 2 * 2304 + (4608 + 9216 + 512) + (18_432 + 36_864 + 2048) + 2 * 240 + 650),
    ],
)
def test_named_architectures(name, depth, parameters):
    X = np.random.default_rng(0).random((4, 28, 28), np.float32)
    model = fitted(ConvClassifier, X, np.arange(4), blocks=name, max_iter=1)
    assert model.n_layers_ == depth
    X10 = np.random.default_rng(0).random((10, 28, 28), np.float32)
    model = fitted(ConvClassifier, X10, np.arange(10), blocks=name, max_iter=1)
    assert sum(w.size for w in [*model.coefs_, *model.intercepts_]) == parameters


def test_layers_of_the_parameters():
    X, y = digits()
    model = fitted(
        ConvClassifier,
        X[:50],
        y[:50],
        blocks=[(3, 5), "pool", nn.Residual(nn.Conv2d(3, 3, 3, padding=1))],
        hidden_layer_sizes=(7,),
        activation=("elu", 0.5),
        batch_norm=True,
        dropout=[0.1, 0.2],
        init="he_normal",
    )
    elu = nn.Activation("elu", 0.5)
    assert model._network.layers == (
        nn.Reshape((8, 8, 1)),
        nn.Conv2d(1, 3, 5, padding="same", init="he_normal"),
        nn.BatchNorm(3),
        elu,
        nn.MaxPool2d(2),
        nn.Residual(nn.Conv2d(3, 3, 3, padding=1)),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(48, 7, init="he_normal"),
        elu,
        nn.Dropout(0.2),
        nn.Linear(7, 10, init="he_normal"),
    )
    with pytest.raises(ValueError, match="dropout has 1 items, but there are 2 dense layers"):
        model.set_params(dropout=[0.1]).fit(X, y)


def test_mirror_images():
    X, y = digits()
    blocks = [nn.Conv2d(1, 4, 4, stride=2, padding=1), nn.ReLU(), (6, 3), "pool"]
    model = fitted(
        ConvAutoencoder, X, y, blocks=blocks, batch_norm=True, hidden_layer_sizes=(20, 5), dropout=0.1
    )
    shapes = [w.shape for w in model.coefs_ if w.ndim > 1]
    assert shapes[:4] == [(4, 4, 1, 4), (3, 3, 4, 6), (24, 20), (20, 5)]
    assert shapes[4:] == [(5, 20), (20, 24), (3, 3, 4, 6), (4, 4, 1, 4)]
    code = model.transform(X)
    assert code.shape == (len(X), 5)
    assert model.inverse_transform(code).shape == X.shape
    np.testing.assert_allclose(model.inverse_transform(code), model.reconstruct(X), rtol=0, atol=1e-5)
    for blocks, message in (
        ([nn.MaxPool2d(3)], r"makes \(6, 6, 1\)"),
        ("resnet8", "no mirror image"),
        ([nn.Linear(1, 3)], "no mirror image"),
    ):
        with pytest.raises(ValueError, match=message):
            make(ConvAutoencoder, blocks=blocks).fit(X)
    with pytest.raises(ValueError, match="the size of the code"):
        make(ConvAutoencoder, hidden_layer_sizes=()).fit(X)


# ------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("solver", ["adam", "nesterov", "lbfgs"])
def test_digits_are_learned(solver):
    X, y = digits()
    options = {
        "learning_rate_init": 0.01 if solver == "adam" else 0.1,
        "max_iter": 200 if solver == "lbfgs" else 40,
    }
    model = make(ConvClassifier, blocks=[8, "pool", 16, "pool"], solver=solver, **options)
    assert model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.93


def test_a_shift_of_the_image_is_learned():
    """Where a spot lies is linear in no pixel, but in the positions that features have."""
    rng = np.random.default_rng(0)
    place = rng.integers(0, 12, (600, 2))
    X = np.zeros((600, 12, 12), np.float32)
    X[np.arange(600), place[:, 0], place[:, 1]] = 1
    model = make(ConvRegressor, blocks=[8, 8], max_iter=40, learning_rate_init=0.01)
    assert model.fit(X[:400], place[:400]).score(X[400:], place[400:]) > 0.9


def test_images_are_reconstructed():
    X, _ = digits()
    model = make(ConvAutoencoder, blocks=[16, "pool"], max_iter=30, learning_rate_init=0.005)
    assert model.fit(X).score(X) > 0.85


def test_early_stopping_restores_the_averages_of_norms():
    X, y = digits()
    model = make(
        ConvClassifier,
        batch_norm=True,
        early_stopping=True,
        learning_rate_init=0.05,
        n_iter_no_change=3,
        max_iter=30,
        batch_size=32,
    )
    held = []

    class Record(Callback):
        def epoch_done(self, fitted_model, epoch):
            states = fitted_model._network.states
            held.append((epoch.validation_score, {name: a.copy() for name, a in states.items()}))

    model.set_params(callbacks=[Record()]).fit(X, y)
    assert model.stopped_early_
    best = max(range(len(held)), key=lambda i: held[i][0])
    assert best < len(held) - 1
    for name, average in model._network.states.items():
        np.testing.assert_array_equal(average, held[best][1][name])


def test_training_in_pieces():
    X, y = digits()
    model = make(ConvClassifier, learning_rate_init=0.01)
    for _ in range(5):
        model.partial_fit(X[:1000], y[:1000], classes=np.arange(10))
    assert model.score(X[1000:], y[1000:]) > 0.7
    assert model.t_ == 5000


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("estimator", [ConvClassifier, ConvAutoencoder])
def test_the_natural_gradient_gains_more_in_an_epoch(estimator, batch_norm):
    """Convolutions, transposed ones and batch norms have blocks, and the solver nothing to tune."""
    X, y = digits()
    options = {"blocks": [8, "pool", 12], "batch_norm": batch_norm, "batch_size": 128, "max_iter": 4}
    natural = fitted(estimator, X[:640], y[:640], solver="natural", **options)
    adam = fitted(estimator, X[:640], y[:640], **options)
    assert natural.loss_curve_[-1] < 0.9 * adam.loss_curve_[-1]


# ------------------------------------------------------------------------------------ bytes and augmentation


@every
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_bytes_are_divided_by_255(estimator, solver):
    X, y = digits()
    given = np.round(X[:300] * 255).astype(np.uint8)
    floats = given.astype(np.float32) / np.float32(255)
    model, same = (fitted(estimator, x, y[:300], solver=solver) for x in (given, floats))
    assert model._network.dtype == np.float32
    # The kernel multiplies by 1 / 255, which rounds the pixels another way.
    for x in (given, floats, given[:1], given.reshape(300, 64)):
        np.testing.assert_allclose(output(model, x), output(same, floats[: len(x)]), rtol=0, atol=1e-4)
    assert model.score(given, y[:300]) == pytest.approx(same.score(floats, y[:300]), abs=0.01)
    # A model of float64 computes in float64.
    double = fitted(estimator, floats.astype(np.float64), y[:300], solver=solver)
    expected = output(double, given.astype(np.float64) / 255)
    assert output(double, given).dtype == np.float64
    np.testing.assert_array_equal(output(double, given), expected)
    early = fitted(estimator, given, y[:300], early_stopping=True) if solver == "adam" else model
    assert np.isfinite(output(early, given)).all()


def test_shifted_images_are_learned_from_augmented_ones():
    X, y = digits()
    wide = np.pad(X, ((0, 0), (3, 3), (3, 3)))
    rng = np.random.default_rng(0)
    shifted = np.stack([np.roll(x, rng.integers(-3, 4, 2), (0, 1)) for x in wide])
    scores = {}
    for rules in (None, Augmentation(shift=3)):
        model = make(
            ConvClassifier,
            blocks=[8, "pool", 16, "pool"],
            learning_rate_init=0.01,
            max_iter=15,
            augment=rules,
        ).fit(wide[:1000], y[:1000])
        scores[rules] = model.score(shifted[1000:], y[1000:])
    assert scores[Augmentation(shift=3)] > scores[None] + 0.1


def test_augmentation_is_drawn_anew_and_only_for_training():
    X, y = digits()
    rules = Augmentation(shift=2, flip=True, cutout=3)
    model, twin, other = (
        fitted(ConvClassifier, X, y, augment=rules, random_state=seed, warm_start=True, shuffle=False)
        for seed in (0, 0, 1)
    )
    assert model.loss_curve_ == twin.loss_curve_ != other.loss_curve_
    np.testing.assert_array_equal(model.predict_proba(X), twin.predict_proba(X))
    # With a learning rate of nearly zero, losses differ from epoch to epoch by what is drawn alone.
    still = make(ConvClassifier, augment=rules, shuffle=False, learning_rate_init=1e-12, tol=0.0)
    parts = [still.partial_fit(X, y, classes=np.arange(10)).loss_ for _ in range(3)]
    losses = [
        *fitted(ConvClassifier, X, y, augment=rules, learning_rate_init=1e-12, max_iter=3).loss_curve_,
        *parts,
    ]
    assert len(set(losses)) == len(losses)


@pytest.mark.parametrize("estimator", [ConvClassifier, ConvRegressor])
def test_mixed_images(estimator):
    X, y = digits()
    weight = np.where(y == 3, 2.0, 1.0)
    model = make(estimator, augment=Augmentation(mixup=0.2), max_iter=15, learning_rate_init=0.01)
    ink = X.mean(axis=(1, 2))
    target = y if estimator is ConvClassifier else (ink - ink.mean()) / ink.std()
    assert model.fit(X, target, sample_weight=weight).score(X, target) > 0.7
    two = make(ConvClassifier, augment=Augmentation(mixup=0.2), max_iter=10, learning_rate_init=0.02)
    assert two.fit(X, y > 4).score(X, y > 4) > 0.7


def test_augmentation_that_cannot_be():
    X, y = digits()
    for options, message in (
        ({"augment": Augmentation(crop=4)}, "augment.crop changes the size of the images"),
        ({"augment": Augmentation(shift=1), "solver": "lbfgs"}, "augment needs a stochastic solver"),
        ({"augment": {"shift": 1}}, "'augment' parameter of ConvClassifier must be an instance of"),
        ({"augment": Augmentation(shift=-1)}, "shift"),
        ({"augment": Augmentation(mixup=-0.5)}, "mixup"),
    ):
        with pytest.raises(ValueError, match=message):
            make(ConvClassifier, **options).fit(X, y)
    with pytest.raises(TypeError, match="mixup must be a number"):
        make(ConvClassifier, augment=Augmentation(mixup="0.2")).fit(X, y)
