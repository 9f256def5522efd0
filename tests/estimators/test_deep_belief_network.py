"""`DeepBeliefNetwork`, and greedy pretraining of perceptrons and autoencoders by `pretrain`."""

from __future__ import annotations

import numpy as np
import pytest
from boltzmann_reference import binary
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import estimator_checks_generator

import steepest
from steepest import kernels as K
from steepest.neural_network import Autoencoder, DeepBeliefNetwork, MLPClassifier, MLPRegressor
from steepest.neural_network.boltzmann.divergence import ContrastiveDivergence, StepOptions
from steepest.neural_network.boltzmann.draws import PhiloxDraws
from steepest.neural_network.boltzmann.epochs import DivergenceEpochs
from steepest.neural_network.boltzmann.machine import Machine
from steepest.neural_network.boltzmann.wake_sleep import DirectedLayer, WakeSleep
from steepest.training.trainer import Trainer

DIGITS, TARGETS = load_digits(return_X_y=True)
DIGITS = (DIGITS / 16).astype(np.float32)
TRAIN, TEST = slice(0, 1200), slice(1200, None)
TUNINGS = [
    {},
    {"tuning": "wake_sleep"},
    {"tuning": "wake_sleep", "label_units": True},
    {"tuning": "backprop"},
]


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        case
        for options in TUNINGS
        for case in estimator_checks_generator(
            DeepBeliefNetwork((8, 6), n_iter=3, tuning_iter=2, random_state=0, **options)
        )
    ],
    ids=lambda value: getattr(getattr(value, "func", value), "__name__", str(value)),
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def fitted(*sizes, **options):
    model = DeepBeliefNetwork(
        sizes or (60, 60), random_state=0, **{"n_iter": 10, "tuning_iter": 10, **options}
    )
    return model.fit(DIGITS[TRAIN], TARGETS[TRAIN])


def test_greedy_training_copies_the_weights_for_both_directions():
    model = fitted(30, 20, 10)
    assert [w.shape for w in model.coefs_] == [(64, 30), (30, 20)]
    for up, down in zip(model.coefs_, model.generative_coefs_, strict=True):
        assert (down == up.T).all()
        assert not np.shares_memory(up, down)
    states = DIGITS[TEST]
    for w, b in zip(model.coefs_, model.intercepts_, strict=True):
        states = K.linear(states, w, b, "sigmoid")
    np.testing.assert_allclose(model.transform(DIGITS[TEST]), model.top_.transform(states), rtol=1e-6)


def test_wake_sleep_improves_the_generative_model():
    before, after = fitted(), fitted(tuning="wake_sleep")
    errors = [((m.reconstruct(DIGITS[TEST]) - DIGITS[TEST]) ** 2).mean() for m in (before, after)]
    assert errors[1] < 0.95 * errors[0]
    assert not (after.generative_coefs_[0] == after.coefs_[0].T).all()
    for model in (before, after):
        X = model.sample(7, seed=3, n_steps=20)
        assert X.shape == (7, 64)
        assert set(np.unique(X)) <= {0, 1}
        assert (model.sample(7, seed=3, n_steps=20) == X).all()
        means = model.sample(7, seed=3, n_steps=20, means=True)
        assert ((means > 0) & (means < 1)).all()


def small_steps(rng, n, learning_rate):
    """Wake-sleep steps of 3 - 2 - 2 units with random parameters, and the machines of the directed layer."""
    up, down = (
        Machine(rng.standard_normal((3, 2)), rng.standard_normal(2), rng.standard_normal(3)) for _ in range(2)
    )
    machine, arena = Machine.zeros(2, 2, np.float64, "cpu")
    arena[...] = rng.standard_normal(arena.shape)
    top = ContrastiveDivergence(machine, arena, StepOptions(1e-12, 5, persistent=False), np.zeros((1, 2)), n)
    return WakeSleep([DirectedLayer(up, down)], top, learning_rate, n, seed=4), up, down, machine


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_a_wake_step_follows_the_gradient_of_the_joint_likelihood(rng):
    """The mean step of the generative weights is the gradient of E[log p(v | h)] for recognised units h."""
    n, rate = 200_000, 1e-3
    steps, up, down, _ = small_steps(rng, n, rate)
    v = np.array([1.0, 0.0, 1.0])
    steps.batch[...] = v
    before = down.weights.copy(), down.visible_bias.copy()
    q, h = sigmoid(v @ up.weights + up.hidden_bias), binary(2)
    p = np.prod(np.where(h == 1, q, 1 - q), axis=1)
    errors = v - sigmoid(h @ down.weights.T + down.visible_bias)
    steps.step(n, PhiloxDraws(9, "cpu"))
    found = (down.weights - before[0]) / rate, (down.visible_bias - before[1]) / rate
    expected = np.einsum("s,si,sj->ij", p, errors, h), p @ errors
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=5 / np.sqrt(n))


def test_a_sleep_step_follows_the_gradient_for_dreams(rng):
    """The mean step of the recognition weights is the gradient of E[log q(h | v)] for dreams (v, h) of the model."""
    n, rate = 200_000, 1e-3
    steps, up, down, machine = small_steps(rng, n, rate)
    steps.batch[...] = rng.integers(2, size=3)
    before = up.weights.copy()
    # After five Gibbs steps, the units between the layers nearly have the distribution of the machine at the top.
    h = binary(2)
    energy = -(h @ machine.visible_bias) - np.logaddexp(0, h @ machine.weights + machine.hidden_bias).sum(
        axis=1
    )
    p = np.exp(-energy) / np.exp(-energy).sum()
    q = sigmoid(h @ down.weights.T + down.visible_bias)
    v = binary(3)
    joint = p[:, None] * np.prod(np.where(v[None] == 1, q[:, None], 1 - q[:, None]), axis=2)
    errors = h[:, None] - sigmoid(v @ up.weights + up.hidden_bias)
    steps.step(n, PhiloxDraws(9, "cpu"))
    expected = np.einsum("hv,vi,hvj->ij", joint, v, errors)
    np.testing.assert_allclose((up.weights - before) / rate, expected, atol=0.02)
    assert np.abs(expected).max() > 0.1


def test_labels_are_predicted_by_the_machine_at_the_top_or_by_the_classifier():
    for options, least in (({"label_units": True, "n_iter": 30}, 0.6), ({"tuning": "backprop"}, 0.8)):
        model = fitted(**options)
        assert (model.predict(DIGITS[TEST]) == TARGETS[TEST]).mean() > least
        np.testing.assert_allclose(model.predict_proba(DIGITS[TEST]).sum(axis=1), 1, rtol=1e-5)
    assert not hasattr(DeepBeliefNetwork(), "predict")
    labelled = fitted(label_units=True)
    assert labelled.sample(2, n_steps=3, y=[4, 5]).shape == (2, 64)


def test_bits_do_not_depend_on_the_number_of_threads():
    before, fits = steepest.get_num_threads(), []
    try:
        for n in (1, 3):
            steepest.set_num_threads(n)
            fits.append(fitted(20, 10, n_iter=1, tuning="wake_sleep", tuning_iter=1))
    finally:
        steepest.set_num_threads(before)
    for a, b in zip(fits[0].generative_coefs_, fits[1].generative_coefs_, strict=True):
        assert a.tobytes() == b.tobytes()
    assert fits[0].top_.components_.tobytes() == fits[1].top_.components_.tobytes()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"hidden_layer_sizes": 5, "tuning": "wake_sleep"}, "needs at least two layers"),
        ({"tuning": "backprop"}, "requires y to be passed"),
        ({"label_units": True}, "requires y to be passed"),
        ({"hidden_layer_sizes": (5, 0)}, "must be > 0"),
        ({"hidden_layer_sizes": ()}, "must name at least one layer"),
    ],
    ids=str,
)
def test_errors(options, text):
    with pytest.raises(ValueError, match=rf"^\[DeepBeliefNetwork\] .*{text}"):
        DeepBeliefNetwork(**options).fit(DIGITS)


def interrupt(monkeypatch, kind, name):
    """Let the first fit of a kind be interrupted in its second epoch; return the calls of all epochs."""
    calls, method = [], getattr(kind, name)

    def interrupted(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return method(self, *args, **kwargs)

    monkeypatch.setattr(kind, name, interrupted)
    return calls


@pytest.mark.parametrize("tuning", [None, "wake_sleep", "backprop"])
def test_an_interrupt_ends_the_training_of_all_layers(tuning, monkeypatch):
    calls = interrupt(monkeypatch, DivergenceEpochs, "run_epoch")
    model = DeepBeliefNetwork((6, 5, 4), n_iter=3, tuning=tuning, tuning_iter=3, random_state=0)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(DIGITS, TARGETS)
    assert len(calls) == 2
    assert model.transform(DIGITS[:3]).shape == (3, 4)
    assert np.isfinite(model.sample(2, n_steps=2)).all()
    if tuning == "backprop":
        assert model.classifier_.n_iter_ == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("pretrain", "kind"), [("rbm", DivergenceEpochs), ("autoencoder", Trainer)], ids=["rbm", "autoencoder"]
)
def test_an_interrupt_ends_the_pretraining_of_all_layers(pretrain, kind, monkeypatch):
    calls = interrupt(monkeypatch, kind, "run_epoch")
    options = {"activation": "logistic", "pretrain": pretrain, "pretrain_iter": 4, "max_iter": 1}
    model = MLPClassifier((6, 5, 4), random_state=0, **options)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(DIGITS, TARGETS)
    # Of an autoencoder the other two layers have an epoch each, and the network its own.
    assert len(calls) == (2 if pretrain == "rbm" else 5)


def test_a_fitted_network_keeps_its_kind():
    model = DeepBeliefNetwork((6, 5), n_iter=1, visible="gaussian", label_units=True, random_state=0)
    model.fit(DIGITS, TARGETS)
    means, classes = model.reconstruct(DIGITS), model.predict(DIGITS)
    model.set_params(visible="bernoulli", label_units=False, tuning="backprop")
    np.testing.assert_array_equal(model.reconstruct(DIGITS), means)
    np.testing.assert_array_equal(model.predict(DIGITS), classes)
    assert not hasattr(model.set_params(tuning=None).fit(DIGITS), "predict")
    np.testing.assert_array_equal(model.sample(2, np.int64(3), n_steps=2), model.sample(2, 3, n_steps=2))


# ------------------------------------------------------------------------------------------------------ pretraining

DEEP = {
    "hidden_layer_sizes": (100,) * 6,
    "activation": "logistic",
    "random_state": 0,
    "batch_size": 20,
    "learning_rate_init": 0.002,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pretraining_lifts_a_deep_net_of_sigmoids_from_chance():
    """Six layers of sigmoids stay at chance, since gradients vanish on their way down."""
    plain, lifted = (MLPClassifier(**DEEP, max_iter=25, pretrain=p) for p in (None, "rbm"))
    for model in (plain, lifted):
        model.fit(DIGITS[TRAIN], TARGETS[TRAIN])
    assert plain.score(DIGITS[TEST], TARGETS[TEST]) < 0.2
    assert lifted.score(DIGITS[TEST], TARGETS[TEST]) > 0.7


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("pretrain", ["rbm", "autoencoder"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_an_autoencoder_begins_with_a_decoder(pretrain, tied):
    options = {"activation": "logistic", "code_activation": "logistic", "output_activation": "logistic"}
    scores = [
        Autoencoder((60, 30), **options, tied_weights=tied, max_iter=1, random_state=0, pretrain=p)
        .fit(DIGITS)
        .score(DIGITS)
        for p in (None, pretrain)
    ]
    assert scores[1] > scores[0] + 0.15


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_samples_without_labels_count():
    few = slice(0, 40)
    options = {"hidden_layer_sizes": (40,), "activation": "logistic", "random_state": 0, "max_iter": 1}
    models = [
        MLPClassifier(**options, pretrain="rbm", learning_rate_init=1e-9, pretrain_iter=3).fit(
            DIGITS[few], TARGETS[few], pretrain_X=X
        )
        for X in (None, DIGITS[few], DIGITS)
    ]
    assert (models[0].coefs_[0] == models[1].coefs_[0]).all()
    assert not np.allclose(models[0].coefs_[0], models[2].coefs_[0], atol=1e-3)
    # The last layer has the weights that it would have without pretraining.
    plain = MLPClassifier(**options, learning_rate_init=1e-9).fit(DIGITS[few], TARGETS[few])
    np.testing.assert_allclose(models[0].coefs_[1], plain.coefs_[1], atol=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_numbers_beyond_0_and_1_get_gaussian_units():
    X = DIGITS.astype(float) * 2 - 1
    model = MLPRegressor(
        hidden_layer_sizes=(30,), activation="logistic", pretrain="rbm", random_state=0, max_iter=2
    ).fit(X, TARGETS)
    assert np.isfinite(model.coefs_[0]).all()
    warm = model.set_params(warm_start=True).fit(X, TARGETS)
    assert warm.n_iter_ == 2


def test_pretraining_that_cannot_be():
    with pytest.raises(
        ValueError, match=r"^\[MLPClassifier\] pretrain='rbm' trains units with the logistic function"
    ):
        MLPClassifier(pretrain="rbm").fit(DIGITS, TARGETS)
    with pytest.raises(ValueError, match=r"^\[Autoencoder\] .*a layer has 'identity'"):
        Autoencoder((5,), activation="logistic", pretrain="rbm").fit(DIGITS)
    with pytest.raises(ValueError, match=r"^\[MLPRegressor\] pretrain needs all samples at once"):
        MLPRegressor(pretrain="autoencoder").partial_fit(DIGITS, TARGETS)
    with pytest.raises(ValueError, match=r"^\[MLPRegressor\] .*5 features"):
        MLPRegressor(pretrain="autoencoder").fit(DIGITS, TARGETS, pretrain_X=DIGITS[:, :5])


@pytest.mark.parametrize("options", TUNINGS, ids=str)
def test_cuda(cupy, options, rng):
    X, y = rng.integers(2, size=(30, 7)).astype(float), np.arange(30) % 3
    on_cpu, on_cuda = (
        DeepBeliefNetwork((5, 4), n_iter=1, tuning_iter=1, random_state=0, **options).fit(x, y)
        for x in (X, cupy.asarray(X))
    )
    means = on_cuda.transform(cupy.asarray(X))
    assert isinstance(means, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(means), on_cpu.transform(X), atol=1e-12)
    back = cupy.asnumpy(on_cuda.reconstruct(cupy.asarray(X)))
    np.testing.assert_allclose(back, on_cpu.reconstruct(X), atol=1e-12)
