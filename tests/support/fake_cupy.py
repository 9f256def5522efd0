"""A fake CuPy for machines without a GPU: arrays on the stand-in's devices, without implicit conversion to NumPy.

It implements the part of CuPy that steepest and its tests use, and is as strict as CuPy: arrays of the two libraries do
not mix, NumPy functions reject these arrays, and only `asnumpy` and `asarray` move data. Kernels receive addresses that
only they can use. Host code that reads an array first waits for the kernels that write it.
"""

from __future__ import annotations

import operator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from backends import load_standin

_runtime = load_standin("cuda_standin_cupy").runtime


class generic:  # noqa: N801 (CuPy's name)
    """Base class of CuPy's scalars, which other libraries look up; it has no instances, reductions give 0-d arrays."""


class ndarray:  # noqa: N801 (CuPy's name)
    """An array that behaves like CuPy's: views share memory, and every result is an array, 0-d results included."""

    __array_ufunc__ = None  # operators of NumPy arrays leave the decision to this class
    __hash__ = None

    def __init__(self, host, device_id=0):
        self._memory = _on_device(np.asarray(host))
        self.device_id = device_id

    shape = property(lambda self: self._memory.shape)
    dtype = property(lambda self: self._memory.dtype)
    ndim = property(lambda self: self._memory.ndim)
    size = property(lambda self: self._memory.size)
    nbytes = property(lambda self: self._memory.nbytes)
    itemsize = property(lambda self: self._memory.itemsize)
    base = property(lambda self: self._memory.base)
    strides = property(lambda self: self._memory.strides)
    flags = property(lambda self: self._memory.flags)
    T = property(lambda self: ndarray(self._memory.T))
    data = property(lambda self: SimpleNamespace(ptr=_device_address(self._memory), device_id=self.device_id))

    @property
    def _host(self):
        """The items as a NumPy array, after waiting for the kernels that write them."""
        _runtime.wait_for_device()
        return self._memory

    def __dlpack_device__(self):
        return 2, self.device_id  # kDLCUDA

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_function__(self, function, *args):
        raise TypeError(f"numpy.{function.__name__} was called with a CuPy array: use the function of CuPy")

    def __reduce__(self):
        raise TypeError("a CuPy array was pickled")

    def __deepcopy__(self, memo):
        return ndarray(self._host.copy())

    def __len__(self):
        return len(self._host)

    def __float__(self):
        return float(self._host)

    def __int__(self):
        return int(self._host)

    def __bool__(self):
        return bool(self._host)

    def __getitem__(self, index):
        return ndarray(self._host[_unwrap(index)])

    def __setitem__(self, index, value):
        self._host[_unwrap(index)] = _unwrap(value)

    def __abs__(self):
        return ndarray(abs(self._host))

    def __neg__(self):
        return ndarray(-self._host)

    def __invert__(self):
        return ndarray(~self._host)


def _device_address(array):
    """The device address of the items; 0 for an array in host memory and for an empty array."""
    return _runtime.device_address(array.ctypes.data) if array.size else 0


def _on_device(array):
    """The array itself if it lies in device memory, or else a copy of it there."""
    assert type(array) is np.ndarray
    if array.size == 0 or _device_address(array):
        return array
    copy = _runtime.device_memory(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _unwrap(value):
    """The NumPy array inside a fake CuPy array; a plain NumPy array raises TypeError, as in CuPy."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(item) for item in value)
    return value


def _method(name):
    return lambda self, *args, **kwargs: ndarray(getattr(self._host, name)(*map(_unwrap, args), **kwargs))


for _name in (
    *(
        "all",
        "any",
        "argmax",
        "astype",
        "copy",
        "mean",
        "ravel",
        "reshape",
        "sum",
        "swapaxes",
        "trace",
        "transpose",
    ),
):
    setattr(ndarray, _name, _method(_name))


def _in_place(function):
    def apply(self, other):
        function(self._host, _unwrap(other), out=self._host)
        return self

    return apply


ndarray.__iadd__ = _in_place(np.add)
ndarray.__isub__ = _in_place(np.subtract)
ndarray.__imul__ = _in_place(np.multiply)
ndarray.__itruediv__ = _in_place(np.divide)


def _operator(function, swapped=False):
    def apply(self, other):
        other = _unwrap(other)
        return ndarray(function(other, self._host) if swapped else function(self._host, other))

    return apply


for _name in ("add", "sub", "mul", "truediv", "pow", "eq", "ne", "lt", "le", "gt", "ge", "and_"):
    setattr(ndarray, f"__{_name.strip('_')}__", _operator(getattr(operator, _name)))
for _name in ("add", "sub", "mul", "truediv"):
    setattr(ndarray, f"__r{_name}__", _operator(getattr(operator, _name), swapped=True))


# ---------------------------------------------------------------------------------------------- the functions


def asarray(a, dtype=None):
    """Return `a` if it already is an array of this library, or else copy a NumPy array, list or number."""
    if isinstance(a, ndarray):
        return a if dtype is None else a.astype(dtype, copy=False)
    array = np.array(a, dtype)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {array.dtype}")
    return ndarray(array)


def asnumpy(a):
    """A copy as a NumPy array."""
    return np.array(a._host) if isinstance(a, ndarray) else np.asarray(a)


def empty(shape, dtype=float):
    """An array filled with a number that no kernel computes, which reveals elements left unwritten."""
    return ndarray(np.full(shape, 77, dtype))


def full(shape, value, dtype=float):
    """An array of one number."""
    return ndarray(np.full(shape, value, dtype))


def ones(shape, dtype=float):
    """An array of ones."""
    return full(shape, 1, dtype)


def zeros(shape, dtype=float):
    """An array of zeros."""
    return full(shape, 0, dtype)


def may_share_memory(a, b):
    """Whether the memory of two arrays may overlap."""
    return np.may_share_memory(a._memory, b._memory)


def _function(name):
    function = getattr(np, name)

    def call(*args, **kwargs):
        first = args[0][0] if isinstance(args[0], list) else args[0]
        if not isinstance(first, ndarray):
            raise TypeError(f"cupy.{name} was called with a {type(first).__name__}")
        return ndarray(function(*map(_unwrap, args), **{k: _unwrap(v) for k, v in kwargs.items()}))

    return call


abs = _function("abs")
argsort = _function("argsort")
ascontiguousarray = _function("ascontiguousarray")
average = _function("average")
concatenate = _function("concatenate")
exp = _function("exp")
expm1 = _function("expm1")
isfinite = _function("isfinite")
isnan = _function("isnan")
less = _function("less")
log = _function("log")
logaddexp = _function("logaddexp")
log1p = _function("log1p")
matmul = _function("matmul")
maximum = _function("maximum")
minimum = _function("minimum")
multiply = _function("multiply")
repeat = _function("repeat")
sqrt = _function("sqrt")
stack = _function("stack")
subtract = _function("subtract")
var = _function("var")
vdot = _function("vdot")
where = _function("where")


lib = SimpleNamespace(
    stride_tricks=SimpleNamespace(
        as_strided=lambda x, shape, strides: ndarray(np.lib.stride_tricks.as_strided(x._host, shape, strides))
    )
)


def _factorisation(name):
    """The function `name` of np.linalg, for fake CuPy arrays; it returns one array or a tuple of arrays."""
    function = getattr(np.linalg, name)

    def call(a, **options):
        result = function(_unwrap(a), **options)
        return tuple(map(ndarray, result)) if isinstance(result, tuple) else ndarray(result)

    return call


linalg = SimpleNamespace(**{name: _factorisation(name) for name in ("cholesky", "eigh", "inv", "svd")})


def from_dlpack(array):
    """Return the fake CuPy array inside `array`, which a test's own array class holds as `array.array`."""
    return array.array


_current_stream = SimpleNamespace(ptr=0)


@contextmanager
def _stream(ptr):
    """Make the stream with handle `ptr` the current stream inside a `with` block."""
    before, _current_stream.ptr = _current_stream.ptr, ptr
    try:
        yield
    finally:
        _current_stream.ptr = before


cuda = SimpleNamespace(
    ExternalStream=_stream,
    get_current_stream=lambda: _current_stream,
    runtime=SimpleNamespace(getDevice=lambda: 0),
)
