"""The trainer: an epoch of named programs on batches, as replays of captured graphs where the programs allow it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import partial

from steepest._cpu import DivergenceError
from steepest._runtime.graph import capture

from .batches import Batch, Batches
from .programs import Program

# Number of parts in which an epoch is replayed if its progress is reported.
_PROGRESS_PARTS = 40
# A growing batch size doubles unless an epoch brings the loss below this fraction of the lowest loss so far.
_GOOD_EPOCH = 0.95


class Trainer:
    """Trains networks by named programs, each of which takes a step on every batch, or every few, in their order.

    A single program is captured together with the gathering of its batch, once for each batch size: an epoch is one
    replay, and one more for a shorter last batch. Several programs are graphs of their own, replayed in turns.

    Parameters
    ----------
    programs : mapping of str to Program
        The programs by name; error messages name one of several.
    batches : Batches
        The data.
    batch_size : int
        Samples in a batch, at most ``len(batches)``.
    even : bool, default=False
        Whether all batches have nearly equal sizes, which differ by at most one sample; else the last one is shorter.
    grows : bool, default=False
        Whether the batch size doubles after an epoch whose loss is above 95 % of the lowest loss so far.

    Attributes
    ----------
    samples, steps : int
        Samples and batches of an epoch; if the batches grow, of the next one.
    losses : dict of str to float
        Mean loss of each program over the samples of the last epoch, with its penalty.
    """

    def __init__(
        self,
        programs: Mapping[str, Program],
        batches: Batches,
        batch_size: int,
        *,
        even: bool = False,
        grows: bool = False,
    ) -> None:
        self.programs, self.batches = dict(programs), batches
        trained = [network for program in self.programs.values() for network in program.networks]
        self.networks = list({id(network): network for network in trained}.values())
        self.samples = len(batches)
        self.losses: dict[str, float] = {}
        self._batch_size, self._even, self._grows = batch_size, even, grows
        self._lowest = math.inf
        self._replays: dict[int, Callable[[int], None]] = {}
        self._turns = 0  # batches so far, of several programs
        self._plan_steps()

    @property
    def remedy(self) -> str:
        """Advice for the error message after divergence."""
        return next(iter(self.programs.values())).remedy

    def run_epoch(
        self, stream: int, on_progress: Callable[[int], None] | None = None
    ) -> tuple[float, float | None]:
        """Train on every row once.

        Parameters
        ----------
        stream : int
            Random stream of this epoch's shuffle.
        on_progress : callable or None
            Called after each part of the epoch with its number of samples.

        Returns
        -------
        loss : float
            Sum of `losses`.
        accuracy : float or None
            Proportion of the samples classified correctly by the first program that counts errors, or None.

        Raises
        ------
        DivergenceError
            If the loss of a step, or a parameter after the epoch, is not finite; `step` is the index of the step.
        """
        self.batches.begin(stream)
        for program in self.programs.values():
            program.begin()
        done = 0
        for length, repeats in self._plan:
            part = repeats if on_progress is None else -(-repeats // _PROGRESS_PARTS)
            for start in range(0, repeats, part):
                n = min(part, repeats - start)
                try:
                    self._replays[length](n)
                except DivergenceError as error:
                    error.step = done + error.step
                    raise
                done += n
                if on_progress is not None:
                    on_progress(n * length)
        totals = {name: program.end(self.steps) for name, program in self.programs.items()}
        self.losses = {name: one.loss / (one.samples or self.samples) for name, one in totals.items()}
        errors = next((one.errors for one in totals.values() if one.errors is not None), None)
        loss = sum(self.losses.values())
        if self._grows and loss > _GOOD_EPOCH * self._lowest and self._batch_size < self.samples:
            self._batch_size = min(2 * self._batch_size, self.samples)
            self._plan_steps()
        self._lowest = min(loss, self._lowest)
        return loss, None if errors is None else 1.0 - errors / self.samples

    def _plan_steps(self) -> None:
        """Divide the rows of an epoch into batches, and capture a step for each new batch size."""
        whole, rest = divmod(self.samples, self._batch_size)
        self.steps = whole + bool(rest)
        if self._even:
            ends = [self.samples * step // self.steps for step in range(self.steps + 1)]
            lengths = [end - start for start, end in itertools.pairwise(ends)]
        else:
            lengths = [self._batch_size] * whole + [rest] * bool(rest)
        self._plan = [(length, len(list(equal))) for length, equal in itertools.groupby(lengths)]
        for length, _ in self._plan:
            if length not in self._replays:
                self._replays[length] = self._make_replay(length)

    def _make_replay(self, length: int) -> Callable[[int], None]:
        """Return a function that takes n steps on batches of a size."""
        if len(self.programs) > 1:
            return _repeated(self._make_turn(length))
        (program,) = self.programs.values()
        if not (program.captured and self.batches.captured):
            return _repeated(lambda: program.step(self.batches.take(length)))
        with capture() as graph:
            program.step(self.batches.take(length))
        return graph.replay

    def _make_turn(self, length: int) -> Callable[[], None]:
        """Return a function that takes one step with each program whose turn it is, all on the same batch."""
        if not self.batches.captured:

            def steps_of_turn() -> Mapping[str, Callable[[], None]]:
                batch = self.batches.take(length)
                return {name: partial(program.step, batch) for name, program in self.programs.items()}

        else:
            with capture() as take:
                batch = self.batches.take(length)
            steps = {name: _step_on(batch, program) for name, program in self.programs.items()}

            def steps_of_turn() -> Mapping[str, Callable[[], None]]:
                take.replay()
                return steps

        def turn() -> None:
            self._turns += 1
            for name, step in steps_of_turn().items():
                if self._turns % self.programs[name].period:
                    continue
                try:
                    step()
                except DivergenceError as error:
                    raise DivergenceError(f"{name}: {error}") from error

        return turn


def _step_on(batch: Batch, program: Program) -> Callable[[], None]:
    """Return a function that takes a step of a program on the present rows of a batch."""
    if not program.captured:
        # Such a step may keep its rows, but the next batch overwrites these.
        return lambda: program.step(batch.copy())
    with capture() as graph:
        program.step(batch)
    return graph.replay


def _repeated(step: Callable[[], None]) -> Callable[[int], None]:
    """Return a function that calls a step n times, and says in a DivergenceError at which one it was raised."""

    def run(n: int) -> None:
        for i in range(n):
            try:
                step()
            except DivergenceError as error:
                error.step = i
                raise

    return run
