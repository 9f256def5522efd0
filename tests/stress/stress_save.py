"""Kills, full disks and other failures while a model is saved: the file is the complete old or new one.

    python tests/stress/stress_save.py [--short] [--seed N]

The exit status is 0, with one line of figures, if all checks passed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import steepest
from steepest import nn

WIDTH = 500  # units; the file has 1 MB, so that saving mostly writes
TMPFS_BYTES = 3 << 20  # bytes; room for two models, but not for three


def network(value: float) -> nn.Network:
    net = nn.Network([nn.Linear(WIDTH, WIDTH, init=0.0)])
    net.arena[...] = value
    return net


def value_of(path: Path) -> float:
    """The value of all weights in a complete file."""
    (value,) = np.unique(steepest.load(path).parameters()[0].value)
    return float(value)


def leftovers(folder: Path, path: Path) -> list[Path]:
    """List the temporary files that a killed process has left; other files are an error."""
    others = [other for other in folder.iterdir() if other != path]
    strange = [other.name for other in others if other.suffix != ".tmp"]
    assert not strange, f"files that nobody asked for: {strange}"
    return others


def in_a_child(work) -> int:
    """Run a function in a forked process; return its exit status, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException as error:
            print(f"stress_save: {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_while_saving(folder: Path, times: int, rng: np.random.Generator) -> str:
    path, net = folder / "model", network(0)
    steepest.save(net, path)
    last, new, left = 0.0, 0, 0
    for _ in range(times):
        child = os.fork()
        if child == 0:
            while True:  # until it is killed
                last += 1
                net.arena[...] = last
                steepest.save(net, path)
        time.sleep(rng.uniform(0, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        value = value_of(path)
        assert value >= last, f"the file went back from {last} to {value}"
        new += value > last
        last = value
        for other in leftovers(folder, path):
            other.unlink()
            left += 1
    return f"{times} kills (new file {new}, old {times - new}, {left} temporary files)"


def limited(folder: Path, times: int, rng: np.random.Generator) -> str:
    """Save with a limit on the file's size at a random byte, like a full disk or a quota, or without descriptors."""
    path = folder / "limited"
    steepest.save(network(1), path)
    size = path.stat().st_size

    def refused(limit: int, value: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(limit, (value, value))
        try:
            steepest.save(network(2), path)
        except OSError:
            return
        raise AssertionError("the save went on")

    for limit in (*rng.integers(0, size, times).tolist(), 0, 1, size - 1):
        assert in_a_child(lambda limit=limit: refused(resource.RLIMIT_FSIZE, limit)) == 0
        assert value_of(path) == 1
        assert not leftovers(folder, path)
    assert in_a_child(lambda: refused(resource.RLIMIT_NOFILE, 3)) == 0
    assert value_of(path) == 1
    return f"{times + 4} limits"


def on_a_full_disk(folder: Path) -> None:
    """Save on a file system with room for two files of the model, one of which is the old file."""
    path, ballast = folder / "model", folder / "ballast.tmp"
    steepest.save(network(1), path)
    size = path.stat().st_size
    for free in (0, 1, 4096, size // 2, size - 4096):
        ballast.unlink(missing_ok=True)
        room = shutil.disk_usage(folder).free
        with open(ballast, "wb") as file:
            file.write(bytes(max(0, room - free)))
        try:
            steepest.save(network(2), path)
        except OSError:
            assert value_of(path) == 1
        else:
            raise AssertionError(f"a model of {size} bytes was saved into {free} bytes")
        assert leftovers(folder, path) == [ballast]
    ballast.unlink()
    steepest.save(network(2), path)
    assert value_of(path) == 2


def full_disk(folder: Path) -> str:
    """Run `on_a_full_disk` on a tmpfs in a separate mount namespace, if the system allows one."""
    place = folder / "disk"
    place.mkdir()
    script = f'mount -t tmpfs -o size={TMPFS_BYTES} none "$1" || exit 77; exec "$2" "$3" --full-disk "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(place), sys.executable, __file__]
    if shutil.which("unshare") is None:
        return "no tmpfs: there is no unshare"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode == 77 or "unshare" in done.stderr:
        return "no tmpfs: not allowed here"
    assert done.returncode == 0, done.stderr
    return "a full tmpfs 5 times"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--short", action="store_true", help="a tenth of it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-disk", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.full_disk:
        on_a_full_disk(arguments.full_disk)
        return 0
    begun, rng = time.monotonic(), np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "killed").mkdir()
        (folder / "limits").mkdir()
        figures = [
            killed_while_saving(folder / "killed", 20 if arguments.short else 200, rng),
            limited(folder / "limits", 10 if arguments.short else 100, rng),
            full_disk(folder),
        ]
    print(f"stress_save: {'; '.join(figures)}; all files whole; {time.monotonic() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
