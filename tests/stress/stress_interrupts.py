"""Ctrl-C at random moments of kernels, captures, replays and fits: each stops soon, and everything works afterwards."""

from __future__ import annotations

import signal
import time

import numpy as np
import program
import workloads

import steepest
from steepest import _cpu

# Seconds until an interrupted call must end: 0.1 s, and a margin for a busy machine.
LONGEST = 1.0


def main() -> None:
    options = program.arguments(__doc__)
    times = 40 if options.short else 200
    program.expect_end_within(600)
    rng = np.random.default_rng(options.seed)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    results = workloads.expected_results()
    lengths = {name: _seconds(work) for name, work in workloads.WORK.items()}
    faults, waits = [], []
    for i in range(times):
        steepest.set_num_threads(1 + i % 3)
        name = list(workloads.WORK)[i % len(workloads.WORK)]
        delay = rng.uniform(0, 1) * lengths[name] + 1e-6
        began = time.monotonic()
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                workloads.WORK[name]()  # an interrupted fit of perceptrons ends with a warning instead
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)  # the alarm may come at this moment, too
        except KeyboardInterrupt:
            waits.append(time.monotonic() - began - delay)
            if waits[-1] > LONGEST:
                faults.append(f"{name} ended {waits[-1]:.2f} s after Ctrl-C")
        if _cpu.is_capturing():
            faults.append(f"{name} left a capture behind, {delay:.6f} s after its begin")
            break
        if workloads.WORK[name]() != results[name]:
            faults.append(f"{name} gives another result after Ctrl-C at {delay:.6f} s")
    faults += workloads.faults_of(results)
    figures = {"median_ms": round(1e3 * float(np.median(waits)), 1), "longest_ms": round(1e3 * max(waits), 1)}
    program.finish(faults, interrupts=times, raised=len(waits), **figures)


def _seconds(work: object) -> float:
    began = time.monotonic()
    work()  # type: ignore[operator]
    return time.monotonic() - began


if __name__ == "__main__":
    main()
