"""Capture and replay: record the operations of a step once, then run it many times without Python."""

from __future__ import annotations

from collections import defaultdict
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest import _cpu
from steepest._runtime.arguments import checked_integer
from steepest._runtime.backends import load_cuda

if TYPE_CHECKING:
    from steepest._operations import Backend, BackendGraph

_MOST_STEPS = 2**63 - 1


class Graph:
    """Graph of operations, recorded by `capture` and run by `replay`.

    On the CPU a replay runs all of its steps inside one parallel region with the interpreter lock released. The threads
    meet at a spin barrier only where an operation reads what another one wrote. On CUDA a replay launches the steps on
    CuPy's current stream and waits for their end. Results are bit-identical to running the same step eagerly, on the
    CPU for any number of threads.

    The graph keeps the arrays of its operations alive and reads them anew in every step. Python numbers are frozen.
    Numbers that change from step to step, such as a cursor, a step count or a learning rate, must therefore be arrays.
    """

    def __init__(self) -> None:
        self._graph: BackendGraph = _cpu.Graph()

    def __len__(self) -> int:
        return len(self._graph)

    def __repr__(self) -> str:
        return f"<steepest.Graph of {len(self)} operations>"

    @property
    def operations(self) -> list[str]:
        """The names of the operations, in order."""
        return self._graph.operations()

    def replay(self, n: int = 1) -> None:
        """Run the captured step n times, and return when the last step is done.

        Parameters
        ----------
        n : int
            The number of steps.

        Raises
        ------
        DivergenceError
            If `kernels.require_finite` found a value that is not finite. The error's ``step`` is the 0-based step of
            this replay; the later operations of that step did not run.
        ValueError, IndexError
            If a label or an index in the arrays is out of range; the step ends before the operation that found it. Also
            if n is negative.
        TypeError
            If n is not an integer.
        KeyboardInterrupt
            If Ctrl-C was pressed; the replay stops between two operations (on CUDA: between two steps).
        """
        self._graph.replay(checked_integer("replay", "n", n, high=_MOST_STEPS))

    def profile(self, n: int = 100) -> Profile:
        """Run the step n times, one operation after the other, and measure the time of each operation.

        Parameters
        ----------
        n : int
            Number of steps, at least 1, over which times are averaged.

        Returns
        -------
        Profile
            One row for each operation; ``print`` shows it as a table.

        Raises
        ------
        DivergenceError, ValueError, IndexError, TypeError
            As in `replay`; ValueError also if n is 0.
        KeyboardInterrupt
            If Ctrl-C was pressed; the profile stops between two operations.
        """
        n = checked_integer("profile", "n", n, low=1, high=_MOST_STEPS)
        rows = [OperationTime(*row) for row in self._graph.profile(n)]
        return Profile(rows, n)


@dataclass(frozen=True)
class OperationTime:
    """Time, floating-point operations and bytes of one operation of a graph.

    Parameters
    ----------
    name : str
        Name of the operation.
    seconds : float
        Mean time of a call, in seconds.
    flops : float
        Number of floating-point operations of a call.
    bytes : float
        Size of the arrays that a call reads and writes, in bytes.
    """

    name: str
    seconds: float
    flops: float
    bytes: float


@dataclass(frozen=True)
class Profile:
    """Times of a graph's operations, in order.

    Parameters
    ----------
    operations : list of OperationTime
        One entry for each operation of the step.
    steps : int
        Number of steps over which the times are averaged.
    """

    operations: list[OperationTime]
    steps: int

    @property
    def seconds(self) -> float:
        """The time of one step, in seconds."""
        return sum(row.seconds for row in self.operations)

    def __str__(self) -> str:
        groups: defaultdict[str, list[OperationTime]] = defaultdict(list)
        for row in self.operations:
            groups[row.name].append(row)
        lines = [f"{'operation':<24}{'calls':>6}{'us/call':>10}{'share':>8}{'GFLOP/s':>10}{'GB/s':>8}"]
        for name, rows in sorted(groups.items(), key=lambda item: -sum(r.seconds for r in item[1])):
            seconds = sum(r.seconds for r in rows)
            rate = 1e-9 / seconds if seconds > 0 else 0.0
            lines.append(
                f"{name:<24}{len(rows):>6}{seconds / len(rows) * 1e6:>10.2f}{seconds / self.seconds:>8.1%}"
                f"{sum(r.flops for r in rows) * rate:>10.1f}{sum(r.bytes for r in rows) * rate:>8.1f}"
            )
        lines.append(
            f"{'step':<24}{len(self.operations):>6}{self.seconds * 1e6:>10.2f}   (mean of {self.steps})"
        )
        return "\n".join(lines)


def capture() -> AbstractContextManager[Graph, None]:
    """Record the kernel calls of a block of code as a graph, instead of running them.

    Inside the block, calls of `steepest.kernels` on this thread are checked and recorded; their outputs are allocated
    but not written. All calls of a block must be on NumPy arrays, or all on CuPy arrays. The recording ends with the
    block, however the block is left: by an exception, by Ctrl-C at any moment, or on another thread.

    Returns
    -------
    context manager
        Its value is a `Graph`, which is empty until the block ends.

    Raises
    ------
    ValueError
        If another graph is being captured on this thread, or the block has operations on both devices.

    Examples
    --------
    >>> import numpy as np, steepest
    >>> from steepest import kernels as K
    >>> x, total = np.ones((2, 3), np.float32), np.zeros(3, np.float32)
    >>> with steepest.capture() as graph:
    ...     y = K.sum(x, axis=0, out=total)
    >>> total
    array([0., 0., 0.], dtype=float32)
    >>> graph.replay()
    >>> total
    array([2., 2., 2.], dtype=float32)
    """
    graph = Graph()
    cuda = load_cuda()
    backends: list[Backend] = [_cpu] if cuda is None else [_cpu, cuda]
    # The device of the block's arrays is unknown before it runs, so that every backend records.
    recordings = [backend.Graph() for backend in backends]

    def complete() -> None:
        # `complete` is not called after an exception in the block, so that an incomplete step cannot be replayed.
        used = [recording for recording in recordings if len(recording)]
        if len(used) > 1:
            raise ValueError(
                "[capture] operations on NumPy and on CuPy arrays were recorded; a graph runs on one device"
            )
        graph._graph = used[0] if used else recordings[0]

    return _cpu.Capture(graph, list(zip(backends, recordings, strict=True)), complete)
