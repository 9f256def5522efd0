"""The modules that `import steepest` loads, and the files that the package ships for type checkers."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path
from typing import get_args

import pytest
from backends import run_python

import steepest

# Layers of the package from the bottom up: a subpackage imports only subpackages of earlier rows.
FLOORS = (
    ("_version",),
    ("_runtime",),
    ("kernels", "datasets"),
    ("_symmetric", "nn"),
    ("fisher", "plots"),
    ("optim",),
    ("_saving",),
    ("callbacks",),
    ("training",),
    ("estimators",),
    ("decomposition", "discriminant_analysis", "linear_model", "neural_network", "reinforcement"),
    ("cli",),
    ("__init__", "__main__"),
)
HEAVY = ("sklearn", "scipy", "matplotlib", "cupy", "pandas", "torch", "tqdm", "safetensors", "steepest._cuda")


@pytest.fixture(scope="module")
def loaded():
    """Names of the modules that `import steepest` loads."""
    return run_python("import sys, steepest; print(*sys.modules)").stdout.split()


@pytest.mark.parametrize("module", HEAVY)
def test_import_is_light(loaded, module):
    assert "steepest" in loaded
    assert module not in loaded


def test_kernels_are_light_too():
    loaded = run_python("import sys, steepest; steepest.kernels; print(*sys.modules)").stdout.split()
    assert "steepest.kernels" in loaded
    assert not set(HEAVY) & set(loaded)


def test_submodules_load_when_used():
    run_python(
        """
import sys, steepest
assert "steepest.nn" not in sys.modules and "steepest.optim" not in sys.modules
steepest.nn.Network, steepest.optim.Adam, steepest.kernels.matmul
assert "steepest.nn" in sys.modules
assert dir(steepest) == sorted(steepest.__all__)
try:
    steepest.nonsense
except AttributeError as error:
    assert "nonsense" in str(error)
else:
    raise SystemExit("no AttributeError")
"""
    )


def test_import_starts_no_threads():
    if not Path("/proc/self/task").exists():
        pytest.skip("this system has no /proc")
    # NumPy's BLAS may start threads at its import.
    run_python(
        """
import os, numpy
before = os.listdir("/proc/self/task")
import steepest.kernels
assert os.listdir("/proc/self/task") == before
"""
    )


def test_typed():
    folder = Path(steepest.__file__).parent
    assert (folder / "py.typed").is_file()
    assert (folder / "_cpu.pyi").is_file()


def test_type_checkers_know_the_names_that_there_are():

    from steepest.neural_network import _labels, _regression_losses

    for module in (_labels, _regression_losses):
        assert get_args(module.LossName) == module.LOSSES


def test_stub_names_what_the_extension_has():
    from steepest import _cpu

    declared = set()
    for stub in ("_cpu.pyi", "_exports.pyi"):
        for node in ast.parse((Path(steepest.__file__).parent / stub).read_text()).body:
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    declared.add(name)
                case ast.Assign(targets=[ast.Name(id=name)]):
                    declared.add(name)
    assert {name for name in declared if not name.startswith("_")} == {
        name for name in dir(_cpu) if not name.startswith("_")
    }


def imports_by_module(type_checking=False):
    """Return the modules of the package that each module imports, at its top or inside a function.

    Imports that only type checkers read count if `type_checking` is set.
    """
    root = Path(steepest.__file__).parent
    files = {}
    for path in root.rglob("*.py"):
        parts = ("steepest", *path.relative_to(root).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for module, path in files.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        graph[module] = found = set()
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree) if type_checking else statements_that_run(tree):
            match node:
                case ast.Import(names=names):
                    found.update(alias.name for alias in names if alias.name in files)
                case ast.ImportFrom(module=source, names=names, level=level):
                    above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                    base = ".".join([*above, *([source] if source else [])])
                    for alias in names:
                        name = f"{base}.{alias.name}"
                        # `from steepest import _cpu` imports the extension, not what steepest/__init__.py defines.
                        is_compiled = base == "steepest" and alias.name in ("_cpu", "_cuda")
                        if name in files:
                            found.add(name)
                        elif base in files and not is_compiled:
                            found.add(base)
    return graph


def statements_that_run(tree):
    """Yield the nodes of a module, without those that only type checkers read."""
    waiting = [tree]
    for node in waiting:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def test_no_circles():
    try:
        tuple(graphlib.TopologicalSorter(imports_by_module()).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


def test_imports_go_one_way():
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

    def room_of(module):
        return [*module.split("."), "__init__"][1]

    wrong = [
        f"{module} imports {other}"
        for module, others in sorted(imports_by_module(type_checking=True).items())
        for other in sorted(others)
        if room_of(module) != room_of(other)
        and floor_of[room_of(module)] <= floor_of[room_of(other)]
        # The package names its parts for type checkers, and loads them when they are used.
        and module != "steepest"
    ]
    assert not wrong, "\n".join(wrong)


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+([.a-z]+\d*)?", steepest.__version__)


def test_show_config(capsys):
    steepest.show_config()
    text = capsys.readouterr().out
    assert steepest.__version__ in text
    assert "isa" in text.lower() or "instruction" in text.lower()
