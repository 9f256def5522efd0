"""Reinforcement learning: policies that learn from rewards, by policy gradients, natural steps and clipped steps.

All agents are used alike: ``agent = NaturalPolicyGradient("CartPole-v1").learn(100_000)``, ``agent.act(observation)``,
``agent.evaluate()``. Environments are those of Gymnasium, or any objects with its interface.
"""

from ._advantages import generalised_advantages
from ._errors import BrokenEnvironmentError
from ._natural_policy_gradient import NaturalPolicyGradient
from ._policy_gradient import PolicyGradient
from ._ppo import PPO

__all__ = [
    "PPO",
    "BrokenEnvironmentError",
    "NaturalPolicyGradient",
    "PolicyGradient",
    "generalised_advantages",
]
