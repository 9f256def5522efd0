"""Invalid arguments of operations (shapes, labels, activations, numbers) raise errors that start with `[operation]`."""

from __future__ import annotations

import re

import numpy as np
import pytest
from backends import misaligned
from cases import REFUSED

from steepest import kernels as K

SHAPE_ERRORS = {
    "matmul": [((3, 4), (5, 6)), ((3,), (3, 4)), ((3, 4), (4,)), ((2, 3, 4), (4, 2)), ((), ())],
    "linear": [((3, 4), (5, 6)), ((3, 4), (4, 6), (5,)), ((3, 4), (4, 6), (6, 1)), ((4,), (4, 6))],
    "linear_backward": [((3, 6), (3, 4), (5, 6)), ((2, 6), (3, 4), (4, 6)), ((3, 5), (3, 4), (4, 6))],
    "conv2d": [
        ((1, 3, 3, 2), (1, 1, 3, 2)),
        ((1, 3, 3, 2), (4, 1, 2, 2)),
        ((1, 3, 3, 2), (1, 1, 2, 2), (3,)),
    ],
    "conv2d_transpose": [((1, 3, 3, 2), (1, 1, 2, 3)), ((1, 3, 3, 2), (1, 1, 4, 2), (2,)), ((3, 2), (3, 2))],
    "conv2d_backward": [
        ((1, 3, 3, 2), (1, 4, 3, 2), (1, 1, 2, 2)),
        ((1, 3, 3, 2), (2, 3, 3, 2), (1, 1, 2, 2)),
        ((1, 3, 3, 2), (1, 3, 3, 2), (1, 1, 2, 3)),
    ],
    "activation_backward": [((3, 4), (4, 3)), ((3, 4), (3,))],
    "squared_error": [((3, 4), (4, 3)), ((3, 4), (3,)), ((3, 4), (3, 4), (4,)), ((3, 4), (3, 4), (3, 1))],
    "prelu": [
        ((3, 4), (3,)),
        ((3, 4), (1, 4)),
        ((3, 4), ()),
        ((4,), (4,)),
        ((3, 4), (0,)),
        ((2, 3, 4), (4,)),
    ],
    "prelu_backward": [
        ((3, 4), (4, 3), (4,)),
        ((3, 4), (3, 4), (3,)),
        ((3, 4), (3, 4), (1, 4)),
        ((4,), (4,), (4,)),
    ],
    "softmax_backward": [((3, 4), (4, 3)), ((3, 4), (3,)), ((4,), (4,))],
    "softmax_cross_entropy": [((3, 4), (4, 3)), ((3, 4), (3, 4), (4,)), ((3,), (3,))],
}


@pytest.mark.parametrize(
    ("name", "shapes"), [(n, s) for n, many in SHAPE_ERRORS.items() for s in many], ids=str
)
def test_shapes_that_do_not_match(name, shapes):
    with pytest.raises(REFUSED, match=rf"^\[{name}\] "):
        getattr(K, name)(*(np.ones(s, np.float32) for s in shapes))


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "zero_one_loss"])
@pytest.mark.parametrize("label", [10, 12, 127, -1, -128])
@pytest.mark.parametrize("integer", [np.int8, np.int16, np.int32, np.int64], ids=lambda t: t.__name__)
def test_label_out_of_range(rng, name, label, integer):
    scores = rng.standard_normal((40, 10))
    labels = (np.arange(40) % 10).astype(integer)
    labels[[7, 30]] = label
    text = re.escape(f"[{name}] label {label} at row 7 is outside 0..9")
    out, d_logits = np.array(-5.0), np.full((40, 10), -5.0)
    outputs = {"out": out} if name == "zero_one_loss" else {"loss": out, "d_logits": d_logits}
    for ignored in (None, 3, 300):
        with pytest.raises(ValueError, match=f"^{text}"):
            getattr(K, name)(scores, labels, ignore_label=ignored, **outputs)
        assert out == -5.0
        assert (d_logits == -5.0).all()


def test_label_beyond_int64():
    labels = np.array([0, 2**63 + 1], np.uint64)
    with pytest.raises(ValueError, match=r"^\[softmax_cross_entropy\] label \S+ at row 1 is outside 0\.\.2"):
        K.softmax_cross_entropy(np.ones((2, 3)), labels)


BAD_LABELS = {
    "float": np.zeros(4),
    "bool_matrix": np.zeros((4, 3), bool),
    "short": np.zeros(3, np.int64),
    "long": np.zeros(5, np.int64),
    "column": np.zeros((4, 1), np.int64),
    "byte_swapped": np.zeros(4, np.dtype(np.int32).newbyteorder()),
    "misaligned": misaligned(np.zeros(4, np.int32)),
    "list": [0, 0, 0, 0],
    "none": None,
    "strings": np.array(["a", "b", "c", "d"]),
}


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "zero_one_loss"])
@pytest.mark.parametrize("kind", BAD_LABELS)
def test_bad_labels(name, kind):
    with pytest.raises(REFUSED, match=rf"^\[{name}\] "):
        getattr(K, name)(np.ones((4, 3)), BAD_LABELS[kind])


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "squared_error", "zero_one_loss"])
def test_empty_batch_has_no_mean_loss(name, dtype):
    second = np.ones((0, 3), dtype) if name == "squared_error" else np.zeros(0, np.int64)
    with pytest.raises(ValueError, match=rf"^\[{name}\] .*empty"):
        getattr(K, name)(np.ones((0, 3), dtype), second)


def calls_with_activation(activation):
    """Calls of all functions that take an activation."""
    x, image = np.ones((2, 2)), np.ones((1, 1, 1, 1))
    return (
        lambda: K.activation(x, activation),
        lambda: K.activation_backward(x, x, activation),
        lambda: K.linear(x, x, None, activation),
        lambda: K.linear_backward(x, x, x, activation=activation),
        lambda: K.conv2d(image, image, None, activation),
        lambda: K.conv2d_transpose(image, image, None, activation),
        lambda: K.conv2d_backward(image, image, image, activation=activation),
    )


@pytest.mark.parametrize("bad", ["swish", "", "ReLU", None, 3])
def test_unknown_activation(bad):
    for call in calls_with_activation(bad):
        with pytest.raises(REFUSED, match=r"^\[\w+\] ") as caught:
            call()
        if isinstance(bad, str):
            assert all(name in str(caught.value) for name in K.ACTIVATIONS)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (("relu", 0.1), ValueError, "relu.*takes no parameter"),
        (("leaky_relu", -0.1), ValueError, "slope.*leaky_relu.*is -0.1"),
        (("elu", float("nan")), ValueError, "alpha.*elu.*finite"),
        (("elu", float("inf")), ValueError, "alpha.*elu.*finite"),
        (("elu", "1"), TypeError, "alpha.*elu.*must be a number"),
        (("elu", None), TypeError, "alpha.*elu.*must be a number"),
        (("elu", 1.0, 2.0), TypeError, "a name or a pair"),
        (("elu",), TypeError, "a name or a pair"),
        ((1.0, "elu"), TypeError, "a name or a pair"),
        (("swish", 1.0), ValueError, "'swish' is not one of"),
    ],
    ids=str,
)
def test_bad_parameter_of_an_activation(bad, error, message):
    for call in calls_with_activation(bad):
        with pytest.raises(error, match=rf"^\[\w+\] .*{message}"):
            call()


SHARED64 = np.ones(3)
SHARED = np.ones((3, 3))
BAD_CALLS = {
    "matmul precision": (lambda p: K.matmul(p, p, precision="float8"), "matmul"),
    "sgd momentum without velocities": (
        lambda p: K.sgd_update([p], [p.copy()], lr=0.1, momentum=0.9),
        "sgd_update",
    ),
    "sgd fewer grads": (lambda p: K.sgd_update([p, p.copy()], [p.copy()], lr=0.1), "sgd_update"),
    "sgd more grads": (lambda p: K.sgd_update([p], [p.copy(), p.copy()], lr=0.1), "sgd_update"),
    "sgd grads are params": (lambda p: K.sgd_update([p], [p], lr=0.1), "sgd_update"),
    "sgd lr of float32": (
        lambda p: K.sgd_update([p], [p.copy()], lr=np.array(0.1, np.float32)),
        "sgd_update",
    ),
    "sgd lr is a vector": (lambda p: K.sgd_update([p], [p.copy()], lr=np.array([0.1])), "sgd_update"),
    "sgd lr is text": (lambda p: K.sgd_update([p], [p.copy()], lr="fast"), "sgd_update"),
    "adam step 0": (lambda p: K.adam_update(p, p.copy(), p.copy(), p.copy(), 0), "adam_update"),
    "adam step -1": (lambda p: K.adam_update(p, p.copy(), p.copy(), p.copy(), -1), "adam_update"),
    "adam step of int32": (
        lambda p: K.adam_update(p, p.copy(), p.copy(), p.copy(), np.array(1, np.int32)),
        "adam_update",
    ),
    "adam shared state": (lambda p: K.adam_update(p, p.copy(), SHARED, SHARED, 1), "adam_update"),
    "take_rows float indices": (lambda p: K.take_rows(p, np.zeros(2)), "take_rows"),
    "take_rows of three axes": (
        lambda p: K.take_rows(np.ones((2, 2, 2)), np.zeros(2, np.int64)),
        "take_rows",
    ),
    "take_rows no length": (lambda p: K.take_rows(p, np.zeros(2, np.int64), start=np.array(0)), "take_rows"),
    "take_rows out too long": (
        lambda p: K.take_rows(p, np.zeros(2, np.int64), out=np.ones((3, 3))),
        "take_rows",
    ),
    "sum axis 2": (lambda p: K.sum(p, axis=2), "sum"),
    "argmax axis 3": (lambda p: K.argmax(p, axis=3), "argmax"),
    "look_up in float32": (lambda p: K.look_up(p.astype(np.float32).ravel(), 0), "look_up"),
    "look_up in integers": (lambda p: K.look_up(np.arange(3), 0), "look_up"),
    "look_up in a matrix": (lambda p: K.look_up(np.ones((2, 2)), 0), "look_up"),
    "look_up in nothing": (lambda p: K.look_up(np.ones(0), 0), "look_up"),
    "look_up at a float": (lambda p: K.look_up(np.ones(3), 1.5), "look_up"),
    "look_up into its table": (lambda p: K.look_up(SHARED64, 0, SHARED64[1:2].reshape(())), "look_up"),
    "increment of float": (lambda p: K.increment(np.array(1.0)), "increment"),
    "increment of int32": (lambda p: K.increment(np.array(1, np.int32)), "increment"),
    "increment of vector": (lambda p: K.increment(np.array([1])), "increment"),
    "increment of number": (lambda p: K.increment(3), "increment"),
    "accumulate of float32": (lambda p: K.accumulate(np.array(1, np.float32), np.array(1.0)), "accumulate"),
    "require_finite of float32": (lambda p: K.require_finite(np.array(1, np.float32)), "require_finite"),
    "random_bits below 0": (lambda p: K.random_bits(-1, seed=0), "random_bits"),
    "random_uniform of int": (lambda p: K.random_uniform((3,), seed=0, dtype=np.int32), "random_uniform"),
    "random_uniform below 0": (lambda p: K.random_uniform((-3,), seed=0), "random_uniform"),
    "random_uniform wrong out": (lambda p: K.random_uniform((3,), seed=0, out=np.ones(4)), "random_uniform"),
    "permutation below 0": (lambda p: K.permutation(-1, seed=0), "permutation"),
    "seed below 0": (lambda p: K.random_uniform((3,), seed=-1), "random_uniform"),
    "seed too large": (lambda p: K.random_uniform((3,), seed=2**64), "random_uniform"),
}


@pytest.mark.parametrize("call", BAD_CALLS)
def test_bad_call(call):
    function, name = BAD_CALLS[call]
    p = np.arange(9.0).reshape(3, 3)
    before = p.tobytes()
    with pytest.raises((*REFUSED, IndexError), match=rf"^\[{name}\] "):
        function(p)
    assert p.tobytes() == before
