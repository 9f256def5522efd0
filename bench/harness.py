"""Check, then time. The contestants of a case take turns in one process, in many short rounds.

A machine's speed drifts (clocks, neighbours on the same host), so the contestants run interleaved, each
round in another order, and besides the ratio of the medians a row has the median of the ratios within the
rounds, which such drift leaves alone. Every contestant is first compared with a float64 oracle; one that is
wrong is not timed.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bench import environment
from bench.roofline import Roofline

OURS = "steepest"
# The tolerances are derived for this package's kernels, a few units in the last place; a peer only has to do
# the same job. (1 - 0.999 ** t in float32, as some compute it, costs a hundred times as much.)
PEER_TOLERANCE = 1024.0
# Cores. Libraries whose threads wait by spinning lose far more than their share when others compute.
DISTURBED = 0.1
TIMES = ("median_us", "p20_us", "p80_us", "min_us", "ratio_of_medians", "median_of_ratios")
MEASURED = ("status", "error_over_tolerance", *TIMES, "gflops", "gbps", "roofline")


@dataclass
class Contestant:
    """One way to do the job of a case.

    Attributes
    ----------
    name : str
        The library's name first: the report takes the fastest variant of each library.
    call : callable
        Does `units` units of the job and returns when they are done; None where there is nothing to time.
    result : callable
        Does the job once from its initial state and returns arrays by name, to be compared with the oracle.
    prepare : callable
        Runs before every round, outside the time.
    finish : callable
        Runs after the timing and returns more figures for the row.
    """

    name: str
    call: Callable[[], object] | None = None
    result: Callable[[], dict[str, np.ndarray]] | None = None
    units: int = 1
    prepare: Callable[[], object] | None = None
    finish: Callable[[], dict[str, object]] | None = None
    skipped: str = ""

    @classmethod
    def skip(cls, name: str, reason: str) -> Contestant:
        return cls(name, skipped=reason)


@dataclass
class Case:
    """One job, its contestants, and what a correct result is.

    `oracle` and `tolerance` hold float64 arrays by name. `flops` and `moved` (bytes that have to be read or
    written) are of one unit; `working_set` is the memory that they lie in, `moved` unless given. `rounds` and
    `calls` replace the calibrated numbers, for jobs of seconds. `peer_tolerance`: how many tolerances a
    peer may err by.
    """

    name: str
    contestants: list[Contestant]
    oracle: dict[str, np.ndarray] = field(default_factory=dict)
    tolerance: dict[str, np.ndarray] = field(default_factory=dict)
    flops: float = 0.0
    moved: float = 0.0
    working_set: float = 0.0
    params: dict[str, object] = field(default_factory=dict)
    rounds: int = 0
    calls: int = 0
    peer_tolerance: float = PEER_TOLERANCE


@dataclass
class Options:
    """How to run: `round_seconds` is how long one contestant works in one round."""

    quick: bool = False
    threads: int = 2
    rounds: int = 40
    round_seconds: float = 0.02
    data: Path | None = None
    results: Path | None = None
    peers: tuple[str, ...] = ("numpy", "torch", "jax", "sklearn")


def error_of(case: Case, contestant: Contestant) -> float:
    """Largest error of a contestant's results over its tolerance; infinite where a result is not finite."""
    if contestant.result is None:
        return 0.0
    got = contestant.result()
    worst = 0.0
    for name, want in case.oracle.items():
        value = np.asarray(got[name], np.float64)
        if value.shape != np.shape(want) or not np.isfinite(value).all():
            return float("inf")
        worst = max(worst, float((np.abs(value - want) / case.tolerance[name]).max()))
    return worst


def timed(contestant: Contestant, calls: int) -> float:
    call = contestant.call
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start


def calibrate(contestant: Contestant, seconds: float) -> int:
    """Calls that take about `seconds`."""
    if contestant.prepare:
        contestant.prepare()
    timed(contestant, 1)
    calls = 1
    while (elapsed := timed(contestant, calls)) < seconds / 4 and calls < 1 << 20:
        calls *= 2
    return max(1, round(calls * seconds / elapsed))


def measure(contestants: list[Contestant], rounds: int, seconds: float, calls: int = 0) -> np.ndarray:
    """Seconds per unit: an array (contestants, rounds)."""
    counts = [calls or calibrate(c, seconds) for c in contestants]
    times = np.empty((len(contestants), rounds))
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for r in range(rounds):
            for i in np.roll(np.arange(len(contestants)), r):
                c = contestants[i]
                if c.prepare:
                    c.prepare()
                if not calls:
                    # The threads of the previous contestant spin for a while before they sleep, and its data
                    # fill the caches: wait, then let this one warm up.
                    time.sleep(0.002)
                    timed(c, -(-counts[i] // 10))
                times[i, r] = timed(c, counts[i]) / counts[i] / c.units
    finally:
        if was_enabled:
            gc.enable()
    return times


def run_case(bench: str, case: Case, options: Options, roofline: Roofline, about: dict[str, object]) -> dict:
    """Check and time one case; return its row."""
    entries: dict[str, dict[str, object]] = {}
    running = []
    for c in case.contestants:
        if c.skipped:
            entries[c.name] = {"status": "skipped", "reason": c.skipped}
            continue
        if c.call is None:
            entries[c.name] = {"status": "ok"} | (c.finish() if c.finish else {})
            continue
        error = error_of(case, c)
        limit = 1.0 if c.name.split()[0] == OURS else case.peer_tolerance
        if error <= limit:
            running.append(c)
            entries[c.name] = {"status": "ok", "error_over_tolerance": float(f"{error:.3g}")}
        else:
            reason = f"error is {error:.3g} times the tolerance, at most {limit:g} allowed"
            entries[c.name] = {"status": "wrong", "reason": reason}
    start, others = time.perf_counter(), environment.others_cpu_seconds()
    times = measure(running, case.rounds or options.rounds, options.round_seconds, case.calls)
    others = (environment.others_cpu_seconds() - others) / (time.perf_counter() - start)
    bound = roofline.bound(case.flops, case.moved, case.working_set or case.moved)
    base = next((times[i] for i, c in enumerate(running) if c.name == OURS), None)
    for c, t in zip(running, times, strict=True):
        p20, median, p80 = np.quantile(t, (0.2, 0.5, 0.8))
        entry = entries[c.name] | {
            "median_us": significant(median * 1e6),
            "p20_us": significant(p20 * 1e6),
            "p80_us": significant(p80 * 1e6),
            "min_us": significant(t.min() * 1e6),
        }
        if base is not None and c.name != OURS:
            entry["ratio_of_medians"] = significant(median / np.median(base))
            entry["median_of_ratios"] = significant(np.median(t / base))
        if case.flops:
            entry["gflops"] = significant(case.flops / median / 1e9)
        if case.moved:
            entry["gbps"] = significant(case.moved / median / 1e9)
        if bound.seconds:
            entry["roofline"] = significant(bound.seconds / median)
        entries[c.name] = entry | (c.finish() if c.finish else {})
    return {
        "bench": bench,
        "case": case.name,
        "quick": options.quick,
        "params": case.params,
        "rounds": case.rounds or options.rounds,
        "cores_used_by_others": round(max(0.0, others), 2),
        "contestants": entries,
        "roofline": {
            "bound_by": bound.by,
            "gflops": significant(bound.gflops),
            "gbps": significant(bound.gbps),
            "method": roofline.method,
        }
        if bound.seconds
        else {},
        "run": about,
    }


def significant(x: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{x:.4g}")


def save(row: dict, folder: Path) -> None:
    """Append the row to <folder>/<bench>.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{row['bench']}.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def duration(us: float) -> str:
    """A time with three digits and a unit."""
    for limit, scale, unit in ((1e3, 1.0, "µs"), (1e6, 1e3, "ms")):
        if us < limit * 0.9995:
            return f"{us / scale:#.3g} {unit}".replace(". ", " ")
    return f"{us / 1e6:#.3g} s".replace(". ", " ")


def table(row: dict) -> str:
    """The row for a terminal."""
    lines = [f"{row['bench']}: {row['case']}"]
    if row["cores_used_by_others"] > DISTURBED:
        lines.append(f"  disturbed: other processes used {row['cores_used_by_others']} cores meanwhile")
    for name, entry in row["contestants"].items():
        if "median_us" not in entry:
            note = entry.get("reason") or ", ".join(f"{k} {v}" for k, v in entry.items() if k != "status")
            lines.append(f"  {name:<26} {entry['status']}: {note}")
            continue
        spread = f"{duration(entry['p20_us'])} – {duration(entry['p80_us'])}"
        text = f"  {name:<26} {duration(entry['median_us']):>9}  ({spread:>19})"
        if "ratio_of_medians" in entry:
            text += f"  {entry['ratio_of_medians']:6.2f}x  per round {entry['median_of_ratios']:6.2f}x"
        else:
            text += " " * 26
        if "gflops" in entry:
            text += f"  {entry['gflops']:7.1f} GFLOP/s"
        elif "gbps" in entry:
            text += f"  {entry['gbps']:7.1f} GB/s"
        if "roofline" in entry:
            text += f"  {100 * entry['roofline']:5.1f} % of roofline"
        lines.append(text.rstrip())
        extra = {k: v for k, v in entry.items() if k not in MEASURED}
        if extra:
            lines.append("      " + ", ".join(f"{k} {v}" for k, v in extra.items()))
    return "\n".join(lines)
