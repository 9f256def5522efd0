"""Agents that learn to act: `python -m bench.reinforcement [--env NAME] [--seeds N] [--peers PYTHON]`.

The agents of `steepest.reinforcement`, and PPO of stable-baselines3 and TRPO of sb3-contrib, take turns, each run in a
process of its own. The peers have the settings of their authors' collection rl-baselines3-zoo for CartPole, and
elsewhere their defaults with our discounts. After the learning each policy plays 100 new episodes by its most probable
actions. Seconds are those of the learning, without imports. `--peers` names the Python of an environment in which
stable-baselines3 and sb3-contrib are installed; without it only our agents run. `--only` names agents.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

EPISODES = 100
OURS = {"natural": "NaturalPolicyGradient", "ppo": "PPO", "gradient": "PolicyGradient"}


@dataclass(frozen=True)
class Task:
    """Steps to learn from, the return that is aimed at, our options where they differ from the defaults, and theirs."""

    steps: int
    goal: float
    options: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, dict[str, Any]] = field(default_factory=dict)


# What rl-baselines3-zoo has for CartPole-v1: hyperparams/ppo.yml and trpo.yml. "lin_" is a rate that falls to 0.
_ZOO = {
    "sb3 PPO": {
        "n_envs": 8,
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "learning_rate": "lin_1e-3",
        "clip_range": "lin_0.2",
    },
    "sb3 TRPO": {
        "n_envs": 2,
        "n_steps": 512,
        "batch_size": 512,
        "cg_damping": 1e-3,
        "gae_lambda": 0.98,
        "gamma": 0.99,
        "learning_rate": 1e-3,
        "n_critic_updates": 20,
    },
}
_SHORT = {"gamma": 0.95, "gae_lambda": 0.9}
TASKS = {
    "CartPole-v1": Task(100_000, 500.0, theirs=_ZOO),
    "Acrobot-v1": Task(200_000, -90.0),
    "Pendulum-v1": Task(200_000, -200.0, _SHORT, dict.fromkeys(_ZOO, _SHORT)),
}


def run_ours(method: str, env: str, task: Task, seed: int) -> dict[str, Any]:
    from steepest import reinforcement

    agent = getattr(reinforcement, OURS[method])(env, random_state=seed, **task.options)
    begun = time.perf_counter()
    agent.learn(task.steps)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "steps": agent.n_steps_, "returns": agent.evaluate(EPISODES).tolist()}


def run_theirs(name: str, env: str, task: Task, seed: int) -> dict[str, Any]:
    import gymnasium
    from stable_baselines3.common.env_util import make_vec_env

    options = {
        key: falling(float(value[4:])) if isinstance(value, str) else value
        for key, value in task.theirs.get(name, {}).items()
    }
    environments = make_vec_env(env, options.pop("n_envs", 1), seed=seed)
    if name == "sb3 PPO":
        import stable_baselines3

        kind = stable_baselines3.PPO
    else:
        import sb3_contrib

        kind = sb3_contrib.TRPO
    model = kind("MlpPolicy", environments, seed=seed, device="cpu", **options)
    begun = time.perf_counter()
    model.learn(task.steps)
    seconds = time.perf_counter() - begun
    one, returns = gymnasium.make(env), []
    for episode in range(EPISODES):
        observation, _ = one.reset(seed=10_000 * seed + episode)
        total, over = 0.0, False
        while not over:
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = one.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return {"seconds": seconds, "steps": int(model.num_timesteps), "returns": returns}


def falling(start: float):
    """A rate that falls linearly to 0."""
    return lambda left: left * start


def main() -> None:
    parser = argparse.ArgumentParser("bench.reinforcement", description=__doc__.splitlines()[0])
    parser.add_argument("--env", choices=TASKS, default="CartPole-v1")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="steps to learn from (default: those of the task)")
    parser.add_argument("--peers", metavar="PYTHON", help="Python that has stable-baselines3 and sb3-contrib")
    parser.add_argument("--only", nargs="+", choices=[*OURS, *_ZOO], help="agents to run")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    task = TASKS[options.env]
    if options.steps is not None:
        task = Task(options.steps, task.goal, task.options, task.theirs)
    if options.run is not None:
        run = run_ours if options.run in OURS else run_theirs
        print(json.dumps(run(options.run, options.env, task, options.seed)))
        return
    names = options.only or [*OURS, *(_ZOO if options.peers else ())]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for seed in range(options.seeds):
        for name, results in found.items():
            python = sys.executable if name in OURS else options.peers
            if python is None:
                parser.error(f"{name} takes a Python that has it: pass --peers")
            command = [python, "-m", "bench.reinforcement", "--run", name, "--env", options.env]
            command += ["--seed", str(seed), "--steps", str(task.steps)]
            # Peers warn on standard output.
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            result = json.loads(out.splitlines()[-1])
            results.append(result)
            returns = np.array(result["returns"])
            print(
                f"{name:9} seed {seed}: {result['steps']} steps in {result['seconds']:5.1f} s; {EPISODES} episodes: "
                f"return {returns.mean():.1f} ± {returns.std():.1f}",
                flush=True,
            )
    for name, results in found.items():
        means = np.array([np.mean(result["returns"]) for result in results])
        seconds = np.median([result["seconds"] for result in results])
        print(
            f"{name:9} median {seconds:5.1f} s, mean return {means.mean():.1f}, "
            f"at least {task.goal:g} with {(means >= task.goal).sum()} of {len(means)} seeds"
        )


if __name__ == "__main__":
    main()
