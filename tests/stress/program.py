"""Helpers of the stress programs: arguments, child processes with a deadline, and exit statuses.

Run a program by itself: ``python tests/stress/stress_NAME.py [--short] [--seed N]``. It exits with status 0 and a line
of figures if all checks passed, else with status 1 and a line for each fault.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

# Seconds after which a process counts as hanging.
DEADLINE = 120

# OpenBLAS aborts the process if it cannot start its threads, but the programs test steepest's threads. OpenBLAS reads
# the variable when NumPy is imported, so the program restarts itself.
if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.execv(sys.executable, sys.orig_argv)


def arguments(description: str) -> argparse.Namespace:
    """Parse the arguments `short` and `seed`, and silence warnings."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--short", action="store_true", help="run a small part, as for every change")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices")
    warnings.simplefilter("ignore")  # fits that stop early warn of it
    return parser.parse_args()


def expect_end_within(seconds: float) -> None:
    """Print the stacks of all threads and end this process if it takes longer."""
    faulthandler.dump_traceback_later(seconds, exit=True)


def run_in_child(work: Callable[[], object], deadline: float = DEADLINE) -> str:
    """Run `work` in a forked child, which then exits like any Python process.

    Returns "" if the child succeeded, else its exit status, signal or timeout. The child prints its exception.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        sys.exit(0)
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return "" if code == 0 else f"exit status {code}" if code > 0 else signal.Signals(-code).name
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"no end within {deadline} s"


def finish(faults: list[str], **figures: Any) -> NoReturn:
    """Print the figures or the faults, and exit."""
    name = os.path.basename(sys.argv[0]).removesuffix(".py")
    print(f"{name}: " + ", ".join(f"{what.replace('_', ' ')} {n}" for what, n in figures.items()))
    for fault in faults:
        print(f"{name}: FAULT: {fault}")
    sys.exit(1 if faults else 0)
