"""Generates the page of the docs that says which of scikit-learn's tests pass, from results and reasons."""

from __future__ import annotations

import json

from .run import ROOT, reason_for
from .suites import SUITES

PAGE = ROOT / "docs" / "scikit-learn-tests.md"
DATA = ROOT / "docs" / "data" / "scikit-learn-tests.json"

HEAD = """\
# scikit-learn's own tests

scikit-learn's test files, as installed with it, run with its classes rebound to those of this package of the same
names; nothing is copied or changed. `make sklearn-tests` runs them and writes this page. Tests that make no instance
of a rebound class (they are about scikit-learn's helpers, or about other estimators) are not counted.

scikit-learn itself skips the tests in the last column. Nearly all of them are about array libraries that are not
installed: PyTorch, array-api-strict, dpnp and CuPy.

| tests of scikit-learn {version} | rebound | pass | of | skipped |
|---|---|---:|---:|---:|
"""


def load() -> dict[str, dict]:
    """Return the saved results, a dict by suite name."""
    return json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}


def save(results: dict[str, dict]) -> None:
    """Save the results without pytest's output, and write the page."""
    kept = {name: {k: v for k, v in result.items() if k != "output"} for name, result in results.items()}
    DATA.parent.mkdir(exist_ok=True)
    DATA.write_text(
        json.dumps({name: kept[name] for name in SUITES if name in kept}, indent=1) + "\n", encoding="utf-8"
    )
    PAGE.write_text(render(kept), encoding="utf-8")


def render(results: dict[str, dict]) -> str:
    """Return the text of the page."""
    versions = ", ".join(sorted({result["sklearn"] for result in results.values()}))
    lines = []
    for name, suite in SUITES.items():
        if name in results:
            result = results[name]
            total = result["passed"] + len(result["failed"])
            classes = ", ".join(f"`{n}`" for n in suite.names)
            path = suite.tests.replace(".", "/") + ".py"
            lines.append(f"| `{path}` | {classes} | {result['passed']} | {total} | {result['skipped']} |\n")
    page = HEAD.format(version=versions) + "".join(lines)
    for name in SUITES:
        if results.get(name, {}).get("failed"):
            file = SUITES[name].tests.rpartition(".")[2]
            page += f"\n## What does not pass in {file}.py\n\n| test | why |\n|---|---|\n"
            for test in results[name]["failed"]:
                reason = reason_for(name, test) or "**unexplained**"
                page += f"| `{test.replace('|', chr(92) + '|')}` | {reason} |\n"
    return page
