"""Print the test files for the changes since the last commit, or for the last commit if nothing has changed.

Usage: python scripts/related_tests.py

Tests of a kernel have its name, or the name of a kernel that includes it. Tests of a Python module have its name, or
else import its package. test_import.py is always among them.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Operations whose tests have other names.
TESTS_OF_STEM = {
    "binary": ("elementwise",),
    "copy": ("elementwise",),
    "counters": ("look_up", "errors", "graph"),
    "gemm": ("matmul", "linear"),
}
MOST_TEST_FILES = 4

# Top-level file or folder without code -> its tests.
LOOKED_AT = {
    "bench": ("test_bench", "test_bench_report"),
    "docs": ("test_docs",),
    "README.md": ("test_docs",),
    "examples": ("test_examples",),
    "pyproject.toml": ("test_import",),
}


def depending(tree: Path, device: str, file: str, by_header: bool = False) -> list[str]:
    """List a file and those that include it, the nearest first, relative to csrc.

    With `by_header` a source counts as included where its header is.
    """
    including: dict[str, set[str]] = {}
    for path in (p for name in ("common", "ops", device) for p in (tree / "csrc" / name).rglob("*.*")):
        for header in re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE):
            including.setdefault(header, set()).add(str(path.relative_to(tree / "csrc")))
    order = [file]
    for found in order:
        names = {found, str(Path(found).with_suffix(".h"))} if by_header else {found}
        order += sorted({p for name in names for p in including.get(name, ())} - set(order))
    return order


def tests_of_kernel(tree: Path, device: str, file: str) -> list[str]:
    """Test files, relative to the root, of a file's operation, or else of files that depend on it, nearest first."""
    found: dict[str, None] = {}
    for path in depending(tree, device, file, by_header=True):
        stem = Path(path).stem
        tests = [
            t for name in TESTS_OF_STEM.get(stem, (stem,)) for t in tree.glob(f"tests/**/test_{name}.py")
        ]
        found |= dict.fromkeys(str(t.relative_to(tree)) for t in tests)
        if found and path == file:
            break
    return list(found)[:MOST_TEST_FILES]


def tests_named(tree: Path, *stems: str) -> list[str]:
    return [str(t.relative_to(tree)) for stem in stems for t in sorted(tree.glob(f"tests/**/test_{stem}.py"))]


def tests_that_import(tree: Path, *names: str) -> list[str]:
    """Test files that import one of the modules; those with the fewest imports, the most specific, come first."""
    found = {}
    for path in sorted(tree.glob("tests/**/test_*.py")):
        imports = re.findall(r"^(?:from|import) .*", path.read_text(), re.MULTILINE)
        if any(re.search(rf"\b{re.escape(name)}\b", line) for name in names for line in imports):
            found[str(path.relative_to(tree))] = len(imports)
    return sorted(found, key=found.__getitem__)[:MOST_TEST_FILES]


def tests_of(tree: Path, file: str) -> list[str]:
    """Test files, relative to the root, of any file of the repository."""
    parts, stem = Path(file).parts, Path(file).stem
    if parts[0] == "csrc" and len(parts) > 2:
        device = "cuda" if parts[1] == "cuda" else "cpu"
        return tests_of_kernel(tree, device, str(Path(*parts[1:])))
    if parts[:2] == ("python", "steepest"):
        package = parts[2] if len(parts) > 3 else stem
        nearest = tests_named(tree, package) + tests_that_import(tree, package)
        return tests_named(tree, stem.lstrip("_")) or list(dict.fromkeys(nearest))[:MOST_TEST_FILES]
    if parts[0] == "tests" and file.endswith(".py"):
        if stem.startswith("test_"):
            return [file] if (tree / file).exists() else []
        return tests_named(tree, stem) or tests_that_import(tree, stem)
    return tests_named(tree, *(name.removeprefix("test_") for name in LOOKED_AT.get(parts[0], ())))


def changed(tree: Path) -> list[str]:
    """List the files that differ from the last commit, new files included, or else the files that it changed."""

    def names(*command: str) -> list[str]:
        words = ["git", *command]
        return subprocess.run(words, cwd=tree, check=True, capture_output=True, text=True).stdout.splitlines()

    return (
        names("diff", "--name-only", "HEAD") + names("ls-files", "--others", "--exclude-standard")
    ) or names("diff-tree", "--no-commit-id", "--name-only", "-r", "HEAD")


def main() -> None:
    found = dict.fromkeys(test for file in changed(ROOT) for test in tests_of(ROOT, file))
    print("\n".join(found | dict.fromkeys(tests_named(ROOT, "import"))))


if __name__ == "__main__":
    main()
