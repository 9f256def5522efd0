"""The modules that `import steepest` loads, and the files that the package ships for type checkers."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
from backends import run_python

import steepest

HEAVY = ("sklearn", "scipy", "matplotlib", "cupy", "pandas", "torch", "tqdm", "safetensors", "steepest._cuda")


@pytest.fixture(scope="module")
def loaded():
    """Modules that `import steepest` loads."""
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
    # NumPy's BLAS may start some of its own.
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


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+([.a-z]+\d*)?", steepest.__version__)


def test_show_config(capsys):
    steepest.show_config()
    text = capsys.readouterr().out
    assert steepest.__version__ in text
    assert "isa" in text.lower() or "instruction" in text.lower()
