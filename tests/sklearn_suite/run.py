"""Runs a suite in a process of its own, and compares its failures with the known reasons."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from .reasons import REASONS
from .suites import SUITES

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent


def is_installed(name: str) -> bool:
    """Whether the installed scikit-learn includes these tests, which some distributions omit."""
    try:
        return importlib.util.find_spec(SUITES[name].tests) is not None
    except ModuleNotFoundError:
        return False


def run(name: str, *, select: str = "", timeout: float = 1500) -> dict:
    """Run a suite, or those of its tests that the expression `select` selects, and return what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        # An empty configuration replaces this package's, which turns warnings into errors.
        (Path(folder) / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        paths = [str(TESTS), str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-p"]
        command += ["sklearn_suite.plugin", "-c", f"{folder}/pytest.ini", "--pyargs", SUITES[name].tests]
        process = subprocess.run(
            command + (["-k", select] if select else []),
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "STEEPEST_SKLEARN_SUITE": name,
                "STEEPEST_SKLEARN_RESULTS": str(results),
            },
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        # pytest exits with 1 if some tests have failed.
        if process.returncode not in (0, 1):
            raise RuntimeError(f"{SUITES[name].tests} did not run:\n{process.stdout}\n{process.stderr}")
        return {**json.loads(results.read_text(encoding="utf-8")), "output": process.stdout}


def reason_for(name: str, test: str) -> str | None:
    """Return the reason why a test may fail, listed for the test with its parameters or for all parameters."""
    reasons = REASONS.get(name, {})
    return reasons.get(test) or reasons.get(re.sub(r"\[.*\]$", "", test, flags=re.DOTALL))


def disagreements(name: str, result: dict, *, whole: bool = True) -> list[str]:
    """Return a line for each failure without a reason and, of a whole run, for each reason without a failure."""
    lines = [
        f"{name}: {test} fails without a reason: {message}"
        for test, message in result["failed"].items()
        if reason_for(name, test) is None
    ]
    if whole:
        failed = {
            *result["failed"],
            *(re.sub(r"\[.*\]$", "", test, flags=re.DOTALL) for test in result["failed"]),
        }
        lines += [
            f"{name}: {test} has a reason, but does not fail"
            for test in REASONS.get(name, {})
            if test not in failed
        ]
    return lines
