"""Which rows belong to which sequence, from the definition."""

from __future__ import annotations

import numpy as np


def rows_of_sequences(rows, spans=None, sequences=1):
    """Return the row numbers of each sequence."""
    if spans is None:
        return np.split(np.arange(rows), sequences) if sequences else []
    return [np.arange(first, first + length) for first, length in spans]


def random_spans(rng, lengths, between=0):
    """Spans of these lengths in a random order of memory, with up to `between` rows of no sequence before each.

    Returns the spans and the number of rows, `between` at the end included.
    """
    spans, end = np.zeros((len(lengths), 2), np.int64), 0
    for i in rng.permutation(len(lengths)):
        end += rng.integers(0, between + 1)
        spans[i] = end, lengths[i]
        end += lengths[i]
    return spans, end + between
