"""The choice of the device on which an estimator computes."""

from __future__ import annotations

from steepest._runtime.backends import cuda_problem, is_cupy


def resolve_device(device: str, estimator: str, X: object) -> str:
    """Return the device, "cpu" or "cuda", that the parameter `device` of an estimator means for X.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        The parameter of the estimator. ``"auto"`` is the device of X.
    estimator : str
        Name of the estimator, which messages start with.
    X : array-like
        The data.

    Returns
    -------
    str
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ValueError
        If X is a CuPy array and `device` is "cpu".
    RuntimeError
        If `device` or X requires CUDA and it is not available; the CPU never replaces it silently.
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
