"""The choice of the device on which an estimator computes."""

from __future__ import annotations

import importlib.util


def resolve_device(device: str, estimator: str) -> str:
    """Return the device that `device` stands for.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        As given to the estimator.
    estimator : str
        Its name, for the message.

    Returns
    -------
    str
        ``"cpu"``.

    Raises
    ------
    RuntimeError
        Where CUDA is asked for: it is never replaced silently by the CPU.
    """
    if device == "cuda":
        if importlib.util.find_spec("steepest._cuda") is None:
            problem = "this build of steepest has no CUDA module"
        else:
            problem = "the estimators of this version compute on the CPU only"
        raise RuntimeError(f"[{estimator}] device='cuda' is not available: {problem}. Use device='cpu'")
    return "cpu"
