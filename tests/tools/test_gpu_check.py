"""`scripts/gpu_check.sh`: the steps that it runs, their order and time limits, on a machine with fake tools."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = "scripts/gpu_check.sh"
SUMMARY_LINE = re.compile(r"^(\w+) +(ok|SKIPPED|TIME RAN OUT|FAILED \(\d+\)) +\d+ s", re.MULTILINE)

# A fake tool appends its name and arguments to a file, and does what the script needs to continue. A call that matches
# the pattern `FAIL` fails, and one that matches `SLEEP` takes too long.
TOOL = """#!/bin/bash
call="${0##*/} $*"
echo "$call" >>"$CALLS"
case $call in
  *sys.executable*) echo "$0" ;;
  *--cmakedir*) echo /pybind11 ;;
  "cmake -S"*)
    mkdir -p build/gpu/cmake
    [[ -n $NO_NVCC ]] || echo CMAKE_CUDA_COMPILER:STRING=nvcc >build/gpu/cmake/CMakeCache.txt ;;
  *"-m pytest"*) echo "12 passed in 1 s" ;;
  *environment.commit*) echo 1234567 ;;
esac
if [[ -n $SLEEP && $call =~ $SLEEP ]]; then sleep 30; fi
if [[ -n $FAIL && $call =~ $FAIL ]]; then echo "it failed"; exit 1; fi
"""
TOOLS = ("python", "cmake", "ninja", "nvcc", "nvidia-smi", "compute-sanitizer", "ncu")


class Machine:
    """A copy of the files that the script reads, with fake tools."""

    def __init__(self, folder):
        self.root, self.bin, self.calls_file = folder / "tree", folder / "bin", folder / "calls"
        self.bin.mkdir()
        for name in ("scripts", "csrc", "cmake", "python/steepest"):
            (self.root / name).mkdir(parents=True)
        (self.root / SCRIPT).write_bytes((ROOT / SCRIPT).read_bytes())
        (self.root / "CMakeLists.txt").touch()
        for name in TOOLS:
            (self.bin / name).write_text(TOOL)
            (self.bin / name).chmod(0o755)

    def run(self, *arguments, **environment):
        """Run the script; return its exit status, the steps with their results, and the calls of tools."""
        self.calls_file.write_text("")
        env = {"PATH": f"{self.bin}:/usr/bin:/bin", "PYTHON": "python", "CALLS": str(self.calls_file)}
        done = subprocess.run(
            ["bash", SCRIPT, *arguments],
            cwd=self.root,
            env=env | {"CUDA_HOME": "/nowhere"} | environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert not done.stderr, done.stderr
        return done.returncode, dict(SUMMARY_LINE.findall(done.stdout)), self.calls_file.read_text()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_call_takes_at_most_ten_minutes():
    done = subprocess.run(
        ["bash", SCRIPT, "--dry-run", "check"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    steps = re.findall(r"^  (\w+) +(\d+) s$", done.stdout, re.MULTILINE)
    assert [name for name, _ in steps] == ["probe", "build", "test", "goals"]
    assert sum(int(limit) for _, limit in steps) <= 580


def test_unknown_step():
    done = subprocess.run(["bash", SCRIPT, "tests"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no call or step 'tests'" in done.stderr


def test_calls_in_their_order(machine):
    status, steps, calls = machine.run(STEEPEST_MNIST=str(machine.root))
    assert status == 0
    sanitizers = ["memcheck", "racecheck", "synccheck", "initcheck"]
    first = ["probe", "build", "test", "goals"]
    assert list(steps) == [*first, *sanitizers, "profile", "benchmarks"]
    assert set(steps.values()) == {"ok"}
    assert calls.count("cmake --build") == 1  # later calls use the package of the first
    tests, goals, profile, benchmarks = (
        calls.index(text)
        for text in ("-m pytest -p", "--peers cupy --rounds 5", "ncu --set", "adam matmul fit")
    )
    assert tests < goals < profile < benchmarks
    assert "--peers cupy torch --rounds 10" in calls
    for tool in sanitizers:
        assert f"compute-sanitizer --tool {tool}" in calls


def test_a_build_that_fails_ends_the_call(machine):
    status, steps, calls = machine.run("check", FAIL="cmake --build")
    assert (status, steps) == (1, {"probe": "ok", "build": "FAILED (1)"})
    assert "-m pytest" not in calls


def test_what_is_needed_and_missing_ends_the_call_before_the_build(machine):
    (machine.bin / "nvcc").unlink()
    status, steps, calls = machine.run("check")
    assert (status, steps) == (1, {"probe": "FAILED (1)"})
    assert "cmake" not in calls


def test_a_build_without_cuda_fails(machine):
    status, steps, _ = machine.run("check", NO_NVCC="1")
    assert (status, steps["build"]) == (1, "FAILED (1)")


def test_tests_that_fail_do_not_keep_the_goals_from_being_measured(machine):
    status, steps, _ = machine.run("check", FAIL="-m pytest")
    assert (status, steps["test"], steps["goals"]) == (1, "FAILED (1)", "ok")


def test_what_is_missing_and_not_needed_is_skipped(machine):
    for name in ("compute-sanitizer", "ncu"):
        (machine.bin / name).unlink()
    status, steps, _ = machine.run("sanitize")
    assert status == 0
    assert steps["memcheck"] == steps["profile"] == "SKIPPED"


def test_without_mnist_no_whole_fit(machine):
    _, _, calls = machine.run("measure")
    assert "adam matmul --peers" in calls
    assert "fit" not in calls


def test_time_runs_out(machine):
    status, steps, _ = machine.run("test", "goals", SLEEP="-m pytest", STEEPEST_SECONDS="1")
    assert (status, steps) == (1, {"test": "TIME RAN OUT", "goals": "TIME RAN OUT"})


@pytest.mark.parametrize("lost", ["folder", "all"])
def test_a_package_is_built_once_for_its_sources(machine, lost):
    machine.run("build")
    work = machine.root / "build" / "gpu"
    package = work / "out" / "package.tar.gz"
    assert package.exists()
    (work / "package").rename(work / "elsewhere")
    if lost == "all":
        (work / "package.tar.gz").unlink()
    assert ("cmake" in machine.run("build")[2]) == (lost == "all")
    (machine.root / "csrc" / "new.cpp").touch()
    assert "cmake --build" in machine.run("build")[2]
