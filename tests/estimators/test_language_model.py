"""LanguageModel: what it learns, what its scores mean, what it writes, files, callbacks and messages."""

from __future__ import annotations

import copy
import math
import pickle
import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import steepest
from steepest import nn
from steepest.callbacks import Callback
from steepest.neural_network import LanguageModel

TEXT = "abcabdabe" * 60
# kept by hand: sizes for quick fits
SMALL = {"n_units": 16, "n_layers": 1, "n_heads": 2, "context": 9, "batch_size": 8, "random_state": 0}
BODIES = ("transformer", "gru", "lstm", "rnn")
every_body = pytest.mark.parametrize("body", BODIES)


def fitted(body="gru", text=TEXT, **options):
    return LanguageModel(body, **{**SMALL, "max_steps": 200, "learning_rate_init": 0.02, **options}).fit(text)


@pytest.fixture(scope="module")
def models():
    return {body: fitted(body) for body in BODIES}


@every_body
def test_a_text_that_repeats_is_learnt_and_written(models, body):
    model = models[body]
    assert model.vocabulary_ == list("abcde")
    assert model.perplexity(TEXT[:90]) < 1.3
    assert model.sample(18, "abcabdabe", temperature=0) == "abcabdabe" * 2
    # Far beyond a window, of which a Transformer keeps the second half.
    assert set(model.sample(60, "abc", seed=1)) <= set("abcde")
    assert model.validation_loss_curve_[-1] < model.validation_loss_curve_[0]
    assert len(model.loss_curve_) == len(model.validation_loss_curve_) == 20
    assert model.n_steps_ == 200
    assert model.n_parameters_ == sum(p.value.size for p in model.network_.parameters())


@every_body
@pytest.mark.parametrize("length", [2, 9, 10, 11, 30])
def test_perplexity_is_that_of_each_token_after_those_of_its_window(models, body, length):
    model, text = models[body], TEXT[3 : 3 + length]
    ids, total = np.array([model.vocabulary_.index(c) for c in text]), 0.0
    for i in range(1, length):
        start = (i - 1) // 9 * 9
        stream = model.network_.stream()
        for token in ids[start:i]:
            z = stream.step(np.array([token]))[0].astype(np.float64)
        total += np.log(np.exp(z - z.max()).sum()) - (z[ids[i]] - z.max())
    np.testing.assert_allclose(model.perplexity(text), math.exp(total / (length - 1)), rtol=1e-4)
    np.testing.assert_allclose(model.score(text), -total / (length - 1), rtol=1e-3, atol=1e-6)


def test_draws_follow_the_scores(models):
    model = models["gru"]
    assert model.sample(50, seed=3) == model.sample(50, seed=3)
    assert model.sample(50, seed=3, top_k=1) == model.sample(50, temperature=0)
    assert model.sample(0) == ""
    letters = [model.sample(1, "ab", seed=seed, temperature=3.0) for seed in range(400)]
    stream = model.network_.stream()
    for token in (0, 1):
        z = stream.step(np.array([token]))[0].astype(np.float64)
    share = np.exp(z / 3.0) / np.exp(z / 3.0).sum()
    found = np.array([letters.count(c) for c in "abcde"]) / 400
    # Six standard errors
    assert (np.abs(found - share) < 6 * np.sqrt(share / 400)).all()
    two = {model.sample(1, "ab", seed=seed, temperature=3.0, top_k=2) for seed in range(40)}
    assert two == {"abcde"[i] for i in np.argsort(z)[-2:]}


def test_a_seed_gives_the_same_model_whatever_follows(models):
    again = fitted("gru")
    assert again.loss_curve_ == models["gru"].loss_curve_
    assert fitted("gru", random_state=1, max_steps=20).loss_curve_ != again.loss_curve_[:20]


def test_tokens_and_several_texts():
    tokens = np.tile([40, -7, 12], 60).astype(np.int32)
    model = fitted(text=tokens)
    assert model.vocabulary_ == [-7, 12, 40]
    np.testing.assert_array_equal(model.sample(4, [40], temperature=0), [-7, 12, 40, -7])
    assert model.sample(2, [12], seed=0).dtype == np.int64
    assert "\n" in fitted(text=["abc" * 20, "abd" * 20], max_steps=20).vocabulary_


def test_files_pickles_and_clones(models, tmp_path):
    model = models["transformer"]
    steepest.save(model, tmp_path / "model.safetensors")
    for twin in (steepest.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        assert twin.perplexity(TEXT[:40]) == model.perplexity(TEXT[:40])
        assert twin.sample(20, seed=5) == model.sample(20, seed=5)
        assert twin.get_params() == model.get_params()
    assert clone(model).get_params() == model.get_params()


def test_callbacks_and_verbose(capsys):
    class Two(Callback):
        seen = 0

        def epoch_done(self, model, epoch):
            self.seen += 1
            assert epoch.validation_loss == model.validation_loss_curve_[-1]
            assert model.sample(3, seed=0)
            return self.seen == 2

    callback = Two()
    model = fitted(callbacks=[callback], verbose=True)
    assert callback.seen == 2
    assert model.n_steps_ == 20
    assert re.fullmatch(
        r"Step 10, loss \d\.\d{4}, validation loss \d\.\d{4}", capsys.readouterr().out.splitlines()[0]
    )
    assert fitted(validation_fraction=0.0, max_steps=20).validation_loss_curve_ == []


def test_dropout_trains_and_predictions_do_without(models):
    model = fitted("transformer", dropout=0.2)
    assert model.network_.draws
    assert model.perplexity(TEXT[:90]) < 2
    assert model.perplexity(TEXT[:40]) == model.perplexity(TEXT[:40])


@every_body
@pytest.mark.parametrize(
    "options", [{"context": 30}, {"context": 4}, {"body": "gru"}, {"body": "transformer"}]
)
def test_parameters_after_a_fit_are_those_of_the_next(models, body, options):
    model = models[body]
    other = copy.deepcopy(model).set_params(**options)
    assert other.score(TEXT[:50]) == model.score(TEXT[:50])
    prompt = TEXT[:25]
    assert other.sample(40, prompt, temperature=0) == model.sample(40, prompt, temperature=0)


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, "[LanguageModel] the text is empty"),
        ([], ValueError, "[LanguageModel] the text is empty"),
        ("abcabc", ValueError, "the text to train on has 6 tokens, but context=9 needs at least 10"),
        (np.zeros((3, 40), int), ValueError, "integers of a text must be 1-D, but have shape (3, 40)"),
        (np.full(40, 2**63, np.uint64), ValueError, "must fit into int64, but there is 9223372036854775808"),
        (np.zeros(40), TypeError, "a text is a string, a list of strings, or integers, not ndarray"),
        (None, TypeError, "a text is a string, a list of strings, or integers, not NoneType"),
    ],
    ids=range(7),
)
def test_texts_that_do_not_fit(text, error, message):
    with pytest.raises(error, match=re.escape(message)):
        LanguageModel(**SMALL).fit(text)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.perplexity("abx"), ValueError, "token 'x' at position 2 is not in the vocabulary"),
        (lambda m: m.perplexity("a"), ValueError, "a text needs at least 2 tokens, but has 1"),
        (lambda m: m.perplexity([1, 2]), TypeError, "the model was fitted to characters, but got integers"),
        (lambda m: m.sample(3, "x"), ValueError, "token 'x' at position 0 is not in the vocabulary"),
        (lambda m: m.sample(3, ""), ValueError, "the prompt is empty"),
        (lambda m: m.sample(-1), ValueError, "n is -1"),
        (
            lambda m: m.sample(3, temperature=-1),
            ValueError,
            "temperature is -1; it must be finite and not negative",
        ),
        (lambda m: m.sample(3, temperature=math.nan), ValueError, "temperature is nan"),
        (lambda m: m.sample(3, temperature="0.5"), TypeError, "temperature must be a number, not str"),
        (lambda m: m.sample(3, top_k=0), ValueError, "top_k is 0"),
        (lambda m: LanguageModel().sample(3), NotFittedError, "is not fitted yet"),
        (lambda m: LanguageModel("cnn").fit(TEXT), ValueError, "The 'body' parameter of LanguageModel"),
        (lambda m: fitted("transformer", n_heads=3), ValueError, "n_heads=3 must divide n_units=16"),
    ],
    ids=range(13),
)
def test_calls_that_do_not_fit(models, call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call(models["gru"])


def test_losses_of_sequences(rng, dtype):
    """The loss of a class at each step is that of all steps as rows."""
    z, y = rng.standard_normal((3, 4, 5)).astype(dtype), rng.integers(0, 5, (3, 4))
    weight, loss = rng.random((3, 4)).astype(dtype), nn.SoftmaxCrossEntropy()
    value, d = loss(z, y, weight)
    expected, rows = loss(z.reshape(12, 5), y.reshape(12), weight.reshape(12))
    assert float(value) == float(expected)
    np.testing.assert_array_equal(d.reshape(12, 5), rows)
    for wrong in (y[:, :3], y[0], y.ravel()):
        with pytest.raises(ValueError, match="each place needs one"):
            loss(z, wrong)
