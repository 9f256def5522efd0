"""Invalid arrays raise errors that start with `[operation]`, and leave all outputs unchanged."""

from __future__ import annotations

import itertools
import re

import cases
import numpy as np
import pytest
from backends import misaligned
from cases import REFUSED

from steepest import kernels as K

# Kernels without float inputs, or whose float64 arrays may have any length.
WITHOUT_FLOAT_INPUTS = {
    "increment",
    "accumulate",
    "look_up",
    "take_rows",
    "put_rows",
    "take_images/uint8",
    "positions",
    "random_uniform",
}
FLOAT_CASES = [name for name in cases.CASES if name not in WITHOUT_FLOAT_INPUTS]


def operation_names(name):
    """Names that a message may have in brackets: the function's, or `activation` for a named activation."""
    function = name.split("/")[0]
    return (function, "activation") if function in K.ACTIVATIONS else (function,)


def assert_refused(case, name, error=REFUSED, message=""):
    before = case.bytes()
    with pytest.raises(error) as caught:
        case.run()
    prefixes = "|".join(rf"\[{n}\] " for n in operation_names(name))
    assert re.match(f"({prefixes}){message}", str(caught.value)), str(caught.value)
    assert case.bytes() == before, "half-written"


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def other_float(a):
    return a.astype(np.float64 if a.dtype == np.float32 else np.float32)


# Ways to make an array of floats invalid as any argument.
SPOILERS = {
    "other_float": other_float,
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "complex": lambda a: a.astype(np.complex128),
    "integer": lambda a: np.zeros(a.shape, np.int32),
    "object": lambda a: a.astype(object),
    "masked": lambda a: np.ma.array(a, mask=np.arange(a.size).reshape(a.shape) == 0),
    "byte_swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": misaligned,
    "list": lambda a: a.tolist(),
    "string": lambda a: "array",
    "one_axis_more": lambda a: a[None, None],
    "longer": lambda a: np.concatenate([a.ravel(), a.ravel(), a.ravel()[:1]]),
}
OUTPUT_SPOILERS = {**SPOILERS, "read_only": read_only}
# These change nothing in an array of bytes.
NEED_LONG_ITEMS = {"byte_swapped", "misaligned"}


def is_valid(name, spoiler):
    """Whether the changed input is still valid: no other array must share its dtype, or any shape is allowed."""
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
    """Return the places of the float arrays as (inputs, outputs), in the form that `spoil` takes."""
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
        pytest.param("read_only", marks=pytest.mark.not_on_gpu("CuPy has no read-only arrays")),
    ],
)
@pytest.mark.parametrize("name", cases.CASES)
def test_bad_output(name, spoiler, dtype):
    for where in places(cases.make(name, dtype))[1]:
        case = cases.make(name, dtype)
        if spoiler in NEED_LONG_ITEMS and isinstance(where, str) and case.kwargs[where].itemsize == 1:
            continue
        spoil(case, where, OUTPUT_SPOILERS[spoiler])
        assert_refused(case, name)


# Positions of optional arrays: biases and row weights.
OPTIONAL = {
    "linear_bernoulli": (2, "uniforms"),
    **dict.fromkeys(("linear", "linear_tangent", "conv2d", "conv2d_transpose", *K.LOSSES), (2,)),
    "linear_loss": (2, 4),
    "linear_sgd": (3,),
    "class_scatter": (3,),
    "output_fisher": (3,),
    "output_divergence": (3,),
    "second_moment": (1,),
    **dict.fromkeys(("layer_norm", "batch_norm"), (1, 2)),
    "rms_norm": (1,),
    "group_norm": (2, 3),
    "batch_norm_inference": (3, 4),
    **{f"{kind}_norm_backward": (4,) for kind in ("layer", "group", "batch")},
    "rms_norm_backward": (3,),
    **{f"{kind}_norm_tangent": (0, 4, 5, 6) for kind in ("layer", "group", "batch")},
    "rms_norm_tangent": (0, 3, 4),
    "attention_tangent": (0, 1, 2),
    **dict.fromkeys(("recurrence_backward", "recurrence_tangent"), (0,)),
}


@pytest.mark.parametrize("name", FLOAT_CASES)
def test_missing_input(name):
    for where in places(cases.make(name))[0]:
        if where in OPTIONAL.get(name.split("/")[0], ()):
            continue
        case = cases.make(name)
        spoil(case, where, lambda a: None)
        assert_refused(case, name)


def overlaps(a):
    """Return a copy of `a` in new memory, and a view of the same shape that starts one element later."""
    flat = np.zeros(a.size + 1, a.dtype)
    moved, shifted = flat[: a.size].reshape(a.shape), flat[1:].reshape(a.shape)
    moved[...] = a
    return moved, shifted


def arrays_of(case):
    """Yield (place, array) for every array of a case; `spoil` takes such places."""
    for i, a in enumerate(case.args):
        if isinstance(a, np.ndarray):
            yield i, a
        elif isinstance(a, list):
            yield from (((i, k), item) for k, item in enumerate(a))
    yield from ((key, a) for key, a in case.kwargs.items() if isinstance(a, np.ndarray))


def outputs_of(case):
    """Return the places of the arrays that a case writes."""
    return {where for where, a in arrays_of(case) if any(a is w for w in case.written)}


def one_in_the_other(a, b):
    """Return a buffer with copies of a and b, where b starts inside the last eight bytes of a, and both copies."""
    start = (a.nbytes - 1) // 8 * 8
    memory = np.zeros(start + a.nbytes + b.nbytes, np.uint8)
    moved = [
        memory[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
        for at, array in ((start, b), (0, a))
    ]
    for to, array in zip(moved, (b, a), strict=True):
        to[...] = array
    return memory, *reversed(moved)


@pytest.mark.parametrize("name", [name for name in cases.CASES if name != "accumulate"])
def test_no_output_overlaps_another_array(name):
    """No output, 0-d ones included, may overlap another array of the call, whichever of the two starts first."""
    for first, second in itertools.permutations([where for where, _ in arrays_of(cases.make(name))], 2):
        case = cases.make(name)
        if not {first, second} & outputs_of(case):
            continue
        arrays = dict(arrays_of(case))
        memory, a, b = one_in_the_other(arrays[first], arrays[second])
        spoil(case, first, lambda _, a=a: a)
        spoil(case, second, lambda _, b=b: b)
        case.written = [memory]
        assert_refused(case, name, ValueError, ".* overlap")


def test_a_total_may_be_added_to_itself():
    total = np.array(1.5)
    K.accumulate(total, total, scale=2.0)
    assert total == 4.5


@pytest.mark.parametrize("name", cases.CASES)
def test_no_output_overlaps_itself(name):
    for where in outputs_of(cases.make(name)):
        case = cases.make(name)
        if dict(arrays_of(case))[where].shape[:1] in {(), (1,)}:
            continue
        spoil(case, where, lambda a: np.lib.stride_tricks.as_strided(a, a.shape, (0, *a.strides[1:])))
        assert_refused(case, name, ValueError, ".* (overlap one another|contiguous)")


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
    # An output may be the input itself, but with a partial overlap the kernel would read what it has written.
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


@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_of_one_array_do_not_overlap(rng, order):
    # The halves interleave in memory, by columns or by rows, but share no element.
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
