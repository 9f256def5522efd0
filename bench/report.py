"""Put the latest results into the README and docs/performance.md: `python -m bench.report [--check]`.

The tables between the markers come from bench/results/*.jsonl: for each case the latest row that was not measured with
--quick. The README has a few CPU cases, and the page has all cases of the CPU and of CUDA devices, with a chart.
`--check` changes nothing, and fails if one of the two is out of date. `--add FILE ...` first adds rows measured
elsewhere. `--targets` only prints which targets are met.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import chart, details, targets
from bench.__main__ import NAMES, RESULTS, TITLES
from bench.environment import ROOT
from bench.harness import OURS, save
from bench.show import duration, times

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
LEGEND = f"""\
Times of {OURS} (float32), and how many times longer the fastest variant of each library takes: above 1,
{OURS} is faster, below 1 slower."""
# (benchmark, case, label) of the cases in the README and the chart, which include cases that we lose.
HEADLINES = (
    ("train_step", "batch 32", "Adam step of 784-128-64-10, batch 32"),
    ("train_step", "batch 2048", "the same, batch 2048"),
    ("fit", "MNIST, 48000 rows, 5 epochs, batch 32", "fit of that network on MNIST, 5 epochs"),
    ("convnet", "training step of LeNet-5, batch 128", "Adam step of LeNet-5, batch 128"),
    ("regression", "20000 rows, 10 epochs, batch 200, float32", "fit of MLPRegressor, 20,000 × 8"),
    ("linear_model", "logistic regression, 100,000 × 100, float32", "logistic regression, 100,000 × 100"),
    ("linear_model", "least squares, 100,000 × 100, float32", "least squares, 100,000 × 100"),
    ("discriminant", "LDA, 1,000,000 × 50, 5 classes", "LDA, 1,000,000 × 50"),
    ("pca", "PCA, 100000 × 100, 10 components", "PCA, 100,000 × 100"),
    ("fisher", "Fisher-vector product, batch 512", "Fisher-vector product, batch 512"),
    ("products", "a b, 128 × 128 × 128", "matrix product, 128 × 128 × 128"),
    ("adam", "20 M parameters, 2 tensors", "Adam update, 20 M parameters"),
)
CUDA_LEGEND = """\
Goals of the CUDA kernels, and what was measured, each on the device and at the commit beside it. CUDA events measure
the times. "Copy bandwidth" is that of a copy within the device's memory in the same run; cuBLAS is the fastest of
CuPy's, PyTorch's and cuBLASLt. Errors are relative to float64."""
CPU_GOALS_LEGEND = """\
Goals for the cost of Fisher matrices and the natural gradient on two cores, and what was measured: one row of the
tables above answers each goal."""
LIBRARIES = ("NumPy", "PyTorch", "JAX", "scikit-learn")
# Benchmarks of many like cases, with a line for each in the report, and the libraries of its columns.
GRIDS = {"products": ("NumPy", "PyTorch", "JAX")}
GRID_LEGEND = f"""\
GFLOP/s of {OURS} and of the fastest variant of each library, and how many times longer the fastest of them takes."""
# Contestants that no library is: the floor of a measurement.
FLOORS = ("no import",)


def latest_rows(folder: Path) -> list[dict]:
    """The last full row of each case and device, ordered by NAMES, then by first appearance of the case."""
    rows = []
    for name in NAMES:
        path = folder / f"{name}.jsonl"
        if path.exists():
            full = [row for row in read(path) if not row["quick"]]
            rows += {(row.get("device", "cpu"), row["case"]): row for row in full}.values()
    return rows


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ratio_of(row: dict, library: str) -> float | None:
    """Time of the fastest variant of a library divided by ours."""
    of_library = [e for name, e in row["contestants"].items() if name.startswith(library)]
    return min((e["ratio_of_medians"] for e in of_library if "ratio_of_medians" in e), default=None)


def ratio(row: dict, library: str) -> str:
    """`ratio_of` as text for a table."""
    number = ratio_of(row, library)
    return "" if number is None else times(number)


def table(rows: list[tuple[str, dict]]) -> list[str]:
    """A table with a line for each named row and a column for each library in any of them."""
    libraries = [name for name in LIBRARIES if any(ratio(row, name) for _, row in rows)]
    lines = [f"| | {OURS} | {' | '.join(libraries)} |", f"|---|--:|{'--:|' * len(libraries)}"]
    for name, row in rows:
        ours = duration(row["contestants"][OURS]["median_us"])
        lines.append(f"| {' | '.join([name, ours, *(ratio(row, library) for library in libraries)])} |")
    return lines


def headlines(rows: list[dict]) -> list[tuple[str, dict]]:
    """The (label, row) pairs of the README and the chart."""
    on_cpu = {(row["bench"], row["case"]): row for row in rows if row.get("device", "cpu") == "cpu"}
    return [(name, on_cpu[bench, case]) for bench, case, name in HEADLINES if (bench, case) in on_cpu]


def peers(row: dict) -> dict[str, dict]:
    """The contestants of a row that are of another library and have a ratio to this package's time."""
    return {
        name: entry
        for name, entry in row["contestants"].items()
        if "ratio_of_medians" in entry and not name.startswith(OURS) and name not in FLOORS
    }


def lost(rows: list[dict]) -> list[str]:
    """A sentence that counts the cases in which a library is faster, and a table of them, the largest loss first."""
    compared = [row for row in rows if peers(row)]
    if not compared:
        return []
    lines = [f"| family | case | {OURS} | fastest | its time | × {OURS} |", "|---|---|--:|---|--:|--:|"]
    losses = []
    for row in compared:
        name, entry = min(peers(row).items(), key=lambda item: item[1]["ratio_of_medians"])
        factor = entry["ratio_of_medians"]
        if factor < 1:
            ours, theirs = (duration(row["contestants"][n]["median_us"]) for n in (OURS, name))
            cells = (TITLES[row["bench"]], row["case"], ours, name, theirs, times(factor))
            losses.append((factor, f"| {' | '.join(cells)} |"))
    count = f"In {len(losses)} of {len(compared)} cases another library is faster than {OURS}."
    return [count, "\n".join([*lines, *(line for _, line in sorted(losses))])] if losses else [count]


def families(rows: list[dict]) -> list[tuple[str, dict[str, list[float]]]]:
    """For each benchmark of the CPU, the ratios of the fastest variant of each library, over all of its cases."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for library in LIBRARIES if row.get("device", "cpu") == "cpu" else ():
            factor = ratio_of(row, library)
            if factor is not None:
                found.setdefault(TITLES[row["bench"]], {}).setdefault(library, []).append(factor)
    return list(found.items())


def is_timed(row: dict) -> bool:
    """Whether any contestant of a row has been timed."""
    return any("median_us" in entry for entry in row["contestants"].values())


def notes(rows: list[dict]) -> list[str]:
    """Figures that are not ratios of times: accuracies, memory, iterations, the import, the wheel."""
    lines = []
    for row in rows:
        scores = {n: e for n, e in row["contestants"].items() if "accuracy" in e}
        if scores:
            text = ", ".join(f"{n} {e['accuracy']:.4f} ({e['seeds']} seeds)" for n, e in scores.items())
            lines.append(f"Mean test accuracy of {row['case']}: {text}.")
        peaks = {n: e for n, e in row["contestants"].items() if "peak_mib" in e}
        if peaks:
            text = ", ".join(f"{n} {e['peak_mib']:.0f} MiB" for n, e in peaks.items())
            # The processes run one after the other, so their times cannot be compared.
            took = f", in {peaks[OURS]['seconds']:.0f} s" if list(peaks) == [OURS] else ""
            lines.append(f"- Peak above the samples of {row['case']}: {text}{took}.")
        steps = {n: e["iterations"] for n, e in row["contestants"].items() if "iterations" in e}
        if steps:
            lines.append(f"- Iterations, {row['case']}: {', '.join(f'{n} {k}' for n, k in steps.items())}.")
        if "note" in row:
            lines.append(f"- {row['case']}: {row['note']}.")
        ours = row["contestants"].get(OURS, {})
        if "import_ms" in ours:
            lines.append(f"`import steepest` takes {ours['import_ms']:.0f} ms.")
        if "megabytes" in ours:
            lines.append(f"The wheel has {ours['megabytes']:.1f} MB.")
    return lines


def setting(run: dict) -> str:
    """A text with the machine and the versions of a run."""
    versions = ", ".join(f"{name} {v}" for name, v in run["versions"].items())
    return (
        f"{run['device']}, {run['isa']}, {run['threads']} threads for everyone; {versions}; "
        f"commit {run['commit']}, {run['date'][:10]}."
    )


def cuda_setting(run: dict) -> str:
    """A text with the device and the versions of a run on CUDA, where scikit-learn runs on the host."""
    versions = ", ".join(f"{name} {v}" for name, v in run["versions"].items())
    clock = run["gpu"].get("clocks.max.sm")
    clock = f", clock at most {clock}" if clock else ""
    return (
        f"**{run['device']}, commit {run['commit']}**, {run['date'][:10]}{clock}; host {run['host']}, "
        f"{run['threads']} threads; {versions}."
    )


def goals(rows: list[dict], device: str) -> list[str]:
    """A table with a line for each target of a device, measured or not."""
    lines = ["| | measured | reached | device | commit |", "|---|---|---|---|---|"]
    words = {True: "yes", False: "no", None: ""}
    for target, result, row in targets.answers(rows):
        if target.device != device:
            continue
        if result is None:
            cells = [target.text, targets.NOT_MEASURED, "", "", ""]
        else:
            cells = [target.text, result.text, words[result.met], row["run"]["device"], row["run"]["commit"]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def generate(rows: list[dict]) -> str:
    """Return the text between the markers of the README."""
    shown = headlines(rows)
    return "\n\n".join([LEGEND, "\n".join(table(shown))]) if shown else "Nothing has been measured yet."


def generate_page(rows: list[dict]) -> str:
    """Return the text between the markers of docs/performance.md: targets, then all contestants, for each device."""
    rows = [row for row in rows if row.get("device", "cpu") == "cpu" or targets.may_be_quoted(row)]
    settings = dict.fromkeys(
        (row.get("device", "cpu"), cuda_setting(row["run"]) if "gpu" in row["run"] else setting(row["run"]))
        for row in rows
    )
    parts = []
    for device in dict.fromkeys(device for device, _ in settings):
        there = [row for row in rows if row.get("device", "cpu") == device]
        parts += ["## Measured on the CPU" if device == "cpu" else "## Measured on a GPU"]
        parts += [f"### Cases that {OURS} loses", *lost(there)] if lost(there) else []
        for name in NAMES:
            of_name = [row for row in there if row["bench"] == name]
            if of_name:
                parts += [f"### {TITLES[name]}"]
                timed = [row for row in of_name if is_timed(row)]
                if timed and name in GRIDS:
                    parts += [GRID_LEGEND, "\n".join(details.grid(timed, OURS, GRIDS[name]))]
                elif timed:
                    parts += ["\n".join(details.table(timed, OURS))]
                parts += ["\n".join(notes(of_name))] if notes(of_name) else []
        parts += [
            "### Machines and versions",
            "\n".join(f"- {text}" for where, text in settings if where == device),
        ]
    parts += ["## Goals", "### On the CPU", CPU_GOALS_LEGEND, "\n".join(goals(rows, "cpu"))]
    parts += ["### On a GPU", CUDA_LEGEND, "\n".join(goals(rows, "cuda"))]
    return "\n" + "\n\n".join(parts) + "\n"


def replaced(text: str, content: str) -> str:
    """Return the text with `content` between the markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"one {BEGIN} and one {END} are needed")
    head, rest = text.split(BEGIN)
    return head + BEGIN + "\n" + content.strip("\n") + "\n" + END + rest.split(END)[1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("bench.report", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument("--check", action="store_true", help="fail if one of the two is out of date")
    parser.add_argument("--targets", action="store_true", help="only print which targets are met")
    parser.add_argument(
        "--add", type=Path, nargs="+", default=[], metavar="FILE", help="files with rows to add first"
    )
    args = parser.parse_args(argv)
    for row in [row for path in args.add for row in read(path)]:
        save(row, args.results)
    if args.targets:
        print("\n".join(targets.lines(latest_rows(args.results))))
        return 0
    rows = latest_rows(args.results)
    if not args.check:
        pictures = args.page.parent / "_static"
        ratios = [(name, {n: [ratio_of(row, n)] for n in LIBRARIES}) for name, row in headlines(rows)]
        chart.write(ratios, pictures / "speed.svg")
        chart.write(families(rows), pictures / "families.svg")
    out_of_date = False
    for path, content in ((args.readme, generate(rows)), (args.page, generate_page(rows))):
        before = path.read_text(encoding="utf-8")
        after = replaced(before, content)
        out_of_date |= before != after
        if not args.check:
            path.write_text(after, encoding="utf-8")
    return int(args.check and out_of_date)


if __name__ == "__main__":
    sys.exit(main())
