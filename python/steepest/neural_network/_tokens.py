"""Text as token ids: the vocabulary of a text, and windows of a long sequence of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array, Int64Array
from steepest.training.batches import Batches, Samples


class Vocabulary:
    """The tokens of a text, and their ids in sorted order: characters, or integers.

    Parameters
    ----------
    tokens : list
        The tokens, each once.
    """

    def __init__(self, tokens: Sequence[Any]) -> None:
        self.tokens = list(tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_text(self) -> bool:
        """Whether the tokens are characters."""
        return isinstance(self.tokens[0], str)

    def ids_of(self, name: str, text: Any) -> Int64Array:
        """Return the ids of a text.

        Raises
        ------
        ValueError
            If a token is not in the vocabulary; the message names the first.
        TypeError
            If the text is of another kind than that of the vocabulary.
        """
        tokens = tokens_of(name, text)
        if bool(len(tokens)) and isinstance(tokens[0], str) != self.is_text:
            kinds = ("characters", "integers") if self.is_text else ("integers", "characters")
            raise TypeError(f"[{name}] the model was fitted to {kinds[0]}, but got {kinds[1]}")
        ids = [self._ids.get(token, -1) for token in tokens]
        if -1 in ids:
            where = ids.index(-1)
            raise ValueError(f"[{name}] token {tokens[where]!r} at position {where} is not in the vocabulary")
        return np.array(ids, np.int64)

    def text_of(self, ids: Sequence[int]) -> Any:
        """Return the text of some ids: a string, or an array of integers."""
        tokens = [self.tokens[i] for i in ids]
        return "".join(tokens) if self.is_text else np.array(tokens, np.int64)


def tokens_of(name: str, text: Any) -> Sequence[Any]:
    """Return the tokens of a text: the characters of a string or of several, or the items of an array of integers.

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    if isinstance(text, str):
        return text
    if isinstance(text, (list, tuple)) and text and all(isinstance(part, str) for part in text):
        return "\n".join(text)
    array = np.asarray(text)
    if array.size == 0:
        return ()
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"[{name}] a text is a string, a list of strings, or integers, not {type(text).__name__}"
        )
    if array.ndim != 1:
        raise ValueError(f"[{name}] integers of a text must be 1-D, but have shape {array.shape}")
    if array.dtype == np.uint64 and int(array.max()) >= 2**63:
        raise ValueError(f"[{name}] integers of a text must fit into int64, but there is {int(array.max())}")
    tokens: list[int] = array.tolist()
    return tokens


def windows_of(ids: Int64Array, length: int) -> tuple[Array, Array]:
    """Return all windows of ids, and the windows one token later: views, which take no memory."""
    windows = np.lib.stride_tricks.sliding_window_view(ids, length)
    return windows[:-1], windows[1:]


class RandomWindows(Batches):
    """Windows at random places of a long sequence, others in each epoch.

    Parameters
    ----------
    samples : Samples
        All windows.
    count : int
        Windows of an epoch.
    seed : int
        Seed of the places.
    """

    def __init__(self, samples: Samples, count: int, seed: int) -> None:
        self._places = np.random.default_rng(seed)
        self._all = len(samples)
        super().__init__(samples, rows=self._drawn(count), shuffle=False)

    def _drawn(self, count: int) -> Int64Array:
        return self._places.integers(self._all, size=count)

    def begin(self, stream: int) -> None:
        if stream > 0:
            self.visit(self._drawn(len(self)))
        super().begin(stream)
