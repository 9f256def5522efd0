"""Limits on threads (RLIMIT_NPROC), from none to enough: the same results, and all threads once the limit is gone."""

from __future__ import annotations

import os
import resource

import numpy as np
import program
import workloads

import steepest
from steepest import kernels as K

TEAM = 6


def main() -> None:
    options = program.arguments(__doc__)
    results = workloads.expected_results()
    limits = range(1, 2 + (3 if options.short else 12))
    faults = []
    for limit in limits:
        if fault := program.run_in_child(lambda limit=limit: work_with(limit, results)):
            faults.append(f"{fault} with a limit of {limit}")
    program.finish(faults, limits=len(limits), kinds_of_work=len(results))


def work_with(limit: int, results: dict[str, bytes]) -> None:
    """Do all work under a limit on threads, then without it."""
    if os.getuid() == 0:  # the limit does not apply to root
        os.setgid(65534)
        os.setuid(65534)
    steepest.set_num_threads(TEAM)
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, before[1]))
    wrong = [name for name, work in workloads.WORK.items() if work() != results[name]]
    resource.setrlimit(resource.RLIMIT_NPROC, before)
    wrong += workloads.faults_of(results)
    x = np.ones((600, 600), np.float32)
    if not (K.matmul(x, x) == 600).all():
        wrong.append("a product")
    if wrong:
        raise SystemExit(f"wrong: {wrong}")


if __name__ == "__main__":
    main()
