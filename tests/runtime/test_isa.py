"""STEEPEST_ISA selects every instruction set of this build, and STEEPEST_BFLOAT16 every unit for bfloat16 products.

`make test-matrix` tests the kernels with each instruction set, and with the emulation of bfloat16 units.
"""

from __future__ import annotations

import pytest
from backends import instruction_sets, run_python

from steepest import _cpu

pytestmark = pytest.mark.cpu_only("instruction sets are the CPU's")

PRINT_ISA = "from steepest import _cpu; print(_cpu.info()['isa'])"


def test_default_is_the_widest_available():
    available = instruction_sets()
    order = ["generic", "avx2", "avx512"]
    assert run_python(PRINT_ISA).stdout.strip() == max(available, key=order.index)


def test_info_is_consistent():
    info = _cpu.info()
    assert info["isa"] in info["isas_available"]
    assert set(info["isas_available"]) <= set(info["isas_built"])
    assert "generic" in info["isas_available"]
    assert info["cores"] >= 1
    assert info["num_threads"] >= 1


@pytest.mark.parametrize("isa", instruction_sets())
def test_asked_for_by_name(isa):
    assert run_python(PRINT_ISA, STEEPEST_ISA=isa).stdout.split() == [isa]


def test_unknown_name_is_refused():
    done = run_python(PRINT_ISA, check=False, STEEPEST_ISA="sse9")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(("ImportError", "ValueError"))
    assert "STEEPEST_ISA" in last
    assert "sse9" in last
    for isa in instruction_sets():
        assert isa in last


def test_built_but_unavailable_is_refused():
    info = _cpu.info()
    missing = sorted(set(info["isas_built"]) - set(info["isas_available"]))
    if not missing:
        pytest.skip("this machine supports every instruction set of this build")
    done = run_python(PRINT_ISA, check=False, STEEPEST_ISA=missing[0])
    assert done.returncode != 0
    assert missing[0] in done.stderr.strip().splitlines()[-1]


PRINT_BFLOAT16 = "from steepest import _cpu; print(_cpu.info()['bfloat16'])"


def test_bfloat16_units_by_name():
    available = _cpu.info()["bfloat16_available"]
    assert available[:2] == ["none", "emulated"]
    fastest = available[-1] if available[-1] != "emulated" else "none"
    assert run_python(PRINT_BFLOAT16).stdout.split() == [fastest]
    for unit in available:
        assert run_python(PRINT_BFLOAT16, STEEPEST_BFLOAT16=unit).stdout.split() == [unit]
    # An instruction set that was asked for by name is the only one, unless a unit is, too.
    assert run_python(PRINT_BFLOAT16, STEEPEST_ISA="generic").stdout.split() == ["none"]
    done = run_python(PRINT_BFLOAT16, check=False, STEEPEST_BFLOAT16="sse9")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"ImportError: STEEPEST_BFLOAT16 is 'sse9', but this build on this processor has: {', '.join(available)}"
    )
