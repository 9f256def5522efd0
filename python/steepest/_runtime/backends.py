"""Dispatch between the CPU and CUDA backends: NumPy arrays go to ``_cpu``, CuPy arrays to ``_cuda``.

Both modules export the operations of `steepest._operations`. The type of an array decides. CuPy and ``_cuda`` are
imported only when a CuPy array or a graph needs them.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from steepest import _cpu

if TYPE_CHECKING:
    from steepest._operations import Backend, CudaBackend

DEVICES = ("cpu", "cuda")

NOT_BUILT = (
    "this build of steepest has no CUDA kernels; install them by "
    "`STEEPEST_CUDA=ON pip install .` in the source tree, which needs a CUDA compiler"
)
NO_CUPY = "CuPy is not installed; install it by `pip install cupy-cuda13x` (`cupy-cuda12x` for CUDA 12)"

# DLPack device types: kDLCUDA and kDLCUDAManaged.
_DLPACK_CUDA = (2, 13)

# Array type -> backend. Entries are added at the first array of a type, so that NumPy is imported only when it is used.
BACKENDS: dict[type, Backend] = {}

_cuda_was_used = False


def backend_of(array: object) -> Backend:
    """Return the module whose operations compute on `array`.

    Parameters
    ----------
    array : object
        The first array of a call. Other objects go to the CPU's operations, which raise TypeError.

    Returns
    -------
    module
        ``_cpu`` for NumPy arrays and others in host memory, ``_cuda`` for CuPy arrays and others on a CUDA device. If
        CUDA cannot be used, each operation of the returned object raises a RuntimeError that says what is missing.
    """
    try:
        return BACKENDS[type(array)]
    except KeyError:
        return _look_up(array)


def backend_of_first(arrays: object) -> Backend:
    """Return the backend of an array, or of the first of a list of arrays."""
    return backend_of(arrays[0] if isinstance(arrays, (list, tuple)) and arrays else arrays)


def backend_on(device: str, operation: str) -> Backend:
    """Return the backend of a device.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Device of the new arrays.
    operation : str
        Name of the operation, which messages start with.

    Returns
    -------
    module
        ``_cpu`` or ``_cuda``, as in `backend_of`.

    Raises
    ------
    ValueError
        If the device is neither "cpu" nor "cuda".
    """
    check_device(device, operation)
    return _cpu_backend() if device == "cpu" else _cuda_backend()


def backend_for(operation: str, array: object, device: str | None, what: str = "out") -> Backend:
    """Return the backend of an array, or of `device` if there is none; `what` is the array's name in messages."""
    if array is None:
        return backend_on("cpu" if device is None else device, operation)
    if device is not None:
        check_device(device, operation)
        if device != device_of(array):
            raise ValueError(f"[{operation}] device is {device!r}, but {what} lies on {device_of(array)!r}")
    return backend_of(array)


def check_device(device: str, operation: str) -> None:
    """Raise ValueError unless `device` is "cpu" or "cuda"."""
    if device not in DEVICES:
        raise ValueError(f"[{operation}] device {device!r} is not one of: {', '.join(DEVICES)}")


def is_cupy(array: object) -> bool:
    """Return whether `array` is a CuPy array, without importing CuPy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def device_of(array: object) -> str:
    """Return "cuda" for an array on a CUDA device, whichever library holds it, and "cpu" for anything else."""
    if BACKENDS.get(type(array)) is _cpu:
        return "cpu"
    if is_cupy(array):
        return "cuda"
    if not hasattr(array, "__dlpack_device__"):
        return "cpu"
    try:
        return "cuda" if int(array.__dlpack_device__()[0]) in _DLPACK_CUDA else "cpu"
    except Exception:
        return "cpu"  # its operations repeat the call, and raise an error with their name and the cause


def load_cuda() -> CudaBackend | None:
    """Return the CUDA module, which can be imported even without a driver, or None if this build has none."""
    return _import_cuda()[0]


@functools.cache
def _import_cuda() -> tuple[CudaBackend | None, str]:
    """Return the CUDA module and "", or None and the reason; a broken CUDA module must not affect the CPU."""
    try:
        return cast("CudaBackend", importlib.import_module("steepest._cuda")), ""
    except ModuleNotFoundError:
        return None, NOT_BUILT
    except ImportError as error:
        return None, f"the CUDA kernels of steepest cannot be loaded: {error}"


def import_cupy() -> Any:
    """Return the CuPy module, or raise a RuntimeError that says how to install it."""
    try:
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        raise RuntimeError(NO_CUPY) from error
    except ImportError as error:
        raise RuntimeError(f"CuPy cannot be imported: {error}") from error


def cuda_problem() -> str:
    """Return why CUDA cannot be used here and what to do about it, or "" if it can."""
    module, problem = _import_cuda()
    if module is None:
        return problem
    if problem := _device_problem(os.getpid()):
        return problem
    try:
        import_cupy()
    except RuntimeError as error:
        return str(error)
    return ""


@functools.cache
def _device_problem(process: int) -> str:
    """Return what the CUDA module reports as missing. The query is slow, and cached: only a fork changes the answer."""
    module = load_cuda()
    return "" if module is None else str(module.info()["problem"])


def synchronize() -> None:
    """Wait for the operations on CuPy's current stream, and raise the error that one of them found.

    On CUDA an operation returns before it is done. A kernel finds errors that depend on the data: a label or an index
    out of range, a value that is not finite. Operations after it do not run on that stream. A later call of steepest on
    the stream raises the error, at the latest `synchronize`, or the end of `Graph.replay`, which waits. If CUDA has not
    been used, `synchronize` returns at once.

    Raises
    ------
    ValueError, IndexError, DivergenceError
        If an operation has found an error in its data.
    RuntimeError
        If CUDA reports an error.
    """
    module = load_cuda() if _cuda_was_used else None
    if module is not None:
        module.synchronize()


def _look_up(array: object) -> Backend:
    """Return the backend of an array whose type is not in `BACKENDS`."""
    if device_of(array) == "cpu":
        return _cpu_backend()
    backend = _cuda_backend()
    if is_cupy(array) and not isinstance(backend, _Missing):
        BACKENDS[type(array)] = backend
    return backend


def _cpu_backend() -> Backend:
    """Return the backend of NumPy arrays; for other objects, its operations raise an error with their name."""
    import numpy as np

    return BACKENDS.setdefault(np.ndarray, _cpu)


def _cuda_backend() -> Backend:
    global _cuda_was_used
    module, problem = _import_cuda()
    if module is None:
        return cast("Backend", _Missing(problem))
    try:
        import_cupy()
    except RuntimeError as error:
        return cast("Backend", _Missing(str(error)))
    _cuda_was_used = True
    return module


class _Missing:
    """Stand-in for a CUDA module that cannot be used: every operation raises a RuntimeError that says why."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def __getattr__(self, operation: str) -> Any:
        raise RuntimeError(f"[{operation}] CUDA is not available: {self._problem}")

    def update(self, rule: str, *arguments: object, **options: object) -> None:
        """Raise the error under the name of the rule's own function, such as `adam_update`."""
        self.__getattr__(_cpu.UPDATE_RULES[rule][0])
