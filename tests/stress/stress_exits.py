"""Processes that exit while daemon threads run kernels, captures, replays and fits: each exits with status 0."""

from __future__ import annotations

import threading
import time

import numpy as np
import program
import workloads

import steepest


def main() -> None:
    options = program.arguments(__doc__)
    times = 15 if options.short else 100
    rng = np.random.default_rng(options.seed)
    workloads.expected_results()
    work = [name for name, f in workloads.WORK.items() if f not in workloads.LABELLED]
    faults = []
    for i in range(times):
        names = list(rng.choice(work, size=1 + i % 2))
        delay = float(rng.uniform(0, 0.2))
        fault = program.run_in_child(lambda names=names, delay=delay: leave_behind(names, delay), deadline=60)
        if fault:
            faults.append(f"{fault} while {' and '.join(names)} ran, after {delay:.3f} s")
    program.finish(faults, exits=times)


def leave_behind(names: list[str], delay: float) -> None:
    """Start a daemon thread for each piece of work, and return after `delay` seconds."""
    steepest.set_num_threads(2)

    def repeat(name: str) -> None:
        while True:
            workloads.WORK[name]()

    for name in names:
        threading.Thread(target=repeat, args=(name,), daemon=True).start()
    time.sleep(delay)


if __name__ == "__main__":
    main()
