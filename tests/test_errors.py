"""Bad input: each call is refused with `[operation] ...`, and nothing is half-written."""

from __future__ import annotations

import re

import cases
import numpy as np
import pytest

from steepest import kernels as K

REFUSED = (TypeError, ValueError)
# Nor those that take a float64 array of any length.
WITHOUT_FLOAT_INPUTS = {"increment", "accumulate", "look_up", "take_rows", "random_uniform"}
FLOAT_CASES = [name for name in cases.CASES if name not in WITHOUT_FLOAT_INPUTS]


def operation_names(name):
    """What may stand in the brackets: the function's name, or `activation` for a named activation."""
    function = name.split("/")[0]
    return (function, "activation") if function in K.ACTIVATIONS else (function,)


def assert_refused(case, name, error=REFUSED):
    before = case.bytes()
    with pytest.raises(error) as caught:
        case.run()
    prefixes = tuple(f"[{n}] " for n in operation_names(name))
    assert str(caught.value).startswith(prefixes), str(caught.value)
    assert case.bytes() == before, "half-written"


def misaligned(a):
    """The same values at an address that is no multiple of the item size."""
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def other_float(a):
    return a.astype(np.float64 if a.dtype == np.float32 else np.float32)


# Ways to spoil an array of floats, wherever it stands.
SPOILERS = {
    "other_float": other_float,
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "complex": lambda a: a.astype(np.complex128),
    "integer": lambda a: np.zeros(a.shape, np.int32),
    "object": lambda a: a.astype(object),
    "byte_swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": misaligned,
    "list": lambda a: a.tolist(),
    "string": lambda a: "array",
    "one_axis_more": lambda a: a[None, None],
    "longer": lambda a: np.concatenate([a.ravel(), a.ravel(), a.ravel()[:1]]),
}
OUTPUT_SPOILERS = {**SPOILERS, "read_only": read_only}


def is_valid(name, spoiler):
    """Whether the spoilt input is as good: no other array has its dtype, or any shape will do."""
    if spoiler == "other_float":
        return name in {"zero_one_loss", "argmax"}
    return spoiler in {"one_axis_more", "longer"} and name.endswith("axis=None")


def spoil(case, where, spoiler):
    """Replace one array of the case; `where` is a position, a keyword, or (position, index in a list)."""
    if isinstance(where, str):
        case.kwargs[where] = spoiler(case.kwargs[where])
    elif isinstance(where, tuple):
        position, index = where
        arrays = list(case.args[position])
        arrays[index] = spoiler(arrays[index])
        case.args = (*case.args[:position], arrays, *case.args[position + 1 :])
    else:
        case.args = (*case.args[:where], spoiler(case.args[where]), *case.args[where + 1 :])


def is_float_array(a):
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def places(case):
    """(inputs, outputs): where the float arrays stand."""
    inputs, outputs = [], []
    for i, a in enumerate(case.args):
        if isinstance(a, list):
            written = any(a[0] is w for w in case.written)
            (outputs if written else inputs).append((i, 1))
        elif is_float_array(a):
            inputs.append(i)
    outputs += [k for k, a in case.kwargs.items() if any(a is w for w in case.written)]
    return inputs, outputs


@pytest.mark.parametrize(
    ("name", "spoiler"), [(n, s) for n in FLOAT_CASES for s in SPOILERS if not is_valid(n, s)]
)
def test_bad_input(name, spoiler, dtype):
    inputs, _ = places(cases.make(name, dtype))
    assert inputs
    for where in inputs:
        case = cases.make(name, dtype)
        spoil(case, where, SPOILERS[spoiler])
        assert_refused(case, name)


@pytest.mark.parametrize(
    "spoiler",
    [
        *SPOILERS,
        pytest.param("read_only", marks=pytest.mark.not_on_gpu("CuPy has no arrays that are read-only")),
    ],
)
@pytest.mark.parametrize("name", cases.CASES)
def test_bad_output(name, spoiler, dtype):
    for where in places(cases.make(name, dtype))[1]:
        case = cases.make(name, dtype)
        spoil(case, where, OUTPUT_SPOILERS[spoiler])
        assert_refused(case, name)


# Where biases and the weights of the rows stand, which may be left out.
OPTIONAL = {**dict.fromkeys(("linear", *K.LOSSES), (2,)), "linear_loss": (2, 4), "linear_sgd": (3,)}


@pytest.mark.parametrize("name", FLOAT_CASES)
def test_missing_input(name):
    for where in places(cases.make(name))[0]:
        if where in OPTIONAL.get(name.split("/")[0], ()):
            continue
        case = cases.make(name)
        spoil(case, where, lambda a: None)
        assert_refused(case, name)


def overlaps(a):
    """`a` moved to new memory, and an array of the same shape one element further on in it."""
    flat = np.zeros(a.size + 1, a.dtype)
    moved, shifted = flat[: a.size].reshape(a.shape), flat[1:].reshape(a.shape)
    moved[...] = a
    return moved, shifted


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(
    ("name", "position", "output"),
    [
        ("matmul", 0, "out"),
        ("matmul", 1, "out"),
        ("linear", 0, "out"),
        ("linear_backward", 1, "d_x"),
        ("linear_backward", 2, "d_w"),
        ("take_rows", 0, "out"),
    ],
)
def test_output_over_an_input(name, position, output, shift):
    case = cases.make(name)
    # Square operands, so that every output has the shape of every input.
    square = np.random.default_rng(0).standard_normal((6, 6)).astype(np.float32)
    memory = np.zeros(37, np.float32)
    overlapped, out = memory[:36].reshape(6, 6), memory[shift : shift + 36].reshape(6, 6)
    overlapped[...] = square
    args = [square.copy() if np.ndim(a) == 2 else a for a in case.args]
    if name == "linear":
        args[2] = None
    if name == "take_rows":
        args[1] = np.arange(6)
        case.kwargs["start"] = None
    args[position] = overlapped
    case.args = tuple(args)
    case.kwargs = {k: v for k, v in case.kwargs.items() if not any(v is w for w in case.written)}
    case.kwargs[output] = out
    case.written = [memory]
    assert_refused(case, name, ValueError)


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("activation", "out"),
        ("activation_backward", "out"),
        ("softmax", "out"),
        ("log_softmax", "out"),
        ("softmax_backward", "out"),
        ("prelu", "out"),
        ("prelu_backward", "d_x"),
        ("softmax_cross_entropy", "d_logits"),
        ("squared_error", "d_prediction"),
        ("log_loss", "d_prediction"),
    ],
)
def test_output_shifted_against_an_input(name, output):
    # In place is allowed; partly in place would read what it has written.
    case = cases.make(name)
    moved, shifted = overlaps(case.args[0])
    case.args = (moved, *case.args[1:])
    case.kwargs[output] = shifted
    case.written = [moved.base]
    assert_refused(case, name, ValueError)
    transposed = cases.make(name)
    square = np.random.default_rng(0).standard_normal((5, 5)).astype(np.float32)
    transposed.args = (square, *(a[:5] if a.ndim == 1 else a[:5, :5].copy() for a in transposed.args[1:]))
    transposed.kwargs[output] = square.T
    transposed.written = [square]
    assert_refused(transposed, name, ValueError)


def test_linear_backward_outputs_over_each_other():
    memory = np.zeros(36, np.float32)
    a = np.ones((6, 6), np.float32)
    with pytest.raises(ValueError, match=r"^\[linear_backward\] .*overlap"):
        K.linear_backward(a, a, a, d_x=memory.reshape(6, 6), d_w=memory.reshape(6, 6))
    with pytest.raises(ValueError, match=r"^\[linear_backward\] .*overlap"):
        K.linear_backward(a, a, a, d_w=memory.reshape(6, 6), d_b=memory[30:])


@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_of_one_array_do_not_overlap(rng, order):
    # Halves interleave in memory, by columns or by rows, without sharing an element.
    memory = np.asarray(rng.standard_normal((20, 20)), order=order)
    for source, target in [
        (memory[:, :10], memory[:, 10:]),
        (memory[:, 10:], memory[:, :10]),
        (memory[:10], memory[10:]),
        (memory[10:], memory[:10]),
        (memory[:10, ::-1], memory[:9:-1]),
    ]:
        expected = np.maximum(source, 0.0)
        K.relu(source, out=target)
        assert (target == expected).all()


SHAPE_ERRORS = {
    "matmul": [((3, 4), (5, 6)), ((3,), (3, 4)), ((3, 4), (4,)), ((2, 3, 4), (4, 2)), ((), ())],
    "linear": [((3, 4), (5, 6)), ((3, 4), (4, 6), (5,)), ((3, 4), (4, 6), (6, 1)), ((4,), (4, 6))],
    "linear_backward": [((3, 6), (3, 4), (5, 6)), ((2, 6), (3, 4), (4, 6)), ((3, 5), (3, 4), (4, 6))],
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


@pytest.mark.parametrize("bad", ["swish", "", "ReLU", None, 3])
def test_unknown_activation(bad):
    x = np.ones((2, 2))
    for call in (
        lambda: K.activation(x, bad),
        lambda: K.activation_backward(x, x, bad),
        lambda: K.linear(x, x, None, bad),
        lambda: K.linear_backward(x, x, x, activation=bad),
    ):
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
    x = np.ones((2, 2))
    for call in (
        lambda: K.activation(x, bad),
        lambda: K.activation_backward(x, x, bad),
        lambda: K.linear(x, x, None, bad),
        lambda: K.linear_backward(x, x, x, activation=bad),
    ):
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
