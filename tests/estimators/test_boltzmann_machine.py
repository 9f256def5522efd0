"""`BernoulliRBM` as an estimator: scikit-learn's steps and tests, its own options, inputs, errors."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn_suite import run

import steepest
from steepest.callbacks import Callback
from steepest.neural_network import BernoulliRBM

DIGITS, TARGETS = load_digits(return_X_y=True)
DIGITS = DIGITS[:400] / 16
TARGETS = TARGETS[:400]


# scikit-learn expects these of its own class, too.
DRAWN = dict.fromkeys(
    ("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
    "score_samples flips a random feature of each sample",
)


@pytest.mark.parametrize(
    ("check_estimator", "check"),
    [
        case
        for options in (
            {"n_components": 16},
            {"n_components": 16, "draws": "philox", "momentum": 0.5, "n_gibbs": 2, "persistent": False},
            {"n_components": 4, "visible": "gaussian", "sparsity": 0.1},
        )
        for case in estimator_checks_generator(
            BernoulliRBM(**options),
            expected_failed_checks=DRAWN if "visible" not in options else {},
            mark="skip",
        )
    ],
    ids=lambda value: getattr(getattr(value, "func", value), "__name__", str(value)),
)
def test_scikit_learns_checks(check_estimator, check):
    check(check_estimator)


def test_scikit_learns_own_tests_pass():
    if not run.is_installed("rbm"):
        pytest.skip("this scikit-learn was installed without its tests")
    result = run.run("rbm")
    assert result["passed"] > 20, result["output"]
    assert not run.disagreements("rbm", result), result["output"]


@pytest.mark.parametrize("options", [{}, {"batch_size": 7}, {"batch_size": 1000}], ids=str)
def test_the_steps_are_those_of_scikit_learn(options):
    ours, theirs = (
        module.BernoulliRBM(20, learning_rate=0.05, n_iter=3, random_state=1, **options).fit(DIGITS)
        for module in (steepest.neural_network, sklearn.neural_network)
    )
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "h_samples_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-12)
    np.testing.assert_allclose(ours.score_samples(DIGITS), theirs.score_samples(DIGITS), rtol=1e-9)
    for model in (ours, theirs):
        for batch in np.array_split(DIGITS, 9):
            model.partial_fit(batch)
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-12)
    assert (ours.gibbs(DIGITS) == theirs.gibbs(DIGITS)).all()


def test_reports_draw_no_numbers_and_name_the_loss(capsys):
    fits = [
        BernoulliRBM(8, n_iter=2, verbose=v, random_state=np.random.RandomState(0)).fit(DIGITS)
        for v in (0, 1)
    ]
    assert (fits[0].components_ == fits[1].components_).all()
    assert "[BernoulliRBM] Iteration 2, pseudo-likelihood = -" in capsys.readouterr().out
    BernoulliRBM(4, n_iter=1, verbose=1, visible="gaussian").fit(DIGITS)
    assert "Iteration 1, negative squared error = -" in capsys.readouterr().out


PHILOX = {"n_components": 12, "n_iter": 2, "random_state": 0, "draws": "philox", "batch_size": 32}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"persistent": False, "n_gibbs": 3},
        {"momentum": 0.9, "shuffle": True},
        {"label_units": True},
        {"visible": "gaussian"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_fits_have_the_same_bits_for_any_number_of_threads(options, dtype):
    fits = []
    before = steepest.get_num_threads()
    try:
        for n in (1, 2, 3):
            steepest.set_num_threads(n)
            fits.append(BernoulliRBM(**PHILOX, **options).fit(DIGITS.astype(dtype), TARGETS))
    finally:
        steepest.set_num_threads(before)
    assert fits[0].components_.dtype == dtype
    assert np.isfinite(fits[0].components_).all()
    for other in fits[1:]:
        assert other.components_.tobytes() == fits[0].components_.tobytes()


def test_sparse_samples_take_the_same_steps():
    X = (DIGITS > 0.5).astype(float)
    dense, sparse = (BernoulliRBM(**PHILOX).fit(x) for x in (X, scipy.sparse.csr_array(X)))
    np.testing.assert_allclose(sparse.components_, dense.components_, atol=1e-13)
    np.testing.assert_allclose(sparse.transform(scipy.sparse.csc_array(X)), dense.transform(X), atol=1e-13)
    labelled = BernoulliRBM(**PHILOX, label_units=True).fit(scipy.sparse.csr_array(X), TARGETS)
    np.testing.assert_allclose(
        labelled.components_, BernoulliRBM(**PHILOX, label_units=True).fit(X, TARGETS).components_, atol=1e-13
    )


def test_options_change_what_they_say():
    base = BernoulliRBM(**PHILOX).set_params(n_iter=10).fit(DIGITS)

    def fitted(**options):
        return clone(base).set_params(**options).fit(DIGITS)

    assert np.abs(fitted(l2=0.1).components_).sum() < 0.75 * np.abs(base.components_).sum()
    assert (fitted(l1=0.1).components_ == 0).mean() > 0.05 > (base.components_ == 0).mean()
    activity = base.transform(DIGITS).mean()
    sparse = fitted(sparsity=0.05, sparsity_strength=5.0).transform(DIGITS).mean()
    assert abs(sparse - 0.05) < 0.5 * abs(activity - 0.05)
    assert not (fitted(shuffle=True).components_ == base.components_).all()
    assert (
        base.score_samples(DIGITS).mean()
        > BernoulliRBM(12, n_iter=0).fit(DIGITS).score_samples(DIGITS).mean()
    )
    assert ((fitted(momentum=0.9, learning_rate=0.01).reconstruct(DIGITS) - DIGITS) ** 2).mean() < 0.09


def test_momentum_goes_on_in_partial_fit():
    whole, parts = (BernoulliRBM(6, momentum=0.8, batch_size=50, random_state=0, n_iter=1) for _ in range(2))
    whole.fit(DIGITS)
    for batch in np.split(DIGITS, 8):
        parts.partial_fit(batch)
    np.testing.assert_allclose(parts.components_, whole.components_, atol=1e-12)


def test_label_units_classify_digits():
    model = BernoulliRBM(60, label_units=True, n_iter=60, persistent=False, momentum=0.5, random_state=0)
    model.fit(DIGITS, TARGETS.astype(str))
    assert (model.predict(DIGITS) == TARGETS.astype(str)).mean() > 0.96
    np.testing.assert_allclose(model.predict_proba(DIGITS).sum(axis=1), 1, rtol=1e-12)
    assert not hasattr(BernoulliRBM(), "predict")


def test_a_pipeline_with_labels_ignores_them():
    model = make_pipeline(
        BernoulliRBM(40, n_iter=20, batch_size=5, random_state=0),
        LogisticRegression(C=100, max_iter=2000),
    )
    assert model.fit(DIGITS, TARGETS).score(DIGITS, TARGETS) > 0.93


class Stop(Callback):
    def epoch_done(self, model, epoch):
        self.seen = (model.n_iter_, epoch.loss, model.score_samples(DIGITS).shape)
        return epoch.number == 2


def test_callbacks():
    stop = Stop()
    model = BernoulliRBM(5, n_iter=9, callbacks=[stop]).fit(DIGITS)
    assert model.n_iter_ == stop.seen[0] == 2
    assert model.loss_curve_[-1] == stop.seen[1]
    with pytest.raises(TypeError, match=r"^\[BernoulliRBM\] callbacks must be objects of steepest.callbacks"):
        BernoulliRBM(5, callbacks=[3]).fit(DIGITS)


def test_divergence_keeps_the_last_finite_parameters():
    X = np.full((20, 3), 1e30, np.float32)
    model = BernoulliRBM(2, learning_rate=1e20, n_iter=4, draws="philox", visible="gaussian")
    with pytest.raises(steepest.DivergenceError, match=r"^\[BernoulliRBM\] training diverged in epoch 1"):
        model.fit(X)
    assert np.isfinite(model.components_).all()
    with pytest.raises(steepest.DivergenceError, match=r"^\[BernoulliRBM\] training diverged"):
        model.partial_fit(X)
    assert np.isfinite(model.components_).all()


def test_training_goes_on_after_divergence_with_a_smaller_rate():
    model = BernoulliRBM(4, learning_rate=1e10, n_iter=2, draws="philox", visible="gaussian", random_state=0)
    with pytest.raises(steepest.DivergenceError):
        model.fit(DIGITS)
    # The persistent chains are to be finite, too.
    model.set_params(learning_rate=0.01).partial_fit(DIGITS[:10])
    assert np.isfinite(model.components_).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"draws": "numpy", "visible": "gaussian"}, "draws='numpy' has neither Gaussian nor label units"),
        ({"solver": "natural", "label_units": True}, "solver='natural' needs binary visible units"),
        ({"label_units": True}, "requires y to be passed"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options, text):
    with pytest.raises(ValueError, match=rf"^\[BernoulliRBM\] .*{text}"):
        BernoulliRBM(4, **options).fit(DIGITS)


def test_a_pseudo_likelihood_needs_binary_units():
    assert not hasattr(BernoulliRBM(visible="gaussian"), "score_samples")


def test_errors_after_a_fit():
    model = BernoulliRBM(4, n_iter=1).fit(DIGITS)
    for call, text in [
        (lambda: model.sample(0), "n_samples is 0; it must be in 1"),
        (lambda: model.sample(2, seed=-1), "seed is -1"),
        (lambda: model.sample(2, y=1), "y needs label units"),
        (lambda: model.annealed_log_partition(n_chains=1), "n_chains is 1; it must be in 2"),
        (lambda: model.annealed_log_partition(5 * DIGITS), r"X must be in \[0, 1\]"),
        (
            lambda: BernoulliRBM(2, n_iter=1, visible="gaussian").fit(DIGITS).fisher_matrix(),
            "binary visible units",
        ),
        (lambda: BernoulliRBM(2, solver="natural").partial_fit(DIGITS), "needs all samples at once"),
    ]:
        with pytest.raises(ValueError, match=rf"^\[BernoulliRBM\] .*{text}"):
            call()
    labelled = BernoulliRBM(4, n_iter=1, label_units=True).partial_fit(DIGITS, TARGETS % 3)
    with pytest.raises(ValueError, match="classes that the first call has not had"):
        labelled.partial_fit(DIGITS, TARGETS)
    with pytest.raises(ValueError, match=r"^\[BernoulliRBM\] y must be a label or 2 labels, .* shape \(3,\)"):
        labelled.sample(2, y=[0, 1, 2])
    with pytest.raises(TypeError, match=r"^\[BernoulliRBM\] n_samples must be an integer, not float"):
        model.sample(2.5)


def test_seeds_of_samples_may_be_numpy_integers():
    model = BernoulliRBM(4, n_iter=1, random_state=0).fit(DIGITS)
    np.testing.assert_array_equal(model.sample(3, np.int64(7), n_steps=2), model.sample(3, 7, n_steps=2))


def test_a_fitted_machine_keeps_its_kind_of_units():
    gaussian = BernoulliRBM(4, n_iter=1, random_state=0, visible="gaussian").fit(DIGITS)
    energies = gaussian.free_energy(DIGITS)
    gaussian.set_params(visible="bernoulli")
    np.testing.assert_array_equal(gaussian.free_energy(DIGITS), energies)
    labelled = BernoulliRBM(4, n_iter=1, random_state=0, label_units=True).fit(DIGITS, TARGETS)
    classes = labelled.predict(DIGITS)
    labelled.set_params(label_units=False)
    np.testing.assert_array_equal(labelled.predict(DIGITS), classes)
    for changed in (gaussian, labelled):
        with pytest.raises(ValueError, match=r"^\[BernoulliRBM\] visible and label_units have changed"):
            changed.partial_fit(DIGITS)
    assert not hasattr(labelled.fit(DIGITS), "predict")
    assert not hasattr(labelled, "classes_")


@pytest.mark.parametrize(
    "options", [{}, {"label_units": True}, {"visible": "gaussian"}, {"draws": "numpy"}], ids=str
)
def test_cuda(cupy, options, rng):
    X, y = rng.integers(2, size=(30, 7)).astype(float), np.arange(30) % 3
    kept = {"n_components": 5, "n_iter": 2, "batch_size": 8, "random_state": 0, "draws": "philox", **options}
    on_cpu = BernoulliRBM(**kept).fit(X, y)
    on_cuda = BernoulliRBM(**kept).fit(cupy.asarray(X), y)
    # The draws are the same on every device.
    np.testing.assert_allclose(on_cuda.components_, on_cpu.components_, atol=1e-12)
    means = on_cuda.transform(cupy.asarray(X))
    assert isinstance(means, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(means), on_cpu.transform(X), atol=1e-12)
    device = BernoulliRBM(**kept, device="cuda").fit(X, y)
    np.testing.assert_allclose(device.sample(4, n_steps=5), on_cpu.sample(4, n_steps=5), atol=1e-9)
    energies = cupy.asnumpy(on_cuda.free_energy(cupy.asarray(X)))
    np.testing.assert_allclose(energies, on_cpu.free_energy(X), rtol=1e-9)
    estimates = [m.annealed_log_partition(n_chains=3, n_temperatures=4)[0] for m in (device, on_cpu)]
    assert estimates[0] == pytest.approx(estimates[1], rel=1e-9)
    on_cuda.partial_fit(cupy.asarray(X), y)
    np.testing.assert_allclose(on_cuda.components_, on_cpu.partial_fit(X, y).components_, atol=1e-12)
