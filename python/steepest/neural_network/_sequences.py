"""Sequences as the inputs of an estimator: lists of arrays, padded arrays, series of numbers, and ids."""

from __future__ import annotations

import re
from numbers import Integral
from typing import Any, ClassVar, get_args

import numpy as np
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions

from steepest import nn
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.estimators.validation import validate, validate_targets
from steepest.nn.initializers import Initializer
from steepest.nn.layers import Layer
from steepest.training.sequences import Sequences

from ._architecture import initializer, make_layers
from ._base import BaseMultilayerPerceptron
from ._bodies import BODIES, RECURRENT
from ._parameters import RULES, PerceptronParameters, prefixed

# Layers that take the lengths of sequences beside them.
_OF_SEQUENCES = (*RECURRENT.values(), nn.TransformerEncoder, nn.PoolSteps)
# Where the validation has found an item that is not finite, in the steps of all sequences.
_PLACE = re.compile(r"at row (\d+), column (\d+)\b")


class SequenceParameters(PerceptronParameters):
    """Parameters that estimators of sequences have in addition; `SequenceClassifier` describes them."""

    _sequence_constraints: ClassVar[dict[str, list[Any]]] = {
        "body": [StrOptions(set(BODIES))],
        **{name: [Interval(Integral, 1, None, closed="left")] for name in ("n_units", "n_layers", "n_heads")},
        "bidirectional": ["boolean"],
        "n_ids": [Interval(Integral, 1, None, closed="left"), None],
        "solver": [StrOptions(set(RULES))],
        "dropout": [*PerceptronParameters._parameter_constraints["dropout"][:1]],
        "init": [StrOptions(set(get_args(Initializer)))],
    }

    body: str
    n_units: int
    n_layers: int
    n_heads: int
    bidirectional: bool
    n_ids: int | None
    dropout: float


class SequenceInputs(SequenceParameters, BaseMultilayerPerceptron):
    """An estimator whose samples are sequences; see `SequenceClassifier`."""

    _accepts_sparse: ClassVar[bool] = False
    _largest_auto_batch: ClassVar[int] = 32
    _shaping: ClassVar[tuple[str, ...]] = (
        "body",
        "n_units",
        "n_layers",
        "n_heads",
        "bidirectional",
        "n_ids",
        *BaseMultilayerPerceptron._shaping,
    )
    # Whether X at fit had a row of numbers for each sequence, as tables have.
    _takes_rows: bool

    def _check_data(self, X: Any, y: Any, reset: bool) -> Any:
        rows = self._ids(reset) is None and _has_rows(X)
        if not reset and self._takes_rows and not rows:
            raise ValueError(
                self._prefix(
                    f"X must have shape (n, {self.n_features_in_}), as at fit: a row for each sequence"
                )
            )
        if rows and (reset or self._takes_rows):
            checked = super()._check_data(X, y, reset)
            self._takes_rows = True
            return _series(checked) if isinstance(y, str) else (_series(checked[0]), checked[1])
        sequences = self._checked(self._sequences_of(X), reset)
        if reset:
            self._takes_rows = False
        if isinstance(y, str):
            return sequences
        return sequences, validate_targets(self, y, len(sequences), **self._validation_options)

    def _sequences_of(self, X: Any) -> Sequences:
        try:
            return Sequences(X)
        except ValueError as error:
            raise ValueError(self._prefix(str(error).removeprefix("[Sequences] "))) from error

    def _checked(self, sequences: Sequences, reset: bool) -> Sequences:
        """Return sequences whose steps are numbers in the dtype of the network, or ids in the vocabulary."""
        items, lengths = sequences.items, sequences.lengths
        n_ids = self._ids(reset)
        if n_ids is not None:
            check_ids(self, sequences, n_ids)
            return Sequences.of_items(items.astype(np.int64, copy=False), lengths)
        dtype = None if reset else self._network.dtype
        try:
            numbers = validate(self, items.reshape(len(items), -1), reset=reset, dtype=dtype)
        except ValueError as error:
            raise ValueError(_in_sequences(str(error), sequences)) from error
        return Sequences.of_items(numbers, lengths)

    def _ids(self, reset: bool) -> int | None:
        """Return the number of ids: `n_ids` at a fit, and that of the network afterwards."""
        if reset:
            return self.n_ids
        first = self._network.layers[0]
        return first.n_ids if isinstance(first, nn.Embedding) else None

    def _samples_on(self, X: Sequences, device: str) -> Sequences:
        return X.to(device)

    def _valid_rows(self, X: Any) -> None:
        return None

    def _make_layers(self, n_in: int, n_out: int) -> tuple[Layer, ...]:
        units, init = self.n_units, initializer(self)
        layers: list[Layer] = []
        if self.n_ids is not None:
            layers.append(nn.Embedding(self.n_ids, units))
            n_in = units
        features = units
        if self.body in RECURRENT:
            features = units * (2 if self.bidirectional else 1)
            layers.append(
                RECURRENT[self.body](
                    n_in,
                    units,
                    self.n_layers,
                    self.bidirectional,
                    float(self.dropout),
                    output="last",
                    init=init,
                )
            )
        else:
            layers += self._attention(n_in, init)
        if self.dropout:
            layers.append(nn.Dropout(float(self.dropout)))
        return (*layers, *make_layers(self, features, n_out))

    def _attention(self, n_in: int, init: Initializer | float) -> list[Layer]:
        if self.bidirectional:
            raise ValueError(self._prefix("bidirectional is for recurrent bodies: attention looks both ways"))
        try:
            encoder = nn.TransformerEncoder(
                self.n_units, self.n_heads, self.n_layers, dropout=float(self.dropout), rotary=True, init=init
            )
        except ValueError as error:
            raise ValueError(self._prefix(error)) from error
        first = [] if self.n_ids is not None else [nn.Linear(n_in, self.n_units, init=init)]
        return [*first, encoder, nn.PoolSteps("mean")]

    def _make_network(self, layers: tuple[Layer, ...], **options: Any) -> nn.Network:
        first: Any = layers[0]
        x = nn.Input((None,), dtype=np.int64) if self.n_ids is not None else nn.Input((None, first.n_in))
        lengths = nn.Input((), dtype=np.int64, name="lengths")
        value: nn.Value = x
        for layer in layers:
            value = layer(value, lengths=lengths) if isinstance(layer, _OF_SEQUENCES) else layer(value)
        return nn.Network([x, lengths], value, **options)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = self.n_ids is None
        return tags


def _series(rows: Array) -> Sequences:
    """Return the rows of a table as sequences of one number a step."""
    return Sequences(rows[:, :, None])


def _has_rows(X: Any) -> bool:
    """Return whether X is a table, or what can be made one, rather than sequences."""
    if isinstance(X, Sequences):
        return False
    if isinstance(X, (list, tuple)):
        if not X or any(getattr(item, "ndim", 0) for item in X):
            return False
        try:
            return np.ndim(X) <= 2
        except ValueError:  # lists of different lengths
            return False
    of_arrays = getattr(getattr(X, "dtype", None), "kind", "") == "O" and getattr(X, "ndim", 0) == 1
    return getattr(X, "ndim", 2) <= 2 and not of_arrays


def check_ids(model: object, sequences: Sequences, n_ids: int) -> None:
    """Raise an error unless all steps of sequences are ids below `n_ids`.

    Raises
    ------
    TypeError
        If they are no integers.
    ValueError
        If a step is more than one number, or an id is not in the vocabulary; the message names the first.
    """
    ids: Array = sequences.items
    if ids.dtype.kind not in "iu":
        raise TypeError(
            prefixed(model, f"n_ids={n_ids} says that X holds ids, which are integers, not {ids.dtype}")
        )
    if ids.ndim > 1:
        raise ValueError(
            prefixed(
                model, f"n_ids={n_ids} says that a step is one id, but steps have {ids.shape[1]} numbers"
            )
        )
    wrong = array_namespace(ids).flatnonzero((ids < 0) | (ids >= n_ids))
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            prefixed(
                model, f"id {int(ids[row])} {_place(sequences, row)} is not in 0..{n_ids - 1}, as n_ids says"
            )
        )


def _place(sequences: Sequences, row: int) -> str:
    """Return where a row of the steps of all sequences is."""
    ends = np.cumsum(sequences.lengths)
    i = int(np.searchsorted(ends, row, side="right"))
    return f"in sequence {i} at step {row - int(ends[i] - sequences.lengths[i])}"


def _in_sequences(message: str, sequences: Sequences) -> str:
    """Return an error message in which a row of all steps is a place in a sequence."""
    found = _PLACE.search(message)
    if found is None:
        return message
    return message.replace(found[0], f"{_place(sequences, int(found[1]))}, column {found[2]}", 1)
