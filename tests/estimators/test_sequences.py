"""Estimators of sequences: what they take, what they learn, and that neither padding nor neighbours count."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from backends import on_each_number_of_threads
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator

import steepest
from steepest.neural_network import SequenceClassifier, SequenceRegressor, Sequences

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.cpu_only("its fits take too long on the stand-in; test_recurrence.py has the kernels"),
]
BODIES = ("gru", "lstm", "rnn", "transformer")
every = pytest.mark.parametrize("estimator", [SequenceClassifier, SequenceRegressor])
every_body = pytest.mark.parametrize("body", BODIES)


def make(estimator=SequenceClassifier, body="gru", **options):
    # kept by hand: sizes for quick fits
    small = {"n_units": 8, "n_heads": 2, "max_iter": 3, "random_state": 0}
    return estimator(body, **{**small, **options})


def walks(n=120, width=2, seed=0):
    """Random walks of 3 to 14 steps, and whether the first number of a step rises or falls."""
    rng = np.random.default_rng(seed)
    rises = rng.integers(0, 2, n)
    steps = rng.integers(3, 15, n)
    drift = np.eye(width)[0]
    return [
        np.cumsum(rng.standard_normal((t, width)) + (2 * up - 1) * drift, axis=0).astype(np.float32)
        for t, up in zip(steps, rises, strict=True)
    ], rises


def padded(X, fill=np.nan, behind=2):
    """An array with the sequences of a list, and their lengths."""
    lengths = np.array([len(x) for x in X])
    array = np.full((len(X), lengths.max() + behind, *X[0].shape[1:]), fill, X[0].dtype)
    for row, x in zip(array, X, strict=True):
        row[: len(x)] = x
    return array, lengths


def output(model, X):
    return model.decision_function(X) if hasattr(model, "decision_function") else model.predict(X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "check"),
    [
        case
        for model in (
            SequenceClassifier(n_units=16, max_iter=30, random_state=0),
            SequenceRegressor(n_units=32, max_iter=150, learning_rate_init=0.01, random_state=0),
        )
        for case in estimator_checks_generator(model)
    ],
    ids=lambda value: value.func.__name__ if hasattr(value, "func") else type(value).__name__,
)
def test_scikit_learn(model, check):
    check(model)


# ------------------------------------------------------------------------------------------ what is learnt


@every_body
def test_what_is_learnt(body):
    X, rises = walks(200)
    model = make(body=body, max_iter=15, learning_rate_init=0.01).fit(X[:150], rises[:150])
    assert model.score(X[150:], rises[150:]) > 0.9
    assert model.predict_proba(X[:3]).shape == (3, 2)
    last = np.array([x[-1, 0] - x[0, 0] for x in X])
    target = (last - last.mean()) / last.std()
    model = make(SequenceRegressor, body, max_iter=60, learning_rate_init=0.01).fit(X[:150], target[:150])
    assert model.score(X[150:], target[150:]) > 0.8


@every_body
def test_order_of_ids(body):
    """Whether id 3 comes before id 5, among others: only an order tells it."""
    rng = np.random.default_rng(0)
    X, y = [], rng.integers(0, 2, 300)
    for first in y:
        ids = rng.choice([0, 1, 2, 4, 6], rng.integers(3, 9))
        places = np.sort(rng.choice(len(ids), 2, replace=False))
        ids[places] = (3, 5) if first else (5, 3)
        X.append(ids)
    model = make(body=body, n_ids=7, n_units=32, max_iter=60, learning_rate_init=0.01, tol=0.0)
    assert model.fit(X[:240], y[:240]).score(X[240:], y[240:]) > 0.9
    assert not hasattr(model, "n_features_in_")


def test_layers_of_a_model():
    X, rises = walks(60)
    model = make(
        n_layers=2, bidirectional=True, hidden_layer_sizes=(5,), activation="tanh", dropout=0.2, loss="hinge"
    ).fit(X, rises)
    shapes = [coef.shape for coef in model.coefs_]
    assert shapes[:2] == [(2, 24), (8, 24)]
    assert shapes[-2:] == [(16, 5), (5, 1)]
    assert model.n_layers_ == 5
    many = make(SequenceRegressor).fit(X, np.stack([rises, -rises], axis=1))
    assert many.predict(X).shape == (60, 2)


# ------------------------------------------------------------------------------------------- shapes of X


@every
@every_body
def test_neither_padding_nor_neighbours_count(estimator, body):
    X, y = walks(40)
    model = make(estimator, body).fit(X, y)
    array, lengths = padded(X)
    twin = make(estimator, body).fit(Sequences(array, lengths), y)
    expected = output(model, X)
    np.testing.assert_array_equal(output(twin, X), expected)
    np.testing.assert_array_equal(output(model, Sequences(array, lengths)), expected)
    np.testing.assert_array_equal(output(model, np.array([*X, None], object)[:-1]), expected)
    # Alone, and in another order: other products of matrices, whose sums are rounded differently.
    alone = np.concatenate([output(model, [x]) for x in X])
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(output(model, X[::-1])[::-1], expected, rtol=0, atol=1e-5)


@every
def test_sequences_of_one_length(estimator):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 6, 3)), np.arange(50) % 2
    model = make(estimator).fit(X, y)
    expected = output(model, X)
    assert model.n_features_in_ == 3
    for same in (list(X), X.tolist(), Sequences(X), np.asfortranarray(X)):
        np.testing.assert_array_equal(output(make(estimator).fit(same, y), X), expected)
        np.testing.assert_array_equal(output(model, same), expected)
    # Shorter and longer ones may follow.
    assert output(model, X[:, :2]).shape == expected.shape
    assert output(model, [X[0], X[1, :1], np.tile(X[2], (9, 1))]).shape[0] == 3


@every
def test_series_of_numbers(estimator):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 6)), np.arange(50) % 2
    rows, steps = make(estimator).fit(X, y), make(estimator).fit(X[:, :, None], y)
    assert (rows.n_features_in_, steps.n_features_in_) == (6, 1)
    np.testing.assert_array_equal(output(rows, X), output(steps, X[:, :, None]))
    np.testing.assert_array_equal(output(steps, [*X]), output(rows, X))
    with pytest.raises(ValueError, match=r"X has 5 features, but .* is expecting 6"):
        rows.predict(X[:, :5])
    with pytest.raises(ValueError, match=re.escape("X must have shape (n, 6), as at fit")):
        rows.predict([X[0], X[1, :3]])


def test_dtypes():
    X, rises = walks(30)
    as_float64 = [x.astype(np.float64) for x in X]
    for model, dtype in ((make().fit(X, rises), np.float32), (make().fit(as_float64, rises), np.float64)):
        assert model.coefs_[0].dtype == model.predict_proba(as_float64).dtype == dtype
    ids = make(n_ids=5).fit(np.array([[0, 4], [1, 2], [3, 3]], np.uint8), [0, 1, 0])
    assert ids.coefs_[0].shape == (5, 8)
    np.testing.assert_array_equal(ids.predict([[0, 4], [1, 2]]), ids.predict(np.array([[0, 4], [1, 2]])))


# ---------------------------------------------------------------------------------- what estimators offer


def test_options_of_fits():
    X, rises = walks(80)
    held = {"early_stopping": True, "validation_fraction": 0.2, "max_iter": 30, "n_iter_no_change": 2}
    model = make(**held).fit(X, rises)
    assert len(model.validation_scores_) == model.n_iter_
    model = make(body="transformer").fit(X[:50], rises[:50], eval_set=(X[50:], rises[50:]))
    assert len(model.validation_loss_curve_) == 3
    on = make(warm_start=True)
    first = on.fit(X, rises).loss_
    assert on.fit(X, rises).loss_ < first
    parts = make()
    for _ in range(3):
        parts.partial_fit(X[:40], rises[:40], classes=[0, 1]).partial_fit(X[40:], rises[40:])
    assert parts.t_ == 240
    # A class that weighs nothing is never predicted for samples like those of the other one.
    chance = np.random.default_rng(1).integers(0, 2, 80)
    for model in (
        make(max_iter=20).fit(X, chance, sample_weight=chance.astype(float)),
        make(max_iter=20, class_weight={0: 0.0}).fit(X, chance),
    ):
        assert model.predict(X).mean() > 0.9
    with pytest.raises(ValueError, match=re.escape("body, n_units, n_layers, n_heads")):
        on.set_params(n_units=9).fit(X, rises)


def test_the_same_seed_gives_the_same_fit_on_any_number_of_threads():
    X, rises = walks(60)
    results = [
        make(dropout=0.1).fit(X, rises).decision_function(X) for _ in on_each_number_of_threads((1, 2))
    ]
    np.testing.assert_array_equal(*results)


def test_selection_of_models():
    X, rises = walks(90)
    model = make(max_iter=10, learning_rate_init=0.02)
    for given in (X, Sequences(*padded(X))):
        assert cross_val_score(clone(model), given, rises, cv=3).min() > 0.7
    search = GridSearchCV(model, {"body": ["gru", "rnn"]}, cv=2).fit(Sequences(*padded(X)), rises)
    assert search.best_score_ > 0.7


@every
@pytest.mark.parametrize("body", ["lstm", "transformer"])
def test_files_and_pickles(estimator, body, tmp_path):
    X, y = walks(30)
    model = make(estimator, body, bidirectional=body == "lstm").fit(X, y)
    steepest.save(model, tmp_path / "model.safetensors")
    for twin in (steepest.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(output(twin, X), output(model, X))
        assert type(twin) is estimator
    trained = [m.partial_fit(X, y).coefs_[0] for m in (twin, model)]
    np.testing.assert_array_equal(*trained)


# -------------------------------------------------------------------------------------------- bad input

SEQUENCES = [np.zeros((3, 2)), np.zeros((2, 2))]
bad_data = pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        ([], {}, ValueError, "there is no sequence"),
        ([np.zeros((3, 2)), np.zeros((0, 2))], {}, ValueError, "sequence 1 has no steps"),
        ([np.zeros((3, 2)), np.zeros((2, 3))], {}, ValueError, "sequence 1 has shape .2, 3., but sequence 0"),
        ([np.zeros((3, 2)), np.zeros(3)], {}, ValueError, "sequence 1 has shape"),
        ([np.zeros((3, 2)), np.zeros((2, 2, 2))], {}, ValueError, "sequence 1 must be an array of numbers of shape"),
        ([np.zeros((3, 2)), np.array([["a", "b"]])], {}, ValueError, "sequence 1 must be an array of numbers"),
        ([[1.0, 2.0], [3.0]], {"n_ids": 4}, TypeError, "X holds ids, which are integers, not float64"),
        ([np.array([0, 3]), np.array([1, 4, 2])], {"n_ids": 4}, ValueError, "id 4 in sequence 1 at step 1 is not in"),
        ([np.array([0, -1]), np.array([1])], {"n_ids": 4}, ValueError, "id -1 in sequence 0 at step 1"),
        (np.zeros((2, 3, 2), int), {"n_ids": 4}, ValueError, "a step is one id, but steps have 2 numbers"),
        (
            [np.zeros((3, 2)), np.array([[0.0, 1.0], [2.0, np.nan]])],
            {},
            ValueError,
            "in sequence 1 at step 1, column 1",
        ),
        (np.zeros((2, 2, 2, 2)), {}, ValueError, "an array must hold numbers in the shape"),
        (SEQUENCES, {"body": "transformer", "n_units": 6, "n_heads": 4}, ValueError, "n_heads=4 must divide n_units=6"),
        (SEQUENCES, {"body": "transformer", "bidirectional": True}, ValueError, "attention looks both ways"),
        (SEQUENCES, {"body": "cnn"}, ValueError, "'body' parameter"),
        (SEQUENCES, {"solver": "lbfgs"}, ValueError, "'solver' parameter"),
        (SEQUENCES, {"n_units": 0}, ValueError, "'n_units' parameter"),
    ],
)  # fmt: skip


@bad_data
def test_bad_data(X, options, error, message):
    with pytest.raises(error, match=message) as caught:
        make(**options).fit(X, [0, 1])
    assert "SequenceClassifier" in str(caught.value)


def test_bad_data_after_a_fit():
    X, rises = walks(30)
    model = make().fit(X, rises)
    before = model.predict_proba(X)
    for wrong, message in (
        ([np.zeros((3, 3))], "X has 3 features, but SequenceClassifier is expecting 2"),
        ([np.full((3, 2), np.inf)], "in sequence 0 at step 0, column 0"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(wrong)
        with pytest.raises(ValueError, match=message):
            model.partial_fit(wrong, [0])
    with pytest.raises(ValueError, match="X has 30 samples, but y has 29"):
        model.fit(X, rises[1:])
    with pytest.raises(ValueError, match="y is nan at row 1"):
        make(SequenceRegressor).fit(X[:2], [0.0, np.nan])
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_ids_after_a_fit_are_those_of_the_fit():
    X = [np.array([0, 4]), np.array([1, 2, 3]), np.array([4])]
    model = make(n_ids=5).fit(X, [0, 1, 1])
    before = model.predict_proba(X)
    for n_ids in (None, 3, 9):
        model.set_params(n_ids=n_ids)
        np.testing.assert_array_equal(model.predict_proba(X), before)
        with pytest.raises(ValueError, match="id 5 in sequence 0 at step 0 is not in 0"):
            model.predict([[5]])
    walked, rises = walks(5)
    model = make().fit(walked, rises)
    before = model.predict_proba(walked)
    np.testing.assert_array_equal(model.set_params(n_ids=3).predict_proba(walked), before)


# ------------------------------------------------------------------------------------------- Sequences


def test_cuts_of_sequences():
    X = [np.arange(n, dtype=float)[:, None] + 10 * n for n in (2, 1, 3, 2)]
    sequences = Sequences(X)
    assert (len(sequences), sequences.shape, sequences.longest) == (4, (4, 1), 3)
    assert repr(sequences) == "Sequences(4 of 1..3 steps of 1 float64)"
    for cut, expected in (
        (slice(1, 3), X[1:3]),
        (slice(None, None, -1), X[::-1]),
        (slice(2, 2), []),
        ([2, 0], [X[2], X[0]]),
        (np.array([True, False, False, True]), [X[0], X[3]]),
        ((np.array([3, 3]), ...), [X[3], X[3]]),
    ):
        found = sequences[cut]
        assert len(found) == len(expected)
        for i, one in enumerate(expected):
            np.testing.assert_array_equal(found[i], one)
    np.testing.assert_array_equal(sequences[-1], X[3])
    with pytest.raises(IndexError):
        sequences[4]
    again = Sequences(sequences)
    assert all(np.array_equal(again[i], one) for i, one in enumerate(X))


@pytest.mark.parametrize(
    ("X", "lengths", "error", "message"),
    [
        (np.zeros((2, 3)), [3, 0], ValueError, "sequence 1 has the length 0; lengths must be in 1..3"),
        (np.zeros((2, 3)), [4, 1], ValueError, "sequence 0 has the length 4"),
        (np.zeros((2, 3)), [1], ValueError, r"lengths have shape \(1,\), but there are 2 sequences"),
        (np.zeros((2, 3)), [1.0, 2.0], TypeError, "lengths must be integers, not float64"),
        (np.zeros(3), None, ValueError, r"must hold numbers in the shape \(n, steps\)"),
        (np.zeros((0, 3)), None, ValueError, "there is no step"),
        ([], None, ValueError, "there is no sequence"),
        ([np.zeros(2), np.zeros(3)], [1, 1], ValueError, "lengths are for an array of padded sequences"),
        (Sequences([np.zeros(2)]), [1], ValueError, "lengths are for an array of padded sequences"),
    ],
)
def test_bad_sequences(X, lengths, error, message):
    with pytest.raises(error, match=message) as caught:
        Sequences(X, lengths)
    assert str(caught.value).startswith("[Sequences]")
