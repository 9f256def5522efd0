"""The Python blocks of the README and of docs/ run from top to bottom, as a reader would run them.

Blocks that import CuPy run only on a machine with a GPU.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import backends
import pytest
import reader
from docs._extensions import tables

import steepest
from steepest import _cpu, optim
from steepest import kernels as K

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(text):
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [p for p in PAGES if python_blocks(p.read_text())], ids=lambda p: p.name)
def test_blocks_run(page, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(reader.hide_what_only_tests_need(tmp_path))
    for name in reader.MISSING:
        monkeypatch.delitem(sys.modules, name, raising=False)
    namespace = {}
    blocks = [b for b in python_blocks(page.read_text()) if backends.REAL_CUDA or "import cupy" not in b]
    if not blocks:
        pytest.skip("all blocks need a GPU")
    for i, block in enumerate(blocks, 1):
        exec(compile(block, f"{page.name}, block {i}", "exec"), namespace)


def test_links_between_pages_exist():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_what_is_advertised_can_be_installed():
    """Extras that pages and messages name exist, and no command installs from an index without the package."""
    extras = re.search(
        r"^\[project.optional-dependencies\]\n(.*?)^\[", (ROOT / "pyproject.toml").read_text(), re.M | re.S
    )
    known = set(re.findall(r"^(\w+) = ", extras[1], re.M))
    assert known
    for path in [*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "python").rglob("*.py"), ROOT / "pyproject.toml"]:
        text = path.read_text()
        named = ",".join(re.findall(r"""(?:\bsteepest|['" ]\.)\[([a-z0-9,]+)\]""", text))
        assert set(filter(None, named.split(","))) <= known, f"{path} names an extra that there is not"
        for line in re.findall(r"pip install [^`#\n]*", text):
            assert not re.search(r"(?<![\w./-])steepest\b", line), f"{path} advertises {line}"
        assert "pypi.org/project/steepest" not in text


def test_no_summary_of_the_reference_has_a_citation():
    """Sphinx shows the first sentence of a docstring in tables, in which citations do not link."""
    for module in (getattr(steepest, name) for name in steepest.__all__):
        for name in getattr(module, "__all__", []):
            summary = (getattr(module, name).__doc__ or "").split("\n\n")[0]
            assert "]_" not in summary, f"{module.__name__}.{name}: {summary}"


def test_the_readme_says_what_is_here():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    here = " ".join(readme.partition("## What is here")[2].partition("## How fast")[0].split())
    for name in {name for name in steepest.__all__ if isinstance(getattr(steepest, name), ModuleType)} - {
        "cli",
        "datasets",
    }:
        assert re.search(rf"`(steepest\.)?{name}\b", here), name


def test_tables_have_every_entry_of_their_registry():
    expected = {
        "activations": [f"`{name}`" for name in K.ACTIVATIONS],
        "losses": [f"`{name}`" for name in K.LOSSES],
        "unary": [f"`{entry['name']}`" for entry in _cpu.UNARY_FUNCTIONS],
        "update_rules": [f"`{rule.__name__}`" for rule in optim.RULES],
        "functions": [
            "{py:obj}`sum(x, axis=None, out=None) <steepest.kernels.sum>`",
            *(f" <steepest.kernels.{name}>`" for name in K.__all__ if inspect.isroutine(getattr(K, name))),
        ],
    }
    made = defaultdict(str)
    for page in PAGES:
        for mark in tables.MARK.finditer(page.read_text()):
            table = tables.table(mark[1], *mark[2].split())
            made[mark[1]] += table
            assert mark[0].count("\n") == 2, f"{page.name}: {mark[0]} says nothing to those who read the file"
            assert table in tables.fill(page.read_text())
    assert made.keys() == expected.keys()
    for name, entries in expected.items():
        assert [entry for entry in entries if entry not in made[name]] == []


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for page in (ROOT / "docs").glob("*.md"):
        for toctree in re.findall(r"^```{toctree}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            listed.update(toctree.split())
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index", "README"}
    assert pages <= listed
