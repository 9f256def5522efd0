"""Environments side by side: spaces, resets of vectorised environments, and Gymnasium."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from small_environments import Aim, Bandit, Chain, Steady, box, discrete

from steepest.reinforcement import PPO, BrokenEnvironmentError, NaturalPolicyGradient
from steepest.reinforcement._environments import Singles, Vectorised, make_environments
from steepest.reinforcement._spaces import actions_of, observations_of

needs_gymnasium = pytest.mark.skipif(
    importlib.util.find_spec("gymnasium") is None, reason="gymnasium is not installed"
)


def test_spaces():
    assert observations_of(box(0.0, 1.0, (2, 3))).rows(np.ones((4, 2, 3))).shape == (4, 6)
    np.testing.assert_array_equal(
        observations_of(discrete(3, start=-1)).rows([1, -1]), [[0, 0, 1], [1, 0, 0]]
    )
    np.testing.assert_array_equal(actions_of(discrete(3, start=2)).for_environment(np.array([0, 2])), [2, 4])
    bounded = actions_of(box(-1.0, 1.0, (1, 2)))
    np.testing.assert_array_equal(bounded.for_environment(np.array([[-3.0, 0.5]])), [[[-1.0, 0.5]]])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (SimpleNamespace(spaces={}), "the space SimpleNamespace: they must be discrete, or a box"),
        (discrete(1), "a single action"),
        (SimpleNamespace(low=np.zeros(2), high=np.ones(2), dtype=np.int64), "not of real numbers"),
    ],
    ids=["dict", "one action", "integers"],
)
def test_spaces_that_are_refused(space, message):
    class Odd(Bandit):
        action_space = space

    with pytest.raises(TypeError, match=rf"^\[PPO\] .*{message}"):
        PPO(Odd).learn(10)


def test_episodes_follow_one_another():
    environments = Singles([Steady(2, terminates=True), Steady(3, terminates=False)], "Agent")
    environments.reset(0)
    ends = []
    for _ in range(6):
        step = environments.step(np.zeros(2, int))
        ends.append((step.terminated.tolist(), step.truncated.tolist()))
        assert step.counts.all()
    assert [i for i, (terminated, _) in enumerate(ends) if terminated[0]] == [1, 3, 5]
    assert [i for i, (_, truncated) in enumerate(ends) if truncated[1]] == [2, 5]


class Counting:
    """Environments in a row whose observations count the steps of an episode of three, in one of Gymnasium's modes."""

    single_observation_space, single_action_space = box(0.0, 9.0), discrete(2)
    num_envs = 2

    def __init__(self, mode):
        self.metadata, self.mode = {"autoreset_mode": mode}, mode

    def reset(self, seed=None, options=None):
        mask = np.ones(2, bool) if options is None else options["reset_mask"]
        if options is None:
            self.counts, self.done = np.array([0.0, 1.0]), np.zeros(2, bool)
        self.counts[mask], self.done[mask] = (0.0, 0.0) if options else (self.counts[mask], False)
        return self.counts[:, None].copy(), {}

    def step(self, actions):
        resets, info = self.done.copy(), {}
        if self.mode == "NextStep":
            self.counts = np.where(resets, 0.0, self.counts + 1)
        else:
            assert not resets.any()
            self.counts += 1
        done = self.counts == 3
        rewards = np.where(resets & (self.mode == "NextStep"), 0.0, 1.0)
        if self.mode == "SameStep":
            info["final_obs"] = [np.array([c]) if d else None for c, d in zip(self.counts, done, strict=True)]
            self.counts[done] = 0
        else:
            self.done = done
        return self.counts[:, None].copy(), rewards, np.zeros(2, bool), done, info


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_resets_of_vectorised_environments(mode):
    environments = Vectorised(Counting(mode), "Agent", owned=False)
    before = environments.reset(0)[0, 0]
    seen, last = [], []
    for _ in range(8):
        step = environments.step(np.zeros(2, int))
        if step.counts[0]:
            seen.append((before, step.last[0, 0], bool(step.truncated[0])))
        else:
            assert step.rewards[0] == 0.0
        before = step.observations[0, 0]
        last.append(step.truncated[0])
    turn = [(0.0, 1.0, False), (1.0, 2.0, False), (2.0, 3.0, True)]
    assert seen == (turn * 3)[: len(seen)]
    assert len(seen) == (6 if mode == "NextStep" else 8)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (1, np.array([1.0]), r"a reward has shape \(1,\): it must be a single value"),
        (2, np.array([False]), r"`terminated` has shape \(1,\)"),
        (3, "False", "`truncated` is not True or False"),
        (3, np.nan, "`truncated` is not True or False"),
    ],
    ids=["reward in an array", "end in an array", "text", "NaN"],
)
def test_what_an_environment_must_return(place, value, message):
    class Odd(Bandit):
        def step(self, action):
            returned = [*super().step(action)]
            returned[place] = value
            return returned

    with pytest.raises(BrokenEnvironmentError, match=rf"^\[PPO\] .* step 1 of this run: {message}"):
        PPO(Odd, n_envs=2, horizon=4).learn(8)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.zeros((3, 1)), "3 observations for 2 environments"),
        (0, np.zeros((1, 1)), "1 observations for 2 environments"),
        (1, np.zeros((2, 1)), r"a reward has shape \(1,\)"),
        (1, 0.0, r"an array of shape \(\) for a reward of 2 environments"),
        (3, np.zeros(1, bool), r"an array of shape \(1,\) for `truncated` of 2"),
    ],
    ids=["more rows", "fewer rows", "rewards in rows", "one reward", "one end"],
)
def test_what_a_vectorised_environment_must_return(place, value, message):
    class Odd(Counting):
        def step(self, actions):
            returned = [*super().step(actions)]
            returned[place] = value
            return returned

    with pytest.raises(BrokenEnvironmentError, match=message):
        PPO(Odd("SameStep"), horizon=4).learn(8)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_learning_in_vectorised_environments(mode):
    agent = PPO(Counting(mode), n_envs=99, horizon=8, hidden_layer_sizes=(4,), random_state=0).learn(64)
    assert agent.n_steps_ == {"NextStep": 48, "SameStep": 64, "Disabled": 64}[mode]
    # The second environment begins in the middle of an episode.
    assert agent.episode_returns_[:2] == [2.0, 3.0]
    np.testing.assert_array_equal(np.sort(agent.evaluate(4)), [2.0, 3.0, 3.0, 3.0])


def test_the_scale_of_the_rewards_does_not_count_resets():
    """Steps that an environment spends on its reset have no reward, and are no rewards of 0."""
    deviations = []
    for mode, horizon in (("NextStep", 8), ("SameStep", 6)):
        options = {"gamma": 0.0, "normalize_rewards": True, "hidden_layer_sizes": (4,), "random_state": 0}
        agent = PPO(Counting(mode), horizon=horizon, **options).learn(2 * horizon)
        deviations.append(agent._learned.rewards.variance[0])
    assert deviations == [0.0, 0.0]


def test_without_gymnasium(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(
        ImportError, match=r"^\[PPO\] .* not installed: pip install 'gymnasium\[classic-control\]'"
    ):
        PPO("CartPole-v1").learn(10)


@needs_gymnasium
def test_names():
    assert isinstance(make_environments("CartPole-v1", 3, "Agent"), Vectorised)
    assert isinstance(make_environments("Pendulum-v1", 3, "Agent"), Singles)
    with pytest.raises(ValueError, match=r"^\[Agent\] there is no environment 'NoSuch-v1'"):
        make_environments("NoSuch-v1", 1, "Agent")


@needs_gymnasium
def test_the_module_of_a_name_is_imported(tmp_path, monkeypatch):
    entry = "gymnasium.envs.classic_control:PendulumEnv"
    (tmp_path / "own_pendulum.py").write_text(
        f"import gymnasium\n\ngymnasium.register('Own-v0', entry_point={entry!r}, max_episode_steps=5)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    agent = PPO("own_pendulum:Own-v0", n_envs=2, horizon=10, random_state=0).learn(20)
    assert agent.history_["mean_length"] == [5.0]
    with pytest.raises(ImportError, match=r"^\[PPO\] No module named 'no_such_module'"):
        PPO("no_such_module:Own-v0").learn(10)


@needs_gymnasium
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1"])
def test_gymnasium(env):
    agent = NaturalPolicyGradient(env, n_envs=4, horizon=250, random_state=0).learn(1000)
    observation = np.zeros(agent._learned.policy.observations.shape)
    import gymnasium

    with gymnasium.make(env) as one:
        assert one.action_space.contains(agent.act(observation))
    assert agent.evaluate(4).shape == (4,)


@needs_gymnasium
def test_a_pole_is_balanced():
    agent = NaturalPolicyGradient("CartPole-v1", random_state=0).learn(30_000)
    assert agent.history_["mean_return"][0] < 40
    assert agent.evaluate(20).mean() > 150


@pytest.mark.parametrize("env", [Bandit, Chain, Aim])
def test_each_environment_plays_as_many_episodes(env):
    agent = PPO(env, n_envs=4, horizon=8, hidden_layer_sizes=(4,), random_state=0).learn(32)
    assert len(agent.evaluate(10)) == 10
    assert len(agent.evaluate(2)) == 2
