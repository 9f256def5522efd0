"""A model of text: the probabilities of the next token, given those before."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest import nn, optim
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.memory import to_device, to_host
from steepest.callbacks import Callback, Epoch, above_bars
from steepest.estimators.device import resolve_device
from steepest.optim import schedules
from steepest.training.batches import Samples
from steepest.training.loop import Monitor, train, warn_of_interrupt
from steepest.training.programs import GradientDescent
from steepest.training.trainer import Trainer

from ._bodies import BODIES, RECURRENT, Body
from ._parameters import Device, Precision, prefixed, store_parameters
from ._tokens import RandomWindows, Vocabulary, tokens_of, windows_of
from ._writer import Writer, drawn

# Epochs of a fit, between which the loss on the validation text is computed and callbacks are called.
_EPOCHS = 20
# The validation takes at most so many windows for one that is trained on between.
_VALIDATED = 0.3
# Windows that are predicted together, and scores, unless a single window has more.
_PREDICTED_WINDOWS = 64
_PREDICTED_SCORES = 1 << 23


class LanguageModel(BaseEstimator):
    """Model of text, from characters or from tokens that are given as integers.

    ``fit`` learns to predict each token from those before it, in windows at random places of it; ``sample`` writes
    new text, token by token, and ``perplexity`` tells how well a text is predicted.

    Parameters
    ----------
    body : {"transformer", "gru", "lstm", "rnn"}, default="transformer"
        What the network is made of, between an embedding of the tokens and the scores of the next one: layers of causal
        attention with learned positions, see `nn.TransformerEncoder`, or recurrent layers.
    n_units : int, default=128
        Width of the embedding and of each layer.
    n_layers : int, default=4
        Number of layers.
    n_heads : int, default=4
        Heads of attention.
    context : int, default=64
        Length of a window: how many tokens before the next one a training step looks at.
    dropout : float, default=0.0
        Rate of the dropout in the layers.
    max_steps : int, default=2000
        Number of training steps, rounded up so that twenty equal parts make up a fit.
    batch_size : int, default=12
        Windows in a step.
    learning_rate_init : float, default=0.001
        Learning rate of AdamW after a rise over the first twentieth of the steps; from there it falls to a tenth along
        a cosine.
    alpha : float, default=0.1
        Strength of the weight decay.
    beta_1, beta_2 : float, default=0.9 and 0.99
        Decay rates of AdamW's moments.
    max_norm : float or None, default=1.0
        Largest norm of all gradients together in a step.
    validation_fraction : float, default=0.1
        Proportion of the text, at its end, which is not trained on; 0 for none. A few times in a fit, the loss is
        computed on windows of it: on all, or on so many at equal distances that this takes little time.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random.
    verbose : bool, default=False
        Whether to print the losses a few times in a fit.
    callbacks : list of Callback or None, default=None
        Objects of `steepest.callbacks`, which are called as often.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device to compute on; "auto" is the CPU, since text is on the host.
    precision : {"float32", "high", "tf32", "bfloat16"}, default="float32"
        Precision of the products of matrices.

    Attributes
    ----------
    context_ : int
        Length of the windows in the fit, which predictions use.
    vocabulary_ : list
        The tokens, characters or integers; the position of a token is its id.
    network_ : Network
        The network: ids of shape (n, context) to scores of shape (n, context, n_tokens).
    loss_curve_, validation_loss_curve_ : list of float
        Mean negative log-likelihood of a token, in nats: of the training steps, and of the validation text.
    n_steps_ : int
        Number of training steps.
    n_parameters_ : int
        Number of parameters.

    Examples
    --------
    >>> from steepest.neural_network import LanguageModel
    >>> text = "the quick brown fox jumps over the lazy dog. " * 40
    >>> model = LanguageModel("gru", n_units=32, n_layers=1, context=16, max_steps=300, random_state=0).fit(text)
    >>> model.perplexity("the quick brown fox jumps over the lazy dog.") < 2
    True
    >>> len(model.sample(20, "the ", seed=0))
    20
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "body": [StrOptions(set(BODIES))],
        **{
            name: [Interval(Integral, 1, None, closed="left")]
            for name in ("n_units", "n_layers", "n_heads", "context", "max_steps", "batch_size")
        },
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
        "precision": [StrOptions(set(K.PRECISIONS))],
    }

    body: str
    n_units: int
    n_layers: int
    n_heads: int
    context: int
    dropout: float
    max_steps: int
    batch_size: int
    learning_rate_init: float
    alpha: float
    beta_1: float
    beta_2: float
    max_norm: float | None
    validation_fraction: float
    random_state: Any
    verbose: bool | int
    callbacks: Iterable[Callback] | None
    device: str
    precision: str

    def __init__(
        self,
        body: Body = "transformer",
        *,
        n_units: int = 128,
        n_layers: int = 4,
        n_heads: int = 4,
        context: int = 64,
        dropout: float = 0.0,
        max_steps: int = 2000,
        batch_size: int = 12,
        learning_rate_init: float = 1e-3,
        alpha: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        max_norm: float | None = 1.0,
        validation_fraction: float = 0.1,
        random_state: Any = None,
        verbose: bool | int = False,
        callbacks: Iterable[Callback] | None = None,
        device: Device = "auto",
        precision: Precision = "float32",
    ) -> None:
        store_parameters(self, locals())

    # ------------------------------------------------------------------------------------------------- fitting

    def fit(self, X: Any, y: Any = None) -> LanguageModel:
        """Learn to predict each token of a text from those before it.

        Parameters
        ----------
        X : str, list of str, or array-like of int of shape (n_tokens,)
            The text, several texts, which are joined by line breaks, or tokens.
        y : None
            Ignored.

        Returns
        -------
        LanguageModel
            This estimator.

        Raises
        ------
        ValueError
            If the text is empty, or not longer than the context.
        TypeError
            If X is no text.
        """
        self._fit(X)
        return self

    def _fit(self, X: Any, monitor: Monitor | None = None) -> bool:
        """Fit the model, and return whether the user interrupted the fit."""
        self._validate_params()
        name = type(self).__name__
        device = resolve_device(self.device, name, None)
        tokens = tokens_of(name, X)
        vocabulary = Vocabulary(sorted(set(tokens))) if len(tokens) else None
        if vocabulary is None:
            raise ValueError(f"[{name}] the text is empty")
        ids = vocabulary.ids_of(name, tokens)
        held_out = int(len(ids) * self.validation_fraction)
        if held_out <= self.context:
            held_out = 0  # too short for a window
        trained, validation = ids[: len(ids) - held_out], ids[len(ids) - held_out :]
        windows = self._validation_windows(validation)
        if len(trained) <= self.context:
            raise ValueError(
                f"[{name}] the text to train on has {len(trained)} tokens, but context={self.context} needs at least "
                f"{self.context + 1}"
            )
        random_state = check_random_state(self.random_state)
        seeds = random_state.randint(np.iinfo(np.int32).max, size=2)
        self.context_, self.vocabulary_ = int(self.context), vocabulary.tokens
        self.network_ = self._network(len(vocabulary), int(seeds[0]), device)
        self.n_parameters_ = sum(p.value.size for p in self.network_.parameters())
        self.loss_curve_, self.validation_loss_curve_, self.n_steps_ = list[float](), list[float](), 0
        callbacks = [*(self.callbacks or ()), *([] if monitor is None else [monitor])]
        trainer, epochs = self._trainer(trained, int(seeds[1]), device)
        for callback in callbacks:
            callback.fit_begun(self)
        try:
            interrupted = train(
                trainer,
                epochs,
                lambda epoch: self._after_epoch(epoch, windows, callbacks, trainer.steps),
                name=name,
                on_progress=None if monitor is None else monitor.steps_done,
            )
        finally:
            trainer_program = trainer.programs["network"]
            assert isinstance(trainer_program, GradientDescent)
            trainer_program.optimizer.follow(None)
            self.network_.release_buffers()
            for callback in callbacks:
                callback.fit_done(self)
        if interrupted:
            warn_of_interrupt(stacklevel=3)
        return interrupted

    def _network(self, n_tokens: int, seed: int, device: str) -> nn.Network:
        layers: list[Any] = [nn.Input(self.context, dtype=np.int64), nn.Embedding(n_tokens, self.n_units)]
        if self.body == "transformer":
            layers += [
                nn.PositionalEncoding(self.context, "learned"),
                nn.TransformerEncoder(
                    self.n_units, self.n_heads, self.n_layers, dropout=self.dropout, causal=True
                ),
            ]
        else:
            kind = RECURRENT[self.body]
            layers.append(kind(self.n_units, self.n_units, self.n_layers, dropout=self.dropout))
        layers.append(nn.Linear(self.n_units, n_tokens))
        return nn.Network(layers, seed=seed, device=device, precision=self.precision)

    def _trainer(self, ids: Int64Array, seed: int, device: str) -> tuple[Trainer, int]:
        """Return the trainer, whose epochs are parts of the fit, and their number."""
        steps = -(-self.max_steps // _EPOCHS)
        epochs = -(-self.max_steps // steps)
        windows, targets = windows_of(to_device(ids, device), self.context)
        batches = RandomWindows(Samples(windows, targets), steps * self.batch_size, seed)
        rate, rising = float(self.learning_rate_init), max(self.max_steps // 20, 1)
        optimizer = optim.AdamW(
            self.network_.parameters(),
            rate,
            (float(self.beta_1), float(self.beta_2)),
            weight_decay=float(self.alpha),
            max_norm=self.max_norm,
        )
        falling = schedules.Cosine(rate, max(steps * epochs - rising, 1), 0.1 * rate)
        optimizer.follow(schedules.WarmUp(rising, falling), steps * epochs)
        program = GradientDescent(self.network_, nn.SoftmaxCrossEntropy(), optimizer)
        return Trainer({"network": program}, batches, self.batch_size), epochs

    def _validation_windows(self, ids: Int64Array) -> Int64Array:
        """Return windows of the validation text and the token behind each, of which there are few beside the steps."""
        whole = (len(ids) - 1) // self.context if len(ids) else 0
        most = max(_VALIDATED * self.max_steps * self.batch_size // _EPOCHS, _PREDICTED_WINDOWS)
        chosen = np.linspace(0, whole - 1, min(int(most), whole)).astype(np.int64) if whole else np.arange(0)
        windows: Int64Array = ids[chosen[:, None] * self.context + np.arange(self.context + 1)]
        return windows

    def _after_epoch(
        self, epoch: Epoch, validation: Int64Array, callbacks: list[Callback], steps: int
    ) -> bool:
        """Record a part of the fit, and return whether a callback ends it."""
        self.n_steps_ += steps
        self.loss_curve_.append(epoch.loss)
        held_out = self._loss_of_windows(validation) if len(validation) else None
        if held_out is not None:
            self.validation_loss_curve_.append(held_out)
        if self.verbose:
            after = "" if held_out is None else f", validation loss {held_out:.4f}"
            with above_bars():
                print(f"Step {self.n_steps_}, loss {epoch.loss:.4f}{after}")
        epoch = Epoch(epoch.number, epoch.loss, None, epoch.samples, epoch.seconds, held_out, None)
        answers = [callback.epoch_done(self, epoch) for callback in callbacks]
        return any(answers)

    # ------------------------------------------------------------------------------------------------- scores

    def perplexity(self, X: Any) -> float:
        """Return ``exp`` of the mean negative log-likelihood of a token: as many equally likely ones would be as hard.

        The text is cut into windows of the context's length, each of which is predicted from its own beginning.

        Parameters
        ----------
        X : str, list of str, or array-like of int of shape (n_tokens,)
            The text, of at least two tokens.

        Returns
        -------
        float
            The perplexity, at least 1.

        Raises
        ------
        ValueError
            If a token is not in the vocabulary, or there are fewer than two.
        """
        return math.exp(-self.score(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-likelihood of a token in nats, the negative logarithm of `perplexity`.

        Parameters
        ----------
        X : str, list of str, or array-like of int of shape (n_tokens,)
            The text, of at least two tokens.
        y : None
            Ignored.

        Returns
        -------
        float
            The mean log-likelihood.
        """
        check_is_fitted(self)
        ids = self._vocabulary.ids_of(type(self).__name__, X)
        if len(ids) < 2:
            raise ValueError(prefixed(self, f"a text needs at least 2 tokens, but has {len(ids)}"))
        return -self._loss(ids)

    def _loss(self, ids: Int64Array) -> float:
        """Return the mean negative log-likelihood of the tokens behind the first of each window."""
        ends = (len(ids) - 1) // self.context_ * self.context_
        windows = np.arange(0, ends, self.context_)[:, None] + np.arange(self.context_ + 1)
        total = ends * self._loss_of_windows(ids[windows]) if ends else 0.0
        rest = ids[ends:]
        if len(rest) > 1:
            # The last window is filled up with tokens that no other one of it sees.
            x = np.zeros((1, self.context_), np.int64)
            x[0, : len(rest) - 1] = rest[:-1]
            z = self._predict(x)[:, : len(rest) - 1]
            rows = np.ascontiguousarray(to_host(z)).reshape(len(rest) - 1, -1)
            total += (len(rest) - 1) * float(nn.SoftmaxCrossEntropy()(rows, rest[1:])[0])
        return total / (len(ids) - 1)

    def _loss_of_windows(self, windows: Int64Array) -> float:
        """Return the mean negative log-likelihood of the tokens behind the first of windows (n, context + 1)."""
        total, loss = 0.0, nn.SoftmaxCrossEntropy()
        fitting = _PREDICTED_SCORES // (self.context_ * len(self.vocabulary_))
        together = min(max(fitting, 1), _PREDICTED_WINDOWS)
        for start in range(0, len(windows), together):
            part = windows[start : start + together]
            y = to_device(np.ascontiguousarray(part[:, 1:]), self.network_.device)
            total += len(part) * float(loss(self._predict(part[:, :-1]), y)[0])
        return total / len(windows)

    def _predict(self, ids: Int64Array) -> Array:
        z: Array = self.network_.predict(to_device(np.ascontiguousarray(ids), self.network_.device))
        return z

    # ------------------------------------------------------------------------------------------------- samples

    def sample(
        self,
        n: int = 200,
        prompt: Any = None,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | None = None,
    ) -> Any:
        """Write new text, token by token.

        Parameters
        ----------
        n : int, default=200
            Number of tokens.
        prompt : str or array-like of int, optional
            The text that goes before; by default a line break, if that is a token, else the first token.
        temperature : float, default=1.0
            The scores are divided by it: below 1 likely tokens become more likely. 0 always takes the likeliest.
        top_k : int, optional
            Only the k likeliest tokens are drawn.
        seed : int, optional
            Seed of the draws; by default they differ from call to call.

        Returns
        -------
        str or ndarray of int64
            The n tokens behind the prompt.

        Raises
        ------
        ValueError, TypeError
            If a number is out of range or no number, or a token of the prompt is not in the vocabulary.
        """
        check_is_fitted(self)
        name = type(self).__name__
        n = checked_integer(name, "n", n, high=2**31)
        given: object = temperature
        if not isinstance(given, Real):
            raise TypeError(prefixed(self, f"temperature must be a number, not {type(given).__name__}"))
        if not 0 <= temperature < math.inf:
            raise ValueError(
                prefixed(self, f"temperature is {temperature}; it must be finite and not negative")
            )
        if top_k is not None:
            top_k = checked_integer(name, "top_k", top_k, low=1)
        vocabulary = self._vocabulary
        if prompt is None:
            prompt = "\n" if "\n" in vocabulary.tokens else vocabulary.text_of([0])
        before = vocabulary.ids_of(name, prompt).tolist()
        if not before:
            raise ValueError(prefixed(self, "the prompt is empty"))
        seed = (
            int(np.random.default_rng().integers(2**63))
            if seed is None
            else checked_integer(name, "seed", seed)
        )
        draws = K.random_uniform((max(n, 1),), seed=seed, dtype="float64")
        writer, written = Writer(self, before), list[int]()
        for draw in draws[:n]:
            written.append(drawn(writer.scores, float(temperature), top_k, float(draw)))
            writer.write(written[-1])
        return vocabulary.text_of(written)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        return tags

    @property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.vocabulary_)

    def __sklearn_is_fitted__(self) -> bool:
        return "network_" in self.__dict__
