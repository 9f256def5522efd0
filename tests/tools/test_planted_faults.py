"""Each fault of `make standin-faults` replaces text that the kernels contain; `make test-deep` plants all of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load():
    spec = importlib.util.spec_from_file_location("planted_faults", ROOT / "tests" / "standin" / "faults.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FAULTS = load().FAULTS


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.what for fault in FAULTS])
def test_each_fault_has_its_place(fault):
    text = (ROOT / "csrc" / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.old) == 1
    assert fault.old != fault.new
    assert (ROOT / "csrc" / "cuda" / fault.source).exists()
    assert (ROOT / "tests" / "kernels" / fault.tests.split()[0]).exists()
