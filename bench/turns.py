"""Contestants in processes of their own, which take turns: one of them runs, and the others sleep until they are asked.

Threads that a library leaves spinning after a call slow whatever runs next in its process, and one library's settings
change another's. Here each library has a process of its own that builds the same cases from the same seeds, compares
its own results with the oracle, and times its own contestants when the leader asks it to.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.device import Cpu
from bench.harness import NOT_WANTED, OURS, Case, Contestant, Options, one_line
from bench.peers import Peers

# The process of a library -> the modules of `Peers` that it loads.
PROCESSES: dict[str, tuple[str, ...]] = {
    OURS: (),
    "numpy": ("numpy",),
    "torch": ("torch", "curvlinops", "nngeometry"),
    "jax": ("jax", "kfac_jax"),
    "sklearn": ("sklearn",),
}

# Seconds after which a process counts as asleep although a thread of it still runs.
LONGEST_SPIN = 1.0


class ProcessEndedError(RuntimeError):
    """A process has ended, or an order has failed in it."""


@dataclass
class Told:
    """What a process tells of a contestant: its entry before timing, its largest number of rounds, and what it has."""

    name: str
    entry: dict[str, object]
    max_rounds: int
    is_timed: bool
    has_finish: bool


class Servant:
    """The side of a process: the cases of a benchmark, one at a time, and the contestants that belong to it."""

    def __init__(self, modules: tuple[str, ...], settings: dict[str, Any]) -> None:
        import steepest

        steepest.set_num_threads(settings["threads"])
        self.options = Options(**settings, results=None, peers=modules, device=Cpu())
        self._is_ours = not modules
        self._peers = Peers(self.options.threads, modules, self.options.device)
        self._cases: Iterator[Case] = iter(())
        self._own: dict[str, Contestant] = {}

    def begin(self, bench: str) -> None:
        """Begin a benchmark."""
        self._cases = importlib.import_module(f"bench.bench_{bench}").cases(self.options, self._peers)

    def next_case(self) -> tuple[Case, list[Told]] | None:
        """Build the next case, and check its contestants; without arrays and functions, which stay here."""
        self._own = {}
        self.options.device.release()
        case = next(self._cases, None)
        if case is None:
            return None
        told = []
        for contestant in case.contestants:
            if self._belongs(contestant):
                self._own[contestant.name] = contestant
                entry = contestant.checked(case, self.options.device)
                told.append(
                    Told(
                        contestant.name,
                        entry,
                        contestant.max_rounds,
                        contestant.call is not None,
                        contestant.finish is not None,
                    )
                )
            else:
                told.append(Told(contestant.name, {}, 0, False, False))
        return replace(case, contestants=[], oracle={}, tolerance={}), told

    def _belongs(self, contestant: Contestant) -> bool:
        if NOT_WANTED in contestant.skipped:
            return False
        return self._is_ours == contestant.is_ours

    def calibrated(self, name: str, seconds: float) -> int:
        """Return the number of calls that take about so many seconds."""
        return self._own[name].calibrated(seconds, self.options.device, False)

    def timed(self, name: str, calls: int, warms: bool) -> float:
        """Return the seconds per unit of a round."""
        gc.disable()
        try:
            return self._own[name].timed(calls, self.options.device, False, warms)
        finally:
            gc.enable()

    def finished(self, name: str) -> dict[str, object]:
        """Return the further figures of a contestant."""
        finish = self._own[name].finish
        return finish() if finish else {}


def serve(connection, modules: tuple[str, ...], settings: dict[str, Any]) -> None:
    """Answer the leader's orders until it closes the connection."""
    servant = None
    while True:
        try:
            order, arguments = connection.recv()
        except EOFError:
            return
        try:
            servant = servant or Servant(modules, settings)
            answer = True, getattr(servant, order)(*arguments)
        except Exception as error:
            answer = False, one_line(error)
        connection.send(answer)


class Process:
    """The leader's side of a process."""

    def __init__(self, modules: tuple[str, ...], options: Options) -> None:
        settings = {
            name: value
            for name, value in asdict(replace(options, device=None)).items()
            if name not in ("results", "peers", "device", "processes")
        }
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, modules, settings), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, order: str, *arguments: object) -> Any:
        """Send an order, and wait for its answer.

        Raises
        ------
        ProcessEndedError
            If the order failed, or the process has ended.
        """
        try:
            self._connection.send((order, arguments))
            succeeded, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(5)
            raise ProcessEndedError(f"its process ended with status {self._process.exitcode}") from error
        if not succeeded:
            raise ProcessEndedError(answer)
        self._wait_until_asleep()
        return answer

    def _wait_until_asleep(self) -> None:
        """Wait until no thread of the process runs: some spin for tens of milliseconds after a call."""
        threads = Path(f"/proc/{self._process.pid}/task")
        until = time.perf_counter() + LONGEST_SPIN
        while time.perf_counter() < until and any(map(_runs, threads.glob("*/stat"))):
            time.sleep(0.002)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()


def _runs(stat: Path) -> bool:
    """Whether a thread runs or waits for a processor, by its file in /proc."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "R"
    except (OSError, IndexError):
        return False


class Remote(Contestant):
    """A contestant in another process."""

    def __init__(self, process: Process, told: Told) -> None:
        finish = partial(process.ask, "finished", told.name) if told.has_finish else None
        super().__init__(told.name, finish=finish, max_rounds=told.max_rounds)
        self.call = _elsewhere if told.is_timed else None
        self._process, self._entry = process, told.entry

    def checked(self, case, device) -> dict[str, object]:
        return dict(self._entry)

    def calibrated(self, seconds, device, cold) -> int:
        return self._process.ask("calibrated", self.name, seconds)

    def timed(self, calls, device, cold, warms) -> float:
        return self._process.ask("timed", self.name, calls, warms)


def _elsewhere() -> None:
    raise RuntimeError("this contestant runs in another process")


class Turns:
    """The processes of a run.

    Parameters
    ----------
    options : Options
        Options of the run; a process is started for each library among its `peers`, and one for this package.
    """

    def __init__(self, options: Options) -> None:
        wanted = {OURS: ()} | {
            name: own
            for name, modules in PROCESSES.items()
            if name != OURS and (own := tuple(m for m in modules if m in options.peers))
        }
        self._processes = {name: Process(modules, options) for name, modules in wanted.items()}

    def cases(self, bench: str) -> Iterator[Case]:
        """Yield the cases of a benchmark, whose contestants are in the processes.

        A library whose process has ended is skipped with the reason, and the others go on.

        Raises
        ------
        ProcessEndedError
            If this package's own process cannot build a case.
        """
        ended: dict[str, str] = {}
        self._processes[OURS].ask("begin", bench)
        others = {name: process for name, process in self._processes.items() if name != OURS}
        for name, process in others.items():
            _told_by(name, process, ended, "begin", bench)
        while (answer := self._processes[OURS].ask("next_case")) is not None:
            case, told = answer
            found = {one.name: Remote(self._processes[OURS], one) if one.entry else None for one in told}
            for name, process in others.items():
                told_there = None if name in ended else _told_by(name, process, ended, "next_case")
                for one in told_there[1] if told_there else ():
                    if one.entry:
                        found[one.name] = Remote(process, one)
            reason = "; ".join([NOT_WANTED, *(f"{name}: {why}" for name, why in ended.items())])
            case.contestants = [
                Contestant.skip(name, reason) if contestant is None else contestant
                for name, contestant in found.items()
            ]
            yield case

    def close(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            process.close()


def _told_by(name: str, process: Process, ended: dict[str, str], order: str, *arguments: object) -> Any:
    """Return a library's answer; if it has none, note why, and return None."""
    try:
        return process.ask(order, *arguments)
    except ProcessEndedError as error:
        ended[name] = str(error)
        return None
