"""Where the training of a perceptron stands: what one fit leaves to the next, and the fitted attributes about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest.optim import NaturalGradient, Optimizer

# Of fields that the estimator shows as fitted attributes.
_FITTED = {"fitted": True}


@dataclass
class Progress:
    """The state of a training, which the functions of a fit change.

    Between fits, estimators hold it as plain attributes: the fields that their docstrings describe with an underscore
    behind the name, all others with one in front. Pickles and files contain these.

    Attributes
    ----------
    random_state : RandomState
        Generator of the shuffles: later fits continue their sequence.
    split_state : RandomState
        Generator of the validation split of the first fit, which later fits repeat.
    optimizer : Optimizer, NaturalGradient or None
        The optimizer of the last call; None after a divergence, which may leave its moments infinite.
    no_improvement_count : int
        Epochs in a row that did not improve the loss or the score.
    best_parameters : ndarray or None
        Parameters with the best validation score, on the host.
    steps_taken : int
        Steps of all calls, for schedules.
    """

    random_state: np.random.RandomState
    split_state: np.random.RandomState
    optimizer: Optimizer | NaturalGradient | None = None
    no_improvement_count: int = 0
    best_parameters: Array | None = None
    steps_taken: int = 0
    n_iter: int = field(default=0, metadata=_FITTED)
    t: int = field(default=0, metadata=_FITTED)
    stopped_early: bool = field(default=False, metadata=_FITTED)
    loss: float | None = field(default=None, metadata=_FITTED)
    loss_curve: list[float] = field(default_factory=list, metadata=_FITTED)
    best_loss: float | None = field(default=None, metadata=_FITTED)
    best_validation_score: float | None = field(default=None, metadata=_FITTED)
    validation_scores: list[float] | None = field(default=None, metadata=_FITTED)
    validation_loss_curve: list[float] | None = field(default=None, metadata=_FITTED)

    @classmethod
    def begun(
        cls, random_state: np.random.RandomState, split_state: np.random.RandomState, early_stopping: bool
    ) -> Progress:
        """Return the state before the first epoch."""
        progress = cls(random_state, split_state)
        if early_stopping:
            progress.best_validation_score = -math.inf
            progress.validation_scores, progress.validation_loss_curve = [], []
        else:
            progress.best_loss = math.inf
        return progress

    @classmethod
    def of(cls, model: Any) -> Progress:
        """Return the state that an estimator holds."""
        held = vars(model)
        return cls(**{name: held[attribute] for name, attribute in _ATTRIBUTES.items() if attribute in held})

    def take(self, model: Any) -> None:
        """Take over what an estimator holds, where something else has changed it."""
        vars(self).update(vars(Progress.of(model)))

    def publish(self, model: Any) -> None:
        """Set the attributes of an estimator; it has no loss before the first epoch, and may have no optimizer."""
        held = vars(model)
        for name, attribute in _ATTRIBUTES.items():
            value = getattr(self, name)
            if value is None and name in ("loss", "optimizer"):
                held.pop(attribute, None)
            else:
                held[attribute] = value


# Field of `Progress` -> attribute of an estimator.
_ATTRIBUTES = {f.name: f"{f.name}_" if f.metadata else f"_{f.name}" for f in fields(Progress)}
