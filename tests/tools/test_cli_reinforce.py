"""The command `steepest reinforce`, and the curve of returns."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from small_environments import Bandit

import steepest
from steepest import cli, plots
from steepest.cli import reinforce
from steepest.reinforcement import PPO, NaturalPolicyGradient

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gymnasium") is None, reason="gymnasium is not installed"
)


def test_learn_save_and_play(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    path = tmp_path / "agent.safetensors"
    options = ["--steps", "6000", "--save", str(path), "--envs", "8"]
    assert cli.main(["reinforce", *options, "--gamma", "0.98"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "NaturalPolicyGradient in CartPole-v1"
    assert " steps  return " in lines[1]
    curve = next(line for line in lines if line.startswith("return from "))
    assert set(curve.split()[-1]) <= set("▁▂▃▄▅▆▇█")
    assert "100 episodes of the most probable actions: return " in lines[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["agent.safetensors", "agent.safetensors.png"]
    agent = steepest.load(path)
    assert isinstance(agent, NaturalPolicyGradient)
    assert (agent.gamma, agent.n_envs, agent.callbacks) == (0.98, 8, None)

    assert cli.main(["reinforce", "--load", str(path), "--steps", "0", "--play"]) == 0
    out = capsys.readouterr().out
    assert "steps  return" not in out
    assert "not shown: there is no display for a window" in out
    assert "an episode: return " in out
    assert cli.main(["reinforce", "--load", str(path), "--steps", "2000", "--save", str(path)]) == 0
    assert steepest.load(path).n_steps_ > agent.n_steps_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--env", "NoSuch-v1"], "there is no environment 'NoSuch-v1'"),
        (["--steps", "0"], "--steps 0 needs a policy: pass --load"),
        (["--load", "no-such-file"], "cannot read no-such-file"),
        (["--load", "x", "--method", "ppo"], "--method is for a new agent"),
        (["--save", "no/such/folder/agent"], "there is no folder no/such/folder"),
    ],
)
def test_bad_arguments(options, message, capsys):
    assert cli.main(["reinforce", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_file_without_an_agent(tmp_path, capsys):
    steepest.save(steepest.nn.Network([steepest.nn.Linear(1, 1)]), tmp_path / "net")
    assert cli.main(["reinforce", "--load", str(tmp_path / "net")]) == 2
    assert "holds a Network, and no agent" in capsys.readouterr().err


@pytest.mark.parametrize(("fault", "status"), [("failure", 1), ("interrupt", 130)])
def test_what_was_learned_is_saved(fault, status, tmp_path, capsys, monkeypatch):
    step, calls = Bandit.step, []

    def faulty(self, action):
        calls.append(action)
        if len(calls) > 5000:
            raise OSError("unplugged") if fault == "failure" and len(calls) < 5020 else KeyboardInterrupt
        return step(self, action)

    def learned_by_function(name, n, owner):
        from steepest.reinforcement._environments import Singles

        return Singles([Bandit() for _ in range(n)], owner)

    monkeypatch.setattr("steepest.reinforcement._environments._by_name", learned_by_function)
    monkeypatch.setattr(Bandit, "step", faulty)
    if fault == "interrupt":
        monkeypatch.setattr(reinforce, "EVALUATED", 1)
        monkeypatch.setattr(Bandit, "step", interrupted_once(step))
    assert cli.main(["reinforce", "--steps", "9000", "--save", str(tmp_path / "agent")]) == status
    err = capsys.readouterr().err
    assert ("it raised OSError: unplugged" if fault == "failure" else "interrupted after 4096 steps") in err
    assert steepest.load(tmp_path / "agent").n_steps_ == 4096


def interrupted_once(step):
    calls = []

    def run(self, action):
        calls.append(action)
        if len(calls) == 5000:
            raise KeyboardInterrupt
        return step(self, action)

    return run


def test_render_modes(monkeypatch):
    import gymnasium

    monkeypatch.setenv("DISPLAY", ":0")
    assert reinforce._render_mode(gymnasium.spec("FrozenLake-v1"))[0] == "ansi"
    assert reinforce._render_mode(gymnasium.spec("CartPole-v1"))[0] == "human"
    nothing = SimpleNamespace(entry_point="small_environments:Bandit", id="Bandit-v0")
    assert reinforce._render_mode(nothing) == (None, "Bandit-v0 shows neither text nor a window")


def test_bars():
    assert reinforce.bars([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert reinforce.bars([3.0, 3.0]) == "▁▁"
    assert len(reinforce.bars(np.arange(500))) == 60


def test_return_curve(tmp_path):
    agents = [PPO(Bandit, n_envs=4, horizon=8, random_state=seed).learn(96) for seed in range(2)]
    axes = plots.return_curve({"PPO": agents, "first": agents[0]}, tmp_path / "curve.png", best=1.0)
    assert (tmp_path / "curve.png").stat().st_size > 1000
    lines = axes.get_lines()
    assert len(lines) == 4
    np.testing.assert_array_equal(lines[1].get_xdata(), [32, 64, 96])
    np.testing.assert_array_equal(lines[2].get_ydata(), agents[1].history_["mean_return"])
    assert lines[1].get_color() == lines[2].get_color() != lines[3].get_color()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["PPO", "first"]
    assert axes.get_ylabel() == "mean return of the last 100 episodes"
    with pytest.raises(ValueError, match=r"^\[return_curve\] there is nothing to draw"):
        plots.return_curve(PPO(Bandit))
