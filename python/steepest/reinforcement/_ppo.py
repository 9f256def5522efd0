"""Proximal policy optimisation: clipped steps of mini-batches."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from steepest import nn, optim
from steepest.callbacks import Callback

from ._agent import Agent
from ._learned import Learned
from ._parameters import AgentParameters, described
from ._rollout import Rollout
from ._updates import ClippedUpdate


@described
class PPO(Agent):
    """Agent that takes several passes over the steps of a policy, with a clipped objective: PPO.

    The objective of a step is ``min(r A, clip(r, 1 - clip, 1 + clip) A)``, with its advantage A and the ratio r of the
    action's probability to that under the policy that acted. Nothing is gained by moving a ratio further than `clip`
    from 1, so that the policy stays near the one that acted (J. Schulman et al., "Proximal policy optimization
    algorithms", 2017). `NaturalPolicyGradient` bounds its divergence instead.

    Parameters
    ----------
    $shared
    learning_rate : float, default=0.0003
        Learning rate of Adam for the policy.
    n_epochs, batch_size : int, default=10 and 64
        Passes over the steps of an update, and steps in a mini-batch.
    clip : float, default=0.2
        How far a ratio may be from 1, and count.
    max_divergence : float or None, default=None
        Divergence of the new policy from the old one, in nats, beyond which no further pass begins.

    Attributes
    ----------
    $attributes

    Examples
    --------
    >>> from steepest.reinforcement import PPO
    >>> agent = PPO("CartPole-v1", random_state=0)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **AgentParameters._parameter_constraints,
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "clip": [Interval(Real, 0, 1, closed="neither")],
        "max_divergence": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        env: Any = None,
        *,
        n_envs: int = 16,
        horizon: int = 128,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
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
        learning_rate: float = 3e-4,
        n_epochs: int = 10,
        batch_size: int = 64,
        clip: float = 0.2,
        max_divergence: float | None = None,
    ) -> None:
        self._store(locals())

    def _make_optimizer(self, network: nn.Network) -> optim.Optimizer:
        return optim.Adam(network.parameters(), self.learning_rate, max_norm=self.max_norm)

    def _make_update(self, learned: Learned, rollout: Rollout) -> ClippedUpdate:
        assert learned.optimizer is not None
        return ClippedUpdate(
            learned.policy,
            rollout,
            learned.optimizer,
            clip=self.clip,
            n_epochs=self.n_epochs,
            batch_size=self.batch_size,
            entropy=self.entropy_coef,
            bound=self.max_divergence,
            seed=learned.seed,
        )
