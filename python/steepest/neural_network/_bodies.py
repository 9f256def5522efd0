"""Named bodies of networks for sequences: recurrent layers, and attention."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from steepest import nn

# kept by hand: type checkers take names from the source
Body: TypeAlias = Literal["transformer", "gru", "lstm", "rnn"]
RECURRENT = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
BODIES: tuple[str, ...] = get_args(Body)
assert {"transformer", *RECURRENT} == set(BODIES)
