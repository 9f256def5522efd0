"""What an agent has learned, as objects while it learns, and as plain data in pickles and files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest import optim
from steepest._runtime.arrays import Float64Array

from ._moments import Moments
from ._policy import NetworkOptions, Policy, make_policy_network
from ._spaces import Actions, Observations
from ._value import Value, make_value_network

# The parts of a seed, which draw from streams of their own.
_POLICY, _VALUE = 1, 2


@dataclass
class Learned:
    """Policy, values and optimizer of an agent, and how far it has come.

    Attributes
    ----------
    seed : int
        The seed of everything random.
    policy : Policy
        The policy.
    value : Value
        The values of states.
    optimizer : Optimizer or None
        Optimizer of the policy; None for natural steps, which keep nothing.
    rewards : Moments
        Moments of the discounted returns so far.
    learns, shuffles : int
        Number of calls of `learn`, and of shuffles.
    """

    seed: int
    policy: Policy
    value: Value
    optimizer: optim.Optimizer | None
    rewards: Moments
    learns: int = 0
    shuffles: int = 0

    def state(self) -> dict[str, Any]:
        """Return it as plain data."""
        policy = self.policy
        return {
            "seed": self.seed,
            "network": policy.network,
            "observations": list(_fields(policy.observations)),
            "actions": list(_fields(policy.action_space)),
            "moments": policy.moments.state(),
            "draws": policy.draws,
            "value": self.value.state(),
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "rewards": self.rewards.state(),
            "counts": [self.learns, self.shuffles],
        }


def begin_learning(
    agent: Any, observations: Observations, actions: Actions, device: str, seed: int
) -> Learned:
    """Make policy and values of an agent that has not learned yet."""
    hidden = agent.hidden_layer_sizes
    sizes = (int(hidden),) if isinstance(hidden, (int, np.integer)) else tuple(int(n) for n in hidden)
    if any(n < 1 for n in sizes):
        raise ValueError(f"[{type(agent).__name__}] hidden_layer_sizes must be positive, got {hidden}")
    of_policy, of_value = (
        NetworkOptions(sizes, agent.activation, np.dtype(agent.dtype), device, own)
        for own in (seed + _POLICY, seed + _VALUE)
    )
    network = make_policy_network(
        observations,
        actions,
        of_policy,
        agent.initial_deviation,
        depends=agent.learned_deviation == "by_state",
    )
    policy = Policy(network, observations, actions, Moments(observations.size), seed)
    value = Value(make_value_network(observations, of_value), agent.value_learning_rate, agent.max_norm)
    return Learned(seed, policy, value, agent._make_optimizer(network), Moments(1))


def revive(agent: Any, state: dict[str, Any], device: str) -> Learned:
    """Return what `Learned.state` returned as objects again, with the networks on a device."""
    observations, actions = Observations(*map(_as_tuple, state["observations"])), _actions(state["actions"])
    network = state["network"].to(device)
    moments = Moments(observations.size, state["moments"])
    policy = Policy(network, observations, actions, moments, state["seed"], state["draws"])
    saved = state["value"]
    value = Value(
        saved["network"].to(device),
        agent.value_learning_rate,
        agent.max_norm,
        saved["mean"],
        saved["deviation"],
    )
    value.optimizer.load_state_dict(_with_rate(saved["optimizer"], agent.value_learning_rate))
    optimizer = agent._make_optimizer(network)
    if optimizer is not None and state["optimizer"] is not None:
        optimizer.load_state_dict(_with_rate(state["optimizer"], optimizer.lr))
    return Learned(
        state["seed"], policy, value, optimizer, Moments(1, state["rewards"]), *map(int, state["counts"])
    )


def _with_rate(state: dict[str, Any], rate: float) -> dict[str, Any]:
    """Return the state of an optimizer with the learning rate that its agent has now."""
    return {**state, "lr": rate} if "lr" in state else state


def _fields(space: Observations | Actions) -> tuple[Any, ...]:
    if isinstance(space, Observations):
        return space.size, list(space.shape), space.first
    dtype = np.dtype(space.dtype).name
    return space.size, list(space.shape), space.first, _copy(space.low), _copy(space.high), dtype


def _copy(bound: Float64Array | None) -> Float64Array | None:
    return None if bound is None else bound.copy()


def _as_tuple(item: Any) -> Any:
    return tuple(item) if isinstance(item, list) else item


def _actions(fields: list[Any]) -> Actions:
    size, shape, first, low, high, dtype = fields
    return Actions(size, tuple(shape), first, low, high, np.dtype(dtype))
