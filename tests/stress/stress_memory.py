"""Limits on memory (RLIMIT_AS), tight to generous: correct results or MemoryError, and everything works afterwards."""

from __future__ import annotations

import resource

import numpy as np
import program
import workloads

import steepest


def main() -> None:
    options = program.arguments(__doc__)
    points = 8 if options.short else 40
    results = workloads.expected_results()
    faults = []
    # Megabytes beyond the memory in use; most points leave little.
    for more in np.geomspace(0.1, 300, points):
        fault = program.run_in_child(lambda more=more: work_within(float(more), results))
        if fault:
            faults.append(f"{fault} with {more:.1f} MB left")
    program.finish(faults, limits=points, kinds_of_work=len(results))


def work_within(megabytes: float, results: dict[str, bytes]) -> None:
    """Do all work twice with a limit of `megabytes` beyond the memory in use, then without a limit."""
    steepest.set_num_threads(3)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(megabytes * 2**20), before[1]))
    wrong = []
    for _ in range(2):
        for name, work in workloads.WORK.items():
            try:
                if work() != results[name]:
                    wrong.append(name)
            except MemoryError:
                pass
    resource.setrlimit(resource.RLIMIT_AS, before)
    wrong += workloads.faults_of(results)
    if wrong:
        raise SystemExit(f"wrong: {wrong}")


if __name__ == "__main__":
    main()
