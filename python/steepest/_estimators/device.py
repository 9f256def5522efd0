"""The choice of the device on which an estimator computes."""

from __future__ import annotations

from steepest._runtime.backends import cuda_problem, is_cupy


def resolve_device(device: str, estimator: str, X: object) -> str:
    """Return the device that `device` stands for.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        As given to the estimator. ``"auto"`` is where X lies.
    estimator : str
        Its name, for the message.
    X : array-like
        The data.

    Returns
    -------
    str
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ValueError
        X is a CuPy array, and the device is the CPU.
    RuntimeError
        CUDA is asked for, by `device` or by X, and not available: it is never replaced silently by the CPU.
    """
    on_cuda = is_cupy(X)
    if device == "cpu" and on_cuda:
        raise ValueError(
            f"[{estimator}] X is a CuPy array, but device is 'cpu'. Use device='cuda', or cupy.asnumpy(X)"
        )
    if device == "cpu" or (device == "auto" and not on_cuda):
        return "cpu"
    if problem := cuda_problem():
        other = "device='cpu' with cupy.asnumpy(X)" if on_cuda else "device='cpu'"
        raise RuntimeError(f"[{estimator}] device='cuda' is not available: {problem}. Use {other}")
    return "cuda"
