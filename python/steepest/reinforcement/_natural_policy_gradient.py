"""The natural policy gradient: steps in a ball of divergence."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions

from steepest.callbacks import Callback

from ._agent import Agent
from ._learned import Learned
from ._parameters import AgentParameters, described
from ._rollout import Rollout
from ._updates import NaturalUpdate


@described
class NaturalPolicyGradient(Agent):
    """Agent that follows the natural policy gradient, in steps of bounded divergence.

    The gradient is that of `PolicyGradient`. Divergences KL(old policy || new policy) measure the length of a step, and
    the Fisher matrix F of the policy is their second derivative (S. Kakade, "A natural policy gradient", NIPS 2001).
    The step goes along ``F^-1 g`` to the edge of the ball ``d^T F d / 2 = max_divergence``. It is shortened until
    the divergence over all observations is within the bound and the probability of good actions has risen (trust region
    policy optimisation: J. Schulman et al., ICML 2015). There is no learning rate for the policy.

    Parameters
    ----------
    $shared
    max_divergence : float, default=0.01
        Largest mean divergence of the new policy from the old one, in nats.
    damping : float, default=0.01
        The number that is added to the diagonal of the Fisher matrix.
    solver : {"cg", "cholesky", "gram", "kfac"}, default="cg"
        How ``(F + damping I) x = g`` is solved: by a few products with F in conjugate gradients, exactly by a Cholesky
        factor of F or of the scores' Gram matrix, or with the approximation of K-FAC.
    n_iterations : int, default=10
        Iterations of conjugate gradients.

    Attributes
    ----------
    $attributes

    Examples
    --------
    >>> from steepest.reinforcement import NaturalPolicyGradient
    >>> agent = NaturalPolicyGradient("CartPole-v1", random_state=0)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **AgentParameters._parameter_constraints,
        "max_divergence": [Interval(Real, 0, None, closed="neither")],
        "damping": [Interval(Real, 0, None, closed="neither")],
        "solver": [StrOptions({"cg", "cholesky", "gram", "kfac"})],
        "n_iterations": [Interval(Integral, 1, None, closed="left")],
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
        max_divergence: float = 0.01,
        damping: float = 0.01,
        solver: str = "cg",
        n_iterations: int = 10,
    ) -> None:
        self._store(locals())

    def _make_update(self, learned: Learned, rollout: Rollout) -> NaturalUpdate:
        return NaturalUpdate(
            learned.policy,
            rollout,
            bound=self.max_divergence,
            damping=self.damping,
            solver=self.solver,
            n_iterations=self.n_iterations,
            entropy=self.entropy_coef,
        )
