"""Sequences that arrive step by step: a network that remembers what came before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array
from steepest._runtime.graph import capture
from steepest._runtime.memory import aligned_zeros, to_device

from .copying import Copyable
from .execution import Arrays, bound, run_forward, value_buffers
from .inputs import check_inputs, constant_in
from .ops.stream import StreamOperation
from .program import PASSES, Program, at_precision, fold_norms, for_streaming, optimized
from .values import Input, Shape

if TYPE_CHECKING:
    from .compiled import Compiled
    from .lowering import Lowered


class Stream:
    """What a network predicts for sequences that arrive step by step; made by `Network.stream`.

    Each step costs what one step of the sequence does, since states of recurrent layers are kept. The parameters are
    those of the network, also after they have changed.

    Parameters
    ----------
    program : Program
        The program of the network for sequences of one step, before all passes.
    values : mapping of str to ndarray
        The parameters and states of the network by name.
    constants : mapping of int to ndarray
        The constants of the program.
    declared : Input
        The input of the network.
    n : int
        Number of sequences.
    dtype : dtype
        Dtype of the network.
    device : {"cpu", "cuda"}
        Device of the network.
    """

    def __init__(
        self,
        program: Program,
        values: Mapping[str, Array],
        constants: Mapping[int, Array],
        declared: Input,
        n: int,
        dtype: np.dtype[Any],
        device: str,
    ) -> None:
        program = optimized(for_streaming(program), (fold_norms, *PASSES))
        steps, number = bound(program, values), program.inputs[0]
        own = program.integers.get(number, dtype)
        self._dtype, self._device, self._n = dtype, device, n
        self._declared = Input(declared.shape[1:], declared.dtype, declared.name)
        self._x = aligned_zeros((n, *program.shape(number)), own, device)
        self._operations = [node.operation for node in program.nodes]
        arrays: Arrays = [constants.get(i) for i in range(len(program.shapes))]
        arrays[number] = self._x
        outs = value_buffers(program, n, lambda shape: aligned_zeros(shape, dtype, device))
        self._compute: Callable[[], object] = partial(run_forward, steps, arrays, outs)
        self._with_room = [o for o in self._operations if isinstance(o, StreamOperation)]
        self._arrays, self._places, self._done = arrays, program.outputs, 0
        self._replay: Callable[[], object] | None = self._captured()

    def _captured(self) -> Callable[[], object]:
        with capture() as graph:
            self._compute()
        return graph.replay

    def step(self, x: Array) -> Any:
        """Return the output for the next step of each sequence.

        Parameters
        ----------
        x : ndarray of shape (n, ...)
            The step of each sequence.

        Returns
        -------
        ndarray of shape (n, ...), or tuple of ndarray
            The output after this step, in a new array, or all outputs if the network has several.

        Raises
        ------
        ValueError, TypeError
            If a shape or a dtype does not fit, or a positional encoding has no more positions.
        """
        check_inputs("Stream.step", (self._declared,), (x,), self._dtype, self._device)
        if len(x) != self._n:
            raise ValueError(f"[Stream.step] x has {len(x)} rows, but there are {self._n} sequences")
        for operation in self._with_room:
            if operation.make_room(self._done + 1):
                # Also after an error of another operation, no step may use the arrays of before.
                self._replay = None
        if self._replay is None:
            self._replay = self._captured()
        K.copy(x.reshape(self._x.shape), out=self._x)
        self._replay()
        self._done += 1
        found = [K.copy(_without_steps(self._arrays[place])) for place in self._places]
        return found[0] if len(found) == 1 else tuple(found)

    def reset(self) -> None:
        """Begin new sequences."""
        self._done = 0
        for operation in self._operations:
            operation.forget_state()


class Streamable(Copyable):
    """Base of `Network` that goes on where the last batch, or the last step, has ended."""

    _values: dict[str, Array]
    _main: Compiled
    _programs: dict[tuple[Shape, ...], Compiled]

    def _lower(self, shapes: tuple[Shape, ...]) -> Lowered:
        raise NotImplementedError

    def stream(self, n: int = 1) -> Stream:
        """Return an object that predicts n sequences step by step, as their steps arrive.

        Parameters
        ----------
        n : int, default=1
            Number of sequences.

        Returns
        -------
        Stream
            Its `step` takes the next step of each sequence, and returns the output after it.

        Raises
        ------
        ValueError
            If the network does not take one sequence (steps, ...), or a layer needs whole sequences, such as one that
            walks from the last step to the first.

        Examples
        --------
        >>> import numpy as np
        >>> from steepest import nn
        >>> net = nn.Network([nn.Input((20, 3)), nn.GRU(3, 8), nn.Linear(8, 2)])
        >>> x = np.random.default_rng(0).standard_normal((1, 20, 3)).astype(np.float32)
        >>> stream = net.stream()
        >>> steps = [stream.step(x[:, t]) for t in range(20)]
        >>> bool(np.allclose(np.stack(steps, axis=1), net.predict(x), atol=1e-6))
        True
        """
        n = checked_integer("Network.stream", "n", n, low=1)
        declared = self._architecture.inputs
        if len(declared) != 1 or not declared[0].shape:
            raise ValueError(
                "[Network.stream] the network must take one sequence, as with nn.Input((steps, width))"
            )
        try:
            lowered = self._lower(((1, *declared[0].shape[1:]),))
        except ValueError as error:
            raise ValueError(
                f"[Network.stream] the layers do not take sequences of one step: {error}"
            ) from None
        program = at_precision(lowered.program, self._precision)
        constants = {
            i: to_device(constant_in(a, self.dtype), self.device) for i, a in program.constants.items()
        }
        return Stream(program, self._values, constants, declared[0], n, self.dtype, self.device)

    def forget_states(self) -> None:
        """Set the states to zero that layers with ``carries=True`` carry from one training step to the next."""
        for compiled in (self._main, *self._programs.values()):
            for node in compiled.training.nodes:
                node.operation.forget_state()


def _without_steps(array: Array) -> Array:
    """Return an output without the axis of its single step."""
    return array[:, 0] if array.ndim > 2 else array
