"""Check a built wheel: its size, its typing files, and that it works in an empty environment.

Usage: python scripts/check_wheel.py WHEEL WORK_DIR

WORK_DIR is emptied; the wheel is installed there into a new virtual environment, and the smoke test runs from
a folder that holds nothing of the source tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from fnmatch import fnmatch
from pathlib import Path

MAX_BYTES = 5_000_000

REQUIRED = ("steepest/__init__.py", "steepest/py.typed", "steepest/_cpu.pyi", "steepest/_cpu*.so")

SMOKE = """
import sys
import steepest
assert "site-packages" in steepest.__file__, steepest.__file__
assert "sklearn" not in sys.modules
steepest.show_config()

import numpy as np
from sklearn.datasets import load_digits
from steepest import kernels as K
from steepest.neural_network import MLPClassifier

product = K.matmul(np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4))
np.testing.assert_allclose(product, [[20, 23, 26, 29], [56, 68, 80, 92]])

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
model = MLPClassifier((32,), batch_size=32, early_stopping=True, random_state=0)
accuracy = model.fit(X[:1500], y[:1500]).score(X[1500:], y[1500:])
print(f"digits: test accuracy {accuracy:.3f}")
assert accuracy > 0.8, accuracy
"""


def check_contents(wheel: Path) -> None:
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.2f} MB")
    if size > MAX_BYTES:
        sys.exit(f"check_wheel: {size} bytes, more than {MAX_BYTES}")
    names = zipfile.ZipFile(wheel).namelist()
    for pattern in REQUIRED:
        if not any(fnmatch(name, pattern) for name in names):
            sys.exit(f"check_wheel: {pattern} is not in {wheel.name}")


def check_install(wheel: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    elsewhere = work / "elsewhere"
    elsewhere.mkdir(parents=True)
    venv.create(work / "venv", with_pip=True)
    python = (work / "venv" / "bin" / "python").absolute()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    for what, command in {
        "installation": [python, "-m", "pip", "install", "--quiet", wheel.absolute()],
        "smoke test": [python, "-W", "error", "-c", SMOKE],
        "`steepest info`": [python.with_name("steepest"), "info"],
    }.items():
        if subprocess.run(command, cwd=elsewhere, env=environment).returncode != 0:
            sys.exit(f"check_wheel: the {what} failed")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    check_contents(Path(sys.argv[1]))
    check_install(Path(sys.argv[1]), Path(sys.argv[2]))
