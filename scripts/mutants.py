"""Plant small faults (mutants) in the kernels, one at a time, and record which of them the tests find.

    python scripts/mutants.py list --device cpu --count 60 --seed 1 --output cpu.json
    python scripts/mutants.py run cpu.json --tree ../copy --results cpu.jsonl --build 'make .venv/.extension'
        --suite own '.venv/bin/python -m pytest -x -q {tests}' --suite all '.venv/bin/python -m pytest -x -q'
    python scripts/mutants.py mark cpu.jsonl cpu-007 --equivalent 'the distance of a prefetch'
    python scripts/mutants.py report cpu.jsonl cuda.jsonl

With the same seed a longer list starts with the shorter one. `run` changes a file of the tree and restores it
afterwards; it skips mutants that already have results. {tests} stands for the test files of the mutant's operation; a
suite is skipped if there are none.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from related_tests import depending, tests_of_kernel

ROOT = Path(__file__).resolve().parents[1]

Mutant = dict[str, Any]
FIELDS = ("id", "device", "file", "line", "old", "new", "operator")  # file: from csrc; line: from 1

KERNELS = {
    "cpu": "cpu/*.cpp cpu/*.h cpu/simd/*.h common/*.h",
    "cuda": "cuda/*.cu cuda/*.cuh cuda/device/*.cuh cuda/fusion.cpp cuda/gemm_plan.h",
}
# Files around the CPU kernels, and CUDA files that the stand-in replaces.
NO_KERNELS = re.compile(
    r"cpu/(graph|isa|kernels|kernel_table|pause|run|team|thread_pool)\.|device/(copy_async|mma|platform|shared)\."
)
MOST_OF_A_FILE = 3
# Headers that more than MANY_OBJECTS objects include compile slowly; at most MOST_IN_MANY mutants are in such files.
MANY_OBJECTS, MOST_IN_MANY = 25, 4
OBJECTS_OF_A_SOURCE = {"cpu": 3, "cuda": 1}

NEARBY = 20  # number of lines by which a mutant's line may have moved

NO_CODE = re.compile(
    r"\s*(#|//|template\b|static_assert|using\b|namespace\b|inline namespace|struct\b|class\b|enum\b|public:|"
    r"private:|friend\b|typedef\b|STEEPEST_[A-Z]+\(|X\(|[\s})\];,]*$)"
)
STATEMENT = re.compile(
    r"(?!(return|if|for|while|switch|case|else|do)\b)"
    r"(\*?[\w:]+((\.|->)\w+|\[[^\]]*\]|\([^()]*\))* [-+*/|&]?= .*|[*\w:.>-]+\(.*\));$"
)
BEFORE_STATEMENT = re.compile(r"([;{}:]|^\s*(\} )?else|^\s*(if|for|while) .*\))$")

# Patterns of the text between parentheses, and of an argument.
INSIDE = r"(?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))+"
ARGUMENT = rf"(?:[^(),]|\({INSIDE}\)|\(\))+"

# mutation operator -> [(pattern, replacement)]
REPLACEMENTS: dict[str, list[tuple[str, str]]] = {
    "boundary": [(r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > ")],
    "equality": [(r" == ", " != "), (r" != ", " == ")],
    "arithmetic": [(r" \+ ", " - "), (r" - ", " + "), (r" \* ", " / "), (r" / ", " * ")],
    "assignment": [(r" \+= ", " -= "), (r" -= ", " += "), (r" [-+*/|&]= ", " = ")],
    "off by one": [(r" [+-] 1(?![\w.'])", ""), (r"(?<=; )(\w+ < [\w.]+)(?=;)", r"\1 - 1")],
    "logic": [(r" && ", " || "), (r" \|\| ", " && ")],
    "constant": [(r"(?<![\w.'])0(?![\w.'])", "1"), (r"(?<![\w.'])1(?![\w.'])", "0")],
    "slip": [
        (rf"\.{old}\b(?!\()", f".{new}")
        for a, b in (("begin", "end"), ("rows", "cols"), ("row_stride", "col_stride"))
        for old, new in ((a, b), (b, a))
    ],
    "condition": [(rf"\bif \(({INSIDE})\)", new) for new in (r"if (!(\1))", "if (true)", "if (false)")],
    "swapped": [(rf"\b(min\(|max\(|select\((?:{ARGUMENT}, )?)({ARGUMENT}), ({ARGUMENT})\)", r"\1\3, \2)")],
}


def masked(line: str) -> str:
    """`line` with its comment blanked and template arguments replaced by NULs, at the same length."""
    code = line.split("//")[0]
    before = ""
    while code != before:
        before = code
        code = re.sub(r"(?<=\w)<[^<>;\s][^<>;]*>", lambda m: "\0" * len(m[0]), code)
    return code.rstrip().ljust(len(line))


def replaced(line: str, match: re.Match[str], new: str) -> str:
    """Replace a match by `new`; the groups come from the line itself, without masks."""
    new = re.sub(r"\\(\d)", lambda group: line[slice(*match.span(int(group[1])))], new)
    return line[: match.start()] + new + line[match.end() :]


def mutations(line: str, before: str) -> Iterator[tuple[str, str]]:
    """Yield each (new line, operator) that applies to `line`; `before` is the previous line of code."""
    code = masked(line)
    for operator, pairs in REPLACEMENTS.items():
        for pattern, new in pairs:
            for match in re.finditer(pattern, code):
                yield replaced(line, match, new), operator
    if STATEMENT.match(code.strip()) and BEFORE_STATEMENT.search(masked(before).rstrip()):
        yield line[: len(line) - len(line.lstrip())] + ";", "removed"


def mutable_lines(path: Path) -> dict[int, dict[str, str]]:
    """Return {line number: {new line: operator}} for the lines of code in a file."""
    found: dict[int, dict[str, str]] = {}
    before = "{"
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        if not (NO_CODE.match(line) or '"' in line or line.endswith("\\") or before.endswith("\\")):
            choices = {new: operator for new, operator in mutations(line, before) if new != line}
            if choices:
                found[number] = choices
        before = line
    return found


def draw(tree: Path, device: str, count: int, seed: int) -> list[Mutant]:
    """Sample `count` mutants: a file, weighted by its mutable lines, then a line, an operator and a place."""
    paths = sorted(p for pattern in KERNELS[device].split() for p in (tree / "csrc").glob(pattern))
    kernels = {str(p.relative_to(tree / "csrc")): mutable_lines(p) for p in paths}
    lines = {file: of_file for file, of_file in kernels.items() if of_file and not NO_KERNELS.search(file)}
    compiled = {f: [p for p in depending(tree, device, f) if p.endswith((".cpp", ".cu"))] for f in lines}
    many = {f for f in lines if len(compiled[f]) * OBJECTS_OF_A_SOURCE[device] > MANY_OBJECTS}
    rng = random.Random(seed)
    taken: Counter[str] = Counter()
    mutants: list[Mutant] = []
    while len(mutants) < count and lines:
        (file,) = rng.choices(list(lines), [len(of_file) for of_file in lines.values()])
        number = rng.choice(list(lines[file]))
        choices = lines[file].pop(number)
        operator = rng.choice(sorted(set(choices.values())))
        new = rng.choice([n for n, o in choices.items() if o == operator])
        old = (tree / "csrc" / file).read_text().splitlines()[number - 1]
        values = (f"{device}-{len(mutants) + 1:03}", device, file, number, old, new, operator)
        mutants.append(dict(zip(FIELDS, values, strict=True)))
        taken[file] += 1
        full = {f for f in lines if taken[f] == MOST_OF_A_FILE or not lines[f]}
        full |= many if sum(taken[f] for f in many) == MOST_IN_MANY else set()
        lines = {f: of_file for f, of_file in lines.items() if f not in full}
    return mutants


def plant(mutant: Mutant, text: str) -> str | None:
    """Replace the old line at its place, or at its only occurrence nearby; return None if there is none."""
    lines, at = text.split("\n"), mutant["line"] - 1
    near = range(max(0, at - NEARBY), min(len(lines), at + NEARBY))
    places = [i for i in near if lines[i] == mutant["old"]]
    if at not in places and len(places) != 1:
        return None
    lines[at if at in places else places[0]] = mutant["new"]
    return "\n".join(lines)


def execute(command: str, tree: Path, seconds: float) -> tuple[int, str]:
    """Run a shell command in the tree; return its exit status and output."""
    words = ["timeout", "--kill-after=9", str(seconds), "bash", "-c", f"exec 2>&1; {command}"]
    with subprocess.Popen(words, cwd=tree, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            process.terminate()  # `timeout` passes the signal on to the processes of the command
            raise
    return process.returncode, output


def finding(status: int, output: str) -> dict[str, str]:
    """Return the first failing test in pytest's output, or the one that crashed the interpreter, and its message."""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    ended = re.search(r'(tests/[\w/]+\.py)", line \d+ in (test_\w+)', output)
    said = re.search(r"^(?:E  +|Fatal Python error: )(.*)", output, re.MULTILINE)
    reason = said[1] if said else "does not end" if status in (124, 137) else output.strip()[-300:]
    return {
        "test": failed[1] if failed else "::".join(ended.groups()) if ended else "",
        "reason": reason[:300],
    }


def examine(mutant: Mutant, options: Namespace, passed: list[str]) -> dict[str, Any]:
    """Plant one mutant, build, run the suites that it has not yet passed, restore the file, and return the result."""
    path = options.tree / "csrc" / mutant["file"]
    text = path.read_text()
    planted = plant(mutant, text)
    if planted is None:
        return {"verdict": "stale"}
    try:
        path.write_text(planted)
        status, output = execute(options.build, options.tree, options.timeout)
        if status != 0:
            error = re.search(r"^.*\berror\b.*$", output, re.MULTILINE)
            return {"verdict": "not compiled", "reason": (error[0] if error else output)[-300:]}
        tests = " ".join(tests_of_kernel(options.tree, mutant["device"], mutant["file"]))
        for name, command in options.suite:
            if name in passed or ("{tests}" in command and not tests):
                continue
            status, output = execute(command.replace("{tests}", tests), options.tree, options.timeout)
            if status != 0:
                return {"verdict": "found", "suite": name, "passed": passed} | finding(status, output)
            passed = [*passed, name]
        return {"verdict": "missed", "passed": passed}
    finally:
        path.write_text(text)


def read_results(*files: Path) -> dict[str, dict[str, Any]]:
    """Return the last result of each mutant."""
    lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    return {result["id"]: result for result in map(json.loads, lines)}


def add_result(file: Path, result: dict[str, Any]) -> None:
    with file.open("a") as out:
        out.write(json.dumps(result) + "\n")


def write_list(options: Namespace) -> None:
    mutants = draw(options.tree, options.device, options.count, options.seed)
    options.output.write_text(json.dumps(mutants, indent=1) + "\n")


def run(options: Namespace) -> None:
    """Examine the mutants that no suite has found yet and that have not passed all suites."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # restores the file then too
    results = read_results(options.results)
    for mutant in json.loads(options.mutants.read_text()):
        before = results.get(mutant["id"], {"verdict": "missed", "passed": []})
        is_done = before["verdict"] != "missed" or {name for name, _ in options.suite} <= set(
            before["passed"]
        )
        if is_done or (options.only and mutant["id"] not in options.only):
            continue
        began = time.monotonic()
        result = mutant | examine(mutant, options, before["passed"])
        add_result(options.results, result | {"seconds": round(time.monotonic() - began)})
        print(mutant["id"], *(result.get(k, "") for k in ("verdict", "suite", "test")), flush=True)


def mark(options: Namespace) -> None:
    result = read_results(options.results)[options.mutant]
    add_result(options.results, result | {"verdict": "equivalent", "reason": options.equivalent})


def report(options: Namespace) -> None:
    """Print how many mutants each suite found, and the mutants that none found."""
    results = list(read_results(*options.results).values())
    for device in sorted({r["device"] for r in results}):
        of_device = [r for r in results if r["device"] == device]
        verdicts = Counter((r["verdict"], r["suite"] if r["verdict"] == "found" else "") for r in of_device)
        for (verdict, suite), count in sorted(verdicts.items()):
            print(f"{device:5} {count:4} {verdict} {suite}")
    for r in results:
        if r["verdict"] in ("missed", "equivalent", "stale"):
            print(f"\n{r['id']} {r['verdict']} csrc/{r['file']}:{r['line']} {r.get('reason', '')}")
            print(f"  - {r['old'].strip()}\n  + {r['new'].strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("list", help="sample mutants")
    command.add_argument("--device", choices=sorted(KERNELS), required=True)
    command.add_argument("--count", type=int, default=60)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--tree", type=Path, default=ROOT, help="repository with the kernels (this one)")
    command.add_argument("--output", type=Path, required=True)
    command.set_defaults(function=write_list)
    command = commands.add_parser("run", help="plant the mutants of a list, and run the suites")
    command.add_argument("mutants", type=Path)
    command.add_argument(
        "--tree",
        type=lambda p: Path(p).resolve(),
        required=True,
        help="a copy of the repository that may be changed",
    )
    command.add_argument("--results", type=Path, required=True, help="gets a JSON line for each mutant")
    command.add_argument("--only", nargs="+", metavar="ID", help="only these mutants")
    command.add_argument("--build", metavar="COMMAND", required=True, help="builds what the suites test")
    command.add_argument("--suite", nargs=2, action="append", metavar=("NAME", "COMMAND"), required=True)
    command.add_argument(
        "--timeout", type=float, default=900, help="seconds; a suite that takes longer finds the mutant"
    )
    command.set_defaults(function=run)
    command = commands.add_parser("mark", help="record that a mutant cannot change a result")
    command.add_argument("results", type=Path)
    command.add_argument("mutant", metavar="ID")
    command.add_argument("--equivalent", metavar="REASON", required=True)
    command.set_defaults(function=mark)
    command = commands.add_parser("report", help="list found and missed mutants")
    command.add_argument("results", type=Path, nargs="+")
    command.set_defaults(function=report)
    options = parser.parse_args()
    options.function(options)


if __name__ == "__main__":
    main()
