"""`steepest reinforce`: learning from rewards, with a progress line and a learning curve; evaluation and play."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steepest import plots, reinforcement
from steepest._cpu import DivergenceError
from steepest._saving.files import load, save
from steepest.callbacks import Callback, Epoch
from steepest.reinforcement import BrokenEnvironmentError
from steepest.reinforcement._environments import registered

from ._errors import CommandError
from ._models import AGENTS

DEFAULT_ENV, DEFAULT_METHOD = "CartPole-v1", "natural"
EVALUATED = 100  # episodes
_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 60  # of the learning curve as text
_LINES = 10  # of progress where the output is no terminal
_FRAME = 0.05  # seconds between the pictures of an episode as text


class _Progress(Callback):
    """Progress of the learning: a line that is written over, or in a log a line now and then."""

    def __init__(self, n_steps: int) -> None:
        self._goal, self._live = n_steps, sys.stdout.isatty()
        self._written = 0

    def fit_begun(self, model: Any) -> None:
        self._start, self._done, self._begun = model.n_steps_, 0, time.perf_counter()

    def epoch_done(self, model: Any, epoch: Epoch) -> None:
        self._done = model.n_steps_ - self._start
        part = int(_LINES * self._done / self._goal)
        if self._live:
            print(f"\r{self._line(model):<78}", end="", flush=True)
        elif part > self._written:
            self._written = part
            print(self._line(model), flush=True)

    def fit_done(self, model: Any) -> None:
        if self._live and self._done:
            print()

    def _line(self, model: Any) -> str:
        row = {name: column[-1] for name, column in model.history_.items()}
        speed = self._done / max(time.perf_counter() - self._begun, 1e-9)
        return (
            f"{row['steps']:>9} steps  return {row['mean_return']:9.2f}  divergence {row['divergence']:.4f}  "
            f"{speed:8,.0f} steps/s"
        )


def reinforce_command(arguments: argparse.Namespace) -> int:
    """Learn, evaluate, save and play a policy.

    Parameters
    ----------
    arguments : Namespace
        Command-line arguments, as `steepest.cli` parses them.

    Returns
    -------
    int
        Exit status: 0, 1 if the learning diverged or the environment failed (the last policy is saved then), or 130
        after Ctrl-C.

    Raises
    ------
    CommandError
        If an argument is not valid, a file cannot be read or written, or there is no such environment.
    """
    if arguments.steps == 0 and arguments.load is None:
        raise CommandError("--steps 0 needs a policy: pass --load")
    if arguments.save is not None and not Path(arguments.save).parent.is_dir():
        raise CommandError(f"there is no folder {Path(arguments.save).parent}")
    agent = _agent(arguments)
    interrupted, failure = False, None
    if arguments.steps:
        agent.set_params(callbacks=[_Progress(arguments.steps)])
        print(f"{type(agent).__name__} in {agent.env}", flush=True)
        try:
            interrupted = _learn(agent, arguments)
        except (BrokenEnvironmentError, DivergenceError) as error:
            failure = str(error)
        except (ValueError, TypeError, ImportError) as error:
            raise CommandError(str(error)) from error
        agent.set_params(callbacks=None)
        _show_curve(agent)
    if arguments.save is not None and hasattr(agent, "history_"):
        _save(agent, Path(arguments.save))
    if failure is not None:
        print(f"steepest reinforce: error: {failure}", file=sys.stderr)
        return 1
    try:
        returns = agent.evaluate(EVALUATED)
        print(
            f"{EVALUATED} episodes of the most probable actions: return {returns.mean():.1f} ± {returns.std():.1f}, "
            f"least {returns.min():.1f}"
        )
        if arguments.play:
            _play(agent)
    except (BrokenEnvironmentError, ValueError, ImportError) as error:
        raise CommandError(str(error)) from error
    return 130 if interrupted else 0


def _agent(arguments: argparse.Namespace) -> Any:
    """Return the agent that a file has, or a new one, with the options that are given."""
    given = {"gamma": arguments.gamma, "gae_lambda": arguments.gae_lambda, "n_envs": arguments.envs}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.load is None:
        kind = getattr(reinforcement, AGENTS[arguments.method or DEFAULT_METHOD])
        return kind(arguments.env or DEFAULT_ENV, random_state=arguments.seed or 0, **given)
    for option in ("method", "seed"):
        if getattr(arguments, option) is not None:
            raise CommandError(f"--{option} is for a new agent; that of --load has its own")
    try:
        agent = load(arguments.load)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read {arguments.load}: {error}") from error
    if type(agent).__name__ not in AGENTS.values():
        raise CommandError(f"{arguments.load} holds a {type(agent).__name__}, and no agent")
    if arguments.env is not None:
        given["env"] = arguments.env
    return agent.set_params(**given)


def _learn(agent: Any, arguments: argparse.Namespace) -> bool:
    """Learn, and return whether the user interrupted it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        agent.learn(arguments.steps, target_return=arguments.target)
    for warning in told:
        if "interrupted by user" in str(warning.message):
            print(f"steepest reinforce: interrupted after {agent.n_steps_} steps", file=sys.stderr)
            return True
    return False


def _show_curve(agent: Any) -> None:
    """Print the learning curve as a row of bars."""
    returns = [
        value for value in getattr(agent, "history_", {}).get("mean_return", []) if math.isfinite(value)
    ]
    if returns:
        print(
            f"return from {returns[0]:.1f} to {returns[-1]:.1f}, at most {max(returns):.1f}  {bars(returns)}"
        )


def bars(values: Sequence[float], columns: int = _COLUMNS) -> str:
    """Return values as a row of bars between the least and the largest; many values are thinned out."""
    at = np.linspace(0, len(values) - 1, min(columns, len(values))).round().astype(int)
    chosen = np.asarray(values, float)[at]
    low, high = chosen.min(), chosen.max()
    heights = np.zeros(len(chosen)) if high == low else (chosen - low) / (high - low)
    return "".join(_BARS[int(height * (len(_BARS) - 1) + 0.5)] for height in heights)


def _save(agent: Any, path: Path) -> None:
    """Write the agent, and its learning curve beside it."""
    try:
        save(agent, path)
        print(f"agent written to {path} (steepest.load reads it)")
        picture = path.with_name(path.name + ".png")
        plots.return_curve(agent, picture, title=str(agent.env))
        print(f"learning curve written to {picture}")
    except ImportError as error:
        print(f"no learning curve: {error}")
    except OSError as error:
        raise CommandError(f"cannot write to {path}: {error.strerror}") from error


def _play(agent: Any) -> None:
    """Show an episode as the environment can: in a window, or as text."""
    import gymnasium

    mode, reason = _render_mode(gymnasium.spec(registered(agent.env)))
    if mode is None:
        print(f"not shown: {reason}")
    try:
        environment = gymnasium.make(registered(agent.env), render_mode=mode)
    except gymnasium.error.Error as error:
        raise CommandError(f"cannot show {agent.env}: {error}") from error
    total, length, over = 0.0, 0, False
    observation, _ = environment.reset()
    try:
        while not over:
            if mode == "ansi":
                print(environment.render(), flush=True)
                time.sleep(_FRAME)
            observation, reward, terminated, truncated, _ = environment.step(agent.act(observation))
            total, length, over = total + float(reward), length + 1, terminated or truncated
    finally:
        environment.close()
    print(f"an episode: return {total:.1f} after {length} steps")


def _render_mode(spec: Any) -> tuple[str | None, str]:
    """Return how an environment can be shown here, or None and why not."""
    import gymnasium

    kind = gymnasium.envs.registration.load_env_creator(spec.entry_point)
    modes = getattr(kind, "metadata", {}).get("render_modes", [])
    if "ansi" in modes:
        return "ansi", ""
    if "human" not in modes:
        return None, f"{spec.id} shows neither text nor a window"
    has_display = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return ("human", "") if has_display else (None, "there is no display for a window")
