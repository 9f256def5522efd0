"""Every instruction set of this build: chosen when asked for, and as right as the default."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from backends import instruction_sets, run_python

from steepest import _cpu

# The tests of kernels; each file marks some of its tests `every_isa`.
STEMS = (
    "matmul",
    "linear",
    "linear_backward",
    "linear_loss",
    "linear_sgd",
    "linear_tangent",
    "activation",
    "prelu",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "pointwise_loss",
    "gaussian_loss",
    "zero_one_loss",
    "output_fisher",
    "output_divergence",
    "sampled_score",
    "update",
    "class_scatter",
    "gradient_gram",
    "gradient_norms",
    "second_moment",
    "take_rows",
    "take_sparse_rows",
    "dropout",
    "reduce",
    "random",
)
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
        pytest.skip("this machine runs every instruction set of this build")
    done = run_python(PRINT_ISA, check=False, STEEPEST_ISA=missing[0])
    assert done.returncode != 0
    assert missing[0] in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("isa", [i for i in instruction_sets() if i != _cpu.info()["isa"]])
def test_kernels(isa):
    """The tests marked every_isa, in a process that uses another instruction set than this one."""
    here = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-m", "every_isa", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(str(here / f"test_{stem}.py") for stem in STEMS)],
        env={**os.environ, "STEEPEST_ISA": isa},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_every_kernel_module_has_a_test_for_every_isa():
    # Where it is missing, an instruction set could be wrong in that kernel without any test to see it.
    for stem in STEMS:
        text = (Path(__file__).parent / f"test_{stem}.py").read_text()
        assert "pytest.mark.every_isa" in text, stem
