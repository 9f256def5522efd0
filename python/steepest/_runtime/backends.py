"""The two backends, and the choice between them: NumPy arrays go to ``_cpu``, CuPy arrays to ``_cuda``.

Both modules export the operations of `steepest._operations`. The type of an array decides; neither CuPy nor ``_cuda``
is imported before an array of CuPy's, or a graph, needs it.
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

# DLPack's numbers of CUDA's device memory and of its managed memory.
_DLPACK_CUDA = (2, 13)

# Type of an array -> its backend, once one was seen: NumPy, too, loads when it is used.
BACKENDS: dict[type, Backend] = {}

_cuda_was_used = False


def backend_of(array: object) -> Backend:
    """Return the module whose operations compute on `array`.

    Parameters
    ----------
    array : object
        The first array of a call. What is no array goes to the CPU's operations, which refuse it.

    Returns
    -------
    module
        ``_cpu`` for NumPy's arrays and others in host memory, ``_cuda`` for CuPy's and others on a CUDA device. Where
        CUDA cannot be used, each operation of what is returned is a RuntimeError that says what is missing.
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
        Where new arrays are wanted.
    operation : str
        What the message starts with.

    Returns
    -------
    module
        As `backend_of`.

    Raises
    ------
    ValueError
        For any other device.
    """
    check_device(device, operation)
    return _cpu_backend() if device == "cpu" else _cuda_backend()


def check_device(device: str, operation: str) -> None:
    """Raise ValueError unless `device` is "cpu" or "cuda"."""
    if device not in DEVICES:
        raise ValueError(f"[{operation}] device {device!r} is not one of: {', '.join(DEVICES)}")


def is_cupy(array: object) -> bool:
    """Return whether `array` is CuPy's; CuPy is not imported to find out."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def device_of(array: object) -> str:
    """Return "cuda" for an array on a CUDA device, whichever library holds it, and "cpu" for anything else."""
    if is_cupy(array):
        return "cuda"
    if not hasattr(array, "__dlpack_device__"):
        return "cpu"
    try:
        return "cuda" if int(array.__dlpack_device__()[0]) in _DLPACK_CUDA else "cpu"
    except Exception:
        return "cpu"  # whose operations ask again, and say what went wrong, by their names


def load_cuda() -> CudaBackend | None:
    """Return the CUDA module, which imports without a driver too, or None where this build has none."""
    return _import_cuda()[0]


@functools.cache
def _import_cuda() -> tuple[CudaBackend | None, str]:
    """Return the CUDA module and "", or None and why there is none. A module that is broken must not harm the CPU."""
    try:
        return cast("CudaBackend", importlib.import_module("steepest._cuda")), ""
    except ModuleNotFoundError:
        return None, NOT_BUILT
    except ImportError as error:
        return None, f"the CUDA kernels of steepest cannot be loaded: {error}"


def import_cupy() -> Any:
    """Return CuPy; where that is impossible, the RuntimeError says how to install it."""
    try:
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        raise RuntimeError(NO_CUPY) from error
    except ImportError as error:
        raise RuntimeError(f"CuPy cannot be imported: {error}") from error


def cuda_problem() -> str:
    """Return what keeps CUDA from being used here, and what to do about it, or "" where nothing does."""
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
    """Return what the CUDA module says is missing. Asking takes long; the answer may change only in a forked child."""
    module = load_cuda()
    return "" if module is None else str(module.info()["problem"])


def synchronize() -> None:
    """Wait for the operations on CuPy's current stream, and raise the error that one of them met.

    On CUDA an operation returns before it is done. An error that depends on the data (a label or an index out of
    range, a value that is not finite) is found by the kernel: nothing after that operation is run on its stream, and
    the error is raised by a later call of steepest on that stream, at the latest by `synchronize`, or at the end of
    `Graph.replay`, which waits. Where nothing has been computed by CUDA there is nothing to wait for.

    Raises
    ------
    ValueError, IndexError, DivergenceError
        What an operation has found in its data.
    RuntimeError
        CUDA reports an error.
    """
    module = load_cuda() if _cuda_was_used else None
    if module is not None:
        module.synchronize()


def _look_up(array: object) -> Backend:
    """Return the backend of an array of a type that is not in the table."""
    if device_of(array) == "cpu":
        return _cpu_backend()
    backend = _cuda_backend()
    if is_cupy(array) and not isinstance(backend, _Missing):
        BACKENDS[type(array)] = backend
    return backend


def _cpu_backend() -> Backend:
    """Return the backend of NumPy arrays, which also takes what is no array, to refuse it by the operation's name."""
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
    """Stands in for the CUDA module where it cannot be used: every operation is an error that says why."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def __getattr__(self, operation: str) -> Any:
        raise RuntimeError(f"[{operation}] CUDA is not available: {self._problem}")

    def update(self, rule: str, *arguments: object, **options: object) -> None:
        """Raise the error by the name of the rule's own function."""
        self.__getattr__(_cpu.UPDATE_RULES[rule][0])
