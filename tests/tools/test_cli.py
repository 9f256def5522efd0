"""The command line, run as users run it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils._param_validation import StrOptions
from test_datasets import NAMES, digits, idx

import steepest
from steepest import cli, datasets
from steepest.neural_network import LanguageModel, MLPClassifier
from steepest.neural_network._blocks import ARCHITECTURES


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "steepest", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def test_train(tmp_path):
    done = run("train", "--epochs", 2, "--hidden", 32, 16, "--lr", "0.005", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    # Without a terminal there is no progress bar.
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "digits: 1149 training, 288 validation, 360 test images; network 64-32-16-10"
    assert lines[1].split() == ["training", "validation"]
    assert lines[2].split() == ["epoch", "loss", "accuracy", "loss", "accuracy", "samples/s"]
    for epoch, line in enumerate(lines[3:5], 1):
        number, *figures = line.split()
        assert number == f"{epoch}/2"
        assert len(figures) == 5
        assert all(0 < float(figure) < 2.5 for figure in figures[:4])
    assert lines[5].startswith("test accuracy 0.")
    # The table fits on a terminal of 80 columns.
    assert max(map(len, lines[:6])) < 80
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "learning_curve.png",
        "model.safetensors",
    ]
    assert (tmp_path / "out" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")

    model = steepest.load(tmp_path / "out" / "model.safetensors")
    assert isinstance(model, MLPClassifier)
    X, y = datasets.load_digits()
    assert model.score(X, y) > 0.8
    assert len(model.loss_curve_) == len(model.validation_loss_curve_) == 2


def test_train_a_convolutional_network(tmp_path, capsys):
    out = ["--epochs", "2", "--output", str(tmp_path)]
    assert cli.main(["train", "--model", "resnet8", *out]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("360 test images; network resnet8")
    model = steepest.load(tmp_path / "model.safetensors")
    assert (model.blocks, model.image_shape_) == ("resnet8", (8, 8, 1))
    assert model.validation_scores_[-1] > 0.6
    assert cli.main(["train", "--model", "lenet", *out]) == 2
    assert "--model lenet takes larger images than 8 x 8: pass --data" in capsys.readouterr().err


def test_models_are_the_architectures():
    assert ("mlp", *ARCHITECTURES) == cli.IMAGE_MODELS
    assert StrOptions(set(cli.TEXT_MODELS)).options == LanguageModel._parameter_constraints["body"][0].options


def test_train_on_text(tmp_path):
    (tmp_path / "poem.txt").write_text("a rose is a rose is a rose.\n" * 60, encoding="utf-8")
    done = run(
        *("train", "--text", "poem.txt", "--model", "gru", "--steps", 40, "--output", "out"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "poem.txt: 1680 characters, 9 different ones; gru"
    assert lines[1].split() == ["step", "loss", "validation", "tokens/s"]
    assert lines[2].split()[0] == "2"
    assert (
        sum(line.startswith("    ") and bool(set(line)) and set(line) <= set("arosei. ") for line in lines)
        >= 4
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "learning_curve.png",
        "model.safetensors",
    ]
    model = steepest.load(tmp_path / "out" / "model.safetensors")
    assert model.body == "gru"
    assert model.perplexity("a rose is a rose") < 8


@pytest.mark.parametrize("model", cli.GENERATIVE_MODELS)
def test_train_a_generator_of_images(tmp_path, capsys, model):
    arguments = ["--epochs", "3", "--hidden", "16", "--seed", "2", "--output", str(tmp_path)]
    assert cli.main(["train", "--model", model, *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"360 test images; network {model}")
    assert [line.split()[0] for line in lines[2:5]] == ["1/3", "2/3", "3/3"]
    if model == "vae":
        bound = re.fullmatch(r"evidence lower bound of the test images: (-\d+\.\d\d) nats", lines[5])
        assert -50 < float(bound[1]) < -20
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "learning_curve.png",
        "model.safetensors",
        "samples.png",
    ]
    loaded = steepest.load(tmp_path / "model.safetensors")
    assert loaded.sample(3, seed=0).shape == (3, 8, 8)
    if model == "gan":
        assert loaded.classes_.tolist() == list(range(10))


def test_train_by_the_natural_gradient(tmp_path, capsys):
    """After three epochs on the digits the natural gradient has a better score than Adam."""
    scores = {}
    for solver in ("adam", "natural"):
        out = ["--output", str(tmp_path / solver)]
        assert cli.main(["train", "--solver", solver, "--epochs", "3", "--hidden", "16", *out]) == 0
        model = steepest.load(tmp_path / solver / "model.safetensors")
        assert model.solver == solver
        scores[solver] = model.validation_scores_[-1]
    assert scores["natural"] > max(scores["adam"], 0.85)


@pytest.mark.cpu_only("its fits take too long on the stand-in")
def test_compare():
    """The table has a line for each solver, with an accuracy better than guessing."""
    done = run("compare", "--hidden", 16)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "digits: 1149 training, 288 validation, 360 test images; network 64-16-10"
    assert lines[1].split() == ["test", "accuracy", "epochs", "seconds"]
    rows = {line[:34].strip(): line[34:].split() for line in lines[2:]}
    assert list(rows) == ["network, Adam", "network, natural gradient", "linear discriminant analysis"]
    for accuracy, _, seconds in rows.values():
        assert 0.85 < float(accuracy) < 1
        assert float(seconds) >= 0
    assert int(rows["network, natural gradient"][1]) < int(rows["network, Adam"][1]) <= 100
    assert rows["linear discriminant analysis"][1] == "-"


@pytest.mark.parametrize(("classes", "outputs"), [(10, 10), (2, 1)])
def test_train_on_idx_files(tmp_path, capsys, classes, outputs):
    for part, n in (("train", 60), ("test", 10)):
        images, _ = digits(n, seed=n)
        for kind, array in (("images", images), ("labels", np.arange(n, dtype=np.uint8) % classes)):
            (tmp_path / NAMES[f"{part}_{kind}"]).write_bytes(idx(array))
    arguments = [
        "train",
        "--data",
        str(tmp_path),
        "--epochs",
        "1",
        "--hidden",
        "8",
        "--output",
        str(tmp_path / "o"),
    ]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert f"48 training, 12 validation, 10 test images; network 784-8-{outputs}\n" in shown
    # The training error counts the class of the largest output.
    (row,) = [line.split() for line in shown.splitlines() if line.split()[0] == "1/1"]
    assert (row[2] != "-") == (outputs > 1)


def test_the_same_seed_gives_the_same_model(tmp_path):
    arenas = []
    for i, seed in enumerate((1, 1, 2)):
        assert (
            cli.main(["train", "--epochs", "1", "--seed", str(seed), "--output", str(tmp_path / str(i))]) == 0
        )
        model = steepest.load(tmp_path / str(i) / "model.safetensors")
        arenas.append(b"".join(w.tobytes() for w in model.coefs_))
    assert arenas[0] == arenas[1] != arenas[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["train", "--epochs", "0"], "'0' is not a positive integer"),
        (["train", "--hidden", "12", "x"], "'x' is not a positive integer"),
        (["train", "--lr", "nan"], "'nan' is not a positive number"),
        (["train", "--seed", "-1"], "'-1' is not an integer from 0 to 4294967295"),
        (["train", "--batch-size", "1150"], "--batch-size 1150 is more than the 1149 training images"),
        (["train", "--data", "nowhere"], "there is no folder nowhere"),
        (["train", "--data", "taken"], "taken is a file, not a folder"),
        (["train", "--data", "."], "has neither train-images-idx3-ubyte nor"),
        (["train", "--solver", "natural", "--lr", "1"], "--lr is not for --solver natural"),
        (["train", "--solver", "newton"], "invalid choice: 'newton'"),
        (["train", "--steps", "5"], "--steps is for models of text"),
        (["train", "--model", "gan", "--steps", "5"], "--steps is for models of text"),
        (
            ["train", "--model", "vae", "--solver", "natural"],
            "--solver natural is for classifiers, not for --model vae",
        ),
        (["train", "--model", "gan", "--batch-size", "1150"], "--batch-size 1150 is more than the 1149"),
        (["train", "--model", "gru"], "--model gru needs a text: pass --text with a file"),
        (
            ["train", "--text", "taken", "--model", "lenet"],
            "--model lenet is for images; --text takes one of",
        ),
        (["train", "--text", "taken", "--epochs", "2"], "--epochs is for images, not for --text"),
        (
            ["train", "--text", "taken", "--solver", "natural"],
            "--solver natural is for images, not for --text",
        ),
        (["train", "--text", "nowhere"], "cannot read nowhere: No such file"),
        (["train", "--text", "bytes"], "bytes is not a text in UTF-8"),
        (["compare", "--data", "nowhere"], "there is no folder nowhere"),
        (["train", "--output", "taken"], "cannot make the folder taken"),
        (["train", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["bench", "--dir", "nowhere"], "there is no bench/ in nowhere"),
    ],
)
def test_bad_input_gives_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    try:
        code = cli.main(arguments)
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("steepest")
    assert err.count("\n") == 1


def test_divergence_is_reported(tmp_path):
    done = run("train", "--lr", "1e30", "--output", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "steepest train: error: [MLPClassifier] training diverged in epoch 1, step "
    )
    assert done.stderr.count("\n") == 1


def test_a_loss_beyond_guessing_is_divergence(tmp_path, capsys):
    """A loss worse than guessing counts as divergence even if it is finite: nothing is saved, and the table fits."""
    assert (
        cli.main(["train", "--epochs", "1", "--hidden", "8", "--lr", "1e9", "--output", str(tmp_path)]) == 1
    )
    out, err = capsys.readouterr()
    assert err.startswith("steepest train: error: training diverged: the loss is ")
    assert err.endswith(", but guessing has 2.30; lower --lr (it was 1e+09)\n")
    assert max(map(len, out.splitlines())) < 80
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a POSIX signal")
def test_interrupt_saves_the_model(tmp_path):
    command = [sys.executable, "-m", "steepest", "train", "--epochs", "1000000", "--output", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not process.stdout.readline().strip().startswith("1/"):
            assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert re.match(r"steepest train: interrupted after (1 epoch|[2-9] epochs|\d\d+ epochs)\n", err)
    assert "test accuracy" in out
    X, y = datasets.load_digits()
    assert steepest.load(tmp_path / "model.safetensors").score(X, y) > 0.5


def test_info(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert steepest.__version__ in out
    for word in ("instruction set", "threads", "caches", "L2", "CUDA"):
        assert word in out


def test_version_and_help(capsys):
    for arguments, text in (
        (["--version"], steepest.__version__),
        (["--help"], "natural gradients"),
        (["train", "--help"], "model.safetensors"),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 0
        assert text in capsys.readouterr().out


def test_alone_it_says_what_it_is(capsys):
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: steepest")
    for word in (
        "hand-written C++ and CUDA kernels",
        "train",
        "compare",
        "info",
        "bench",
        "steepest COMMAND --help",
    ):
        assert word in " ".join(shown.split())


def test_bench_finds_the_source_tree(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tree" / "bench"
    folder.mkdir(parents=True)
    (folder / "__main__.py").write_text("import sys; print(sys.argv[1:]); sys.exit(len(sys.argv))")
    (folder / "bench_matmul.py").write_text("")
    for given in (folder, folder.parent):
        assert cli.main(["bench", "matmul", "--quick", "--dir", str(given)]) == 3
        assert cli.main(["bench", "matmuul", "--dir", str(given)]) == 2
        assert "no benchmark named matmuul; there are matmul" in capsys.readouterr().err
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "site-packages" / "steepest" / "cli.py"))
    assert cli.main(["bench"]) == 2
    assert "the benchmarks are not in the installed package" in capsys.readouterr().err


def test_source_path_of_the_benchmarks():
    root = Path(cli.__file__).resolve().parents[2]
    if not (root / "bench").is_dir():
        pytest.skip("installed without the source tree")
    assert cli._find_bench(None) == root
