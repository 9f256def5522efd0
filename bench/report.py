"""Put the latest results into the README: `python -m bench.report [--check]`.

The table between the markers is generated from bench/results/*.jsonl, of each case the latest row that was
not run with --quick. `--check` changes nothing and fails where the README is out of date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.__main__ import NAMES, RESULTS
from bench.environment import ROOT
from bench.harness import OURS, duration

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
LEGEND = f"""\
Times of {OURS} (float32), and how many times longer the fastest variant of each library takes: above 1,
{OURS} is faster, below 1 slower. "Of roofline" is the share of the speed that the machine's measured
multiply-add rate or memory bandwidth allows."""
LIBRARIES = ("NumPy", "PyTorch", "JAX", "scikit-learn")
TITLES = {
    "matmul": "Matrix products and layers",
    "softmax_cross_entropy": "Softmax-cross-entropy",
    "adam": "Adam update",
    "train_step": "Training step of 784-128-64-10",
    "fit": "Whole fit of 784-128-64-10",
    "overhead": "Overhead",
}


def latest_rows(folder: Path) -> list[dict]:
    """The last full row of each case, in the order of NAMES and of the cases' first appearance."""
    rows = []
    for name in NAMES:
        path = folder / f"{name}.jsonl"
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            latest = {row["case"]: row for row in map(json.loads, lines) if not row["quick"]}
            rows += latest.values()
    return rows


def ratio(row: dict, library: str) -> str:
    """How many times longer the fastest variant of a library takes."""
    of_library = [e for name, e in row["contestants"].items() if name.startswith(library)]
    ratios = [e["ratio_of_medians"] for e in of_library if "ratio_of_medians" in e]
    return f"{min(ratios):#.3g}×".replace(".×", "×") if ratios else ""


def table(rows: list[dict]) -> list[str]:
    """A line for each timed row; a column for each library that any of them has."""
    libraries = [name for name in LIBRARIES if any(ratio(row, name) for row in rows)]
    lines = [
        f"| | {OURS} | {' | '.join(libraries)} | of roofline |",
        f"|---|--:|{'--:|' * len(libraries)}--:|",
    ]
    for row in rows:
        ours = row["contestants"].get(OURS, {})
        if "median_us" not in ours:
            continue
        roofline = f"{100 * ours['roofline']:.0f} %" if "roofline" in ours else ""
        ratios = [ratio(row, name) for name in libraries]
        cells = [row["case"], duration(ours["median_us"]), *ratios, roofline]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def notes(rows: list[dict]) -> list[str]:
    """What is not a ratio of times: accuracies, the import, the wheel."""
    lines = []
    for row in rows:
        scores = {n: e for n, e in row["contestants"].items() if "accuracy" in e}
        if scores:
            text = ", ".join(f"{n} {e['accuracy']:.4f} ({e['seeds']} seeds)" for n, e in scores.items())
            lines.append(f"Mean test accuracy of {row['case']}: {text}.")
        ours = row["contestants"].get(OURS, {})
        if "import_ms" in ours:
            lines.append(f"`import steepest` takes {ours['import_ms']:.0f} ms.")
        if "megabytes" in ours:
            lines.append(f"The wheel has {ours['megabytes']:.1f} MB.")
    return lines


def setting(run: dict) -> str:
    """The machine and the versions of a run."""
    versions = ", ".join(f"{name} {v}" for name, v in run["versions"].items())
    return (
        f"{run['device']}, {run['isa']}, {run['threads']} threads for everyone; {versions}; "
        f"commit {run['commit']}, {run['date'][:10]}."
    )


def generate(rows: list[dict]) -> str:
    """The text between the markers."""
    if not rows:
        return "\n"
    parts = [LEGEND]
    for name in NAMES:
        of_name = [row for row in rows if row["bench"] == name]
        if of_name:
            parts.append(f"**{TITLES[name]}**")
            parts.append("\n".join(table(of_name)))
            parts += ["\n".join(notes(of_name))] if notes(of_name) else []
    settings = dict.fromkeys(setting(row["run"]) for row in rows)
    parts.append("\n".join(settings))
    return "\n" + "\n\n".join(parts) + "\n"


def replaced(text: str, content: str) -> str:
    """The README's text with `content` between the markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the README needs one {BEGIN} and one {END}")
    head, rest = text.split(BEGIN)
    return head + BEGIN + "\n" + content.strip("\n") + "\n" + END + rest.split(END)[1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("bench.report", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--check", action="store_true", help="only say whether the README is up to date")
    args = parser.parse_args(argv)
    before = args.readme.read_text(encoding="utf-8")
    after = replaced(before, generate(latest_rows(args.results)))
    if args.check:
        return int(before != after)
    args.readme.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
