"""The pytest plugin that rebinds scikit-learn's names to this package's classes and records the outcomes.

Two environment variables configure it: STEEPEST_SKLEARN_SUITE names the suite, STEEPEST_SKLEARN_RESULTS the file.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.utils import all_estimators

from .suites import SUITES

SUITE = SUITES[os.environ["STEEPEST_SKLEARN_SUITE"]]
RESULTS = Path(os.environ["STEEPEST_SKLEARN_RESULTS"])
SECONDS_PER_TEST = 120

_made: list[
    type
] = []  # rebound classes, and subclasses of them, of which the current test has made instances
_outcomes: dict[str, str] = {}
_details: dict[str, str] = {}
_unrelated: set[str] = set()


def _count_instances(cls: type) -> None:
    def new(made, *args, **kwargs):
        _made.append(made)
        return object.__new__(made)

    cls.__new__ = new


def pytest_configure(config):
    # Import all estimators first: scikit-learn's other estimators keep using scikit-learn's own classes.
    all_estimators()
    package, ours = importlib.import_module(SUITE.package), importlib.import_module(SUITE.ours)
    for name in SUITE.names:
        cls = getattr(ours, name)
        _count_instances(cls)
        setattr(package, name, cls)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    # Estimators without a random_state use NumPy's global generator; seeding makes every run the same.
    np.random.seed(0)  # noqa: NPY002
    _made.clear()
    _made.extend(type(value) for value in getattr(item, "callspec", _NoParameters).params.values())

    def give_up(signum, frame):
        raise TimeoutError(f"the test took longer than {SECONDS_PER_TEST} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS_PER_TEST)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        ours = tuple(getattr(importlib.import_module(SUITE.ours), name) for name in SUITE.names)
        if not any(issubclass(cls, ours) for cls in _made):
            _unrelated.add(item.nodeid)


class _NoParameters:
    params: dict = {}  # noqa: RUF012


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome
        if report.outcome == "failed":
            crash = getattr(report.longrepr, "reprcrash", None)
            _details[report.nodeid] = str(crash.message if crash else report.longrepr).split("\n")[0][:200]


def pytest_sessionfinish(session):
    names = {nodeid: nodeid.split("::", 1)[1] for nodeid in _outcomes}
    outcome = {
        kind: sorted(names[nodeid] for nodeid, was in _outcomes.items() if was == kind)
        for kind in ("passed", "skipped")
    }
    related = [
        name for nodeid, name in names.items() if _outcomes[nodeid] == "passed" and nodeid not in _unrelated
    ]
    failed = {names[nodeid]: _details[nodeid] for nodeid, was in _outcomes.items() if was == "failed"}
    result = {
        "tests": SUITE.tests,
        "sklearn": sklearn.__version__,
        "passed": len(related),
        "passed_without_ours": len(outcome["passed"]) - len(related),
        "skipped": len(outcome["skipped"]),
        "failed": dict(sorted(failed.items())),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
