"""Saving and loading of models: every estimator and network is restored unchanged."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import sys

import joblib
import numpy as np
import pytest
from backends import run_python
from estimator_cases import ALL_ESTIMATORS, outputs, small_data, small_model
from safetensors import safe_open
from safetensors.numpy import load_file
from sklearn.linear_model import LinearRegression

import steepest
from steepest import nn, optim
from steepest._saving.model_state import encode_model
from steepest.neural_network import MLPClassifier, MLPRegressor
from steepest.training import images

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")
every_estimator = pytest.mark.parametrize("estimator", ALL_ESTIMATORS)


def assert_same(a, b):
    """Assert that parameters, fitted attributes and their types are equal."""
    assert type(a) is type(b)
    np.testing.assert_equal(encode_model(a)[0], encode_model(b)[0])
    for x, y in zip(encode_model(a)[1].values(), encode_model(b)[1].values(), strict=True):
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


def by_file(model, folder):
    steepest.save(model, folder / "model.safetensors")
    return steepest.load(folder / "model.safetensors")


def by_joblib(model, folder):
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


def by_pickle(model, folder):
    return pickle.loads(pickle.dumps(model))


def fast(estimator):
    """Make an estimator that takes few epochs to fit."""
    return small_model(estimator, max_iter=3, random_state=0)


# ----------------------------------------------------------------------------------------------------- round trips


@every_estimator
@pytest.mark.parametrize("way", [by_file, by_joblib, by_pickle])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_every_estimator_comes_back(estimator, way, dtype, tmp_path):
    data = small_data(estimator, dtype=dtype)
    model = fast(estimator).fit(*data)
    twin = way(model, tmp_path)
    assert_same(model, twin)
    for expected, found in zip(outputs(model, data[0]), outputs(twin, data[0]), strict=True):
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()


@every_estimator
def test_training_goes_on(estimator, tmp_path):
    data = small_data(estimator)
    model = fast(estimator).fit(*data)
    twin = by_file(model, tmp_path)
    for each in (model, twin):
        if hasattr(each, "partial_fit"):
            each.partial_fit(*data)
        if "warm_start" in each.get_params():
            each.set_params(warm_start=True)
        each.fit(*data)
    assert_same(model, twin)


@every_estimator
def test_an_estimator_that_is_not_fitted(estimator, tmp_path):
    assert repr(by_file(fast(estimator), tmp_path)) == repr(fast(estimator))


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["north", "süd", ""]),
        np.array(["north", "east", "x"], dtype=object),
        np.array([3, -1, 7]),
        np.array([3, 1, 7], np.uint8),
        np.array([2.0, -1.0, 0.0]),
        np.array([True, False, True]),
    ],
    ids=lambda a: a.dtype.str,
)
def test_labels(labels, tmp_path):
    X, y = np.eye(6), labels[np.arange(6) % 3]
    model = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, y)
    twin = by_file(model, tmp_path)
    assert twin.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(twin.classes_, model.classes_)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_networks(dtype, tmp_path, rng):
    layers = [
        nn.Linear(7, 5, init="he_uniform"),
        nn.ReLU(),
        nn.Linear(5, 4, bias=False),
        nn.Tanh(),
        nn.Linear(4, 2),
    ]
    net = nn.Network(layers, seed=3, dtype=dtype)
    twin = by_file(net, tmp_path)
    assert twin.layers == net.layers
    assert [type(layer) for layer in twin.layers] == [type(layer) for layer in layers]
    assert twin.arena.tobytes() == net.arena.tobytes()
    x = rng.standard_normal((3, 7)).astype(dtype)
    assert twin.predict(x).tobytes() == net.predict(x).tobytes()


def test_the_tensors_are_there_for_other_programs(tmp_path):
    net = nn.Network([nn.Linear(3, 2), nn.Tanh()])
    steepest.save(net, tmp_path / "net")
    tensors = load_file(tmp_path / "net")
    assert set(tensors) == {"0.weight", "0.bias"}
    np.testing.assert_array_equal(tensors["0.weight"], net.parameters()[0].value)
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=1).fit(np.eye(3), [1.0, 2.0, 3.0])
    steepest.save(model, tmp_path / "model")
    np.testing.assert_array_equal(load_file(tmp_path / "model")["network.0.weight"], model.coefs_[0])


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, 2.5, True, "text", ("a", (None,))],
        {"a": {"b": [np.inf, -np.inf]}, "": []},
        {1: "one", "two": 2, (3, 4): 0.5, "$tensor": "no tensor"},
        10**30,
        5e-324,
        np.float32(0.1),
        np.int64(-3),
        np.bool_(True),
        np.array(2.5),
        np.zeros((0, 3), np.float32),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(20)[::-3],
        np.arange(3).astype(">i4"),
        np.array([["a", "bc"], ["", "d"]]),
        np.array(["a", 1, None, 2.5], dtype=object),
        np.dtype(np.float32),
        nn.ReLU(),
        nn.MeanSquaredError(half=True),
    ],
    ids=repr,
)
def test_values(value, tmp_path):
    """Parameters of each of these types are restored with value and type."""
    found = by_file(MLPClassifier(alpha=value), tmp_path).alpha
    assert type(found) is type(value)
    np.testing.assert_equal(found, value)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype.newbyteorder("=")
        assert found.shape == value.shape
        assert found.flags.writeable


def parts():
    """Make one object of each layer, loss and schedule class; files name these classes."""
    schedules = optim.schedules
    without_defaults = {
        images.Augmentation: (2, True, False, None, 3, 0.2),
        nn.Activation: ("elu", 0.5),
        nn.AvgPool2d: ((2, 3), None, 1, True),
        nn.BatchNorm: (4, 1e-3, False, 0.2),
        nn.Conv1d: (4, 6, 3, 2, ((1, 0),)),
        nn.Conv2d: (4, 6, (3, 2), 1, "same", 1, 2),
        nn.ConvTranspose2d: (4, 6, 3, (2, 1)),
        nn.Embedding: (10, 4, 0.1),
        nn.GRU: (3, 4, 2, True, 0.1, "last"),
        nn.GroupNorm: (4, 1e-5, True, 2),
        nn.LSTM: (3, 4),
        nn.LayerNorm: (4,),
        nn.Linear: (4, 3, False, "orthogonal"),
        nn.MaxPool2d: (3, (2, 1)),
        nn.MultiHeadAttention: (8, 4, 2, True, True),
        nn.ParameterSpec: ((4, 3), "he_normal", True),
        nn.Permute: ((1, 0),),
        nn.PositionalEncoding: (8, "learned", 0.1),
        nn.RMSNorm: (4, 1e-6),
        nn.RNN: (3, 4, 1, False, 0.0, "state"),
        nn.Reshape: ((4, 3),),
        nn.Residual: (nn.Linear(4, 4), nn.ReLU()),
        nn.TransformerDecoder: (8, 2, 3),
        nn.TransformerEncoder: (8, 2, 3, 5, "post"),
        schedules.Constant: (0.5,),
        schedules.Cosine: (0.5, 10),
        schedules.InverseScaling: (0.5,),
        schedules.OneCycle: (0.5, 10),
        schedules.Step: (0.5, 3),
        schedules.WarmUp: (5, schedules.Constant(0.5)),
    }
    not_in_files = nn.Parameter | nn.Value | nn.GradientReport | nn.TensorReport | nn.ComparedDerivative
    kinds = [getattr(module, name) for module in (nn, schedules, images) for name in module.__all__]
    kinds = [kind for kind in kinds if dataclasses.is_dataclass(kind) and not issubclass(kind, not_in_files)]
    return [kind(*without_defaults.get(kind, ())) for kind in kinds]


@pytest.mark.parametrize("part", parts(), ids=repr)
def test_parts(part, tmp_path):
    found = by_file(MLPClassifier(alpha=part), tmp_path).alpha
    assert type(found) is type(part)
    assert found == part
    assert repr(found) == repr(part)


def test_dropout_goes_on(tmp_path, rng):
    """A loaded network uses the dropout masks that the saved one would have used next."""
    net = nn.Network([nn.Dropout(0.5), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 6, tied_to=1)], seed=9)
    x = rng.standard_normal((5, 6)).astype(np.float32)
    net.forward(x)
    twin = by_file(net, tmp_path)
    assert twin.seed == 9
    for _ in range(2):
        assert twin.forward(x).tobytes() == net.forward(x).tobytes()
    assert set(load_file(tmp_path / "model.safetensors")) == {"1.weight", "1.bias", "3.bias"}


def test_not_a_number(tmp_path):
    assert np.isnan(by_file(MLPClassifier(alpha=float("nan")), tmp_path).alpha)


def test_a_random_state_goes_on(tmp_path):
    model = MLPClassifier(random_state=np.random.RandomState(4))
    model.random_state.standard_normal(3)
    twin = by_file(model, tmp_path)
    np.testing.assert_array_equal(twin.random_state.standard_normal(5), model.random_state.standard_normal(5))


def test_feature_names(tmp_path):
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=1).fit(np.eye(3), [1.0, 2.0, 3.0])
    model.feature_names_in_ = np.array(["length", "width", "height"], dtype=object)
    np.testing.assert_array_equal(by_file(model, tmp_path).feature_names_in_, model.feature_names_in_)


class Mine(MLPClassifier):
    pass


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            LinearRegression(),
            "an object of type LinearRegression is neither a Network nor an estimator of steepest",
        ),
        (Mine(), "an object of type Mine is neither a Network nor"),
        (3, "an object of type int is neither a Network nor"),
        (
            MLPClassifier(activation=len),
            r"MLPClassifier\.activation is of type builtins\.builtin_function_or_method",
        ),
        (
            MLPClassifier(alpha=[0, {"a": {1}}]),
            r"MLPClassifier\.alpha\[1\]\.a is of type builtins\.set, which cannot",
        ),
        (MLPClassifier(alpha=np.longdouble(1)), "MLPClassifier.alpha is an array of dtype"),
        (MLPClassifier(alpha=np.array(["2020-01-01"], "M8[D]")), "MLPClassifier.alpha is an array of dtype"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_kept_is_refused(model, message, tmp_path):
    with pytest.raises(TypeError, match=rf"^\[save\] {message}"):
        steepest.save(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------- devices


def test_a_model_of_cuda_loads_without_it(cupy, tmp_path, monkeypatch):
    X, y = small_data(MLPClassifier)
    model = MLPClassifier((4,), max_iter=1, device="cuda", random_state=0).fit(X, y)
    net = nn.Network([nn.Linear(6, 3)], device="cuda")
    steepest.save(model, tmp_path / "model")
    steepest.save(net, tmp_path / "net")
    probabilities = model.predict_proba(X)
    for name, device in (("model", "device_"), ("net", "device")):
        assert getattr(steepest.load(tmp_path / name), device) == "cpu"
        moved = steepest.load(tmp_path / name, device="cuda")
        assert getattr(moved, device) == "cuda"
    moved = steepest.load(tmp_path / "model", device="cuda")
    np.testing.assert_array_equal(moved.predict_proba(X), probabilities)
    assert moved.partial_fit(X, y).device_ == "cuda"

    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setitem(sys.modules, "steepest._cuda", None)
    as_saved = steepest.load(tmp_path / "model")
    assert (as_saved.device, as_saved.device_) == ("cuda", "cpu")
    # Float32 sums of six terms in different orders.
    np.testing.assert_allclose(as_saved.predict_proba(X), probabilities, rtol=1e-5)
    on_cpu = steepest.load(tmp_path / "model", device="cpu")
    assert on_cpu.device == "cpu"
    assert on_cpu.fit(X, y).device_ == "cpu"


def test_cuda_that_is_missing(no_cuda, tmp_path):
    steepest.save(MLPClassifier(), tmp_path / "model")
    with pytest.raises(RuntimeError, match=r"^\[load\] device='cuda' is not available: this build"):
        steepest.load(tmp_path / "model", device="cuda")
    with pytest.raises(ValueError, match=r"^\[load\] device 'gpu' is not one of: cpu, cuda"):
        steepest.load(tmp_path / "model", device="gpu")
    assert steepest.load(tmp_path / "model", device="cpu").device == "cpu"


# --------------------------------------------------------------------------------------------------------- format


def test_the_header_is_for_readers_too(tmp_path):
    steepest.save(MLPClassifier((7,), alpha=0.5), tmp_path / "model")
    with safe_open(tmp_path / "model", framework="np") as file:
        header = file.metadata()
    assert (header["format"], header["format_version"]) == ("steepest", "1")
    assert header["steepest_version"] == steepest.__version__
    model = json.loads(header["model"])
    assert model["$estimator"] == "steepest.neural_network.MLPClassifier"
    assert model["parameters"]["hidden_layer_sizes"] == {"$tuple": [7]}
    assert model["parameters"]["alpha"] == 0.5


def test_saving_loads_late():
    run_python(
        "import sys, steepest; assert 'safetensors' not in sys.modules\n"
        "steepest.save, steepest.load; assert 'sklearn' not in sys.modules"
    )
