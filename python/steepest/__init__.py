"""scikit-learn-compatible estimators, neural networks and natural gradients on hand-written C++ and CUDA kernels.

The parts of the package load when they are first used:

>>> import steepest
>>> from steepest import kernels as K
>>> from steepest.neural_network import MLPClassifier
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import steepest._runtime.threads  # noqa: F401  (registers with threadpoolctl)
from steepest._cpu import DivergenceError, get_num_threads, set_num_threads
from steepest._runtime.backends import synchronize
from steepest._runtime.config import show_config
from steepest._runtime.graph import Graph, Profile, capture
from steepest._version import __version__

if TYPE_CHECKING:
    from steepest import (
        callbacks,
        cli,
        datasets,
        decomposition,
        discriminant_analysis,
        fisher,
        kernels,
        linear_model,
        neural_network,
        nn,
        optim,
        plots,
        reinforcement,
    )
    from steepest._saving.checkpoints import load_checkpoint, save_checkpoint
    from steepest._saving.files import load, save

__all__ = [
    "DivergenceError",
    "Graph",
    "Profile",
    "__version__",
    "callbacks",
    "capture",
    "cli",
    "datasets",
    "decomposition",
    "discriminant_analysis",
    "fisher",
    "get_num_threads",
    "kernels",
    "linear_model",
    "load",
    "load_checkpoint",
    "neural_network",
    "nn",
    "optim",
    "plots",
    "reinforcement",
    "save",
    "save_checkpoint",
    "set_num_threads",
    "show_config",
    "synchronize",
]

_SUBMODULES = frozenset(
    {
        "callbacks",
        "cli",
        "datasets",
        "decomposition",
        "discriminant_analysis",
        "fisher",
        "kernels",
        "linear_model",
        "neural_network",
        "nn",
        "optim",
        "plots",
        "reinforcement",
    }
)
# Function -> its module. These modules need NumPy, so that they load at first use and not by `import steepest`.
_FUNCTIONS = {
    "load": "steepest._saving.files",
    "load_checkpoint": "steepest._saving.checkpoints",
    "save": "steepest._saving.files",
    "save_checkpoint": "steepest._saving.checkpoints",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"steepest.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'steepest' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
