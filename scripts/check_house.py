"""Check that files stay short, and that no list of names is kept twice.

Usage: python scripts/check_house.py [FOLDER]

A list is kept twice if two literal collections in different files share most of their names, or if one contains most
names of a registry of csrc. Literal collections are lists, tuples, sets and `Literal[...]` in Python, keys of
dictionaries outside functions (inside, they are mostly arguments), and values of C++ variables. The comment
`# kept by hand: reason`, or `// kept by hand: reason`, above a collection, on its first line or within it, allows one.
"""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST = 500
CODE = {".py", ".pyi", ".h", ".cpp", ".cu", ".cuh", ".md", ".sh", ".yml", ".cmake"}
CPP = {".h", ".cpp", ".cu", ".cuh"}
NOT_CHECKED = {"CHANGELOG.md"}  # a changelog only grows
# Tables that bench.report writes into a page do not count.
WRITTEN = re.compile(r"^<!-- bench:begin -->$.*?^<!-- bench:end -->$", re.DOTALL | re.MULTILINE)
FEWEST, SHARE = 5, 0.8
REMEDY = "derive one from the other, or say why not with '# kept by hand: reason'"
BY_HAND = re.compile(r"(?:#|//) kept by hand: \S")
NAME = re.compile(r"[A-Za-z][\w.-]{2,}")  # shorter names are operands
REGISTRY = re.compile(r"#define (STEEPEST_[A-Z_]+)\(X\)((?:.*\\\n)*.*)")
VALUE = re.compile(r"= ?\{[^;]*\};")


@dataclass(frozen=True)
class Names:
    """A collection of names and its place; `registry` is its own name if it is a registry of csrc."""

    file: str
    line: int
    names: frozenset[str]
    registry: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def by_hand(lines: list[str]) -> bool:
    return any(BY_HAND.search(line) for line in lines)


def strings(nodes: list) -> list[str]:
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield (node, whether it is in the body of a function) for the nodes of a module."""
    stack = [(tree, False)]
    while stack:
        node, inside = stack.pop()
        yield node, inside
        if isinstance(node, (ast.Name, ast.Constant, ast.expr_context)):
            continue
        body = node.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else ()
        stack += [(child, inside or child in body) for child in ast.iter_child_nodes(node)]


def of_python(file: str, text: str) -> Iterator[Names]:
    """Yield the collections of names in a Python file that are not marked as kept by hand."""
    lines = text.splitlines()
    for node, inside in nodes(ast.parse(text)):
        if isinstance(node, ast.Dict) and not inside:
            found = strings([key for key in node.keys if key is not None])
        elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            found = strings(node.elts)
        else:
            continue
        names = frozenset(filter(NAME.fullmatch, found))
        if len(names) >= FEWEST and not by_hand(lines[max(0, node.lineno - 2) : node.end_lineno]):
            yield Names(file, node.lineno, names)


def of_cpp(file: str, text: str) -> Iterator[Names]:
    """Yield the registries of a C++ file, and the values of its variables that hold names."""
    for match in REGISTRY.finditer(text):
        entries = [re.search(r'"([^"]+)"', entry) for entry in re.findall(r"\bX\(([^\n]*)", match[2])]
        names = frozenset(entry[1] for entry in entries if entry)
        if len(names) >= FEWEST:
            yield Names(file, text.count("\n", 0, match.start()) + 1, names, match[1])
    for match in VALUE.finditer(text):
        names = frozenset(filter(NAME.fullmatch, re.findall(r'"([^"\n]*)"', match[0])))
        first, last = (text.count("\n", 0, at) for at in match.span())
        if len(names) >= FEWEST and not by_hand(text.splitlines()[max(0, first - 1) : last + 1]):
            yield Names(file, first + 1, names)


def kept_twice(collections: list[Names]) -> Iterator[str]:
    """Yield a message for each collection that repeats a registry, and each pair that shares most names."""
    registries = [c for c in collections if c.registry]
    others = [c for c in collections if not c.registry]
    repeated = set()
    for c, registry in itertools.product(others, registries):
        if len(c.names & registry.names) >= SHARE * len(registry.names):
            repeated.add(c)
            yield f"{c} repeats {registry.registry} ({registry}): {REMEDY}"
    for a, b in itertools.combinations([c for c in others if c not in repeated], 2):
        if a.file != b.file and len(a.names & b.names) >= SHARE * max(len(a.names), len(b.names)):
            shared = ", ".join(sorted(a.names & b.names)[:3])
            yield f"{a} and {b} hold the same names ({shared}, ...): {REMEDY}"


def tracked(root: Path) -> list[str]:
    """List the files of the repository with the suffixes of code and pages."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    return [f for f in sorted(set(listed)) if Path(f).suffix in CODE and (root / f).is_file()]


def problems(root: Path) -> Iterator[str]:
    """Yield a line for each problem in the files of a repository."""
    collections: list[Names] = []
    for file in tracked(root):
        text = (root / file).read_text(encoding="utf-8")
        length = WRITTEN.sub("", text).count("\n")
        if length > LONGEST and Path(file).name not in NOT_CHECKED:
            yield f"{file} has {length} lines, more than {LONGEST}: split it by meaning"
        if Path(file).suffix in {".py", ".pyi"}:
            collections += of_python(file, text)
        elif Path(file).suffix in CPP:
            collections += of_cpp(file, text)
    yield from kept_twice(collections)


def main() -> int:
    found = list(problems(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
