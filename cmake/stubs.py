"""Write the type stubs of what is made from the registries of a built extension: `stubs.py _cpu*.so FOLDER`.

FOLDER is the package's folder: the stubs go beside the modules that they describe. The package is not imported, so that
a build can call this.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

MADE = "# Made by cmake/stubs.py from the registries of the extension.\n"

OPERATIONS = (
    MADE
    + '''"""Interface of the backends, for type checkers: `steepest._cpu` and `steepest._cuda` implement `Backend`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Activation, Array, Arrays, BoolArray, Float64Array, Int64Array

ActivationName: TypeAlias = Literal[{activation_names}]

class BackendGraph(Protocol):
    """A list of operations of one backend."""

    def __len__(self) -> int: ...
    def operations(self) -> list[str]: ...
    def replay(self, n: int = 1) -> int: ...
    def profile(self, n: int) -> list[tuple[str, float, float, float]]: ...

class Backend(Protocol):
    """The functions of a backend module; `steepest.kernels` documents the operations."""

    # For each activation: name, layer, parameter, default, at_input, value, derivative, range, source.
    ACTIVATIONS: tuple[dict[str, Any], ...]
    # For each function of one item: name, value, special.
    UNARY_FUNCTIONS: tuple[dict[str, str], ...]
    # Name -> (function, states).
    UPDATE_RULES: dict[str, tuple[str, tuple[str, ...]]]
    # Name -> (distribution, name of the parameter, its default).
    PRECISIONS: tuple[str, ...]
    RECURRENT_CELLS: tuple[str, ...]
    POINTWISE_LOSSES: Mapping[str, tuple[str | None, str | None, float]]
    # Name of an operation -> the signature of its function.
    SIGNATURES: Mapping[str, str]

    def info(self) -> Mapping[str, Any]: ...
    def Graph(self) -> BackendGraph: ...  # noqa: N802 (a class of the modules)
    def begin_capture(self, graph: Any) -> None: ...
    def end_capture(self, graph: Any) -> None: ...
    def is_capturing(self) -> bool: ...
'''
)

CUDA = '''
class CudaBackend(Backend, Protocol):
    """The CUDA module, whose operations run asynchronously."""

    def synchronize(self) -> None: ...
'''

EXPORTS = (
    MADE
    + '''"""The names that both backend modules export: attributes of `Backend`, which has the signatures."""

from steepest._operations import Backend

_backend: Backend

'''
)


def load(path: Path) -> ModuleType:
    """Load the extension from its file."""
    loader = importlib.machinery.ExtensionFileLoader("_cpu", str(path))
    spec = importlib.util.spec_from_file_location("_cpu", path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def operations(extension: ModuleType) -> str:
    """Return the protocol of the backends."""
    methods = [
        f"    def {name}({', '.join(('self', signature[1:]))}: ...\n"
        for name, signature in extension.SIGNATURES.items()
    ]
    names = ", ".join(repr(entry["name"]) for entry in extension.ACTIVATIONS)
    return OPERATIONS.replace("{activation_names}", names) + "".join(methods) + CUDA


def exports(extension: ModuleType) -> str:
    """Return the names of both modules."""
    registries = [
        "ACTIVATIONS",
        "POINTWISE_LOSSES",
        "PRECISIONS",
        "RECURRENT_CELLS",
        "SIGNATURES",
        "UNARY_FUNCTIONS",
        "UPDATE_RULES",
    ]
    names = [*registries, *sorted(extension.SIGNATURES)]
    return EXPORTS + "".join(f"{name} = _backend.{name}\n" for name in names)


def parameter_of(entry: dict[str, Any]) -> str:
    """Return how the parameter of an activation is declared, with a comma before it."""
    return f", {entry['parameter']}: float = {entry['default']}" if entry["parameter"] else ""


def activation_functions(extension: ModuleType) -> str:
    """Return the functions of the activations."""
    functions = [
        f"def {entry['name']}(x: Array{parameter_of(entry)}, out: Array | None = None) -> Array: ...\n"
        for entry in extension.ACTIVATIONS
    ]
    return MADE + "from steepest._runtime.arrays import Array\n\n" + "".join(functions)


def unary_functions(extension: ModuleType) -> str:
    """Return the functions of one item."""
    functions = [
        f"def {entry['name']}(x: Array, out: Array | None = None) -> Array: ...\n"
        for entry in extension.UNARY_FUNCTIONS
    ]
    return MADE + "from steepest._runtime.arrays import Array\n\n" + "".join(functions)


def activation_layers(extension: ModuleType) -> str:
    """Return the layers of the activations."""
    classes = [
        f"\nclass {entry['layer']}(Activation):\n    def __init__(self{parameter_of(entry)}) -> None: ...\n"
        for entry in extension.ACTIVATIONS
    ]
    return MADE + "from .layers import Activation\n" + "".join(classes)


STUBS = {
    "_operations.pyi": operations,
    "_exports.pyi": exports,
    "kernels/activation_functions.pyi": activation_functions,
    "kernels/unary.pyi": unary_functions,
    "nn/activations.pyi": activation_layers,
}


def main(extension: str, folder: str) -> None:
    """Write all stubs."""
    module = load(Path(extension))
    for name, stub in STUBS.items():
        path, text = Path(folder) / name, stub(module)
        path.parent.mkdir(parents=True, exist_ok=True)
        # An unchanged stub keeps its modification time, so that nothing is rebuilt.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
