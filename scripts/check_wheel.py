"""Check a built wheel: its size, its typing files, and that it works in an empty environment.

Usage: python scripts/check_wheel.py [--cuda] WHEEL WORK_DIR

The script empties WORK_DIR and installs the wheel there into a new virtual environment. The smoke test runs from a
folder without the source tree. With --cuda the wheel must contain the CUDA module. The script uses it as far as the
machine allows: without a driver it must import, and report what is missing.
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

MAX_BYTES = {"cpu": 5_000_000, "cuda": 30_000_000}

REQUIRED = {
    "cpu": (
        "steepest/__init__.py",
        "steepest/py.typed",
        "steepest/_cpu.pyi",
        "steepest/_cpu*.so",
        "steepest-*.dist-info/licenses/LICENSE",
        "steepest-*.dist-info/licenses/licenses/pybind11.txt",
    )
}
REQUIRED["cuda"] = (*REQUIRED["cpu"], "steepest/_cuda.pyi", "steepest/_cuda*.so")

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

# Checks that an estimator's error contains the problem that info() reports.
SMOKE_CUDA = """
import numpy as np
import steepest
from steepest import _cuda
from steepest.neural_network import MLPClassifier

info = _cuda.info()
assert info["built_for"], info
model = MLPClassifier((4,), max_iter=2, device="cuda")
try:
    model.fit(np.eye(4, dtype=np.float32), [0, 1, 2, 3])
except RuntimeError as error:
    print(error)
    assert str(error).startswith("[MLPClassifier] device='cuda' is not available"), error
    assert info["problem"] in str(error), (info, error)
else:
    assert not info["problem"], info
    assert model.device_ == "cuda"
"""


def check_contents(wheel: Path, kind: str) -> None:
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.2f} MB")
    if size > MAX_BYTES[kind]:
        sys.exit(f"check_wheel: {size} bytes, more than {MAX_BYTES[kind]}")
    names = zipfile.ZipFile(wheel).namelist()
    for pattern in REQUIRED[kind]:
        if not any(fnmatch(name, pattern) for name in names):
            sys.exit(f"check_wheel: {pattern} is not in {wheel.name}")


def check_install(wheel: Path, work: Path, kind: str) -> None:
    shutil.rmtree(work, ignore_errors=True)
    elsewhere = work / "elsewhere"
    elsewhere.mkdir(parents=True)
    venv.create(work / "venv", with_pip=True)
    python = (work / "venv" / "bin" / "python").absolute()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    commands = {
        "installation": [python, "-m", "pip", "install", "--quiet", wheel.absolute()],
        "smoke test": [python, "-W", "error", "-c", SMOKE],
        "`steepest info`": [python.with_name("steepest"), "info"],
    }
    if kind == "cuda":
        commands["smoke test of CUDA"] = [python, "-W", "error", "-c", SMOKE_CUDA]
    for what, command in commands.items():
        if subprocess.run(command, cwd=elsewhere, env=environment).returncode != 0:
            sys.exit(f"check_wheel: the {what} failed")


def main(arguments: list[str]) -> None:
    kind = "cuda" if "--cuda" in arguments else "cpu"
    paths = [Path(a) for a in arguments if a != "--cuda"]
    if len(paths) != 2:
        sys.exit(__doc__)
    check_contents(paths[0], kind)
    check_install(*paths, kind)


if __name__ == "__main__":
    main(sys.argv[1:])
