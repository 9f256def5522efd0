"""Helpers of the programs of this folder: their arguments, children with a deadline, and how they end.

A program runs alone: ``python tests/stress/stress_NAME.py [--short] [--seed N]``. It ends with exit status 0 and a line
of figures if all held, else with 1 and a line for each fault.
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

# A process that has not ended by then never will.
DEADLINE = 120

# OpenBLAS ends the process where its own threads cannot start; those of steepest are what is tested. It reads this when
# NumPy is imported, so the program begins anew.
if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.execv(sys.executable, sys.orig_argv)


def arguments(description: str) -> argparse.Namespace:
    """The arguments, `short` and `seed`; warnings are silenced."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--short", action="store_true", help="a small part, for every change")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn at random")
    warnings.simplefilter("ignore")  # fits that are stopped early say so
    return parser.parse_args()


def expect_end_within(seconds: float) -> None:
    """End this process, with the stacks of its threads, if it takes longer."""
    faulthandler.dump_traceback_later(seconds, exit=True)


def run_in_child(work: Callable[[], object], deadline: float = DEADLINE) -> str:
    """Run `work` in a fork of this process, which then ends as any Python process does.

    Returns "" if it ended well, else what became of it: an exception has been printed.
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
    """Print the figures, or the faults, and end the program."""
    name = os.path.basename(sys.argv[0]).removesuffix(".py")
    print(f"{name}: " + ", ".join(f"{what.replace('_', ' ')} {n}" for what, n in figures.items()))
    for fault in faults:
        print(f"{name}: FAULT: {fault}")
    sys.exit(1 if faults else 0)
