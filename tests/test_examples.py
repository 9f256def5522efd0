"""Every example runs, in a fresh interpreter, and prints what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
EXPECTED = {
    "train_digits": "test accuracy 0.9",
    "custom_step": "training accuracy 0.9",
    "fit_a_curve": "learning rate 0.001: mean squared error ",
}


def test_every_example_is_here():
    assert {path.stem for path in EXAMPLES} == set(EXPECTED)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    assert EXPECTED[path.stem] in done.stdout
    assert list(tmp_path.iterdir()) == []
