"""Text that a language model writes, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from steepest import nn
from steepest._runtime.arrays import Float64Array
from steepest._runtime.memory import to_device, to_host

if TYPE_CHECKING:
    from ._language_model import LanguageModel


class Writer:
    """The scores of the next token, while a text is written."""

    def __init__(self, model: LanguageModel, before: list[int]) -> None:
        self._network, self._limit = model.network_, model.context_
        # Recurrent layers have no positions, and go on for ever.
        self._is_limited = any(isinstance(layer, nn.PositionalEncoding) for layer in self._network.layers)
        self._stream = model.network_.stream()
        self._text, self._steps = list[int](), 0
        for token in before[-self._limit :]:
            self.write(token)

    scores: Float64Array

    def write(self, token: int) -> None:
        """Add a token to the text."""
        self._text.append(token)
        if self._is_limited and self._steps == self._limit:
            # The window is full: go on from its second half.
            self._stream.reset()
            self._steps = 0
            for earlier in self._text[-self._limit // 2 : -1]:
                self._step(earlier)
        self._step(token)

    def _step(self, token: int) -> None:
        ids = to_device(np.array([token], np.int64), self._network.device)
        self.scores = to_host(self._stream.step(ids))[0].astype(np.float64)
        self._steps += 1


def drawn(scores: Float64Array, temperature: float, top_k: int | None, draw: float) -> int:
    """Return the token at which the cumulative probability passes a number in [0, 1)."""
    if temperature == 0 or top_k == 1:
        return int(scores.argmax())
    if top_k is not None and top_k < len(scores):
        scores = np.where(scores >= np.sort(scores)[-top_k], scores, -np.inf)
    with np.errstate(over="ignore"):
        shares = np.exp((scores - scores.max()) / temperature)
    ends = np.cumsum(shares)
    return int(min(np.searchsorted(ends, draw * ends[-1], side="right"), np.flatnonzero(shares)[-1]))
