"""Options of the perceptrons beyond scikit-learn's: activations, dropout, initial values, update rules, penalties."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse
from perceptrons import arena_bytes, both, data_for, weights
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from steepest import kernels as K
from steepest import nn, optim
from steepest.estimators.random_states import copied, seed_of
from steepest.neural_network import MLPClassifier, MLPRegressor
from steepest.optim import schedules

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (16, 8), "learning_rate_init": 0.01, "batch_size": 32, "random_state": 0}


def outputs(model, X):
    return model.predict_proba(X) if isinstance(model, MLPClassifier) else model.predict(X)


# ------------------------------------------------------------------------------------------------ the network


@both
@pytest.mark.parametrize("activation", K.ACTIVATIONS)
def test_every_activation(estimator, activation):
    X, y = data_for(estimator)
    model = estimator(**SMALL, activation=activation, max_iter=60).fit(X, y)
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0]
    assert model._network.layers[1] == nn.Activation(activation)


@both
def test_activations_of_layers(estimator):
    X, y = data_for(estimator)
    model = estimator(**SMALL, activation=["tanh", "logistic"], max_iter=2).fit(X, y)
    assert [layer.name for layer in model._network.layers[1::2]] == ["tanh", "sigmoid"]
    same, listed = (
        estimator(**SMALL, activation=activation, max_iter=2).fit(X, y)
        for activation in ("tanh", ["tanh"] * 2)
    )
    assert arena_bytes(same) == arena_bytes(listed)
    assert pickle.loads(pickle.dumps(model)).activation == ["tanh", "logistic"]
    with pytest.raises(ValueError, match="activation has 1 items, but there are 2 hidden layers"):
        estimator(**SMALL, activation=["tanh"]).fit(X, y)
    for unknown in ("sine", ("tanh", 1.0), ["tanh", "sine"], [("elu", 1.0, 2.0), "tanh"]):
        with pytest.raises(ValueError, match="'activation' parameter"):
            estimator(**SMALL, activation=unknown).fit(X, y)


@both
def test_dropout(estimator):
    X, y = data_for(estimator)
    options = {**SMALL, "max_iter": 3}
    model = estimator(**options, dropout=0.4).fit(X, y)
    assert [layer.rate for layer in model._network.layers if isinstance(layer, nn.Dropout)] == [0.4, 0.4]
    assert arena_bytes(model) == arena_bytes(estimator(**options, dropout=[0.4, 0.4]).fit(X, y))
    assert arena_bytes(model) != arena_bytes(estimator(**options).fit(X, y))
    # Prediction has no dropout.
    np.testing.assert_array_equal(outputs(model, X), outputs(model, X))
    first = estimator(**options, dropout=(0.5, 0.0)).fit(X, y)
    assert sum(isinstance(layer, nn.Dropout) for layer in first._network.layers) == 1
    assert first.n_layers_ == 4
    for bad, message in (
        (1.0, "dropout"),
        ([0.5], "dropout has 1 items"),
        ([0.5, -0.1], r"dropout must be in \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator(**options, dropout=bad).fit(X, y)
    with pytest.raises(ValueError, match="dropout needs a stochastic solver"):
        estimator(solver="lbfgs", dropout=0.1).fit(X, y)


@both
@pytest.mark.parametrize("init", ["he_normal", "orthogonal", "lecun_uniform"])
def test_init(estimator, init):
    X, y = data_for(estimator)
    frozen = {**SMALL, "learning_rate_init": 1e-300, "max_iter": 1}
    model = estimator(**frozen, init=init).fit(X, y)
    assert all(abs(b).max() < 1e-200 for b in model.intercepts_)
    if init == "orthogonal":
        np.testing.assert_allclose(model.coefs_[1].T @ model.coefs_[1], np.eye(8), rtol=0, atol=1e-12)
    assert arena_bytes(model) == arena_bytes(estimator(**frozen, init=init).fit(X, y))
    assert arena_bytes(model) != arena_bytes(estimator(**frozen).fit(X, y))
    with pytest.raises(ValueError, match="'init' parameter"):
        estimator(init="zeros").fit(X, y)


# ------------------------------------------------------------------------------------------------ the solvers


@both
@pytest.mark.parametrize("solver", ["momentum", "nesterov", "adagrad", "rmsprop", "adamw"])
def test_rules(estimator, solver):
    X, y = data_for(estimator)
    rates = {"momentum": 0.02, "nesterov": 0.02, "adagrad": 0.1}
    options = {**SMALL, "learning_rate_init": rates.get(solver, 0.01), "solver": solver, "shuffle": False}
    model = estimator(**options, max_iter=40).fit(X, y)
    assert type(model._optimizer).__name__.lower() == solver
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]
    classes = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    parts = estimator(**options)
    for _ in range(3):
        parts = pickle.loads(pickle.dumps(parts.partial_fit(X, y, **classes)))
    assert arena_bytes(parts) == arena_bytes(estimator(**options, max_iter=3).fit(X, y))


@both
def test_sgd_is_momentum_or_nesterov(estimator):
    X, y = data_for(estimator)
    for solver, ahead in (("momentum", False), ("nesterov", True)):
        named, sgd = (
            estimator(**SMALL, solver=rule, nesterovs_momentum=ahead, max_iter=3).fit(X, y)
            for rule in (solver, "sgd")
        )
        assert arena_bytes(named) == arena_bytes(sgd)


@both
def test_adamw_decays_weights_apart_from_the_loss(estimator):
    X, y = data_for(estimator)
    kept, decayed = (
        estimator(**SMALL, solver="adamw", alpha=alpha, max_iter=20).fit(X, y) for alpha in (0.0, 1.0)
    )
    assert sum((w**2).sum() for w in decayed.coefs_) < 0.8 * sum((w**2).sum() for w in kept.coefs_)
    # With unchanged weights the first epoch's loss does not contain the decoupled weight decay.
    frozen = {**SMALL, "solver": "adamw", "learning_rate_init": 1e-300, "max_iter": 1}
    assert estimator(**frozen, alpha=1.0).fit(X, y).loss_ == estimator(**frozen, alpha=0.0).fit(X, y).loss_


@both
def test_l1_makes_weights_zero(estimator):
    X, y = data_for(estimator)
    options = {**SMALL, "alpha": 2.0, "max_iter": 100, "activation": "tanh"}
    dense = estimator(**options).fit(X, y)
    sparse = estimator(**options, l1_ratio=1.0).fit(X, y)
    zeros = [sum((w == 0).sum() for w in model.coefs_) for model in (dense, sparse)]
    assert zeros[0] == 0 < zeros[1]
    assert all((b != 0).any() for b in sparse.intercepts_)
    # With unchanged weights each of the batches of 32, 32, 32 and 24 adds the penalty alpha (r |w| + (1 - r) / 2 w²).
    frozen = {**options, "learning_rate_init": 1e-300, "max_iter": 1}
    without, mixed = (estimator(**{**frozen, "alpha": a}, l1_ratio=0.3).fit(X, y) for a in (0.0, 2.0))
    penalty = 2.0 * sum(0.3 * abs(w).sum() + 0.35 * (w**2).sum() for w in mixed.coefs_)
    assert mixed.loss_ - without.loss_ == pytest.approx(penalty * 4 / 120, rel=1e-9)


@both
def test_l1_is_refused_where_it_would_not_count(estimator):
    X, y = data_for(estimator)
    with pytest.raises(ValueError, match="l1_ratio needs a stochastic solver"):
        estimator(solver="lbfgs", l1_ratio=0.5).fit(X, y)
    with pytest.raises(ValueError, match="l1_ratio is not for solver='adamw'"):
        estimator(solver="adamw", l1_ratio=0.5).fit(X, y)


@both
def test_max_norm_bounds_the_step(estimator):
    X, y = data_for(estimator)
    options = {
        **SMALL,
        "solver": "sgd",
        "momentum": 0.0,
        "alpha": 0.0,
        "batch_size": 120,
        "learning_rate_init": 1.0,
    }
    frozen = estimator(**{**options, "learning_rate_init": 1e-300}, max_iter=1).fit(X, y)
    model = estimator(**options, max_norm=1e-3, max_iter=1).fit(X, y)
    step = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(weights(model), weights(frozen), strict=True)))
    assert step == pytest.approx(1e-3, rel=1e-9)
    # Clipping leaves out the penalty.
    penalised = estimator(**{**options, "alpha": 12.0}, max_norm=1e-300, max_iter=1).fit(X, y)
    for w, before in zip(penalised.coefs_, frozen.coefs_, strict=True):
        np.testing.assert_allclose(w, 0.9 * before, rtol=1e-12)


@both
def test_schedules(estimator):
    X, y = data_for(estimator)
    options = {**SMALL, "solver": "sgd", "shuffle": False}
    # 4 steps for each of 3 epochs.
    for named, made in (("cosine", schedules.Cosine(0.01, 12)), ("one_cycle", schedules.OneCycle(0.01, 12))):
        by_name, by_object = (
            estimator(**options, learning_rate=rate, max_iter=3).fit(X, y) for rate in (named, made)
        )
        assert arena_bytes(by_name) == arena_bytes(by_object)
        assert by_name._optimizer.lr == pytest.approx(made(11))
    # partial_fit and warm starts continue the schedule and the momentum.
    classes = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    parts = estimator(**options, learning_rate=made)
    for _ in range(3):
        parts = pickle.loads(pickle.dumps(parts.partial_fit(X, y, **classes)))
    assert arena_bytes(parts) == arena_bytes(by_object)
    warm = (
        estimator(**options, learning_rate=made, warm_start=True, max_iter=1).fit(X, y).set_params(max_iter=2)
    )
    assert arena_bytes(warm.fit(X, y)) == arena_bytes(by_object)
    constant = estimator(**options, learning_rate=schedules.Constant(0.01), max_iter=3).fit(X, y)
    assert arena_bytes(constant) == arena_bytes(estimator(**options, max_iter=3).fit(X, y))
    assert clone(parts).learning_rate == made
    with pytest.raises(ValueError, match="learning_rate='cosine' ends with the last epoch"):
        estimator(**options, learning_rate="cosine").partial_fit(X, y, **classes)


@both
def test_batch_modes(estimator):
    """Number of steps in full-batch, stochastic, mini-batch and online training."""
    X, y = data_for(estimator)
    classes = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    for batch_size, steps in ((120, 1), (1, 120), (50, 3)):
        model = estimator(**{**SMALL, "batch_size": batch_size}, max_iter=2).fit(X, y)
        assert model._optimizer._steps == 2 * steps
    model = estimator(**{**SMALL, "batch_size": "auto"})
    for row in range(60):
        model.partial_fit(X[row : row + 1], y[row : row + 1], **(classes if row == 0 else {}))
    assert (model.t_, int(model._optimizer._steps)) == (60, 60)
    assert isinstance(model._optimizer, optim.Adam)


# --------------------------------------------------------------------------------------------------- sparse X


@both
@pytest.mark.parametrize(
    "container", [scipy.sparse.csr_array, scipy.sparse.csr_matrix, scipy.sparse.csc_array]
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_inputs(estimator, container, solver):
    X, y = data_for(estimator)
    X[np.random.default_rng(0).random(X.shape) < 0.7] = 0.0
    options = {**SMALL, "solver": solver, "max_iter": 5}
    dense, sparse = estimator(**options).fit(X, y), estimator(**options).fit(container(X), y)
    tolerance = {"rtol": 0, "atol": 1e-10 if solver == "lbfgs" else 0}
    for w, expected in zip(weights(sparse), weights(dense), strict=True):
        np.testing.assert_allclose(w, expected, **tolerance)
    np.testing.assert_allclose(outputs(sparse, container(X)), outputs(dense, X), rtol=0, atol=1e-10)
    assert sparse.score(container(X), y) == pytest.approx(dense.score(X, y))
    classes = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    if solver == "adam":
        early = {**options, "early_stopping": True}
        assert arena_bytes(estimator(**early).fit(container(X), y)) == arena_bytes(
            estimator(**early).fit(X, y)
        )
        partial = [estimator(**options).partial_fit(x, y, **classes) for x in (X, container(X))]
        assert arena_bytes(partial[0]) == arena_bytes(partial[1])


@both
def test_sparse_inputs_of_many_rows(estimator, monkeypatch):
    """Sparse inputs of several row blocks, one of which has zero weight, give the results of dense inputs."""
    from steepest.training import sparse_rows

    monkeypatch.setattr(sparse_rows, "_BLOCK_ROWS", 32)
    X, y = data_for(estimator, 100)
    w = np.linspace(0.0, 2.0, 100)
    w[32:64] = 0
    options = {**SMALL, "solver": "lbfgs", "max_iter": 5, "alpha": 0.5}
    dense = estimator(**options).fit(X, y, w, eval_set=(X, y))
    sparse = estimator(**options).fit(
        scipy.sparse.csr_array(X), y, w, eval_set=(scipy.sparse.csr_array(X), y)
    )
    np.testing.assert_allclose(
        outputs(sparse, scipy.sparse.csr_array(X)), outputs(dense, X), rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(sparse.validation_loss_curve_, dense.validation_loss_curve_, rtol=1e-9)


@both
def test_wide_sparse_inputs_need_little_memory(estimator):
    """Row blocks are limited by memory instead of a fixed number of rows."""
    rng = np.random.default_rng(0)
    X = scipy.sparse.random_array((2048, 20_000), density=1e-4, rng=rng, format="csr")
    y = np.arange(2048) % 2
    for solver in ("lbfgs", "adam"):
        options = {"solver": solver, "batch_size": 32, "max_iter": 1, "random_state": 0}
        model = estimator(hidden_layer_sizes=(2,), **options)
        tracemalloc.start()
        model.fit(X, y)
        model.predict(X)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < X.shape[0] * X.shape[1] * 8 / 3


# ------------------------------------------------------------------------------------------- one row at a time


@both
def test_rows_that_need_no_validation(estimator):
    X, y = data_for(estimator)
    model = estimator(**SMALL, max_iter=3).fit(X, y)
    expected = outputs(model, X)
    for same in (X[:1], X[:1].tolist(), X[:1].astype(np.float32).astype(object), np.asfortranarray(X[:1])):
        np.testing.assert_allclose(outputs(model, same), expected[:1], rtol=0, atol=1e-6)
    for wrong, message in (
        (X[:1, 1:], "features"),
        (X[0], "Expected 2D array"),
        (np.full((1, 10), np.nan), "NaN"),
        (X[:0], "0 sample"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(wrong)


def test_rows_are_asked_for_the_names_of_their_features():
    pd = pytest.importorskip("pandas")
    X, y = data_for(MLPRegressor)
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(10)])
    model = MLPRegressor(max_iter=2).fit(frame, y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X[:1])


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.PCG64])
def test_copies_of_random_states(kind):
    generator = np.random.RandomState(kind(7))
    generator.standard_normal(3)  # leaves a number for the next call
    twin, seed = copied(generator), seed_of(generator)
    assert seed == copied(generator).randint(np.iinfo(np.int32).max)
    expected = generator.standard_normal(5)
    np.testing.assert_array_equal(twin.standard_normal(5), expected)


@both
def test_a_planned_schedule_ends_without_a_warning(estimator):
    """It has been chosen for the number of epochs, so that more of them are no remedy."""
    X, y = data_for(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        estimator(max_iter=2, learning_rate="one_cycle").fit(X, y)
        with pytest.raises(ConvergenceWarning):
            estimator(max_iter=2).fit(X, y)
