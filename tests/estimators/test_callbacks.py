"""Callbacks: progress bars, checkpoints, early stopping and TensorBoard event files."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import pickle
import sys
import warnings

import numpy as np
import pytest
from backends import run_python
from perceptrons import arena_bytes, blobs
from sklearn.base import clone

import steepest
from steepest import callbacks as module
from steepest.callbacks import Callback, Checkpoint, EarlyStopping, Epoch, ProgressBar, TensorBoard
from steepest.neural_network import MLPClassifier, MLPRegressor
from steepest.optim import schedules

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.cpu_only("it does not test kernels"),
]


def fit(*callbacks, max_iter=4, solver="adam", **options):
    X, y = blobs(60)
    model = MLPClassifier((4,), solver=solver, max_iter=max_iter, random_state=0, callbacks=list(callbacks))
    return model.fit(X, y, **options)


class Terminal(io.StringIO):
    def isatty(self):
        return True


# --------------------------------------------------------------------------------------------------- progress bars


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    model = fit(ProgressBar())
    last = terminal.getvalue().rsplit("\r", 1)[-1]
    assert "MLPClassifier: 100%" in last
    assert "4/4" in last
    assert f"loss {model.loss_:.4f}" in last


def test_a_log_has_few_lines(monkeypatch, capsys):
    fit(ProgressBar(), max_iter=30)
    assert capsys.readouterr() == ("", "")  # the fit took less than log_seconds
    clock = iter(range(0, 10_000, 10))  # ten seconds for each epoch
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    fit(ProgressBar(log_seconds=100.0), max_iter=40)
    lines = capsys.readouterr().err.splitlines()
    assert 3 <= len(lines) <= 6
    assert lines[0].startswith("MLPClassifier: epoch ")
    assert "/40, loss " in lines[0]
    assert lines[-1].startswith("MLPClassifier: epoch 40/40, loss ")
    assert not any("\r" in line for line in lines)


def test_a_bar_in_a_notebook(monkeypatch):
    """In a notebook standard error is no terminal, and tqdm chooses its notebook class."""
    import tqdm.auto

    class Notebook(tqdm.auto.tqdm):
        __module__ = "tqdm.notebook"

    monkeypatch.setattr(tqdm.auto, "tqdm", Notebook)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = module.open_bar(total=3)
    assert not bar.disable
    bar.close()


def test_lbfgs_has_a_bar_too(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fit(ProgressBar(), solver="lbfgs")
    assert "4/4" in terminal.getvalue()


class NoStream:
    """A standard error without a file descriptor, whose `write` fails."""

    def write(self, text):
        raise ValueError("I/O operation on closed file")

    flush = write


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, NoStream(), closed()], ids=["none", "no stream", "closed"])
def test_a_fit_does_without_standard_error(stream, monkeypatch, capsys):
    """A fit works without standard error, as in a service, even if a log line is due after each epoch."""
    monkeypatch.setattr(sys, "stderr", stream)
    assert fit(ProgressBar(log_seconds=0.0)).n_iter_ == 4
    assert capsys.readouterr().out == ""


def screen(text, columns):
    """The lines that a terminal finally shows; a carriage return goes back to the first column."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
        assert len(lines[-1]) <= columns
    return lines


def test_a_bar_in_80_columns(monkeypatch):
    """80 columns have room for the bar and for the validation results."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(terminal, "fileno", lambda: 2, raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((80, 24)))
    X, y = blobs(60)
    model = fit(ProgressBar(), max_iter=1000, solver="lbfgs", eval_set=(X, y))
    shown = screen(terminal.getvalue(), 80)[0]
    loss, score = model.validation_loss_curve_[-1], model.validation_scores_[-1]
    assert shown.endswith(f", loss {model.loss_curve_[-1]:.4f}, val {loss:.4f}, score {score:.4f}")
    assert len(shown.split("|")[1]) >= 5
    assert "/1000 " in shown


def test_other_lines_stand_above_the_bar(monkeypatch):
    """Lines of verbose fits and warnings start in the first column, and the bar is redrawn below them."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    X, y = blobs(60)
    model = MLPClassifier((4,), max_iter=3, random_state=0, callbacks=[ProgressBar()], verbose=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: print(f"Warning: {message}", file=sys.stderr)
        model.fit(X, y)
    shown = screen(terminal.getvalue(), 1000)
    lines = [f"Iteration {i}, loss = {loss:.8f}" for i, loss in enumerate(model.loss_curve_, 1)]
    assert shown[:3] == lines
    assert shown[3].startswith("Warning: Stochastic Optimizer: Maximum iterations (3) reached")
    assert shown[4].startswith("MLPClassifier: 100%|")
    assert shown[5:] == [""]


# ----------------------------------------------------------------------------------------------------- checkpoints


class Spy(Callback):
    """Records, after each epoch, which epoch the saved model in a file is from."""

    def __init__(self, path):
        self.path, self.seen = path, []

    def epoch_done(self, model, epoch):
        exists = self.path.exists()
        self.seen.append(steepest.load(self.path).n_iter_ if exists else 0)


@pytest.mark.parametrize(
    "rate", ["constant", "cosine", schedules.WarmUp(9, schedules.Constant(0.01))], ids=str
)
def test_a_checkpoint_has_the_moments_of_its_optimizer(rate, tmp_path):
    """A loaded checkpoint continues with the optimizer's state, in the middle of a schedule too."""

    class Compare(Callback):
        def epoch_done(self, model, epoch):
            loaded = steepest.load(tmp_path / "model")._optimizer.state_dict()
            for name in ("exp_avg", "exp_avg_sq", "steps"):
                np.testing.assert_equal(loaded[name], model._optimizer.state_dict()[name])

    X, y = blobs(60)
    callbacks = [Checkpoint(tmp_path / "model"), Compare()]
    MLPClassifier((4,), max_iter=2, random_state=0, learning_rate=rate, callbacks=callbacks).fit(X, y)


@pytest.mark.parametrize(("every", "seen"), [(1, [1, 2, 3, 4]), (3, [0, 0, 3, 3]), (9, [0, 0, 0, 0])])
def test_checkpoints(every, seen, tmp_path):
    path = tmp_path / "model"
    spy = Spy(path)
    model = fit(Checkpoint(path, every=every), spy)
    assert spy.seen == seen
    saved = steepest.load(path)  # the end of the fit saves the last epoch
    assert arena_bytes(saved) == arena_bytes(model)
    assert saved.callbacks is None
    X, y = blobs(60)
    assert arena_bytes(saved.partial_fit(X, y)) == arena_bytes(
        model.set_params(callbacks=None).partial_fit(X, y)
    )


def test_the_best_is_kept(tmp_path):
    y = blobs(60)[1]
    rng = np.random.default_rng(0)
    # Random validation labels make the score go up and down.
    model = fit(
        Checkpoint(tmp_path / "model", every=5, save_best=True),
        max_iter=12,
        eval_set=(rng.standard_normal((40, 10)), y[:40]),
    )
    best = int(np.argmax(model.validation_scores_)) + 1
    assert steepest.load(tmp_path / "model").n_iter_ == best
    with pytest.raises(ValueError, match=r"\[Checkpoint\] every must be positive, got 0"):
        Checkpoint("model", every=0)


class Break(Callback):
    def __init__(self, error):
        self.error = error

    def epoch_done(self, model, epoch):
        if epoch.number == 3:
            raise self.error


@pytest.mark.filterwarnings("ignore:Training interrupted")
@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=repr)
def test_a_fit_that_is_broken_off_leaves_its_last_epoch(error, tmp_path):
    with pytest.raises(RuntimeError) if isinstance(error, RuntimeError) else contextlib.nullcontext():
        fit(Checkpoint(tmp_path / "model", every=100), Break(error))
    assert steepest.load(tmp_path / "model").n_iter_ == 3


# -------------------------------------------------------------------------------------------------- early stopping


def test_early_stopping():
    X, y = blobs(60)
    model = fit(EarlyStopping(patience=3), max_iter=400, eval_set=(X, np.roll(y, 1)))
    curve = model.validation_loss_curve_
    assert len(curve) < 400
    assert len(curve) == int(np.argmin(curve)) + 1 + 3
    assert len(fit(EarlyStopping("loss", patience=2, min_improvement=1e9), max_iter=50).loss_curve_) == 3
    # Steps below the least improvement add up to one.
    steady = EarlyStopping("loss", patience=3, min_improvement=1.5)
    steady.fit_begun(None)
    stops = [steady.epoch_done(None, Epoch(i, 16.0 - min(i, 12), None, 1, 0.0)) for i in range(1, 17)]
    assert stops.index(True) == 13
    with pytest.raises(ValueError, match="the epochs of this fit have no validation_loss: pass eval_set"):
        fit(EarlyStopping())
    with pytest.raises(ValueError, match="quantity 'los' is not one of"):
        EarlyStopping("los")
    with pytest.raises(ValueError, match="patience must be positive"):
        EarlyStopping(patience=0)


# ----------------------------------------------------------------------------------------------------- TensorBoard


def events(folder):
    """Return the values in a folder's event files by (tag, step), and the tags of histograms."""
    from tensorboardX.proto.event_pb2 import Event

    scalars, histograms = {}, set()
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        position = 0
        while position < len(data):
            # TFRecord format: length, checksum of the length, record, checksum of the record.
            length = int.from_bytes(data[position : position + 8], "little")
            event = Event.FromString(data[position + 12 : position + 12 + length])
            position += 16 + length
            for value in event.summary.value:
                if value.HasField("histo"):
                    histograms.add(value.tag)
                else:
                    scalars[value.tag, event.step] = value.simple_value
    return scalars, histograms


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(tmp_path):
    X, y = blobs(60)
    board = TensorBoard(tmp_path / "run", weights_every=2)
    model = fit(board, eval_set=(X, y))
    model.partial_fit(X, y, eval_set=(X, y))
    scalars, histograms = events(tmp_path / "run")
    curve = [scalars["loss/training", step] for step in range(1, 6)]
    np.testing.assert_allclose(curve, model.loss_curve_, rtol=1e-6)
    scores = [scalars["score/validation", step] for step in range(1, 6)]
    np.testing.assert_allclose(scores, model.validation_scores_, rtol=1e-6)
    assert histograms == {f"{kind}/layer_{i}" for kind in ("weights", "biases") for i in (0, 1)}


def test_tensorboard_that_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="needs tensorboardX: pip install tensorboardX"):
        TensorBoard(tmp_path)


# --------------------------------------------------------------------------------------------------- all callbacks


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_they_are_copied_with_their_estimator(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    used = [ProgressBar(), Checkpoint(tmp_path / "m"), EarlyStopping("loss"), TensorBoard(tmp_path / "runs")]
    model = fit(*used)
    for twin in (clone(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin.fit(*blobs(60))
        assert [type(c) for c in twin.callbacks] == [type(c) for c in used]

    class CopyInside(Callback):
        def epoch_done(self, model, epoch):
            copy.deepcopy(model.callbacks[:4])

    fit(*used, CopyInside())


def test_one_that_cannot_begin_ends_the_fit(tmp_path):
    class Refuses(Callback):
        def fit_begun(self, model):
            raise RuntimeError("not today")

    with pytest.raises(RuntimeError, match="not today"):
        fit(Refuses(), ProgressBar(), Checkpoint(tmp_path / "m"), TensorBoard(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_module_is_light():
    run_python(
        "import sys, steepest.callbacks\n"
        "assert not {'numpy', 'tqdm', 'tensorboardX', 'safetensors', 'sklearn'} & set(sys.modules)"
    )


class Acts(Callback):
    """Does something with the model after the second epoch."""

    def __init__(self, act):
        self.act = act

    def epoch_done(self, model, epoch):
        if epoch.number == 2:
            self.act(model)


def fitted(act, **options):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), rng.standard_normal(60)
    options = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0} | options
    return MLPRegressor(**options, callbacks=[Acts(act)]).fit(X, y)


def test_what_a_callback_sets_counts():
    assert fitted(lambda model: setattr(model, "t_", 0)).t_ == 3 * 60
    model = fitted(lambda model: setattr(model, "best_loss_", 0.0))
    assert model.best_loss_ == 0.0 and model._no_improvement_count == 3


def test_early_stopping_that_is_switched_off_meanwhile():
    """The fit goes on as it began: a score is not compared with a loss."""
    model = fitted(lambda model: model.set_params(early_stopping=False), early_stopping=True)
    assert model.best_loss_ is None
    assert model.best_validation_score_ == max(model.validation_scores_)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_iter": 2}, "Maximum iterations"),
        ({"solver": "lbfgs", "max_iter": 2}, "failed to converge"),
        ({"batch_size": 100, "n_iter_no_change": 1, "tol": 1e9, "max_iter": 20}, "larger than sample size"),
        ({"callbacks": "interrupt"}, "interrupted by user"),
        ({"callbacks": "interrupt", "solver": "lbfgs"}, "interrupted by user"),
    ],
)
def test_warnings_name_the_line_that_called(options, text):
    def interrupt(model):
        raise KeyboardInterrupt

    if "callbacks" in options:
        options = {**options, "callbacks": [Acts(interrupt)]}
    model = MLPRegressor(hidden_layer_sizes=(5,), random_state=0, **options)
    rng = np.random.default_rng(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(rng.standard_normal((60, 4)), rng.standard_normal(60))
    assert [w.filename for w in caught if text in str(w.message)] == [__file__]


def test_a_generator_of_the_caller_is_not_set_back():
    """Another thread may draw from it meanwhile, and must not draw the same numbers again."""

    class Watched(np.random.RandomState):
        def set_state(self, state):
            raise AssertionError("the state of the caller's generator was set")

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), rng.standard_normal(60)
    for solver in ("adam", "natural"):
        MLPRegressor(hidden_layer_sizes=(5,), max_iter=2, solver=solver, random_state=Watched(0)).fit(X, y)
