"""Estimators on CUDA: types and devices of their results, and agreement with the CPU.

The tests use a GPU if there is one, else the fake CuPy and the stand-in for the CUDA kernels.
"""

from __future__ import annotations

import copy
import pickle
import re
import sys

import numpy as np
import pytest
from perceptrons import both, data_for, weights
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import steepest
from steepest import cli
from steepest._runtime.memory import to_host
from steepest.neural_network import MLPClassifier, MLPRegressor
from steepest.training.batches import Batches

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Bound of the difference of float64 weights between the devices after the few updates of these tests. The devices round
# differently, and Adam divides by square roots of small numbers.
CLOSE = {"rtol": 0, "atol": 1e-9}
SMALL = {"hidden_layer_sizes": (8,), "batch_size": 50, "max_iter": 3, "random_state": 3, "shuffle": False}


def outputs(model, X):
    return model.predict_proba(X) if isinstance(model, MLPClassifier) else model.predict(X)


@both
@pytest.mark.parametrize("options", [{"solver": "adam"}, {"solver": "sgd"}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_fit_as_on_the_cpu(cupy, estimator, options, weighted):
    X, y = data_for(estimator)
    fit_options = {"sample_weight": np.random.default_rng(0).uniform(0.2, 3.0, len(X))} if weighted else {}
    on_cpu = estimator(**SMALL, **options).fit(X, y, **fit_options)
    on_cuda = estimator(**SMALL, **options, device="cuda").fit(X, y, **fit_options)
    assert (on_cpu.device_, on_cuda.device_) == ("cpu", "cuda")
    for actual, expected in zip(weights(on_cuda), weights(on_cpu), strict=True):
        assert type(actual) is np.ndarray
        np.testing.assert_allclose(actual, expected, **CLOSE)
    np.testing.assert_allclose(on_cuda.loss_, on_cpu.loss_, **CLOSE)
    np.testing.assert_allclose(on_cuda.loss_curve_, on_cpu.loss_curve_, **CLOSE)
    # NumPy inputs give NumPy outputs.
    assert type(outputs(on_cuda, X)) is type(on_cuda.predict(X)) is np.ndarray
    np.testing.assert_allclose(outputs(on_cuda, X), outputs(on_cpu, X), rtol=0, atol=1e-8)
    assert on_cuda.score(X, y) == pytest.approx(on_cpu.score(X, y), abs=1e-8)
    assert not on_cuda._network._main.holds_buffers


@both
def test_a_float32_fit_computes_in_float32(cupy, estimator):
    X, y = data_for(estimator, dtype=np.float32)
    model = estimator(**SMALL).fit(cupy.asarray(X), y)
    assert {w.dtype for w in weights(model)} == {np.dtype(np.float32)}
    assert outputs(model, cupy.asarray(X.astype(np.float64))).dtype == np.float32
    assert estimator(**SMALL).fit(cupy.asarray(np.rint(X).astype(np.int32)), y).coefs_[0].dtype == np.float64


@both
def test_cupy_in_cupy_out(cupy, estimator):
    X, y = data_for(estimator)
    model = estimator(**SMALL).fit(cupy.asarray(X), cupy.asarray(y))
    expected = estimator(**SMALL).fit(X, y)
    assert (model.device_, model.n_features_in_) == ("cuda", 10)
    for actual, w in zip(weights(model), weights(expected), strict=True):
        assert isinstance(actual, cupy.ndarray)
        np.testing.assert_allclose(cupy.asnumpy(actual), w, **CLOSE)
    for x in (X, cupy.asarray(X)):
        for result in (outputs(model, x), model.predict(x)):
            assert type(result) is type(x)
        np.testing.assert_allclose(cupy.asnumpy(outputs(model, x)), outputs(expected, X), rtol=0, atol=1e-8)
    for target in (y, cupy.asarray(y)):
        assert model.score(cupy.asarray(X), target) == pytest.approx(expected.score(X, y), abs=1e-8)
    # The attributes are views: writing into them changes the predictions.
    for w in weights(model):
        w[...] = 0
    assert np.ptp(cupy.asnumpy(outputs(model, cupy.asarray(X))), axis=0).max() == 0
    if estimator is MLPClassifier:
        assert isinstance(model.classes_, cupy.ndarray)
        assert cupy.asnumpy(model.classes_).tolist() == [0, 1, 2]
        assert isinstance(model.predict_log_proba(cupy.asarray(X)), cupy.ndarray)


@both
def test_copies_of_weights_are_read_only(cupy, estimator):
    X, y = data_for(estimator)
    model = estimator(**SMALL, device="cuda").fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][...] = 0


def test_labels_come_back_in_their_library(cupy):
    X, y = data_for(MLPClassifier)
    names = np.array(["north", "east", "south"])[y]
    device_X = cupy.asarray(X)
    model = MLPClassifier(**SMALL).fit(device_X, names)
    assert set(model.predict(device_X)) <= set(names)
    assert model.classes_.tolist() == ["east", "north", "south"]
    model = MLPClassifier(**SMALL).fit(device_X, y)
    assert type(model.predict(device_X)) is type(model.classes_) is np.ndarray
    model = MLPClassifier(**SMALL).fit(device_X, cupy.asarray(10 * y))
    assert isinstance(model.predict(device_X), cupy.ndarray)
    assert set(cupy.asnumpy(model.predict(device_X)).tolist()) <= {0, 10, 20}
    assert type(model.predict(X)) is np.ndarray
    assert isinstance(model.predict_proba(device_X), cupy.ndarray)


@both
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_moves_between_the_devices(cupy, estimator, solver):
    """The optimizer's state moves along: four epochs on alternating devices equal four epochs on one."""
    X, y = data_for(estimator)
    options = {**SMALL, "solver": solver}
    whole = estimator(**{**options, "max_iter": 4}).fit(X, y)
    parts = estimator(**options)
    classes = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    for i, x in enumerate((X, cupy.asarray(X), cupy.asarray(X), X)):
        parts.partial_fit(x, y, **(classes if i == 0 else {}))
        assert parts.device_ == ("cuda" if i in (1, 2) else "cpu")
        parts = copy.deepcopy(parts)
        assert parts.device_ == ("cuda" if i in (1, 2) else "cpu")
    for actual, expected in zip(weights(parts), weights(whole), strict=True):
        np.testing.assert_allclose(actual, expected, **CLOSE)
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, **CLOSE)
    assert parts.t_ == whole.t_ == 480


@both
def test_warm_start(cupy, estimator):
    X, y = data_for(estimator)
    options = {**SMALL, "n_iter_no_change": 100}
    model = estimator(**{**options, "max_iter": 2}, warm_start=True, device="cuda").fit(X, y).fit(X, y)
    whole = estimator(**{**options, "max_iter": 4}).fit(X, y)
    for actual, expected in zip(weights(model), weights(whole), strict=True):
        np.testing.assert_allclose(actual, expected, **CLOSE)


@both
def test_every_epoch_has_the_order_of_the_cpu(cupy, estimator, monkeypatch):
    orders = {"cpu": [], "cuda": []}
    draw = Batches._draw_order

    def spy(batches, stream):
        draw(batches, stream)
        orders[batches.device].append(to_host(batches.order).tolist())

    monkeypatch.setattr(Batches, "_draw_order", spy)
    X, y = data_for(estimator)
    for device in orders:
        estimator(**{**SMALL, "shuffle": True}, device=device).fit(X, y)
    assert len({tuple(order) for order in orders["cuda"]}) == 3
    assert orders["cuda"] == orders["cpu"]


@both
@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping(cupy, estimator, weighted):
    X, y = data_for(estimator, 200)
    fit_options = {"sample_weight": np.random.default_rng(0).uniform(0.2, 3.0, len(X))} if weighted else {}
    # At this learning rate the best epoch, whose weights are restored, is not the last.
    options = {"learning_rate_init": 0.2, "max_iter": 8, "random_state": 0}
    options |= {"hidden_layer_sizes": (8,), "early_stopping": True}
    on_cpu = estimator(**options).fit(X, y, **fit_options)
    if weighted:
        fit_options = {"sample_weight": cupy.asarray(fit_options["sample_weight"])}
    on_cuda = estimator(**options).fit(cupy.asarray(X), cupy.asarray(y), **fit_options)
    assert on_cuda.n_iter_ == on_cpu.n_iter_ == 8
    assert np.argmax(on_cpu.validation_scores_) < 7
    np.testing.assert_allclose(on_cuda.validation_scores_, on_cpu.validation_scores_, **CLOSE)
    np.testing.assert_allclose(on_cuda.validation_loss_curve_, on_cpu.validation_loss_curve_, **CLOSE)
    for actual, expected in zip(weights(on_cuda), weights(on_cpu), strict=True):
        np.testing.assert_allclose(cupy.asnumpy(actual), expected, **CLOSE)


@both
def test_a_model_unpickles_without_cuda(cupy, estimator, monkeypatch):
    X, y = data_for(estimator)
    model = estimator(**SMALL).fit(cupy.asarray(X), cupy.asarray(y))
    expected = cupy.asnumpy(outputs(model, cupy.asarray(X)))
    text = pickle.dumps(model)
    assert b"cupy" not in text.replace(b"_cupy_inputs", b"").replace(b"_cupy_labels", b"")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "cupy", None)
        without.setitem(sys.modules, "steepest._cuda", None)
        loaded = pickle.loads(text)
        assert loaded.device_ == "cpu"
        np.testing.assert_allclose(outputs(loaded, X), expected, rtol=0, atol=1e-12)
        assert all(type(w) is np.ndarray for w in weights(loaded))
        assert type(loaded.predict(X)) is np.ndarray
        # Training can continue without CUDA.
        loaded.partial_fit(X, y)
    # With CUDA, CuPy arrays still give CuPy arrays.
    loaded = pickle.loads(text)
    on_cuda = outputs(loaded, cupy.asarray(X))
    assert isinstance(on_cuda, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(on_cuda), expected, rtol=0, atol=1e-12)


@both
def test_divergence_keeps_finite_weights(cupy, estimator):
    X, y = data_for(estimator)
    scale = 1e200 if estimator is MLPClassifier else 1.0
    model = estimator(
        hidden_layer_sizes=(8,),
        activation="identity",
        solver="sgd",
        learning_rate_init=1e200,
        batch_size=50,
        device="cuda",
    )
    with pytest.raises(
        steepest.DivergenceError,
        match=rf"^\[{estimator.__name__}\] training diverged in epoch \d+, step \d of 3",
    ):
        model.fit(scale * X, y)
    assert all(np.isfinite(w).all() for w in weights(model))


def test_the_command_line(cupy, tmp_path, capsys):
    arguments = ["train", "--epochs", "1", "--hidden", "8", "--output", str(tmp_path)]
    assert cli.main([*arguments, "--device", "cuda"]) == 0
    on_cuda = capsys.readouterr().out
    model = steepest.load(tmp_path / "model.safetensors")
    assert (model.device, model.device_) == ("cuda", "cpu")
    assert cli.main(arguments) == 0

    # The training is the same except for times and paths, and up to float32 rounding.
    def shown(text):
        return [float(n) for n in re.findall(r"(?:loss|accuracy) ([\d.]+)", text)]

    np.testing.assert_allclose(shown(on_cuda), shown(capsys.readouterr().out), rtol=0, atol=0.01)


# ---------------------------------------------------------------------------------------------------- errors


@both
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_bad_item_is_named(cupy, estimator, bad):
    X, y = data_for(estimator)
    model = estimator(**SMALL).fit(cupy.asarray(X), y)
    X[7, 3] = X[9, 0] = bad
    kind = "NaN" if np.isnan(bad) else "infinity"
    for call in (lambda: estimator().fit(cupy.asarray(X), y), lambda: model.predict(cupy.asarray(X))):
        with pytest.raises(
            ValueError, match=rf"^\[{estimator.__name__}\] X is {bad} at row 7, column 3\. .*{kind}"
        ):
            call()


def test_a_number_too_large_for_the_network_is_named(cupy):
    X, y = data_for(MLPClassifier, dtype=np.float32)
    model = MLPClassifier(**SMALL).fit(cupy.asarray(X), y)
    large = X.astype(np.float64)
    large[4, 2] = 1e300
    with (
        np.errstate(over="ignore"),
        pytest.raises(
            ValueError, match=r"X is 1e\+300 at row 4, column 2\. .*too large for dtype\('float32'\)"
        ),
    ):
        model.predict(cupy.asarray(large))


@both
def test_bad_inputs(cupy, estimator):
    X, y = data_for(estimator)
    device_X = cupy.asarray(X)
    model = estimator(**SMALL).fit(device_X, y)
    name = estimator.__name__
    for call, match in (
        (lambda: estimator().fit(device_X[0], y), "Expected 2D array, got 1D array instead"),
        (lambda: estimator().fit(cupy.asarray(X.astype(complex)), y), "Complex data not supported"),
        (lambda: estimator().fit(device_X[:0], y[:0]), r"Found array with 0 sample\(s\)"),
        (lambda: estimator().fit(device_X[:, :0], y), r"Found array with 0 feature\(s\)"),
        (lambda: estimator().fit(device_X, y[:-1]), "inconsistent numbers of samples"),
        (lambda: estimator().fit(device_X, None), "requires y to be passed"),
        (lambda: model.predict(device_X[:, :3]), rf"X has 3 features, but {name} is expecting 10 features"),
        (lambda: estimator().fit(device_X, y, sample_weight=np.zeros(len(y))), r"(?i)zero"),
    ):
        with pytest.raises(ValueError, match=match) as caught:
            call()
        assert str(caught.value).startswith(f"[{name}] ") or "sample weight" in str(caught.value).lower()
    with pytest.raises(NotFittedError):
        clone(model).predict(device_X)


@both
def test_cupy_arrays_and_the_cpu_exclude_each_other(cupy, estimator):
    X, y = data_for(estimator)
    match = rf"^\[{estimator.__name__}\] X is a CuPy array, but device is 'cpu'.*cupy\.asnumpy"
    with pytest.raises(ValueError, match=match):
        estimator(device="cpu").fit(cupy.asarray(X), y)
    model = estimator(**SMALL, device="cpu").fit(X, cupy.asarray(y))
    assert model.device_ == "cpu"
    with pytest.raises(ValueError, match=match):
        model.predict(cupy.asarray(X))


@both
def test_data_that_do_not_fit_into_the_memory_of_the_gpu(cupy, estimator, monkeypatch):
    asarray = cupy.asarray

    def full(a, *args, **kwargs):
        if np.shape(a) == (120, 10):
            raise MemoryError("Out of memory allocating 9,600 bytes")
        return asarray(a, *args, **kwargs)

    monkeypatch.setattr(cupy, "asarray", full)
    with pytest.raises(
        MemoryError, match=rf"^\[{estimator.__name__}\] the data, 0\.00 GiB, do not fit .*partial_fit"
    ):
        estimator(device="cuda").fit(*data_for(estimator))


@both
def test_missing_cuda_is_an_error(no_cuda, estimator):
    with pytest.raises(
        RuntimeError,
        match=rf"^\[{estimator.__name__}\] device='cuda' is not available: this build .* Use device='cpu'",
    ):
        estimator(device="cuda").fit(*data_for(estimator))


@both
def test_missing_driver_is_an_error(cupy, estimator, monkeypatch):
    module = sys.modules["steepest._cuda"]
    monkeypatch.setattr(module, "info", lambda: {"problem": "no NVIDIA driver was found"}, raising=False)
    with pytest.raises(
        RuntimeError, match=r"is not available: no NVIDIA driver was found\. Use device='cpu'"
    ):
        estimator(device="cuda").fit(*data_for(estimator))
    estimator(max_iter=1).fit(*data_for(estimator))


@both
def test_missing_cupy_is_an_error(cupy, estimator, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(
        RuntimeError, match="is not available: CuPy is not installed; install it by `pip install"
    ):
        estimator(device="cuda").fit(*data_for(estimator))


def test_regression_of_several_outputs(cupy):
    X, y = data_for(MLPRegressor)
    Y = np.stack([y, -y], axis=1)
    on_cuda = MLPRegressor(**SMALL).fit(cupy.asarray(X), cupy.asarray(Y))
    on_cpu = MLPRegressor(**SMALL).fit(X, Y)
    predicted = on_cuda.predict(cupy.asarray(X))
    assert predicted.shape == (120, 2)
    np.testing.assert_allclose(cupy.asnumpy(predicted), on_cpu.predict(X), rtol=0, atol=1e-8)
