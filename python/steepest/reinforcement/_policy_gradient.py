"""The policy gradient: REINFORCE with a learned baseline."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from steepest import nn, optim
from steepest.callbacks import Callback

from ._agent import Agent
from ._learned import Learned
from ._parameters import AgentParameters, described
from ._rollout import Rollout
from ._updates import GradientUpdate


@described
class PolicyGradient(Agent):
    """Agent that follows the policy gradient: REINFORCE with values as its baseline.

    The gradient of the expected return is the mean of ``A grad log p(action)`` over the steps of the policy, with the
    advantages A of the actions (R. J. Williams, "Simple statistical gradient-following algorithms for connectionist
    reinforcement learning", 1992). Each update is one step of Adam along it. No step depends on how much it changes the
    policy: `NaturalPolicyGradient` and `PPO` bound that.

    Parameters
    ----------
    $shared
    learning_rate : float, default=0.01
        Learning rate of Adam for the policy.

    Attributes
    ----------
    $attributes

    Examples
    --------
    >>> from steepest.reinforcement import PolicyGradient
    >>> agent = PolicyGradient("CartPole-v1", random_state=0)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **AgentParameters._parameter_constraints,
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        env: Any = None,
        *,
        n_envs: int = 16,
        horizon: int = 128,
        gamma: float = 0.99,
        gae_lambda: float = 1.0,
        hidden_layer_sizes: Any = (64, 64),
        activation: str = "tanh",
        initial_deviation: float = 1.0,
        learned_deviation: str = "shared",
        normalize_observations: bool = True,
        normalize_advantages: bool = True,
        normalize_rewards: bool = False,
        entropy_coef: float = 0.0,
        value_learning_rate: float = 1e-3,
        value_epochs: int = 10,
        value_batch_size: int = 64,
        max_norm: float | None = 0.5,
        dtype: str = "float32",
        random_state: Any = None,
        verbose: bool | int = False,
        callbacks: Iterable[Callback] | None = None,
        device: str = "auto",
        learning_rate: float = 0.01,
    ) -> None:
        self._store(locals())

    def _make_optimizer(self, network: nn.Network) -> optim.Optimizer:
        return optim.Adam(network.parameters(), self.learning_rate, max_norm=self.max_norm)

    def _make_update(self, learned: Learned, rollout: Rollout) -> GradientUpdate:
        assert learned.optimizer is not None
        return GradientUpdate(learned.policy, rollout, learned.optimizer, self.entropy_coef)
