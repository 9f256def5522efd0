"""Instruction sets, the device that the tests use, and `check`, which tests an operation over layouts and `out=`.

The tests of the operations call `steepest.kernels` on NumPy arrays. By default these compute on the CPU's kernels. Two
environment variables let the same tests run on the CUDA kernels:

* ``STEEPEST_STANDIN=folder``: on the stand-in in that folder, the CUDA kernels compiled for the host;
* ``STEEPEST_TEST_DEVICE=cuda``: on the GPU (see on_device.py).
"""

from __future__ import annotations

import ctypes
import importlib
import mmap
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import steepest
from steepest import _cpu
from steepest._runtime import backends

DTYPES = (np.float32, np.float64)
THREADS = (1, 2, 3)

# Sizes just below, at and above the widths of vectors (4, 8, 16), register blocks and cache blocks.
SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129)


def instruction_sets():
    """Instruction sets that this build contains and this machine supports."""
    return tuple(_cpu.info()["isas_available"])


# -------------------------------------------------------------------------------------------------- devices


STANDIN = os.environ.get("STEEPEST_STANDIN")
if os.environ.get("STEEPEST_TEST_DEVICE", "cpu") not in {"cpu", "cuda"}:
    raise ValueError(f"STEEPEST_TEST_DEVICE is {os.environ['STEEPEST_TEST_DEVICE']!r}, not 'cpu' or 'cuda'")
ON_GPU = os.environ.get("STEEPEST_TEST_DEVICE") == "cuda"
# Number of multiprocessors of each simulated device: a small GPU, an A100, an H100, and a single one.
STANDIN_DEVICES = (4, 108, 132, 1)
# Whether the tests run the CPU kernels.
ON_CPU = not (ON_GPU or STANDIN)
# Whether the tests marked `deep` run as well, as in `make test-deep`.
DEEP = bool(os.environ.get("STEEPEST_TEST_DEEP"))
# Whether kernels run tens of times slower than usual: on the stand-in and under sanitizers.
SLOW = bool(STANDIN) or "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ


def load_standin(name="cuda_standin"):
    """Import a module of CUDA kernels compiled for the host: `cuda_standin` (NumPy) or `cuda_standin_cupy` (CuPy)."""
    folder = str(Path(STANDIN).resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def load_real_cuda():
    """Return (cupy, steepest._cuda) on a machine with a GPU, else None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CuPy warns if it finds no CUDA
            cupy = importlib.import_module("cupy")
        module = importlib.import_module("steepest._cuda")
        return (cupy, module) if cupy.cuda.runtime.getDeviceCount() > 0 else None
    except Exception:  # CuPy raises its own error types if the driver is missing
        return None


# Loaded before `route_kernels` replaces steepest._cuda.
REAL_CUDA = load_real_cuda()


def route_kernels():
    """Send kernel calls on NumPy arrays, and captured graphs, to the device that the environment selects."""
    if ON_CPU:
        return
    if ON_GPU:
        from on_device import OnDevice

        if REAL_CUDA is None:
            raise RuntimeError("STEEPEST_TEST_DEVICE=cuda, but steepest._cuda, CuPy or a GPU is missing")
        module = OnDevice(*REAL_CUDA)
    else:
        module = load_standin()
    sys.modules["steepest._cuda"] = module
    backends._import_cuda.cache_clear()
    backends.BACKENDS[np.ndarray] = module


def install_cuda(monkeypatch):
    """Make `device="cuda"` work for one test, with NumPy arrays on the CPU kernels; return the CuPy module.

    With a GPU the test uses the real CuPy and CUDA module, otherwise the fake CuPy and the stand-in.
    """
    if REAL_CUDA is not None:
        cupy, module = REAL_CUDA
    elif STANDIN:
        import fake_cupy as cupy

        module = load_standin("cuda_standin_cupy")
    else:
        pytest.skip("there is no GPU, and STEEPEST_STANDIN names no stand-in for the CUDA kernels")
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    replace_cuda(monkeypatch, module)
    monkeypatch.setitem(backends.BACKENDS, np.ndarray, _cpu)
    monkeypatch.delitem(backends.BACKENDS, cupy.ndarray, raising=False)
    return cupy


def replace_cuda(monkeypatch, module):
    """Replace steepest._cuda by `module` for one test; None imitates a build without CUDA."""
    monkeypatch.setitem(sys.modules, "steepest._cuda", module)
    monkeypatch.setattr(backends, "_cuda_was_used", False)
    forget_cuda()


def forget_cuda():
    """Clear the cached result of the search for the CUDA module."""
    backends._import_cuda.cache_clear()
    backends._device_problem.cache_clear()


# -------------------------------------------------------------------------------------------------- layouts


def aligned_empty(shape, dtype, offset=0):
    """A C-ordered array whose first byte lies `offset` elements past a 64-byte boundary."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.zeros(count * dtype.itemsize + 64 + offset * dtype.itemsize, np.uint8)
    start = -raw.ctypes.data % 64 + offset * dtype.itemsize
    return raw[start : start + count * dtype.itemsize].view(dtype).reshape(shape)


def before_a_wall(shape, dtype):
    """A C-ordered array that ends at a protected page, so that access past its end crashes the process."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    room = -(-count * dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
    raw = np.frombuffer(mmap.mmap(-1, room + mmap.PAGESIZE), np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(raw.ctypes.data + room), mmap.PAGESIZE, 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    return raw[room - count * dtype.itemsize : room].view(dtype).reshape(shape)


def misaligned(a):
    """A copy at an address that is not a multiple of the item size."""
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def _c(shape, dtype):
    base = aligned_empty(shape, dtype)
    return base, base


def _fortran(shape, dtype):
    base = aligned_empty(shape[::-1], dtype)
    return base, base.T


def _offset(shape, dtype):
    base = aligned_empty(shape, dtype, offset=1)
    return base, base


def _at_end(shape, dtype):
    base = before_a_wall(shape, dtype)
    return base, base


def _columns(shape, dtype):
    """A slice of columns: unit stride along rows, and a row stride larger than the row length."""
    base = aligned_empty((*shape[:-1], shape[-1] + 5), dtype)
    return base, base[..., 2 : 2 + shape[-1]]


def _strided(shape, dtype):
    """Every second element along every axis; the last element ends at a protected page."""
    base = before_a_wall(tuple(2 * s for s in shape), dtype)
    return base, base[tuple(slice(1, None, 2) for _ in shape)]


def _reversed(shape, dtype):
    """Negative strides along every axis, with a margin."""
    base = aligned_empty(tuple(s + 2 for s in shape), dtype)
    return base, base[tuple(slice(1, s + 1) for s in shape)][tuple(slice(None, None, -1) for _ in shape)]


def _transposed_slice(shape, dtype):
    """A transposed slice: unit stride down the columns, and a margin."""
    base = aligned_empty((shape[-1], *[s + 3 for s in shape[:-1]]), dtype)
    return base, base[(slice(None), *[slice(1, s + 1) for s in shape[:-1]])].T


_BUILDERS = {
    "c": _c,
    "fortran": _fortran,
    "offset": _offset,
    "at_end": _at_end,
    "columns": _columns,
    "strided": _strided,
    "reversed": _reversed,
    "transposed_slice": _transposed_slice,
}
LAYOUTS = tuple(_BUILDERS)


def layouts_beside(index):
    """All layouts; where tests are slow, the quarter of them that belongs to test case number `index`.

    Four consecutive cases together then cover all layouts, so that layouts and values vary at the same time.
    """
    return LAYOUTS if DEEP or not SLOW else LAYOUTS[index % 4 :: 4]


def lay_out(values, layout):
    """A copy of `values` in the named memory layout; 0-d arrays and None pass through."""
    if values is None or np.ndim(values) == 0:
        return values
    values = np.asarray(values)
    _, view = _BUILDERS[layout](values.shape, values.dtype)
    view[...] = values
    return view


def one_where_slow(values):
    """Parameters of a test with large arrays; where tests are slow, only the first value is tested."""
    slow = pytest.mark.not_when_slow(f"with large arrays, {values[0]} alone covers the other values")
    return [value if value == values[0] else pytest.param(value, marks=slow) for value in values]


class GuardedOutput:
    """An output in the named layout, embedded in a sentinel that the kernel may not touch."""

    def __init__(self, shape, dtype, layout):
        base, self.view = (
            _BUILDERS[layout](tuple(shape), dtype) if len(shape) else (None, np.empty((), dtype))
        )
        self.base = base
        if base is not None:
            self.view[...] = np.ones((), dtype)
            self._mask = base == np.ones((), dtype)  # base starts as zeros
            base[...] = np.array(77).astype(dtype)

    def assert_margin_untouched(self):
        if self.base is not None:
            assert (self.base[~self._mask] == np.array(77).astype(self.base.dtype)).all(), (
                "wrote outside out="
            )


# ------------------------------------------------------------------------------------------------- checking


def assert_close(actual, expected, tolerance, what=""):
    """Assert |actual - expected| <= tolerance, with NaN and infinities in the same places."""
    actual = np.asarray(actual).astype(np.float64)
    expected = np.asarray(expected).astype(np.float64)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    tolerance = np.broadcast_to(tolerance, expected.shape)
    # NaN and infinities must be equal; finite values are compared with the tolerance.
    special = ~np.isfinite(expected)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        error = np.abs(actual - expected)
        bad = np.where(special, ~same, ~(error <= tolerance))
    if bad.any():
        where = [tuple(int(i) for i in index) for index in np.argwhere(bad)[:5]]
        lines = [
            f"  {w}: {actual[w]!r}, expected {expected[w]!r}, tolerance {tolerance[w]:.3g}" for w in where
        ]
        raise AssertionError(f"{what}: {bad.sum()} of {bad.size} elements are off\n" + "\n".join(lines))


def check(function, inputs, output_names, expected, tolerance, *, layouts=LAYOUTS, **options):
    """Check one operation for every layout, with outputs that it allocates and with outputs passed as `out=`.

    Parameters
    ----------
    function : callable
        The kernel; called as ``function(*inputs, **outputs, **options)``.
    inputs : sequence of ndarray or None
        Positional arguments; `check` copies them into each layout, and the kernel must leave them unchanged.
    output_names : sequence of str
        Keywords of the outputs, in the order in which they are returned.
    expected, tolerance : sequences of ndarray
        Value of the oracle for each output, and its absolute tolerance.
    """
    results = None
    for layout in layouts:
        arrays = [lay_out(a, layout) for a in inputs]
        before = [None if a is None else np.asarray(a).tobytes() for a in arrays]
        results = _as_tuple(function(*arrays, **options))
        outputs = [GuardedOutput(r.shape, r.dtype, layout) for r in results]
        given = _as_tuple(
            function(*arrays, **{k: o.view for k, o in zip(output_names, outputs, strict=True)}, **options)
        )
        for i, name in enumerate(output_names):
            what = f"{function.__name__} {name}, layout {layout}"
            assert given[i] is outputs[i].view, f"{what}: the array given was not the one returned"
            outputs[i].assert_margin_untouched()
            assert_close(results[i], expected[i], tolerance[i], f"{what}, allocated")
            assert_close(given[i], expected[i], tolerance[i], f"{what}, given")
        after = [None if a is None else np.asarray(a).tobytes() for a in arrays]
        assert after == before, f"{function.__name__} changed an input, layout {layout}"
    return results


def _as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def identical(first, second):
    """Whether two arrays have the same bytes, NaN payloads included."""
    return np.asarray(first).tobytes() == np.asarray(second).tobytes()


def on_each_number_of_threads(numbers=(1, 2, 3, 4)):
    """Yield numbers of threads, each after the package uses it; in the end it uses as many as before."""
    before = steepest.get_num_threads()
    try:
        for n in numbers:
            steepest.set_num_threads(n)
            time.sleep(0.06)  # a team that shares its processors gives way to a single thread for 0.05 s
            yield n
    finally:
        steepest.set_num_threads(before)


# --------------------------------------------------------------------------------------------- subprocesses


SETTINGS = {"STEEPEST_ISA", "STEEPEST_BFLOAT16", "OMP_NUM_THREADS"}


def run_python(code, timeout=60, check=True, **environment):
    """Run `code` in a fresh interpreter that can import these helpers; returns the completed process."""
    env = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    tests = Path(__file__).parents[1]
    path = [str(tests / "support"), str(tests / "oracles"), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(p for p in path if p)
    env.update(environment)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check:
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
