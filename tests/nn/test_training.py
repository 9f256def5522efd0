"""The training loop of the perceptrons: batches, orders, when it stops, diverges or is interrupted."""

from __future__ import annotations

import _thread
import signal
import threading
import warnings

import backends
import numpy as np
import pytest
from perceptrons import arena_bytes, blobs, both, data_for, weights
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import steepest
from steepest import kernels as K
from steepest import nn, optim
from steepest.neural_network import MLPClassifier, MLPRegressor
from steepest.training.batches import Batches, Samples
from steepest.training.loop import train
from steepest.training.programs import GradientDescent
from steepest.training.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@both
@pytest.mark.parametrize("n", [90, 101, 31, 32, 33])
def test_the_shorter_last_batch_is_trained_on(estimator, n):
    X, y = data_for(estimator, n)
    model = estimator(hidden_layer_sizes=(20,), batch_size=32, max_iter=3, alpha=0.0, random_state=0)
    if n < 32:
        with pytest.warns(UserWarning, match="larger than sample size 31"):
            model.fit(X, y)
    else:
        model.fit(X, y)
    assert model.t_ == 3 * n
    # Without a tail, another last sample could not matter while nothing is shuffled.
    fixed = clone(model).set_params(shuffle=False, batch_size=min(n, 32)).fit(X, y)
    X = X.copy()
    X[-1] += 1
    assert arena_bytes(clone(fixed).fit(X, y)) != arena_bytes(fixed)


@both
def test_the_loss_is_that_of_the_mini_batches(estimator):
    """With no steps to speak of, the loss of an epoch is the loss over the samples, with the penalty."""
    X, y = data_for(estimator, 101)
    model = estimator(
        hidden_layer_sizes=(6,),
        solver="sgd",
        learning_rate_init=1e-12,
        batch_size=32,
        alpha=0.3,
        max_iter=1,
        random_state=0,
    ).fit(X, y)
    if estimator is MLPClassifier:
        data_term = -np.mean(np.log(model.predict_proba(X)[np.arange(101), y]))
    else:
        data_term = 0.5 * np.mean((model.predict(X) - y) ** 2)
    # Each of 4 batches adds alpha / 2 sum w² / length, weighted by its length.
    penalty = 0.5 * 0.3 * sum((w**2).sum() for w in model.coefs_) * 4 / 101
    np.testing.assert_allclose(model.loss_, data_term + penalty, rtol=1e-9)


@both
@pytest.mark.cpu_only("threads are the CPU's")
def test_results_do_not_depend_on_threads(estimator, dtype):
    X, y = data_for(estimator, 300, dtype)
    before, results = steepest.get_num_threads(), set()
    try:
        for n_threads in (1, 2, 3):
            steepest.set_num_threads(n_threads)
            results.add(
                arena_bytes(
                    estimator(hidden_layer_sizes=(64, 32), max_iter=3, batch_size=64, random_state=5).fit(
                        X, y
                    )
                )
            )
    finally:
        steepest.set_num_threads(before)
    assert len(results) == 1


def trainer_of(n, bad_row=None, **options):
    """A trainer of batches of 10 over n rows, one of which may have a target that is not finite."""
    X, y = data_for(MLPRegressor, n)
    y = y[:, None]
    if bad_row is not None:
        y[bad_row] = np.inf
    net = nn.Network([nn.Linear(10, 1)], dtype=np.float64)
    program = GradientDescent(net, nn.MeanSquaredError(), optim.SGD(net.parameters()))
    return Trainer({"network": program}, Batches(Samples(X, y), **options), 10)


def test_every_epoch_has_an_order_of_its_own():
    rows = np.arange(3, 28)
    trainer = trainer_of(35, rows=rows, seed=7)
    orders = []
    for epoch in range(3):
        trainer.run_epoch(epoch)
        orders.append(trainer.batches.order.copy())
        np.testing.assert_array_equal(orders[-1], rows[K.permutation(25, seed=7, stream=epoch)])
        assert trainer.batches._cursor == 25
    assert not np.array_equal(orders[0], orders[1])


@pytest.mark.parametrize(("bad_row", "step"), [(0, 0), (25, 2), (32, 3)])
@pytest.mark.parametrize("watched", [False, True])
def test_the_step_that_diverged(bad_row, step, watched):
    done = []
    trainer = trainer_of(35, bad_row, shuffle=False)
    assert trainer.steps == 4
    with pytest.raises(steepest.DivergenceError) as caught:
        trainer.run_epoch(0, done.append if watched else None)
    assert caught.value.step == step
    assert done == ([10] * step if watched else [])


@both
def test_initial_weights(estimator):
    X, y = data_for(estimator)
    for activation, factor in (("relu", 6.0), ("logistic", 2.0)):
        model = estimator(
            hidden_layer_sizes=(50,), activation=activation, learning_rate_init=1e-300, max_iter=1
        )
        limit = np.sqrt(factor / 60)
        # The largest of 500 uniform numbers.
        assert 0.97 * limit < np.abs(model.fit(X, y).coefs_[0]).max() < limit


@both
def test_a_fitted_model_keeps_no_batches(estimator):
    X, y = data_for(estimator)
    for solver in ("adam", "lbfgs"):
        model = estimator(solver=solver, max_iter=2).fit(X, y)
        assert not model._network._main.holds_buffers
        assert model._network._last is None


@both
def test_random_state(estimator):
    X, y = data_for(estimator)
    fits = [arena_bytes(estimator(max_iter=2, random_state=seed).fit(X, y)) for seed in (1, 1, 2)]
    assert fits[0] == fits[1] != fits[2]
    unshuffled = estimator(max_iter=2, batch_size=32, shuffle=False, random_state=1).fit(X, y)
    shuffled = estimator(max_iter=2, batch_size=32, random_state=1).fit(X, y)
    assert arena_bytes(unshuffled) != arena_bytes(shuffled)


@both
def test_lbfgs_counts_weights_as_repetitions(estimator):
    X, y = data_for(estimator, 40)
    counts = np.random.default_rng(1).integers(0, 4, 40)
    options = {"hidden_layer_sizes": (5,), "activation": "tanh", "solver": "lbfgs", "alpha": 1.0}
    # The same function from the same start: few enough iterations that rounding does not part them.
    weighted = estimator(**options, max_iter=10, random_state=0).fit(X, y, sample_weight=counts)
    repeated = estimator(**options, max_iter=10, random_state=0).fit(X.repeat(counts, 0), y.repeat(counts))
    np.testing.assert_allclose(weighted.loss_, repeated.loss_, rtol=1e-9)
    with pytest.raises(AttributeError, match="no attribute 'partial_fit'"):
        weighted.partial_fit(X, y)


@both
def test_early_stopping(estimator):
    X, y = data_for(estimator, 200)
    model = estimator(
        hidden_layer_sizes=(16,), early_stopping=True, learning_rate_init=0.02, max_iter=200, random_state=0
    ).fit(X, y)
    assert model.n_iter_ == len(model.validation_scores_) == len(model.validation_loss_curve_) < 200
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None
    assert model.t_ == 180 * model.n_iter_
    # The weights of the best epoch are back: one more fit of just that many epochs ends with them.
    best_epoch = int(np.argmax(model.validation_scores_)) + 1
    again = clone(model).set_params(max_iter=best_epoch).fit(X, y)
    assert arena_bytes(again) == arena_bytes(model)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="validation set is too small"):
        estimator(early_stopping=True, validation_fraction=0.1).fit(X[:9], np.zeros(9))


@both
def test_stops_when_the_loss_no_longer_improves(estimator):
    X, y = data_for(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = estimator(hidden_layer_sizes=(4,), tol=1e3, n_iter_no_change=3, random_state=0).fit(X, y)
    # The first epoch sets the best loss; the count must then exceed 3.
    assert model.n_iter_ == 5 if model.loss_curve_[0] < 1e3 else 4
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        estimator(max_iter=2).fit(X, y)


def test_learning_rate_schedules():
    X, y = blobs()
    options = {"hidden_layer_sizes": (4,), "solver": "sgd", "learning_rate_init": 0.1, "random_state": 0}
    inverse = MLPClassifier(**options, learning_rate="invscaling", power_t=0.25, max_iter=5).fit(X, y)
    assert inverse._optimizer.lr == pytest.approx(0.1 / (5 * 120 + 1) ** 0.25)
    adaptive = MLPClassifier(**options, learning_rate="adaptive", tol=1e3, n_iter_no_change=1).fit(X, y)
    # Divided by 5 until it is at most 1e-6.
    assert adaptive._optimizer.lr == pytest.approx(0.1 / 5**8)
    assert MLPClassifier(**options, max_iter=3).fit(X, y)._optimizer.lr == 0.1


@both
def test_verbose(estimator, capsys):
    X, y = data_for(estimator)
    estimator(max_iter=3).fit(X, y)
    estimator(max_iter=3, solver="lbfgs").fit(X, y)
    assert capsys.readouterr() == ("", "")
    estimator(max_iter=3, verbose=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"Iteration {i}" for i in (1, 2, 3)]
    estimator(max_iter=2, verbose=True, early_stopping=True).fit(X, y)
    assert "validation score" in capsys.readouterr().out


@pytest.mark.parametrize(("rate", "dtype"), [(50.0, np.float64), (1e300, np.float64), (1e38, np.float32)])
def test_divergence_names_epoch_and_step_and_keeps_finite_weights(rate, dtype):
    X, y = data_for(MLPRegressor, dtype=dtype)
    model = MLPRegressor(
        hidden_layer_sizes=(8,),
        activation="identity",
        solver="sgd",
        learning_rate_init=rate,
        batch_size=50,
        random_state=0,
    )
    with pytest.raises(
        steepest.DivergenceError,
        match=r"^\[MLPRegressor\] training diverged in epoch \d+, step \d of 3: .*learning_rate_init",
    ) as caught:
        model.fit(X, y)
    assert caught.value.epoch >= 1
    assert 0 <= caught.value.step < 3
    assert all(np.isfinite(w).all() for w in weights(model))
    assert model.predict(X).shape == (120,)
    assert model.set_params(learning_rate_init=1e-3).fit(X, y).score(X, y) > 0.9


def test_divergence_past_the_largest_number_restores_the_start_of_the_epoch():
    X, y = data_for(MLPRegressor, dtype=np.float32)
    # The loss of the first step is finite, and its update is not: the rate times the gradient overflows.
    model = MLPRegressor(solver="sgd", learning_rate_init=1e38, random_state=0)
    with pytest.raises(steepest.DivergenceError, match=r"in epoch 1, step 1 of 1: a parameter is not finite"):
        model.fit(X, 1000 * y)
    untouched = MLPRegressor(solver="sgd", learning_rate_init=1e-45, random_state=0, max_iter=1).fit(X, y)
    assert arena_bytes(model) == arena_bytes(untouched)


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, also where the tests were started by a shell that has background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_soon():
    # Once the fit is under way: the stand-in for CUDA takes a while to get there.
    timer = threading.Timer(0.3 if backends.ON_CPU else 3.0, _thread.interrupt_main)
    timer.start()
    return timer


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_leaves_a_usable_model(solver):
    X, y = blobs(1000)
    model = MLPClassifier(
        (128, 128), solver=solver, max_iter=100_000, max_fun=10**9, tol=0.0, n_iter_no_change=np.inf
    )
    timer = interrupt_soon()
    try:
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            model.fit(X, y)
    finally:
        timer.cancel()
    assert np.isfinite(model.predict_proba(X)).all()
    assert all(np.isfinite(w).all() for w in weights(model))


# ---------------------------------------------------------------------------------------------- several programs


def two_networks():
    nets = [
        nn.Network([nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 1)], seed=s, dtype=np.float64) for s in (1, 2)
    ]
    rules = [optim.Adam(nets[0].parameters(), 0.01), optim.Momentum(nets[1].parameters(), 0.02)]
    losses = [nn.MeanSquaredError(), nn.Huber()]
    return [GradientDescent(*parts, alpha=0.01) for parts in zip(nets, losses, rules, strict=True)]


@pytest.mark.parametrize("n", [30, 35])
def test_programs_side_by_side_train_as_each_alone(n):
    X, y = data_for(MLPRegressor, n)
    samples = Samples(X, y[:, None])
    together = two_networks()
    both_at_once = Trainer(dict(zip("ab", together, strict=True)), Batches(samples, seed=3), 10)
    alone = two_networks()
    each = [Trainer({"it": program}, Batches(samples, seed=3), 10) for program in alone]
    for epoch in range(3):
        total, accuracy = both_at_once.run_epoch(epoch)
        losses = [trainer.run_epoch(epoch)[0] for trainer in each]
        assert list(both_at_once.losses.values()) == losses
        assert total == sum(losses) and accuracy is None
    for one, other in zip(together, alone, strict=True):
        assert one.network.arena.tobytes() == other.network.arena.tobytes()


def test_a_program_that_cannot_be_captured_beside_one_that_can():
    """The rows of a batch belong to such a step, which may keep them: the next batch does not overwrite them."""
    X, y = data_for(MLPRegressor, 35)
    samples, kept = Samples(X, y[:, None]), []
    captured, watching = two_networks()
    watching.captured = False
    watching.step = lambda batch: kept.append(batch)
    trainer = Trainer({"a": captured, "b": watching}, Batches(samples, shuffle=False), 10)
    trainer.run_epoch(0)
    np.testing.assert_array_equal(np.concatenate([batch.x for batch in kept]), X)
    assert [len(batch) for batch in kept] == [10, 10, 10, 5]


def test_the_error_names_the_program_that_diverged():
    X, y = data_for(MLPRegressor, 30)
    good, bad = two_networks()
    bad.loss = lambda output, target, weight: nn.MeanSquaredError()(output * np.inf, target, weight)
    bad.captured = False
    trainer = Trainer({"good": good, "bad": bad}, Batches(Samples(X, y[:, None])), 10)
    snapshot = good.network.arena.copy()
    with np.errstate(invalid="ignore"), pytest.raises(steepest.DivergenceError, match="step 1 of 3: bad: "):
        train(trainer, 2, lambda epoch: False, name="two")
    assert not np.array_equal(good.network.arena, snapshot)
    assert np.isfinite(good.network.arena).all()


def test_even_batches_that_grow():
    X, y = data_for(MLPRegressor, 35)
    lengths = []
    (program, _) = two_networks()
    program.captured = False
    step = program.step
    program.step = lambda batch: (lengths.append(len(batch)), step(batch))
    program.optimizer.lr = 1e-12
    trainer = Trainer({"it": program}, Batches(Samples(X, y[:, None])), 8, even=True, grows=True)
    for epoch, sizes in enumerate([[7] * 5, [7] * 5, [11, 12, 12], [17, 18], [35], [35]]):
        lengths.clear()
        assert trainer.steps == len(sizes)
        trainer.run_epoch(epoch)
        assert lengths == sizes
