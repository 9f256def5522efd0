"""Fuzz test with 5,000 damaged or malicious files: models, and images in the IDX format.

    python tests/stress/stress_files.py [--short] [--seed N]

A damaged file must raise a ValueError that names it. A model that loads is used: it may raise ordinary exceptions, but
may not crash, hang, or take more memory than its file accounts for. The exit status is 0, with one line of figures, if
all checks passed.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import gzip
import json
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save as safetensors_bytes

import steepest
from steepest import datasets, nn
from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis
from steepest.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from steepest.neural_network import Autoencoder, MLPClassifier, MLPRegressor

FILES_OF_A_PROCESS = 500
SECONDS_OF_A_FILE = 30  # seconds after which a file counts as hanging
MOST_MEMORY = 512 << 20  # bytes beyond the memory before; the files have a few kilobytes
# Errors that methods may raise when the file has set attributes of the model to arbitrary values.
ORDINARY = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError)
X = np.random.default_rng(0).standard_normal((12, 4))
Y = np.arange(12) % 3
# Values that replace random values of a description.
STRANGE = [
    *(None, True, -1, 0, 3, 2**31, 2**63, 10**30, 0.5, -1e308, float("nan"), "", "x", "relu", "\ud800", [], {}),
    *([[]], [1, 2], {"a": 1}, {"$float": "nan"}, {"$float": 10**400}, {"$tuple": [-1]}, {"$tuple": 3}, {"$later": 0}),
    *({"$tensor": "a"}, {"$dtype": "<f4"}, {"$dtype": "O"}, {"$dtype": "<U999999"}, {"$dict": [[[], 1]]}),
    *({"$array": ["a"] * 50, "shape": [50], "dtype": "<U999999"}, {"$array": [], "shape": [0, 2**62], "dtype": "O"}),
    *({"$scalar": 3}, {"$random_state": {}}, {"$estimator": "os.system"}),
    {"$object": "steepest.nn.ReLU", "fields": {}},
    {"$object": "steepest.nn.Linear", "fields": {"n_in": 10**9, "n_out": 10**9, "bias": True, "init": 0.0}},
]  # fmt: skip


# ------------------------------------------------------------------------------------------------------- the files


def models() -> list:
    """Fitted models of every kind, with everything that their files can contain."""
    drawn = {"random_state": np.random.RandomState(0), "max_iter": 2}
    return [
        MLPClassifier((3,), **drawn).fit(X, np.array(["a", "b", "c"])[Y]),
        MLPClassifier((3,), early_stopping=True, validation_fraction=0.3, dropout=0.2, **drawn).fit(X, Y),
        MLPRegressor(hidden_layer_sizes=(3,), solver="natural", **drawn).fit(X, X[:, 0]),
        Autoencoder((3,), **drawn).fit(X),
        LinearDiscriminantAnalysis().fit(X, Y),
        LogisticRegression().fit(X, Y),
        LinearRegression().fit(X, X[:, 0]),
        SGDClassifier(max_iter=2, random_state=np.random.RandomState(0)).fit(X, Y),
        PCA(2).fit(X),
        nn.Network([nn.Linear(4, 3), nn.Tanh(), nn.Dropout(0.5), nn.PReLU(3), nn.Linear(3, 4, tied_to=0)]),
    ]


def taken_apart(content: bytes, path: Path) -> tuple[dict, dict]:
    path.write_bytes(content)
    with safe_open(path, framework="np") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def without_checksum(header: dict, tensors: dict) -> bytes:
    return safetensors_bytes(tensors, {key: value for key, value in header.items() if key != "checksum"})


def with_damaged_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip, cut, duplicate or overwrite bytes, anywhere or in the header, where more can go wrong."""
    data = bytearray(content)
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(min(len(data), header if rng.random() < 0.7 else len(data)) or 1))
        length = int(rng.integers(1, 40))
        way = rng.integers(6)
        if way == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif way == 1:
            data[at : at + length] = rng.bytes(length)
        elif way == 2:
            del data[at : at + length]
        elif way == 3:
            data[at:at] = data[at : at + length]
        elif way == 4:
            data[at : at + length] = bytes(length)
        else:
            del data[at:]
    return bytes(data)


def places(value, found: list) -> list:
    """All (container, key) pairs of a description."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found.append((value, key))
        places(item, found)
    return found


def with_changed_content(parts: tuple[dict, dict], rng: np.random.Generator) -> bytes:
    """Change the description and the tensors in a well-formed file without a checksum, as the first versions wrote."""
    header, tensors = dict(parts[0]), copy.deepcopy(parts[1])
    model = json.loads(header["model"])
    for _ in range(rng.integers(1, 4)):
        where = places(model, [])
        container, key = where[rng.integers(len(where))]
        way = rng.integers(5)
        if way <= 1:
            container[key] = STRANGE[rng.integers(len(STRANGE))]
        elif way == 2:
            del container[key]
        elif way == 3:
            other, other_key = where[rng.integers(len(where))]
            container[key] = copy.deepcopy(other[other_key])
        elif tensors:
            change_a_tensor(tensors, rng)
        if not places(model, []):
            break
    header["model"] = json.dumps(model)
    return without_checksum(header, tensors)


def change_a_tensor(tensors: dict, rng: np.random.Generator) -> None:
    name = list(tensors)[rng.integers(len(tensors))]
    array, way = tensors[name], rng.integers(5)
    if way == 0:
        tensors[name] = rng.permutation(array.ravel())[: max(0, array.size - 1)]
    elif way == 1:
        dtypes = [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint32, np.bool_]
        with np.errstate(all="ignore"):
            tensors[name] = array.astype(dtypes[rng.integers(len(dtypes))])
    elif way == 2 and array.size:
        values = [np.nan, np.inf, -1, 0, 1e300, -(2**63)]
        with np.errstate(all="ignore"):
            array.ravel()[rng.integers(array.size)] = np.array(values[rng.integers(6)]).astype(array.dtype)
    elif way == 3:
        tensors[name] = np.zeros_like(array)
    else:
        del tensors[name]


def with_bad_images(content: bytes, rng: np.random.Generator) -> bytes:
    """Change an IDX file, plain or compressed with gzip; its header may claim any size."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(min(len(data), 16 if rng.random() < 0.6 else len(data)) or 1))
        way = rng.integers(4)
        if way == 0:
            data[at : at + 1] = rng.bytes(1)
        elif way == 1:
            del data[at:]
        elif way == 2:
            data[4:8] = struct.pack(">I", int(rng.integers(2**32)))
        else:
            data[3:4] = rng.bytes(1)
    if rng.random() < 0.3:
        data += bytes(1 << 20)  # a decompression bomb, which gzip shrinks to a thousandth
    packed = bytearray(gzip.compress(data, 6)) if rng.random() < 0.5 else data
    if rng.random() < 0.3 and packed:
        packed[rng.integers(len(packed))] ^= 1 << int(rng.integers(8))
    return bytes(packed)


# ------------------------------------------------------------------------------------------- use of the loaded models


def use(model, rng: np.random.Generator) -> str:
    """Call the methods of a model; return a word for the outcome."""
    calls = [
        ("predict", (X,)),
        ("predict_proba", (X,)),
        ("transform", (X,)),
        ("forward", (X.astype(np.float32),)),
    ]
    calls += [("partial_fit", (X, Y))]
    try:
        for name, data in calls:
            if callable(getattr(model, name, None)):
                getattr(model, name)(*data)
        repr(model)
    except RecursionError:
        raise
    except ORDINARY:
        return "raised"
    return "used"


def refused(error: ValueError, prefix: str, text: str) -> str:
    if not str(error).startswith(prefix):
        raise AssertionError(f"the message does not name the file: {error}") from error
    return text


def one_file(i: int, seed: int, samples: list, folder: Path) -> str:
    """Make file i, read it and use it; return a word for the outcome."""
    rng = np.random.default_rng((seed, i))
    path = folder / "file"
    if i % 5 == 4:
        images = np.zeros((8, 28, 28), np.uint8)
        content = struct.pack(">BBBB3I", 0, 0, 8, 3, *images.shape) + images.tobytes()
        path.write_bytes(with_bad_images(content, rng))
        try:
            datasets.read_idx(path)
        except ValueError as error:
            return refused(error, f"[read_idx] {path}, byte ", "IDX refused")
        return "IDX read"
    content, parts = samples[rng.integers(len(samples))]
    # One model file in four has a checksum; the others have none, like files of the first versions or of an attacker.
    checked = i % 5 == 0
    if i % 5 < 2:
        changed = with_damaged_bytes(content if checked else without_checksum(*parts), rng)
    else:
        changed = with_changed_content(parts, rng)
    path.write_bytes(changed)
    try:
        model = steepest.load(path)
    except ValueError as error:
        return refused(error, f"[load] {path} ", "refused")
    assert not checked or changed == content, "damage was not noticed"
    return use(model, rng)


def peak_memory() -> int:
    """Peak memory of this process in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10


def work(begin: int, end: int, seed: int) -> None:
    """Read files `begin` to `end` in a process of its own; the last line of its output counts the outcomes."""
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = []
        for model in models():
            steepest.save(model, folder / "model")
            content = (folder / "model").read_bytes()
            samples.append((content, taken_apart(content, folder / "model")))
        healthy = steepest.load(folder / "model").predict(X.astype(np.float32))
        before = peak_memory()
        for i in range(begin, end):
            faulthandler.dump_traceback_later(SECONDS_OF_A_FILE, exit=True)
            try:
                counts[one_file(i, seed, samples, folder)] += 1
            except BaseException as error:
                raise SystemExit(f"file {i} of seed {seed}: {type(error).__name__}: {error}") from error
            faulthandler.cancel_dump_traceback_later()
        (folder / "model").write_bytes(samples[-1][0])
        assert (steepest.load(folder / "model").predict(X.astype(np.float32)) == healthy).all()
    counts["bytes"] = peak_memory() - before
    print(json.dumps(counts))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--short", action="store_true", help="300 files instead of 5,000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        work(*arguments.part, arguments.seed)
        return 0
    begun, n, most = time.monotonic(), 300 if arguments.short else 5000, 0
    total: Counter[str] = Counter()
    for begin in range(0, n, FILES_OF_A_PROCESS):
        part = [str(begin), str(min(n, begin + FILES_OF_A_PROCESS))]
        command = [sys.executable, __file__, "--seed", str(arguments.seed), "--part", *part]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"stress_files: files {'-'.join(part)}: exit status {done.returncode}\n{done.stderr}")
            return 1
        counts = Counter(json.loads(done.stdout.splitlines()[-1]))
        most = max(most, counts.pop("bytes"))
        total += counts
    if most > MOST_MEMORY:
        print(f"stress_files: a process grew by {most >> 20} MiB")
        return 1
    assert total.total() == n
    figures = ", ".join(f"{count} {name}" for name, count in sorted(total.items()))
    seconds = time.monotonic() - begun
    print(f"stress_files: {n} files: {figures}; at most {most >> 20} MiB more memory; {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
