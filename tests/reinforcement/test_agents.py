"""Agents in small environments with known optima: learning, acting, repeating, saving, and what goes wrong."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from small_environments import Aim, Bandit, Broken, Chain, Steady

import steepest
from steepest.callbacks import Callback, Checkpoint, EarlyStopping
from steepest.reinforcement import PPO, BrokenEnvironmentError, NaturalPolicyGradient, PolicyGradient

# Each agent with a rate that suits a few updates.
AGENTS = {
    PolicyGradient: {"learning_rate": 0.03},
    NaturalPolicyGradient: {"max_divergence": 0.05},
    PPO: {"learning_rate": 0.01, "batch_size": 32},
}
every_agent = pytest.mark.parametrize("kind", AGENTS, ids=lambda kind: kind.__name__)


def small(kind, env=Bandit, **options):
    defaults = {"n_envs": 8, "horizon": 16, "hidden_layer_sizes": (8,), "value_epochs": 2, "random_state": 0}
    return kind(env, **{**defaults, **AGENTS[kind], **options})


@every_agent
def test_the_better_arm(kind):
    agent = small(kind).learn(5000)
    assert agent.act(np.ones(1)) == 1
    assert agent.probabilities(np.ones((1, 1)))[0, 1] > 0.95
    assert agent.evaluate(200, deterministic=False).mean() > 0.9
    assert agent.history_["entropy"][0] > 0.65
    assert agent.history_["entropy"][-1] < 0.3


@every_agent
def test_the_longer_way(kind):
    agent = small(kind, Chain, gamma=0.9, hidden_layer_sizes=()).learn(16000)
    assert [agent.act(state) for state in range(1, 5)] == [4, 4, 4, 4]
    np.testing.assert_array_equal(agent.evaluate(5), np.ones(5))


@every_agent
@pytest.mark.parametrize("learned_deviation", ["shared", "by_state"])
def test_actions_in_a_box(kind, learned_deviation):
    agent = small(kind, Aim, learned_deviation=learned_deviation, hidden_layer_sizes=(16,)).learn(20000)
    assert agent.act([0.3]) == pytest.approx(0.6, abs=0.25)
    assert agent.act([0.95]) <= 1.5
    assert agent.evaluate(100).mean() > -0.2
    mean, deviation = agent.probabilities([[0.0]])[0]
    assert abs(mean[0]) < 0.25
    assert deviation[0] < 0.8


@pytest.mark.parametrize(
    ("terminates", "value"),
    [(True, 1 + 0.5 + 0.25 + 0.125), (False, 2.0)],
    ids=["terminates", "limit of time"],
)
def test_values_at_the_end(terminates, value):
    """Discounted by 1/2, rewards of 1 are worth 2 for ever, and less where there are four at most."""
    env = lambda: Steady(4, terminates=terminates)  # noqa: E731
    options = {"gamma": 0.5, "value_learning_rate": 0.01, "value_epochs": 5}
    agent = small(PPO, env, **options).learn(16 * 128)
    # Only the mean over the steps of an episode can be learned, since all observations are equal.
    mean = np.mean([2 - 0.5**k for k in range(4)]) if terminates else value
    found = agent._learned.value.of(agent._learned.policy.standardised(np.zeros((1, 1))))
    assert found[0] == pytest.approx(mean, abs=0.12)


@every_agent
def test_divergences_are_recorded_and_bounded(kind):
    agent = small(kind, Chain).learn(3000)
    divergences = np.array(agent.history_["divergence"])
    assert (divergences >= 0).all()
    assert divergences.max() > 0
    if kind is NaturalPolicyGradient:
        assert divergences.max() <= 0.05


@every_agent
def test_history(kind):
    agent = small(kind, Chain, horizon=20).learn(1000)
    history = agent.history_
    assert history["steps"] == [160, 320, 480, 640, 800, 960]
    assert history["episodes"][-1] == len(agent.episode_returns_)
    assert history["mean_return"][-1] == pytest.approx(np.mean(agent.episode_returns_[-100:]))
    assert all(len(column) == 6 for column in history.values())
    assert agent.n_steps_ == 960


@every_agent
def test_the_same_seed_the_same_run(kind, threads):
    first, second = (small(kind, Chain, random_state=3).learn(600) for _ in range(2))
    other = small(kind, Chain, random_state=4).learn(600)
    arenas = [agent._learned.policy.network.arena for agent in (first, second, other)]
    assert arenas[0].tobytes() == arenas[1].tobytes()
    assert (arenas[0] != arenas[2]).any()
    assert first.episode_returns_ == second.episode_returns_
    np.testing.assert_array_equal(first.evaluate(20), second.evaluate(20))


def by_file(agent, folder):
    steepest.save(agent, folder / "agent.safetensors")
    return steepest.load(folder / "agent.safetensors")


@every_agent
@pytest.mark.parametrize(
    "way",
    [by_file, lambda agent, _: pickle.loads(pickle.dumps(agent)), lambda agent, _: copy.deepcopy(agent)],
)
@pytest.mark.parametrize("env", [Chain, Aim])
def test_kept_agents_act_and_go_on(kind, way, env, tmp_path, dtype):
    agent = small(kind, env, dtype=np.dtype(dtype).name, normalize_rewards=True).learn(300)
    twin = way(agent, tmp_path)
    assert twin.history_ == agent.history_
    x = [1, 2, 3] if env is Chain else [[0.1], [-0.7]]
    np.testing.assert_array_equal(twin.act(x), agent.act(x))
    np.testing.assert_array_equal(twin.act(x, deterministic=False), agent.act(x, deterministic=False))
    for each in (agent, twin):
        each.set_params(env=env).learn(300)
    assert twin._learned.policy.network.arena.tobytes() == agent._learned.policy.network.arena.tobytes()


def test_a_file_keeps_the_name_of_the_environment_but_no_function(tmp_path):
    assert by_file(PPO("CartPole-v1", gamma=0.5), tmp_path).get_params()["env"] == "CartPole-v1"
    twin = by_file(small(PPO).learn(100), tmp_path)
    assert twin.env is None
    with pytest.raises(ValueError, match=r"^\[PPO\] there is no environment to act in: pass env"):
        twin.learn(100)
    assert twin.evaluate(3, env=Bandit).shape == (3,)


@every_agent
def test_a_clone_begins_anew(kind):
    agent = small(kind).learn(200)
    twin = clone(agent)
    assert twin.get_params() == agent.get_params()
    with pytest.raises(NotFittedError, match="has no policy yet: call learn first"):
        twin.act(np.ones(1))


def test_shapes_of_actions():
    discrete, vectors = small(PPO, Chain).learn(100), small(PPO, Aim).learn(100)
    assert type(discrete.act(2)) is int
    assert discrete.act([2, 3, 4]).shape == (3,)
    assert vectors.act([0.5]).shape == (1,)
    assert vectors.act([[0.5], [0.6]]).shape == (2, 1)
    with pytest.raises(ValueError, match=r"^\[PPO\] an observation has shape \(2,\), but its space \(1,\)"):
        vectors.act([[0.5, 0.5]])
    with pytest.raises(ValueError, match=r"^\[PPO\] an observation is not finite"):
        vectors.act([np.nan])
    with pytest.raises(ValueError, match=r"outside 0..5"):
        discrete.act([7])


def test_sampled_actions_are_drawn_anew():
    agent = small(PPO, Aim).learn(100)
    assert agent.act([0.5], deterministic=False) != agent.act([0.5], deterministic=False)
    assert agent.act([0.5]) == agent.act([0.5])


@pytest.mark.parametrize("fault", ["raises", "reward", "observation", "shape"])
def test_a_failing_environment_ends_the_run_and_leaves_the_policy(fault, tmp_path):
    """It fails in the third update; the policy is that after the second, in the agent and in the file."""
    messages = {
        "raises": "it raised OSError: the robot is on fire",
        "reward": "a reward is not finite",
        "observation": "an observation is not finite",
        "shape": "an observation",
    }
    agent = small(NaturalPolicyGradient, lambda: Broken(40, fault))
    with pytest.raises(
        BrokenEnvironmentError, match=rf"^\[Nat.*failed in step 41 of this run: {messages[fault]}"
    ) as e:
        agent.learn(10000, save_to=tmp_path / "agent")
    assert (fault == "raises") == isinstance(e.value.__cause__, OSError)
    twin = small(NaturalPolicyGradient).learn(2 * 128)
    assert agent.n_steps_ == 2 * 128
    for kept in (agent, steepest.load(tmp_path / "agent")):
        assert kept._learned.policy.network.arena.tobytes() == twin._learned.policy.network.arena.tobytes()
        assert kept.act(np.ones(1)) in (0, 1)


def test_an_environment_that_cannot_begin():
    def make():
        raise OSError("no such robot")

    with pytest.raises(
        BrokenEnvironmentError, match=r"^\[PPO\] env could not be called: OSError: no such robot"
    ):
        PPO(make).learn(10)


@every_agent
def test_an_interrupt_leaves_a_usable_agent(kind, tmp_path):
    agent = small(kind, lambda: Broken(40, "interrupt"))
    with pytest.warns(UserWarning, match="interrupted by user"):
        agent.learn(10000, save_to=tmp_path / "agent")
    assert agent.n_steps_ == 2 * 128
    assert agent.act(np.ones(1)) == steepest.load(tmp_path / "agent").act(np.ones(1))


def test_divergence_leaves_the_policy_before_it(monkeypatch):
    agent = small(PPO).learn(256)
    before = agent._learned.policy.network.arena.copy()
    agent.set_params(env=lambda: Huge())
    with pytest.raises(
        steepest.DivergenceError, match=r"^\[PPO\] learning diverged in update 3: .* was kept$"
    ):
        agent.learn(256)
    np.testing.assert_array_equal(agent._learned.policy.network.arena, before)
    assert agent.n_steps_ == 256


def test_returns_that_overflow_leave_the_scale_of_the_rewards():
    agent = small(PPO, normalize_rewards=True).learn(256)
    before = agent._learned.rewards.state()
    with pytest.raises(
        steepest.DivergenceError, match="the variance of the discounted returns is not finite"
    ):
        agent.set_params(env=lambda: Huge()).learn(256)
    assert agent._learned.rewards.state() == before
    agent.set_params(env=Bandit).learn(256)
    assert 0.1 < agent._learned.rewards.deviation[0] < 1.0


class Huge(Bandit):
    """Rewards whose squares overflow."""

    def step(self, action):
        return np.ones(1), 1e300 * (1 + action), True, False, {}


def test_callbacks_and_targets(tmp_path, capsys):
    told = []

    class Listener(Callback):
        def epoch_done(self, model, epoch):
            told.append((epoch.number, epoch.samples, epoch.validation_score))
            return len(told) == 3

    agent = small(PPO, callbacks=[Listener(), Checkpoint(tmp_path / "agent", save_best=True)], verbose=True)
    agent.learn(10000)
    assert [(number, samples) for number, samples, _ in told] == [(1, 128), (2, 128), (3, 128)]
    assert told[-1][2] == agent.history_["mean_return"][-1]
    assert steepest.load(tmp_path / "agent").n_steps_ > 0
    assert capsys.readouterr().out.startswith("PPO: 128 steps, 128 episodes, mean return 0.")
    stopped = small(PPO, callbacks=[EarlyStopping("validation_score", 1, min_improvement=5.0)]).learn(10000)
    assert len(stopped.history_["steps"]) == 2
    reached = small(PPO).learn(100_000, target_return=0.9)
    assert reached.history_["mean_return"][-1] >= 0.9
    assert reached.n_steps_ < 20_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_envs": 0}, "'n_envs' parameter"),
        ({"gamma": 1.5}, "'gamma' parameter"),
        ({"hidden_layer_sizes": (4, 0)}, r"^\[PPO\] hidden_layer_sizes must be positive"),
        ({"activation": "none"}, "'activation' parameter"),
        ({"env": None}, r"^\[PPO\] there is no environment"),
        ({"clip": 0.0}, "'clip' parameter"),
        ({"dtype": "float16"}, "'dtype' parameter"),
    ],
    ids=str,
)
def test_bad_parameters(options, message):
    agent = small(PPO, **options) if "env" not in options else PPO(None)
    with pytest.raises(ValueError, match=message):
        agent.learn(100)
    assert not hasattr(agent, "history_")


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"^\[PPO\] n_steps is 0"):
        small(PPO).learn(0)
    with pytest.raises(TypeError, match=r"^\[PPO\] n_steps must be an integer"):
        small(PPO).learn(1.5)
    with pytest.raises(ValueError, match=r"^\[PPO\] target_return is nan"):
        small(PPO).learn(10, target_return=float("nan"))
    with pytest.raises(FileNotFoundError, match=r"^\[PPO\] save_to: there is no folder .*nowhere"):
        small(PPO).learn(10, save_to="nowhere/agent")
    with pytest.raises(TypeError, match=r"^\[PPO\] callbacks must be objects"):
        small(PPO, callbacks=["none"]).learn(10)
    with pytest.raises(
        TypeError, match=r"^\[PPO\] env must be the name .* got Bandit: pass a function that makes one"
    ):
        small(PPO, env=Bandit()).learn(10)
    agent = small(PPO).learn(10)
    agent.set_params(env=Chain)
    with pytest.raises(ValueError, match=r"^\[PPO\] the observations of env differ .*: 6, not 1"):
        agent.learn(10)
    with pytest.raises(ValueError, match=r"^\[PPO\] n_episodes is 0"):
        agent.evaluate(0)


def test_the_number_of_steps():
    """Whole updates fit into the steps; where not even one does, it is shorter."""
    assert small(PPO).learn(300).n_steps_ == 256
    assert small(PPO).learn(50).n_steps_ == 56  # 7 steps of 8 environments


def test_rewards_of_any_size():
    """Values and advantages are standardised, so that a thousandth or a million times the reward changes little."""
    chosen = []
    for size in (1e-3, 1e6):

        class Scaled(Bandit):
            def step(self, action, size=size):
                observation, paid, *rest = super().step(action)
                return observation, size * paid, *rest

        agent = small(NaturalPolicyGradient, Scaled).learn(2000)
        chosen.append(agent.probabilities(np.ones((1, 1)))[0, 1])
    np.testing.assert_allclose(chosen[0], chosen[1], atol=1e-3)
    assert chosen[0] > 0.8


@every_agent
def test_on_cuda(kind, cupy):
    """The same seed gives the same actions, and nearly the same policy, on both devices."""
    options = {"dtype": "float64", "n_envs": 4, "horizon": 8, "value_epochs": 1}
    agents = [small(kind, Chain, device=device, **options).learn(96) for device in ("cpu", "cuda")]
    assert isinstance(agents[1]._learned.policy.network.arena, cupy.ndarray)
    states = np.arange(6)
    np.testing.assert_allclose(
        agents[1].probabilities(states), agents[0].probabilities(states), rtol=1e-9, atol=1e-9
    )
    assert agents[0].episode_returns_ == agents[1].episode_returns_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twin = pickle.loads(pickle.dumps(agents[1]))
    assert twin._learned.policy.network.device == "cpu"
    np.testing.assert_array_equal(twin.act(states), agents[0].act(states))
