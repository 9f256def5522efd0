"""Random mutants of the kernels, and the test files that belong to a file of the repository."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "scripts" / "mutants.py").is_file():
    pytest.skip("the source tree without scripts/", allow_module_level=True)
sys.path.insert(0, str(ROOT / "scripts"))

import mutants  # noqa: E402
import related_tests  # noqa: E402


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_seed_gives_the_same_mutants_each_of_which_changes_one_line(device):
    drawn = mutants.draw(ROOT, device, 12, seed=3)
    assert drawn == mutants.draw(ROOT, device, 15, seed=3)[:12]
    for mutant in drawn:
        text = (ROOT / "csrc" / mutant["file"]).read_text()
        before, after = text.splitlines(), mutants.plant(mutant, text).splitlines()
        differ = [i + 1 for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        assert differ == [mutant["line"]]


def test_a_line_that_is_no_longer_there_is_stale():
    mutant = {"line": 2, "old": "b", "new": "c"}
    assert mutants.plant(mutant, "a\nb\n") == "a\nc\n"
    assert mutants.plant(mutant, "a\na\nb\n") == "a\na\nc\n"
    assert mutants.plant(mutant, "b\na\nb\n") is None
    assert mutants.plant(mutant, "a\n") is None


@pytest.mark.parametrize(
    ("suites", "verdict", "suite"),
    [
        ({"own": "true", "all": "! grep -q second csrc/cpu/a.cpp"}, "found", "all"),
        ({"own": "false"}, "found", "own"),
        ({"own": "sleep 60"}, "found", "own"),
        ({"own": "true"}, "missed", None),
    ],
)
def test_suites_run_until_one_finds_the_mutant_and_the_file_is_put_back(tmp_path, suites, verdict, suite):
    tree, file = tmp_path / "tree", tmp_path / "tree" / "csrc" / "cpu" / "a.cpp"
    file.parent.mkdir(parents=True)
    file.write_text("first\n")
    values = ("cpu-001", "cpu", "cpu/a.cpp", 1, "first", "second", "removed")
    (tmp_path / "list.json").write_text(json.dumps([dict(zip(mutants.FIELDS, values, strict=True))]))
    options = Namespace(
        mutants=tmp_path / "list.json",
        tree=tree,
        results=tmp_path / "results.jsonl",
        only=None,
        build="true",
        suite=list(suites.items()),
        timeout=0.3,
    )
    mutants.run(options)
    (result,) = mutants.read_results(options.results).values()
    assert (result["verdict"], result.get("suite")) == (verdict, suite)
    assert file.read_text() == "first\n"


@pytest.mark.parametrize(
    ("file", "tests"),
    [
        ("csrc/cpu/softmax.cpp", "tests/kernels/test_softmax.py"),
        ("csrc/cuda/device/softmax_row.cuh", "tests/kernels/test_softmax.py"),
        ("csrc/cpu/item_loss.h", "tests/kernels/test_pointwise_loss.py"),
        ("python/steepest/nn/_arena.py", "tests/nn/test_nn.py"),
        (
            "python/steepest/discriminant_analysis/_solution.py",
            "tests/estimators/test_discriminant_analysis.py",
        ),
        ("python/steepest/plots/_images.py", "tests/tools/test_plots.py"),
        ("tests/kernels/test_reduce.py", "tests/kernels/test_reduce.py"),
        ("tests/support/updates.py", "tests/kernels/test_update.py"),
        ("examples/fit_a_curve.py", "tests/tools/test_examples.py"),
        ("README.md", "tests/tools/test_docs.py"),
    ],
)
def test_a_file_has_its_tests(file, tests):
    found = related_tests.tests_of(ROOT, file)
    assert tests in found
    assert all((ROOT / name).is_file() for name in found)


def test_what_has_changed_is_tested():
    if not (ROOT / ".git").exists():
        pytest.skip("without a git repository the changed files are unknown")
    done = subprocess.run(
        [sys.executable, "scripts/related_tests.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "tests/tools/test_import.py" in done.stdout.splitlines()
