"""Numbers, flags and names as arguments of operations: NumPy's types work like Python's, others are rejected."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from cases import REFUSED
from test_errors import assert_refused, spoil

from steepest import kernels as K

HUGE = 10**400

# Values that an argument of each type rejects. Arrays are among them, since a graph would freeze their value.
BAD = {
    bool: ("yes", 2.5, object()),
    int: ("1", 1.5, 1j, HUGE, -HUGE, [1], object()),
    float: ("1", 1j, HUGE, [1.0], object()),
    str: (3, b"mean", "\ud800"),
}
NUMPYS = {bool: (np.bool_,), int: (np.int64, np.uint8), float: (np.float32, np.float64, np.float16)}


def numbers_of(case):
    """Return (position or keyword, type) of every number, flag and name among the arguments."""
    everything = [*enumerate(case.args), *case.kwargs.items()]
    return [(where, type(value)) for where, value in everything if type(value) in BAD]


def rounded(value):
    """Round a float to a multiple of 1/4, which every float width represents exactly."""
    return round(value * 4) / 4 if isinstance(value, float) else value


def is_taken(where, bad):
    """Whether the argument also accepts the value `bad`: a shape may be a list, and so may options of a window."""
    return where in (0, "shape", "stride", "padding", "dilation") and isinstance(bad, list)


@pytest.mark.parametrize("name", cases.CASES)
def test_other_kinds_are_refused(name):
    for where, kind in numbers_of(cases.make(name)):
        for bad in BAD[kind]:
            if is_taken(where, bad):
                continue
            case = cases.make(name)
            spoil(case, where, lambda _, bad=bad: bad)
            assert_refused(case, name)


@pytest.mark.parametrize("name", cases.CASES)
def test_numbers_of_numpy(name):
    for where, kind in numbers_of(cases.make(name)):
        for numpys in NUMPYS.get(kind, ()):
            results = []
            for convert in (kind, numpys):
                case = cases.make(name)
                spoil(case, where, lambda value, to=convert: to(rounded(value)))
                case.run()
                results.append(case.bytes())
            assert results[0] == results[1]


MATRIX, LABELS = np.ones((2, 3)), np.array([0, 1])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("elu", lambda number: K.elu(MATRIX, number)),
        ("activation", lambda number: K.activation(MATRIX, ("elu", number))),
        ("huber", lambda number: K.huber(MATRIX, MATRIX, delta=number)[1]),
        ("sum", lambda number: K.sum(MATRIX, number)),
        ("argmax", lambda number: K.argmax(MATRIX, number)),
        (
            "softmax_cross_entropy",
            lambda number: K.softmax_cross_entropy(MATRIX, LABELS, ignore_label=number)[1],
        ),
        ("zero_one_loss", lambda number: K.zero_one_loss(MATRIX, LABELS, ignore_label=number)),
        ("permutation", lambda number: K.permutation(number, seed=1)),
        ("permutation", lambda number: K.permutation(4, seed=number)),
        ("permutation", lambda number: K.permutation(4, seed=1, stream=number)),
        ("random_bits", lambda number: K.random_bits(number, seed=1)),
        ("random_uniform", lambda number: K.random_uniform(number, seed=1)),
        ("random_uniform", lambda number: K.random_uniform((2, number), seed=1)),
        ("increment", lambda number: K.increment(np.array(1), number)),
    ],
)
def test_numbers_that_cases_leave_out(name, call):
    np.testing.assert_array_equal(call(np.int64(1)), call(1))
    for bad in ("1", 1j, HUGE, object()):
        with pytest.raises(REFUSED, match=rf"^\[({name}|activation)\] "):
            call(bad)


@pytest.mark.parametrize("shape", [2**62, (2**40, 2**40)])
def test_a_shape_beyond_any_memory(shape):
    with pytest.raises(ValueError, match=r"^\[random_uniform\] out of shape \(.*too large"):
        K.random_uniform(shape, seed=0)


@pytest.mark.parametrize("dtype", ["number", object(), np.int32, "float16"])
def test_no_dtype_of_random_numbers(dtype):
    with pytest.raises(TypeError, match=r"^\[random_uniform\] dtype"):
        K.random_uniform(3, seed=0, dtype=dtype)


class NotToBeHad:
    """An array whose library refuses to export it through DLPack."""

    def __init__(self, error, *, tells_device=True):
        self.error = error
        self.tells_device = tells_device

    def __dlpack_device__(self):
        if not self.tells_device:
            raise self.error
        return 1, 0

    def __dlpack__(self, **options):
        raise self.error


@pytest.mark.not_on_gpu("its arrays claim to be in host memory")
@pytest.mark.parametrize("tells_device", [True, False])
@pytest.mark.parametrize("error", [BufferError, RuntimeError, AttributeError])
def test_arrays_that_dlpack_does_not_give(error, tells_device):
    with pytest.raises(TypeError, match=r"^\[activation\] x is a .*NotToBeHad .*it needs a gradient"):
        K.relu(NotToBeHad(error("it needs a gradient"), tells_device=tells_device))
    with pytest.raises(KeyboardInterrupt):
        K.relu(NotToBeHad(KeyboardInterrupt()))
