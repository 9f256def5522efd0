"""Run scikit-learn's tests on this package's classes: `python -m tests.sklearn_suite [SUITE ...] [-k EXPRESSION]`.

Writes docs/scikit-learn-tests.md, unless -k selects tests. The exit status is 1 if a test fails without a reason, or if
a test with a reason passes.
"""

from __future__ import annotations

import argparse
import sys

from . import page
from .run import disagreements, run
from .suites import SUITES


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"any of {', '.join(SUITES)}; default: all"
    )
    parser.add_argument(
        "-k", dest="select", default="", help="run only these tests, as pytest's -k; the page is not written"
    )
    parser.add_argument("-v", dest="verbose", action="store_true", help="show pytest's output")
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    results, problems = page.load(), []
    for name in options.suites or SUITES:
        result = results[name] = run(name, select=options.select)
        if options.verbose:
            print(result["output"])
        total = result["passed"] + len(result["failed"])
        print(f"{name}: {result['passed']} of {total} pass with scikit-learn {result['sklearn']}", flush=True)
        problems += disagreements(name, result, whole=not options.select)
    if not options.select:
        page.save(results)
    print(*problems, sep="\n", end="\n" if problems else "")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
