"""Checks and times the contestants of a case, which take turns in many short rounds, each library in its own process.

The speed of a machine drifts (clocks, neighbours on the same host). Contestants therefore run interleaved, in another
order each round. Besides the ratio of the medians a row has the median of the ratios within rounds, which drift does
not affect. Every contestant is first compared with a float64 oracle; a wrong one is not timed.
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
from bench.device import Cpu, Cuda, to_host

OURS = "steepest"
NOT_WANTED = "not among the peers asked for"
# Allowed error of other libraries in multiples of the tolerance. Tolerances are derived for this package's kernels, a
# few units in the last place; others only have to do the same job. (Some compute 1 - 0.999 ** t in float32, which errs
# a hundred times as much.)
PEER_TOLERANCE = 1024.0
# Largest number of calls in a round with caches emptied before each call; emptying them is not timed.
COLD_CALLS = 50


@dataclass
class Contestant:
    """One way to do the job of a case.

    Attributes
    ----------
    name : str
        The library's name first: the report takes the fastest variant of each library.
    call : callable
        Does `units` units of the job; returns when they are done, or on CUDA when they are queued on the current
        stream. None if there is nothing to time.
    result : callable
        Does the job once from its initial state, and returns arrays by name for comparison with the oracle.
    prepare : callable
        Runs before every round, untimed.
    finish : callable
        Runs after the timing, and returns further figures for the row.
    wait : callable
        Waits for all calls if the device's clock cannot time them; the host's clock is read afterwards.
    max_rounds : int
        Number of rounds after which the contestant pauses, for jobs of many seconds; 0 means all rounds.
    """

    name: str
    call: Callable[[], object] | None = None
    result: Callable[[], dict[str, np.ndarray]] | None = None
    units: int = 1
    prepare: Callable[[], object] | None = None
    finish: Callable[[], dict[str, object]] | None = None
    wait: Callable[[], object] | None = None
    max_rounds: int = 0
    skipped: str = ""

    @classmethod
    def skip(cls, name: str, reason: str) -> Contestant:
        return cls(name, skipped=reason)

    @property
    def is_ours(self) -> bool:
        """Whether this package does the job."""
        return self.name.startswith(OURS)

    def checked(self, case: Case, device: Cpu | Cuda) -> dict[str, object]:
        """The entry before timing; its status says whether it will be timed."""
        return check(case, self, device)

    def calibrated(self, seconds: float, device: Cpu | Cuda, cold: bool) -> int:
        """The number of calls that take about `seconds`."""
        return calibrate(self, seconds, device, cold)

    def timed(self, calls: int, device: Cpu | Cuda, cold: bool, warms: bool) -> float:
        """The seconds per unit of a round of `calls` calls, after some that warm the caches if `warms` is set."""
        if self.prepare:
            self.prepare()
        if warms:
            # The threads of the previous contestant spin for some milliseconds before they sleep, and its data fill the
            # caches, so wait, then warm up. A thread team that starts beside spinning threads would use a single thread
            # for longer than a round.
            time.sleep(0.02)
            device.seconds(self, -(-calls // 10))
        return device.seconds(self, calls, cold) / calls / self.units


@dataclass
class Case:
    """A job with its contestants and the correct result.

    `oracle` and `tolerance` hold float64 arrays by name. `flops` and `moved` count the floating-point operations and
    the bytes read or written in one unit. `working_set` is the size of the memory that they touch, by default `moved`.
    `rounds` and `calls` replace the calibrated numbers, for jobs of seconds. `peer_tolerance` is the allowed error of
    other libraries in multiples of the tolerance. With `cold`, CUDA's caches are emptied before each call. `note` is a
    sentence for the reports.
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
    cold: bool = False
    note: str = ""


@dataclass
class Options:
    """Options of a run.

    `round_seconds` is the time of one contestant in one round; with `processes` each library has a process of its own.
    """

    quick: bool = False
    threads: int = 2
    rounds: int = 40
    round_seconds: float = 0.02
    data: Path | None = None
    results: Path | None = None
    peers: tuple[str, ...] = ("numpy", "cupy", "torch", "jax", "sklearn")
    device: Cpu | Cuda = field(default_factory=Cpu)
    max_autotune: bool = False
    processes: bool = False


def errors_of(case: Case, contestant: Contestant) -> tuple[float, float]:
    """Errors of a contestant's results: the largest error over its tolerance, and the relative Euclidean error.

    Both are infinite if a result is not finite. The second is the largest over all results whose oracle is not zero.
    """
    if contestant.result is None:
        return 0.0, 0.0
    got = contestant.result()
    worst = relative = 0.0
    for name, want in case.oracle.items():
        value = np.asarray(to_host(got[name]), np.float64)
        if value.shape != np.shape(want) or not np.isfinite(value).all():
            return float("inf"), float("inf")
        error = np.abs(value - want)
        worst = max(worst, float((error / case.tolerance[name]).max()))
        if norm := np.linalg.norm(want):
            relative = max(relative, float(np.linalg.norm(error) / norm))
    return worst, relative


def check(case: Case, contestant: Contestant, device: Cpu | Cuda) -> dict[str, object]:
    """The entry of a contestant before timing; its status says whether it will be timed."""
    if contestant.skipped:
        return {"status": "skipped", "reason": contestant.skipped}
    if contestant.call is None:
        return {"status": "ok"}
    ours = contestant.is_ours
    limit = 1.0 if ours else case.peer_tolerance
    try:
        error, relative = errors_of(case, contestant)
        device.wait()
        if error > limit:
            reason = f"error is {error:.3g} times the tolerance, at most {limit:g} allowed"
            return {"status": "wrong", "reason": reason}
        if not case.calls:
            warm_up(contestant, device)
    except Exception as caught:
        # A failure must not stop the other contestants.
        return {"status": "wrong" if ours else "skipped", "reason": f"failed: {one_line(caught)}"}
    measured = {"relative_error": float(f"{relative:.3g}")} if relative else {}
    return {"status": "ok", "error_over_tolerance": float(f"{error:.3g}"), **measured}


def warm_up(contestant: Contestant, device: Cpu | Cuda) -> None:
    """Make the first call, which compiles and allocates."""
    if contestant.prepare:
        contestant.prepare()
    device.seconds(contestant, 1)


def one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]


def calibrate(contestant: Contestant, seconds: float, device: Cpu | Cuda, cold: bool) -> int:
    """The number of calls that take about `seconds`."""
    if contestant.prepare:
        contestant.prepare()
    calls, most = 1, COLD_CALLS if cold else 1 << 20
    while (elapsed := device.seconds(contestant, calls, cold)) < seconds / 4 and calls < most:
        calls *= 2
    return max(1, min(most, round(calls * seconds / elapsed)))


def measure(
    contestants: list[Contestant],
    rounds: int,
    seconds: float,
    calls: int = 0,
    device: Cpu | Cuda | None = None,
    cold: bool = False,
) -> np.ndarray:
    """Seconds per unit in an array (contestants, rounds), with NaN for rounds in which a contestant paused."""
    device = device or Cpu()
    counts = [calls or c.calibrated(seconds, device, cold) for c in contestants]
    times = np.full((len(contestants), rounds), np.nan)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for r in range(rounds):
            for i in np.roll(np.arange(len(contestants)), r):
                c = contestants[i]
                if 0 < c.max_rounds <= r:
                    continue
                times[i, r] = c.timed(counts[i], device, cold, not calls)
    finally:
        if was_enabled:
            gc.enable()
    return times


def run_case(bench: str, case: Case, options: Options, roofline, about: dict[str, object]) -> dict:
    """Check and time one case; return its row. `roofline` is a Roofline on the CPU, or a Ceiling on CUDA."""
    device = options.device
    entries = {c.name: c.checked(case, device) for c in case.contestants}
    running = [c for c in case.contestants if entries[c.name]["status"] == "ok" and c.call is not None]
    # In a quick run the options limit the rounds that a case sets.
    asked = case.rounds or options.rounds
    rounds = min(asked, options.rounds) if options.quick else asked
    start, others = time.perf_counter(), environment.others_cpu_seconds()
    times = measure(running, rounds, options.round_seconds, case.calls, device, case.cold)
    others = (environment.others_cpu_seconds() - others) / (time.perf_counter() - start)
    bound = roofline.bound(case.flops, case.moved, case.working_set or case.moved)
    base = next((times[i] for i, c in enumerate(running) if c.name == OURS), None)
    for c, t in zip(running, times, strict=True):
        p20, median, p80 = np.nanquantile(t, (0.2, 0.5, 0.8))
        entry = entries[c.name] | {
            "median_us": significant(median * 1e6),
            "p20_us": significant(p20 * 1e6),
            "p80_us": significant(p80 * 1e6),
            "min_us": significant(np.nanmin(t) * 1e6),
        }
        if device.name == "cuda":
            entry["clock"] = device.clock(c, case.cold)
        if base is not None and c.name != OURS:
            entry["ratio_of_medians"] = significant(median / np.median(base))
            entry["median_of_ratios"] = significant(np.nanmedian(t / base))
        if case.flops:
            entry["gflops"] = significant(case.flops / median / 1e9)
        if case.moved:
            entry["gbps"] = significant(case.moved / median / 1e9)
        if bound.seconds:
            entry["roofline"] = significant(bound.seconds / median)
        entries[c.name] = entry
    for c in case.contestants:
        if c.finish and entries[c.name]["status"] == "ok":
            entries[c.name] |= c.finish()
    return {
        "bench": bench,
        "case": case.name,
        "device": device.name,
        "quick": options.quick,
        "params": case.params,
        "rounds": rounds,
        "own_processes": options.processes,
        "cores_used_by_others": round(max(0.0, others), 2),
        "contestants": entries,
        "roofline": roofline.describe(bound) if bound.seconds else {},
        **({"note": case.note} if case.note else {}),
        "run": about,
    }


def failed_row(bench: str, case: str, error: BaseException, options: Options, about: dict) -> dict:
    """The row for a case that could not be built or timed; it is not saved."""
    return {
        "bench": bench,
        "case": case,
        "device": options.device.name,
        "quick": options.quick,
        "cores_used_by_others": 0.0,
        "contestants": {OURS: {"status": "wrong", "reason": f"failed: {one_line(error)}"}},
        "run": about,
    }


def significant(x: float) -> float:
    """Round to four significant digits, since further digits are noise."""
    return float(f"{x:.4g}")


def save(row: dict, folder: Path) -> None:
    """Append the row to <folder>/<bench>.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{row['bench']}.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
