"""Damaged or malicious model files raise a ValueError that names file and field, and take little memory."""

from __future__ import annotations

import re

import numpy as np
import pytest
from backends import run_python
from estimator_cases import ALL_ESTIMATORS, outputs, small_data, small_model
from memory import PEAK
from model_files import parts, rewrite, save_as_first_versions
from safetensors.numpy import load_file, save_file

import steepest
from steepest import nn
from steepest.neural_network import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.cpu_only("it does not test kernels"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model"


def network():
    return nn.Network([nn.Linear(30, 20), nn.Dropout(0.5), nn.PReLU(20), nn.Linear(20, 5)], seed=1)


def fitted():
    model = MLPClassifier((4,), max_iter=2, random_state=np.random.RandomState(0))
    return model.fit(np.eye(6), np.array(["a", "b", "c"])[np.arange(6) % 3])


# --------------------------------------------------------------------------------------------------- the checksum


def test_a_flipped_bit_is_noticed_wherever_it_is(path, rng):
    steepest.save(network(), path)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    anywhere = rng.integers(8 * header, 8 * len(content), 60)
    for bit in (*range(0, 8 * header, 37), *anywhere):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"^\[load\] {re.escape(str(path))} "):
            steepest.load(path)


def test_what_another_program_has_changed_is_noticed(path):
    """A program changed the tensors but kept the metadata strings."""
    steepest.save(network(), path)
    header, _, tensors = parts(path)
    tensors["0.bias"] += 1
    save_file(tensors, path, header)
    with pytest.raises(ValueError, match=r"is damaged: it(s checksum is| has no checksum)"):
        steepest.load(path)


@pytest.mark.parametrize("estimator", ALL_ESTIMATORS)
def test_files_of_the_first_versions_are_read(estimator, path):
    """Such files have no checksum, and the package safetensors wrote them."""
    X, *targets = small_data(estimator)
    model = small_model(estimator, max_iter=3)
    save_as_first_versions(model.fit(X, *targets), path)
    for expected, found in zip(outputs(model, X), outputs(steepest.load(path), X), strict=True):
        assert found.tobytes() == expected.tobytes()


def test_tensors_of_every_dtype_are_read_and_written_as_others_do(path):
    """Tensors of every dtype, and empty ones, pass between safetensors and this package in both directions."""
    dtypes = [*np.typecodes["AllInteger"], *"efd?"]
    arrays = [np.arange(3).astype(d) for d in dtypes] + [np.array(1.5), np.zeros((0, 2), np.int8)]
    model = MLPClassifier(alpha=arrays)
    steepest.save(model, path)
    for stored, array in zip(
        (load_file(path)["parameters.alpha" + f".{i}"] for i in range(len(arrays))), arrays, strict=True
    ):
        assert (stored.dtype, stored.shape, stored.tobytes()) == (array.dtype, array.shape, array.tobytes())
    save_as_first_versions(model, path)
    np.testing.assert_equal(steepest.load(path).alpha, arrays)


# -------------------------------------------------------------------------------------------------- crafted files


def state_of(model):
    return model["state"]["_random_state"]["$random_state"]


def change(model, tensors, what):
    """Change the description or the tensors of a fitted perceptron."""
    mt19937 = state_of(model)["state"]
    network = model["state"]["_network"]["$network"]
    linear = network["layers"]["$tuple"][0]["fields"]
    if what.startswith("pos"):
        mt19937["pos"] = {"pos+": 625, "pos-": -1, "pos~": 1.5}[what]
    elif what == "key":
        tensors[mt19937["key"]["$tensor"]] = np.ones(3, np.uint32)
    elif what == "zeros":  # with a key of zeros the polar method would loop for ever
        tensors[mt19937["key"]["$tensor"]][:] = 0
    elif what == "gauss":
        state_of(model)["has_gauss"] = 2
    elif what == "layer":
        linear["n_in"] = 10**12
    elif what == "passes":
        network["passes"] = 10**30
    elif what == "seed":
        network["seed"] = "7"
    elif what == "dtype":
        network["dtype"] = {"$dtype": "<f2"}
    elif what == "strings":
        model["state"]["_classes"] = {"$array": ["a"] * 1000, "shape": [1000], "dtype": "<U999999"}
    elif what == "shape":
        model["state"]["_classes"]["shape"] = [10**30]
    elif what == "float":
        model["parameters"]["alpha"] = {"$float": 10**400}
    elif what == "twice":
        model["parameters"]["alpha"] = [network["parameters"]["0.weight"]] * 2
    elif what == "optimizer":
        model["state"]["_optimizer"]["lr"] = "fast"
    elif what == "steps":
        tensors[model["state"]["_optimizer"]["steps"][0]["$tensor"]] -= 10
    else:
        raise AssertionError(what)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        *((what, r"state\._random_state: this is no state of MT19937") for what in ("pos+", "pos-", "pos~")),
        *((what, r"state\._random_state: this is no state of MT19937") for what in ("key", "zeros", "gauss")),
        ("layer", r"state\._network: the parameters of its network do not fit its layers"),
        ("passes", r"state\._network: OverflowError"),
        ("seed", r"state\._network: TypeError"),
        ("dtype", r"state\._network: the parameters of its network do not fit"),
        ("strings", r"state\._classes: its strings would take more than 64 MiB of memory"),
        ("shape", r"state\._classes: "),
        ("float", r"parameters\.alpha: OverflowError"),
        ("twice", r"there is no tensor 'network.0.weight', or another field has it"),
        ("optimizer", r"\[Adam\] lr must be a number in the state, got 'fast'"),
        ("steps", r"\[Adam\] steps counts steps, and cannot be negative"),
    ],
)
def test_a_crafted_model_is_named(what, message, path):
    steepest.save(fitted(), path)
    _, model, tensors = parts(path)
    change(model, tensors, what)
    rewrite(path, model, tensors)
    with pytest.raises(ValueError, match=rf"^\[load\] .*model was written by steepest 9\.1, .*: {message}"):
        steepest.load(path)


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ({"model": "[" * 100_000}, "cannot read it: "),
        ({"model": '{"$network": ' + "9" * 5000 + "}"}, "cannot read it: "),
        ({"model": '{"$network": '}, "cannot read it: "),
        ({"format_version": "9" * 5000}, "has format 99999999999999999999, written"),
        ({"format_version": "²"}, "has format ², written"),
    ],
    ids=["nested", "long number", "cut off", "long version", "superscript"],
)
def test_a_crafted_header_is_named(strings, message, path):
    rewrite(path, strings.pop("model", "{}"), {"a": np.zeros(1)}, **strings)
    with pytest.raises(ValueError, match=rf"^\[load\] .*model .*{message}"):
        steepest.load(path)


def framed(header):
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    "content",
    [
        framed(b"{" + b'"a":[' * 50_000),
        framed(b"[]"),
        framed(b'{"a":1}'),
        framed(b'{"__metadata__":{"format":1}}'),
        framed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}') + bytes(8),
        framed(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,-4]}}'),
        framed(b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}') + bytes(4),
        framed(b'{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}') + bytes(4),
        framed(b'{"a":{"dtype":"U8","shape":[' + b"1," * 70 + b'1],"data_offsets":[0,1]}}') + bytes(1),
        framed(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}') + bytes(2),
        framed(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}') + bytes(2),
        (2**62).to_bytes(8, "little") + b"{}",
    ],
    ids=lambda content: repr(content[8:40]),
)
def test_a_header_that_is_none_of_the_format(content, path):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^\[load\] .*model is (truncated or damaged|no model)"):
        steepest.load(path)


# --------------------------------------------------------------------------------------------------------- memory


def wide_perceptron():
    X = np.ones((9, 800), np.float32)
    return MLPRegressor("squared_error", (2500,), max_iter=1).fit(X, X)


@pytest.mark.parametrize(
    ("make", "most_loading", "most_saving"),
    [
        (lambda: nn.Network([nn.Linear(2000, 2000, init=0.0)]), 1.25, 0.25),
        # The optimizer's moments, two thirds of the file, are read before the optimizer exists.
        (wide_perceptron, 2.0, 1.0),
    ],
    ids=["network", "perceptron"],
)
def test_memory_is_that_of_the_model(make, most_loading, most_saving, path):
    """Loading reads into the network's own arrays, and saving writes from them, without copies."""
    steepest.save(make(), path)
    run_python(
        f"""{PEAK}
import os, steepest
steepest.load, steepest.neural_network
size = os.path.getsize({str(path)!r})
before = peak()
model = steepest.load({str(path)!r})
loading, before = (peak() - before) / size, peak()
steepest.save(model, {str(path)!r})
saving = (peak() - before) / size
assert loading < {most_loading}, loading
assert saving < {most_saving}, saving
"""
    )


def test_a_file_asks_for_no_memory_that_it_does_not_fill(path):
    """A description of a terabyte layer without its tensors is rejected before a network is allocated."""
    steepest.save(nn.Network([nn.Linear(4, 2)]), path)
    _, model, _ = parts(path)
    model["$network"]["layers"]["$tuple"][0]["fields"].update(n_in=500_000, n_out=500_000)
    rewrite(path, model, {})
    run_python(
        f"""{PEAK}
import steepest
steepest.load, steepest.neural_network
before = peak()
try:
    steepest.load({str(path)!r})
except ValueError as error:
    assert "there is no tensor '0.weight'" in str(error), error
else:
    raise SystemExit("it was loaded")
assert peak() - before < 1 << 24
"""
    )
