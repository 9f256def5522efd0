"""Targets of classifiers: binary, multiclass and multilabel; class weights; margin losses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse
from perceptrons import arena_bytes, blobs
from sklearn import neural_network as sklearn_networks
from sklearn.datasets import make_multilabel_classification

from steepest.neural_network import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.01, "random_state": 0}
# Tolerance of minima of full-batch fits: L-BFGS stops at a gradient of 1e-6.
MINIMUM = {"rtol": 0, "atol": 1e-3}


def labels(n=80, **options):
    return make_multilabel_classification(n, 10, n_classes=4, n_labels=2, random_state=1, **options)


def lbfgs(**options):
    return MLPClassifier(
        (5,), activation="tanh", solver="lbfgs", alpha=1.0, tol=1e-7, max_iter=1000, random_state=0, **options
    )


def test_two_classes_have_one_logistic_output():
    X, y = blobs(classes=2)
    model = MLPClassifier(max_iter=50, random_state=0).fit(X, y == 1)
    assert (model.n_outputs_, model.out_activation_, model.coefs_[-1].shape) == (1, "logistic", (100, 1))
    assert list(model.classes_) == [False, True]
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (120, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), probabilities, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), probabilities[:, 1] > 0.5)
    np.testing.assert_array_equal(model.predict(X), model.decision_function(X) > 0)
    assert model.decision_function(X).shape == (120,)
    far = model.predict_log_proba(1e6 * X)
    assert np.isfinite(far).all() and far.min() < -1e3


def test_one_class():
    X, _ = blobs()
    model = MLPClassifier(max_iter=3).fit(X, np.full(120, "only"))
    assert set(model.predict(X)) == {"only"}
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((120, 1)))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_fits_are_those_of_scikit_learn(solver, task):
    X, y = labels() if task == "multilabel" else blobs(classes=2)
    options = {
        **SMALL,
        "solver": solver,
        "activation": "tanh",
        "epsilon": 1e-15,
        "max_iter": 6,
        "batch_size": 32,
    }
    ours = MLPClassifier(**options).fit(X, y)
    with warnings.catch_warnings():
        # scikit-learn 1.6 passes L-BFGS an option that newer SciPy deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = sklearn_networks.MLPClassifier(**options).fit(X, y)
    for w, expected in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        np.testing.assert_allclose(w, expected, rtol=0, atol=1e-8)
    assert ours.loss_ == pytest.approx(theirs.loss_, abs=1e-3)
    assert (ours.n_outputs_, ours.out_activation_) == (theirs.n_outputs_, theirs.out_activation_)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=0, atol=1e-6)


def test_labels_go_on_in_partial_fit_and_stop_early():
    X, y = labels()
    whole = MLPClassifier(**SMALL, shuffle=False, max_iter=3).fit(X, y)
    parts = MLPClassifier(**SMALL, shuffle=False)
    for _ in range(3):
        parts.partial_fit(X, y, classes=range(4))
    assert arena_bytes(parts) == arena_bytes(whole)
    early = MLPClassifier(**SMALL, early_stopping=True, max_iter=20).fit(X, y)
    assert max(early.validation_scores_) == early.best_validation_score_
    checked = MLPClassifier(**SMALL, max_iter=5).fit(X, y, eval_set=(X, y))
    assert checked.validation_scores_[-1] == pytest.approx(checked.score(X, y))
    np.testing.assert_array_equal(parts.predict(X), whole.predict(X))
    np.testing.assert_array_equal(
        MLPClassifier(**SMALL, max_iter=3, shuffle=False).fit(X, scipy.sparse.csr_array(y)).predict(X),
        whole.predict(X),
    )
    with pytest.raises(ValueError, match="`y` must be multilabel with 4 labels"):
        parts.partial_fit(X, y[:, :3])
    with pytest.raises(ValueError, match="`y` must be multilabel"):
        parts.partial_fit(X, y[:, 0])
    with pytest.raises(ValueError, match="must be 0 or 1 for each label"):
        MLPClassifier().fit(X, y + 2 * (np.arange(80) % 2)[:, None])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "exponential"])
def test_losses_separate_the_classes(task, loss):
    X, y = labels(200) if task == "multilabel" else blobs(200, classes=2 if task == "binary" else 3)
    X = X / X.std(axis=0)
    model = MLPClassifier((32,), loss=loss, learning_rate_init=0.01, max_iter=200, random_state=0).fit(X, y)
    assert (model.predict(X) == y).mean() > (0.88 if task == "multilabel" else 0.93)
    scores = model.decision_function(X)
    if task == "multiclass":
        np.testing.assert_array_equal(model.predict(X), scores.argmax(axis=1))
    else:
        np.testing.assert_array_equal(model.predict(X), (scores > 0).astype(int))
    assert hasattr(model, "predict_proba") == (loss == "log_loss")
    assert hasattr(model, "predict_log_proba") == (loss == "log_loss")


# ----------------------------------------------------------------------------------------------- class weights


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_weights_are_repetitions(task):
    X, y = labels(40) if task == "multilabel" else blobs(40, classes=2 if task == "binary" else 3)
    counts = np.random.default_rng(1).integers(0, 4, 40)
    # Both fits minimise the same function from the same start; few iterations keep rounding differences small.
    weighted = lbfgs().set_params(max_iter=10).fit(X, y, sample_weight=counts)
    repeated = lbfgs().set_params(max_iter=10).fit(X.repeat(counts, axis=0), y.repeat(counts, axis=0))
    assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-9)
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=0, atol=1e-7)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_class_weights_are_weights_of_the_samples(solver):
    X, y = blobs(60)
    y = np.array(["a", "b", "c"])[y]
    by_class, w = {"a": 2.0, "c": 0.5}, np.linspace(0.5, 1.5, 60)
    options = {**SMALL, "solver": solver, "max_iter": 20}
    expected = MLPClassifier(**options).fit(X, y, w * np.array([by_class.get(label, 1.0) for label in y]))
    model = MLPClassifier(**options, class_weight=by_class).fit(X, y, w)
    assert arena_bytes(model) == arena_bytes(expected)
    totals = {label: w[y == label].sum() for label in "abc"}
    balanced = np.array([w.sum() / (3 * totals[label]) for label in y])
    expected = MLPClassifier(**options).fit(X, y, w * balanced)
    model = MLPClassifier(**options, class_weight="balanced").fit(X, y, w)
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), rtol=0, atol=1e-9)


def test_balanced_classes_count_the_same():
    """A rare class counts as often as if its samples were repeated."""
    X, y = blobs(90, classes=2)
    rare = np.concatenate([np.flatnonzero(y == 0)[:40], np.flatnonzero(y == 1)[:10]])
    often = np.concatenate([rare[:40], rare[40:].repeat(4)])
    # Balanced weights sum to the 50 samples, whereas repetition gives 80; alpha compensates for the ratio.
    balanced = lbfgs(class_weight="balanced").set_params(alpha=50 / 80).fit(X[rare], y[rare])
    repeated = lbfgs().fit(X[often], y[often])
    np.testing.assert_allclose(balanced.predict_proba(X), repeated.predict_proba(X), **MINIMUM)


def test_class_weights_of_labels():
    X, y = labels(60)
    options = {**SMALL, "max_iter": 10}
    each = [{1: 2.0}, {0: 3.0}, {}, {0: 0.5, 1: 1.5}]
    factors = np.prod([np.where(y[:, j], w.get(1, 1.0), w.get(0, 1.0)) for j, w in enumerate(each)], axis=0)
    expected = MLPClassifier(**options).fit(X, y, factors)
    model = MLPClassifier(**options, class_weight=each).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), rtol=0, atol=1e-12)
    assert MLPClassifier(**options, class_weight="balanced").fit(X, y).loss_ > 0


def test_errors_of_class_weights():
    X, y = blobs()
    with pytest.raises(
        ValueError, match=r"^\[MLPClassifier\] class_weight has a weight for 'd', which is not among"
    ):
        MLPClassifier(class_weight={"a": 1.0, "d": 2.0}).fit(X, np.array(["a", "b", "c"])[y])
    with pytest.raises(ValueError, match="class_weight of 1 must be finite and not negative"):
        MLPClassifier(class_weight={1: -1.0}).fit(X, y)
    with pytest.raises(ValueError, match="class_weight must be a mapping from labels"):
        MLPClassifier(class_weight=[{0: 1.0}]).fit(X, y)
    with pytest.raises(ValueError, match="class_weight must be a mapping from labels"):
        MLPClassifier(class_weight={0: 1.0}).fit(*labels())
    with pytest.raises(ValueError, match="the classes of all samples have the weight 0"):
        MLPClassifier(class_weight={0: 0, 1: 0, 2: 0}).fit(X, y)
    with pytest.raises(ValueError, match="class_weight='balanced' is not for partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"(?i)negative"):
        MLPClassifier().fit(X, y, sample_weight=-np.ones(120))
