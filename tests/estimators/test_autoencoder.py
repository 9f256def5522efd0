"""Autoencoders: scikit-learn's checks, the theorem about principal components, denoising, tied weights."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from steepest import nn, optim
from steepest.neural_network import Autoencoder
from steepest.optim import schedules

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.cpu_only("its fits take too long on the stand-in")
@pytest.mark.parametrize(
    ("estimator", "check"),
    list(estimator_checks_generator(Autoencoder(max_iter=5))),
    ids=lambda value: getattr(value, "func", Autoencoder).__name__,
)
def test_scikit_learn(estimator, check):
    check(estimator)


def samples(rng, n=120, dtype=np.float64):
    """Six features that vary mainly along three directions."""
    X = rng.standard_normal((n, 3)) * [3.0, 2.0, 1.0] @ rng.standard_normal((3, 6))
    return (X + 0.1 * rng.standard_normal((n, 6)) + 1.0).astype(dtype)


def quick(**options):
    return Autoencoder(**{"hidden_layer_sizes": (5, 2), "max_iter": 3, "random_state": 0, **options})


@pytest.mark.cpu_only("its fits take too long on the stand-in")
@pytest.mark.parametrize("tied_weights", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_linear_one_finds_the_principal_components(rng, tied_weights, k):
    """Baldi and Hornik (1989): the global minimum projects on them, and all other critical points are saddles."""
    X = samples(rng)
    centred = X - X.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    model = Autoencoder(
        (k,), "identity", tied_weights=tied_weights, solver="lbfgs", tol=1e-9, max_iter=5000, random_state=1
    ).fit(X)
    explained = (singular[:k] ** 2).sum() / (singular**2).sum()
    # L-BFGS stops if an iteration lowers the loss by less than a relative 2e-9, about 1e-5 above the minimum. The
    # excess is proportional to the squared angle.
    np.testing.assert_allclose(model.score(X), explained, rtol=1e-4)
    decoder = model.inverse_transform(np.eye(k)) - model.intercepts_[-1]
    assert scipy.linalg.subspace_angles(decoder.T, axes[:k].T).max() < 0.02
    projection = centred @ axes[:k].T @ axes[:k] + X.mean(axis=0)
    np.testing.assert_allclose(model.reconstruct(X), projection, rtol=0, atol=0.02 * np.abs(centred).max())


def test_architecture(rng):
    X = samples(rng)
    model = quick(
        hidden_layer_sizes=(5, 4, 2),
        activation=["tanh", ("leaky_relu", 0.1)],
        code_activation="logistic",
        output_activation="identity",
        dropout=0.25,
    ).fit(X)
    layers = model._network.layers
    assert layers[0] == nn.Dropout(0.25)
    linear = [(layer.n_in, layer.n_out) for layer in layers if isinstance(layer, nn.Linear)]
    assert linear == [(6, 5), (5, 4), (4, 2), (2, 4), (4, 5), (5, 6)]
    names = [layer.name for layer in layers if isinstance(layer, nn.Activation)]
    assert names == [names[0], names[1], "sigmoid", names[1], names[0], "identity"]
    assert names[0] == "tanh"
    assert model.n_layers_ == 7
    code = model.transform(X)
    assert code.shape == (120, 2)
    assert ((code > 0) & (code < 1)).all()
    assert list(model.get_feature_names_out()) == ["autoencoder0", "autoencoder1"]


@pytest.mark.parametrize(
    "options", [{}, {"tied_weights": True}, {"dropout": 0.5}, {"hidden_layer_sizes": 3}], ids=str
)
def test_the_parts_make_up_the_whole(rng, dtype, options):
    X = samples(rng, dtype=dtype)
    model = quick(**options).fit(X)
    code = model.transform(X)
    assert code.dtype == dtype
    eps = float(np.finfo(dtype).eps)
    # Both compute the same products in the same order, but tied weights are transposed in memory.
    np.testing.assert_allclose(model.inverse_transform(code), model.reconstruct(X), rtol=0, atol=100 * eps)
    squared = ((model.reconstruct(X) - X) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
    np.testing.assert_allclose(model.score(X), 1 - squared, rtol=0, atol=100 * eps)


def test_tied_weights_are_one(rng):
    X = samples(rng)
    model = quick(hidden_layer_sizes=(4, 2), tied_weights=True, activation="identity").fit(X)
    assert [w.shape for w in model.coefs_] == [(6, 4), (4, 2)]
    assert [b.shape for b in model.intercepts_] == [(4,), (2,), (4,), (6,)]
    expected = model.transform(X) @ model.coefs_[1].T + model.intercepts_[2]
    expected = expected @ model.coefs_[0].T + model.intercepts_[3]
    np.testing.assert_allclose(model.reconstruct(X), expected, rtol=0, atol=1e-12)


def test_log_loss(dtype):
    """For data in [0, 1] the loss is the cross-entropy, and the output activation is the logistic function."""
    X = (load_digits().data[:200] / 16).astype(dtype)
    model = quick(loss="log_loss", hidden_layer_sizes=(16, 8), learning_rate_init=0.01, max_iter=20).fit(
        X, eval_set=X
    )
    made = model.reconstruct(X).astype(np.float64)
    assert ((made > 0) & (made < 1)).all()
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), made, rtol=1e-5)
    expected = -(X * np.log(made) + (1 - X) * np.log1p(-made)).mean()
    # If the output is within 1e-3 of 0 or 1, its logarithm is 1000 times as sensitive to rounding.
    np.testing.assert_allclose(model.validation_loss_curve_[-1], expected, rtol=1e3 * np.finfo(dtype).eps)
    assert model.validation_scores_[-1] == pytest.approx(model.score(X), rel=1e-5)
    assert model.out_activation_ == "logistic"
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    with pytest.raises(ValueError, match=r"X must be in \[0, 1\] with loss='log_loss'"):
        model.fit(X + 0.5)
    with pytest.raises(
        ValueError, match="output_activation must be 'auto' or 'logistic' if loss='log_loss', got 'tanh'"
    ):
        quick(loss="log_loss", output_activation="tanh").fit(X)


@pytest.mark.cpu_only("its fits take too long on the stand-in")
def test_denoising():
    """An autoencoder trained with dropout of the input reconstructs damaged images better than one trained without."""
    X = (load_digits().data / 16).astype(np.float32)
    rng = np.random.default_rng(0)
    damaged = (X * (rng.random(X.shape) > 0.3) / 0.7).astype(np.float32)
    errors = []
    for dropout in (0.0, 0.3):
        model = Autoencoder((64, 32), dropout=dropout, learning_rate_init=0.01, max_iter=40, random_state=0)
        model.fit(X[:1400])
        # There is no dropout in prediction.
        assert model.reconstruct(X[:3]).tobytes() == model.reconstruct(X[:3]).tobytes()
        errors.append(((model.reconstruct(damaged[1400:]) - X[1400:]) ** 2).mean())
    assert errors[1] < 0.8 * errors[0]


def test_dropout_is_of_the_random_state(rng):
    X = samples(rng)
    fits = [quick(dropout=0.5, random_state=seed).fit(X).reconstruct(X) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_partial_fit_is_an_epoch(rng):
    X = samples(rng)
    by_parts = quick(shuffle=False, batch_size=30)
    for _ in range(3):
        by_parts.partial_fit(X)
    np.testing.assert_array_equal(
        by_parts.reconstruct(X), quick(shuffle=False, batch_size=30).fit(X).reconstruct(X)
    )
    with pytest.raises(AttributeError, match="partial_fit"):
        quick(solver="lbfgs").partial_fit(X)


def test_validation(rng):
    X = samples(rng, 200)
    model = quick(max_iter=4).fit(X[:150], eval_set=X[150:])
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == 4
    assert model.validation_scores_[-1] == pytest.approx(model.score(X[150:]))
    np.testing.assert_allclose(
        model.validation_loss_curve_[-1],
        0.5 * ((model.reconstruct(X[150:]) - X[150:]) ** 2).mean(),
        rtol=1e-9,
    )
    stopped = quick(early_stopping=True, max_iter=500, n_iter_no_change=5, learning_rate_init=0.02).fit(X)
    assert stopped.n_iter_ < 500
    assert stopped.best_validation_score_ == max(stopped.validation_scores_)


def test_weights_of_samples(rng):
    X = samples(rng, 40)
    counts = rng.integers(0, 4, 40)
    options = {
        "hidden_layer_sizes": 2,
        "activation": "tanh",
        "solver": "lbfgs",
        "alpha": 0.1,
        "max_iter": 200,
    }
    weighted = quick(**options).fit(X, sample_weight=counts)
    repeated = quick(**options).fit(X.repeat(counts, 0))
    # Both fits stop if an iteration lowers the loss by less than a relative 2e-9.
    np.testing.assert_allclose(weighted.loss_, repeated.loss_, rtol=1e-4)
    assert weighted.score(X, sample_weight=counts) == pytest.approx(
        weighted.score(X.repeat(counts, 0)), rel=1e-9
    )


def test_options_of_the_perceptrons(rng):
    """Update rules, schedules, penalties, clipping and initial values reach the base class, which implements them."""
    X = samples(rng)
    model = quick(solver="rmsprop", learning_rate=schedules.Cosine(0.02, 3), init="orthogonal").fit(X)
    assert isinstance(model._optimizer, optim.RMSprop)
    assert {layer.init for layer in model._network.layers if isinstance(layer, nn.Linear)} == {"orthogonal"}
    assert quick(tied_weights=True, init="he_normal").fit(X).score(X) < 1
    sparse = quick(alpha=200.0, l1_ratio=1.0, learning_rate_init=0.05, max_iter=20).fit(X)
    assert sum((w == 0).sum() for w in sparse.coefs_) > 0
    frozen, clipped = (
        quick(solver="sgd", momentum=0.0, batch_size=120, max_iter=1, learning_rate_init=1.0, max_norm=norm)
        for norm in (1e-300, 1e-3)
    )
    moved = clipped.fit(X)._network.arena - frozen.fit(X)._network.arena
    assert np.linalg.norm(moved) == pytest.approx(1e-3, rel=1e-9)


@pytest.mark.parametrize("options", [{}, {"tied_weights": True, "dropout": 0.3}], ids=str)
def test_the_parts_are_not_copied(rng, options, monkeypatch):
    X = samples(rng)
    model = quick(**options).fit(X)
    monkeypatch.setattr(nn, "Network", None)
    model.coefs_[0][...] = 0.0
    model.intercepts_[0][...] = 0.0
    code = model.transform(X)
    # With zero weights in the first layer the code does not depend on X.
    assert (code == code[0]).all()
    np.testing.assert_allclose(model.inverse_transform(code), model.reconstruct(X), rtol=0, atol=1e-14)


def test_in_a_pipeline(rng):
    X = samples(rng)
    pipeline = make_pipeline(MinMaxScaler(), quick(output_activation="logistic"))
    assert pipeline.fit_transform(X).shape == (120, 2)
    back = pipeline[-1].inverse_transform(pipeline.transform(X))
    assert ((back > 0) & (back < 1)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes must have at least one item"),
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes must be > 0"),
        ({"activation": ["relu", "relu"]}, "activation has 2 items, but there are 1 layers beside the code"),
        ({"decoder_activation": []}, "decoder_activation has 0 items"),
        ({"solver": "lbfgs", "dropout": 0.5}, "dropout needs a stochastic solver"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"loss": "hinge"}, "The 'loss' parameter"),
    ],
)
def test_bad_parameters(rng, options, message):
    with pytest.raises(ValueError, match=message):
        quick(**options).fit(samples(rng))


def test_bad_data(rng):
    X = samples(rng)
    model = quick().fit(X)
    with pytest.raises(
        ValueError, match=r"\[Autoencoder\] X must have 2 columns, as transform returns, got shape \(3, 5\)"
    ):
        model.inverse_transform(np.ones((3, 5)))
    X[3, 2] = np.nan
    with pytest.raises(ValueError, match="X is nan at row 3, column 2"):
        quick().fit(X)
    with pytest.raises(ValueError, match="zero"):
        quick().fit(samples(rng), sample_weight=np.zeros(120))


def test_cuda(cupy, rng, dtype):
    X = samples(rng, 40, dtype)
    options = {"tied_weights": True, "dropout": 0.2, "batch_size": 16, "max_iter": 2}
    on_cpu = quick(**options).fit(X)
    on_cuda = quick(**options).fit(cupy.asarray(X))
    assert on_cuda.device_ == "cuda"
    code = on_cuda.transform(cupy.asarray(X))
    assert isinstance(code, cupy.ndarray)
    eps = float(np.finfo(dtype).eps)
    # After few steps with the same weights and masks, the results differ by rounding alone.
    np.testing.assert_allclose(cupy.asnumpy(code), on_cpu.transform(X), rtol=0, atol=1e4 * eps)
    back = on_cuda.inverse_transform(code)
    np.testing.assert_allclose(cupy.asnumpy(back), on_cpu.reconstruct(X), rtol=0, atol=1e4 * eps)
    assert isinstance(quick(device="cuda", max_iter=1).fit_transform(X), np.ndarray)
    assert on_cuda.score(cupy.asarray(X)) == pytest.approx(on_cpu.score(X), rel=1e-3)
    unit = (X - X.min()) / (X.max() - X.min())
    assert np.isfinite(quick(loss="log_loss").fit(cupy.asarray(unit)).score(cupy.asarray(unit)))
