"""Model files: bad files raise a clear error, and a save that fails or is killed leaves the old file intact."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest
from backends import run_python
from model_files import save_as_first_versions
from safetensors.numpy import save_file

import steepest
from steepest import nn
from steepest._saving.model_state import decode_model, encode_model
from steepest.neural_network import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.cpu_only("it does not test kernels")

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


# ----------------------------------------------------------------------------------------------------- bad files


def pickled(compress):
    buffer = io.BytesIO()
    joblib.dump(MLPClassifier(), buffer, compress=compress)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: it was not written to its end"),
        (
            pickle.dumps(MLPClassifier()),
            "looks like a pickle: joblib.load or pickle.load reads it, if you trust",
        ),
        (pickled(0), "looks like a pickle"),
        (pickled(3), "looks like a pickle"),
        (np.random.default_rng(1).bytes(1000), "is no model of steepest.save"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is no model of steepest.save"),
    ],
    ids=["empty", "pickle", "joblib", "compressed", "random", "png"],
)
def test_files_of_other_kinds(content, message, tmp_path):
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^\[load\] .*model {message}"):
        steepest.load(tmp_path / "model")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"\[load\] there is no file .*model") as caught:
        steepest.load(tmp_path / "model")
    assert caught.value.filename == str(tmp_path / "model")
    with pytest.raises(OSError, match="directory"):
        steepest.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"\[save\] there is no folder: .*/no folder"):
        steepest.save(MLPClassifier(), tmp_path / "no folder" / "model")


def test_safetensors_files_of_other_programs(tmp_path):
    for metadata in (None, {"format": "pt"}):
        save_file({"a": np.ones(3)}, tmp_path / "model", metadata)
        with pytest.raises(ValueError, match="is a safetensors file of another program"):
            steepest.load(tmp_path / "model")


def write(path, version="1", **model):
    header = {
        "format": "steepest",
        "format_version": version,
        "steepest_version": "9.1",
        "model": json.dumps(model),
    }
    save_file({"a": np.ones(3)}, path, header)


def test_newer_versions(tmp_path):
    write(tmp_path / "model", version="2")
    with pytest.raises(
        ValueError,
        match=r"has format 2, written by steepest 9\.1; .* up to 1: install a newer version",
    ):
        steepest.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({}, "it describes neither a network nor an estimator"),
        ({"$tensor": "a"}, "it describes neither a network nor an estimator"),
        ({"$estimator": "steepest.neural_network.Later"}, "has no steepest.neural_network.Later"),
        ({"$estimator": "os.system"}, "has no os.system"),
        ({"$estimator": "steepest.neural_network._base.Integral"}, "has no steepest.neural_network._base"),
        ({"$estimator": ["steepest"]}, r"has no \['steepest'\]"),
        (
            {
                "$estimator": "steepest.neural_network.MLPClassifier",
                "parameters": {"new": 1, "alpha": 1},
                "state": {},
            },
            "this version of steepest's MLPClassifier has no parameter new",
        ),
        (
            {
                "$estimator": "steepest.neural_network.MLPClassifier",
                "parameters": {"alpha": {"$later": 1}},
                "state": {},
            },
            r"this version of steepest knows no \$later",
        ),
        (
            {"$network": {"layers": [{"$object": "steepest.nn.Later", "fields": {}}]}},
            "has no steepest.nn.Later",
        ),
        ({"$network": {"layers": [{"$object": "steepest.nn.Network", "fields": {}}]}}, "TypeError"),
        (
            {"$network": {"layers": [{"$object": "steepest.nn.ReLU", "fields": {"mode": 1}}]}},
            "ReLU has no mode",
        ),
        (
            {"$network": {"layers": [{"$object": "steepest.nn.ReLU", "fields": {"name": "rely"}}]}},
            "'rely' is not one",
        ),
        ({"$network": {"layers": [], "dtype": {"$dtype": "<f4"}, "parameters": {}}}, "at least one layer"),
        ({"$network": 3}, "AttributeError"),
        (
            {
                "$network": {
                    "layers": [{"$object": "steepest.nn.ReLU", "fields": {"name": "relu"}}],
                    "dtype": {"$dtype": "<f4"},
                    "parameters": {},
                    "later": 1,
                }
            },
            "a network of this version of steepest has no later",
        ),
        ({"$network": {"layers": [{"$tensor": "b"}]}}, "layers.0: there is no tensor 'b'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contents_that_this_version_does_not_know(model, message, tmp_path):
    write(tmp_path / "model", **model)
    with pytest.raises(
        ValueError,
        match=rf"was written by steepest 9\.1, and steepest .* cannot read it: .*{message}.*install that",
    ):
        steepest.load(tmp_path / "model")


def test_parameters_that_are_new_since_the_file_was_written_have_their_defaults():
    description, tensors = encode_model(MLPClassifier(alpha=0.5))
    del description["parameters"]["tol"]
    assert decode_model(description, tensors).get_params() == MLPClassifier(alpha=0.5).get_params()


def test_a_network_whose_tensors_do_not_fit():
    description, tensors = encode_model(nn.Network([nn.Linear(3, 2)]))
    tensors["0.weight"] = tensors["0.weight"].T.copy()
    with pytest.raises(ValueError, match="the parameters of its network do not fit its layers"):
        decode_model(description, tensors)


def test_truncated_anywhere(tmp_path):
    path = tmp_path / "model"
    steepest.save(nn.Network([nn.Linear(3, 2), nn.Tanh()]), path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"^\[load\] .*model is (truncated or damaged|empty)"):
            steepest.load(path)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_damaged_headers(tmp_path):
    """Without a checksum, a changed byte gives an error that names the file, or a model with a changed value."""
    path = tmp_path / "model"
    save_as_first_versions(
        MLPRegressor(hidden_layer_sizes=(2,), max_iter=1, random_state=0).fit(np.eye(3), [1.0, 2.0, 3.0]),
        path,
    )
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    refused = changed = 0
    for position in rng.permutation(header)[:500]:
        damaged = content.copy()
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            assert isinstance(steepest.load(path), MLPRegressor)
        except ValueError as error:
            refused += str(error).startswith(f"[load] {path} ")
        else:
            changed += 1
    assert refused + changed == 500
    assert refused > 250


# ------------------------------------------------------------------------------------------- saves that fail midway


@pytest.fixture
def old(tmp_path):
    """The path of a file with a saved model."""
    path = tmp_path / "model"
    steepest.save(MLPClassifier(alpha=0.25), path)
    return path


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr
)
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_an_interrupted_save_leaves_the_old_file(where, error, old, monkeypatch):
    content = old.read_bytes()

    def fail(*arguments):
        raise error

    monkeypatch.setattr(os, where, fail)
    with pytest.raises(type(error)):
        steepest.save(MLPClassifier(alpha=0.75), old)
    assert old.read_bytes() == content
    assert list(old.parent.iterdir()) == [old]


@posix
def test_a_full_disk_leaves_the_old_file(old):
    content = old.read_bytes()
    run_python(
        f"""
import resource, signal, numpy as np, steepest
from steepest import nn
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    steepest.save(nn.Network([nn.Linear(1000, 1000)]), {str(old)!r})
except OSError as error:
    assert "too large" in str(error), error
else:
    raise SystemExit("no OSError")
"""
    )
    assert old.read_bytes() == content
    assert list(old.parent.iterdir()) == [old]


@posix
@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_process_killed_while_it_saves_leaves_the_old_file(call, old):
    content = old.read_bytes()
    code = f"""
import os, signal, steepest
from steepest import nn
net = nn.Network([nn.Linear(100, 100)])
{call} = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
steepest.save(net, {str(old)!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert old.read_bytes() == content
    assert all(path == old or path.suffix == ".tmp" for path in old.parent.iterdir())


@posix
def test_a_process_killed_at_any_time_leaves_a_whole_model(tmp_path):
    """A process that saves one network after another, and mostly writes, is killed at random moments."""
    path = tmp_path / "net"
    code = f"""
import numpy as np, steepest
from steepest import nn
net = nn.Network([nn.Linear(1000, 1000)])
for i in range(10**6):
    net.arena[...] = i
    steepest.save(net, {str(path)!r})
    if i == 0:
        print("saved", flush=True)
"""
    for i in range(4):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout.readline() == "saved\n"
            time.sleep(0.05 + 0.013 * i)
        finally:
            child.kill()
            child.communicate()
        weights = steepest.load(path).parameters()[0].value
        assert len(np.unique(weights)) == 1


@posix
@pytest.mark.parametrize("mode", [0o640, 0o600])
def test_links_and_modes_are_kept(mode, old, monkeypatch):
    link = old.with_name("link")
    link.symlink_to(old.name)
    old.chmod(mode)
    other_name = old.with_name("hard link")
    other_name.hardlink_to(old)
    fsync, seen = os.fsync, []

    def spy(descriptor):
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    steepest.save(MLPClassifier(alpha=0.75), str(link))
    assert link.is_symlink()
    assert old.stat().st_mode & 0o777 == seen[0] == mode
    assert steepest.load(link).alpha == 0.75
    assert steepest.load(other_name).alpha == 0.25


@posix
def test_what_only_the_owner_may_read_nobody_else_ever_may(old, monkeypatch):
    """The temporary file, which a killed process leaves behind, has the same restricted mode."""
    old.chmod(0o600)
    modes, opened = [], os.open

    def spy(path, flags, mode=0o777):
        descriptor = opened(path, flags, mode)
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        return descriptor

    monkeypatch.setattr(os, "open", spy)
    steepest.save(MLPClassifier(alpha=0.75), old)
    assert modes[0] == 0o600


@posix
def test_the_owner_is_kept(old):
    if os.geteuid() != 0:
        pytest.skip("only root can change the owner of a file")
    os.chown(old, 65534, 65533)
    old.chmod(0o640)
    steepest.save(MLPClassifier(alpha=0.75), old)
    status = old.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65534, 65533, 0o640)


@posix
def test_only_files_are_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for path in (pipe, link, os.devnull):
        for call in (lambda path: steepest.save(MLPClassifier(), path), steepest.load):
            with pytest.raises(OSError, match=r"\[(save|load)\] this is a device or a pipe, not a file"):
                call(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(IsADirectoryError, match="this is a directory"):
        steepest.save(MLPClassifier(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


@pytest.mark.parametrize("name", ["a" * 250, "ü" * 127, "." * 3 + "x"], ids=["letters", "umlauts", "dots"])
def test_names_as_long_as_the_system_allows(name, tmp_path):
    steepest.save(MLPClassifier(alpha=0.75), tmp_path / name)
    assert steepest.load(tmp_path / name).alpha == 0.75
    assert [path.name for path in tmp_path.iterdir()] == [name]


def endless():
    values = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    "value", [endless(), 10**5000, np.zeros(1000, "<U99999")], ids=["endless", "number", "strings"]
)
def test_what_could_not_be_loaded_is_not_saved(value, old):
    content = old.read_bytes()
    with pytest.raises(TypeError, match=r"^\[save\] "):
        steepest.save(MLPClassifier(alpha=value), old)
    assert old.read_bytes() == content
