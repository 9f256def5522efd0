"""`scripts/check_house.py` finds long files and lists that are kept twice, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

if not (Path(__file__).parents[2] / "scripts").exists():
    pytest.skip("the source tree without scripts/", allow_module_level=True)

from scripts import check_house

REGISTRY = """
// X(enumerator, name)
#define STEEPEST_FRUITS(X) \\
    X(Apple, "apple")      \\
    X(Cherry, "cherry")    \\
    X(Grape, "grape")      \\
    X(Lemon, "lemon")      \\
    X(Orange, "orange")
"""
FRUITS = '("apple", "cherry", "grape", "lemon", "orange")'
TREES = '["birch", "cedar", "maple", "spruce", "willow"]'


@pytest.fixture
def found(tmp_path):
    """A function that returns the problems of a repository with the given files, path -> text."""

    def problems(files):
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return list(check_house.problems(tmp_path))

    return problems


@pytest.mark.parametrize(
    "name", ["a.py", "a.pyi", "csrc/a.cuh", "docs/a.md", "a.sh", "a.yml", "cmake/a.cmake"]
)
def test_a_long_file(found, name):
    assert found({name: "\n" * 500}) == []
    assert found({name: "\n" * 501}) == [f"{name} has 501 lines, more than 500: split it by meaning"]


def test_what_may_be_long(found):
    assert found({"CHANGELOG.md": "\n" * 900, "data/a.csv": "\n" * 900}) == []


@pytest.mark.parametrize(
    "text",
    [
        f"fruits = {FRUITS}",
        'Fruit: TypeAlias = Literal["apple", "cherry", "grape", "lemon", "orange"]',
        'prices = {"apple": 1, "cherry": 2, "grape": 3, "lemon": 4, "orange": 5}',
        'def f():\n    return ["apple", "cherry", "grape", "lemon", "nut"]',
        '@parametrize("prices", {"apple": 1, "cherry": 2, "grape": 3, "lemon": 4, "orange": 5})\ndef f(): ...',
    ],
)
def test_a_registry_that_is_repeated(found, text):
    (problem,) = found({"csrc/common/fruits.h": REGISTRY, "python/a.py": text})
    assert "repeats STEEPEST_FRUITS (csrc/common/fruits.h:3)" in problem
    assert problem.startswith("python/a.py:")


def test_a_registry_that_is_repeated_in_c(found):
    text = 'const char* const kFruits[] = {"apple", "cherry", "grape",\n    "lemon", "orange"};'
    (problem,) = found({"csrc/common/fruits.h": REGISTRY, "csrc/cpu/a.cpp": text})
    assert problem.startswith("csrc/cpu/a.cpp:1 repeats STEEPEST_FRUITS")


def test_a_list_that_is_kept_twice(found):
    files = {"a.py": f"trees = {TREES}", "b.py": f"x = 1\nothers = {TREES}"}
    (problem,) = found(files)
    assert problem.startswith("a.py:1 and b.py:2 hold the same names (birch, cedar, maple, ...)")


@pytest.mark.parametrize(
    "text",
    [
        'trees = ["birch", "cedar", "maple"]',
        'trees = ["birch", "cedar", "maple", "oak", "yew", "elm"]',
        'def f():\n    return {"birch": 1, "cedar": 2, "maple": 3, "spruce": 4, "willow": 5}',
        f"# kept by hand: these stand in another wood\ntrees = {TREES}",
        f"trees = {TREES}  # kept by hand: these stand in another wood",
        f"trees = [\n    # kept by hand: these stand in another wood\n    {TREES[1:]}",
        "trees = 'birch cedar maple spruce willow'.split()",
    ],
)
def test_lists_that_may_stand(found, text):
    assert found({"a.py": f"trees = {TREES}", "b.py": text}) == []


def test_an_exception_needs_a_reason(found):
    assert len(found({"a.py": f"trees = {TREES}", "b.py": f"# kept by hand:\ntrees = {TREES}"})) == 1


def test_the_exit_status_says_whether_something_was_found(found, tmp_path, monkeypatch, capsys):
    found({"a.py": "\n" * 501})
    monkeypatch.setattr("sys.argv", ["check_house.py", str(tmp_path)])
    assert check_house.main() == 1
    assert capsys.readouterr().out == "a.py has 501 lines, more than 500: split it by meaning\n"
    (tmp_path / "a.py").write_text("")
    assert check_house.main() == 0
