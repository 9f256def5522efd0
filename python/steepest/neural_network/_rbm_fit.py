"""Fits of `BernoulliRBM`: from its parameters to a machine, chains and epochs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from steepest._runtime.arrays import Array
from steepest._runtime.memory import aligned_zeros, array_namespace, assign, to_device, to_host
from steepest.callbacks import Epoch, above_bars
from steepest.training.loop import train, warn_of_interrupt
from steepest.training.programs import divergence
from steepest.training.sparse_rows import SparseRows

from ._parameters import prefixed
from .boltzmann.divergence import ContrastiveDivergence, StepOptions
from .boltzmann.draws import Draws, HostDraws, PhiloxDraws
from .boltzmann.epochs import DivergenceEpochs
from .boltzmann.machine import Machine, moved
from .boltzmann.natural import NaturalEpochs

if TYPE_CHECKING:
    from ._rbm import BernoulliRBM

_MONITORED = 500  # samples whose loss is computed after an epoch


def fit_machine(
    model: BernoulliRBM, machine: Machine, arena: Array, X: Any, random_state: np.random.RandomState
) -> None:
    """Train a new machine for `n_iter` epochs, and set the fitted attributes.

    Parameters
    ----------
    model : BernoulliRBM
        The estimator.
    machine, arena : Machine and ndarray
        The machine on the host, and the flat array of its parameters.
    X : ndarray or sparse matrix of shape (n, n_visible)
        Samples, with label units.
    random_state : RandomState
        Generator of the draws.
    """
    machine, arena = moved(machine, arena, model.device_)
    X = X.astype(arena.dtype, copy=False)
    model.n_iter_, model.loss_curve_ = 0, list[float]()
    watched = bool(model.verbose or model.callbacks)
    epochs: DivergenceEpochs | NaturalEpochs
    if model.solver == "natural":
        dense = X.toarray() if scipy.sparse.issparse(X) else X
        try:
            epochs = NaturalEpochs(machine, arena, dense, float(model.l2))
        except ValueError as error:
            raise ValueError(prefixed(model, error)) from error
        chain = None
    else:
        epochs, chain = _divergence_epochs(model, machine, arena, X, random_state, watched)
    callbacks = list(model.callbacks or ())
    for callback in callbacks:
        callback.fit_begun(model)
    begin = time.perf_counter()

    def after_epoch(epoch: Epoch) -> bool:
        nonlocal begin
        model.n_iter_ = epoch.number
        if watched or chain is None:
            model.loss_curve_.append(epoch.loss)
        if model.verbose:
            now = time.perf_counter()
            with above_bars():
                print(
                    f"[{type(model).__name__}] Iteration {epoch.number}, {_what_is_watched(model)} = "
                    f"{-epoch.loss:.2f}, time = {now - begin:.2f}s"
                )
            begin = now
        if callbacks:
            _publish(model, machine, chain)
        stops = [callback.epoch_done(model, epoch) for callback in callbacks]
        return any(stops) or getattr(epochs, "stopped", False)

    try:
        interrupted = train(epochs, int(model.n_iter), after_epoch, name=type(model).__name__)
    finally:
        _publish(model, machine, chain)
        for callback in callbacks:
            callback.fit_done(model)
    if interrupted:
        warn_of_interrupt(stacklevel=3)


def update_machine(
    model: BernoulliRBM, machine: Machine, arena: Array, X: Any, random_state: np.random.RandomState
) -> None:
    """Take one step on all rows of X, and set the fitted attributes; see `fit_machine`."""
    machine, arena = moved(machine, arena, model.device_)
    dense = to_device(X.toarray() if scipy.sparse.issparse(X) else X, model.device_)
    chain = to_device(model.h_samples_.astype(arena.dtype), model.device_)
    velocity = None
    if model.momentum:
        kept = getattr(model, "_velocity", None)
        velocity = aligned_zeros(arena.shape, arena.dtype, model.device_)
        if kept is not None:
            assign(velocity, kept)
    n = len(dense)
    steps = _steps(model, machine, arena, chain, n, velocity)
    draws = _make_draws(model, steps, n, random_state, arena, most=1)
    steps.batch[...] = dense
    draws.run(lambda _: steps.step(n, draws), 1)
    if not bool(array_namespace(arena).isfinite(arena).all()):
        raise divergence(
            prefixed(model, "training diverged: a parameter is not finite. Try a smaller learning_rate"), 0
        )
    if model.momentum:
        model._velocity = to_host(velocity)
    _publish(model, machine, chain)


def draws_on_host(model: BernoulliRBM) -> bool:
    """Whether the chains use numbers of the generator of NumPy.

    A training with these is in float64: rounding errors of float32 would turn a draw sooner or later, and with it the
    rest of the chain.
    """
    if model.draws != "auto":
        return bool(model.draws == "numpy")
    known = model.n_gibbs == 1 and model.persistent and not model.shuffle
    return bool(known and model.visible == "bernoulli" and not model.label_units)


def _divergence_epochs(
    model: BernoulliRBM,
    machine: Machine,
    arena: Array,
    X: Any,
    random_state: np.random.RandomState,
    watched: bool,
) -> tuple[DivergenceEpochs, Array]:
    device, n = model.device_, X.shape[0]
    samples = SparseRows(X, device) if scipy.sparse.issparse(X) else to_device(X, device)
    chain = to_device(model.h_samples_.astype(arena.dtype), device)
    velocity = aligned_zeros(arena.shape, arena.dtype, device) if model.momentum else None
    batch_size = min(int(model.batch_size), n)
    steps = _steps(model, machine, arena, chain, batch_size, velocity)
    shuffle_seed = int(random_state.randint(np.iinfo(np.int32).max)) if model.shuffle else None
    shared = None if draws_on_host(model) else _make_draws(model, steps, n, random_state, arena)
    epochs = DivergenceEpochs(
        steps,
        [arena, chain],
        samples,
        batch_size,
        lambda rows: shared or _make_draws(model, steps, rows, random_state, arena, n // batch_size),
        _monitor(model, machine, X) if watched else None,
        shuffle_seed,
    )
    return epochs, chain


def _steps(
    model: BernoulliRBM, machine: Machine, arena: Array, chain: Array, largest: int, velocity: Array | None
) -> ContrastiveDivergence:
    options = StepOptions(
        float(model.learning_rate),
        int(model.n_gibbs),
        bool(model.persistent),
        float(model.momentum),
        float(model.l1),
        float(model.l2),
        None if model.sparsity is None else float(model.sparsity),
        float(model.sparsity_strength),
    )
    return ContrastiveDivergence(
        machine, arena, options, chain, largest, velocity, weights_chains=not draws_on_host(model)
    )


def _make_draws(
    model: BernoulliRBM,
    steps: ContrastiveDivergence,
    n: int,
    random_state: np.random.RandomState,
    arena: Array,
    most: int | None = None,
) -> Draws:
    if draws_on_host(model):
        return HostDraws(random_state, steps.numbers_of_step(n), arena.dtype, model.device_, most)
    return PhiloxDraws(int(random_state.randint(np.iinfo(np.int32).max)), model.device_)


def _what_is_watched(model: BernoulliRBM) -> str:
    if model.solver == "natural":
        return "log-likelihood"
    return "pseudo-likelihood" if model.visible == "bernoulli" else "negative squared error"


def _monitor(model: BernoulliRBM, machine: Machine, X: Any) -> Callable[[], float]:
    """Return a function that computes the loss of some samples with the parameters of that moment."""
    rows = X[:: -(-X.shape[0] // _MONITORED)]
    features = rows.toarray() if scipy.sparse.issparse(rows) else to_host(rows)
    features = np.ascontiguousarray(features[:, : machine.n_features])
    flips = np.random.default_rng(0).integers(features.shape[1], size=len(features))
    flipped = features.copy()
    flipped[np.arange(len(features)), flips] = 1 - flipped[np.arange(len(features)), flips]
    pair = [to_device(x, model.device_) for x in (features, flipped)]

    def error() -> float:
        own = machine.features
        reconstruction = to_host(own.visible_means(own.hidden_means(pair[0])))
        return float(((reconstruction - features) ** 2).mean())

    def pseudo_likelihood() -> float:
        energies = [to_host(machine.feature_energy(x)) for x in pair]
        return float(features.shape[1] * np.logaddexp(0, energies[0] - energies[1]).mean())

    return error if machine.gaussian else pseudo_likelihood


def _publish(model: BernoulliRBM, machine: Machine, chain: Array | None) -> None:
    """Set the fitted attributes."""
    model._keep(machine)
    if chain is not None:
        model.h_samples_ = to_host(chain).astype(model.h_samples_.dtype, copy=False)
