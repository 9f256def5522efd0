"""The policy: a network of the standardised observations whose outputs are the parameters of a distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from steepest import kernels as K
from steepest import nn
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.graph import capture
from steepest._runtime.memory import aligned_empty, aligned_zeros, assign, to_host

from ._distributions import distribution_of
from ._moments import Moments
from ._spaces import Actions, Observations

if TYPE_CHECKING:
    from steepest._operations import ActivationName

# Half-width of the initial weights of the last layer: at first, all actions are about as probable in every state.
_SMALL = 0.01
_KEPT = 8  # captured numbers of rows


@dataclass(frozen=True)
class NetworkOptions:
    """What the networks of an agent are made of: hidden layers, activation, dtype, device, and their seed."""

    hidden: tuple[int, ...]
    activation: ActivationName
    dtype: np.dtype[Any]
    device: str
    seed: int

    def body(self, n_in: int) -> tuple[list[nn.layers.Layer], int]:
        """Return the hidden layers, and the width of what they make of n_in inputs."""
        layers: list[nn.layers.Layer] = []
        for n_units in self.hidden:
            layers += [nn.Linear(n_in, n_units, init="orthogonal"), nn.Activation(self.activation)]
            n_in = n_units
        return layers, n_in


def make_policy_network(
    observations: Observations,
    actions: Actions,
    options: NetworkOptions,
    deviation: float,
    *,
    depends: bool,
) -> nn.Network:
    """Make the network of a policy.

    Parameters
    ----------
    observations, actions : Observations, Actions
        The spaces.
    options : NetworkOptions
        Hidden layers, and the rest.
    deviation : float
        Initial standard deviation of a Gaussian.
    depends : bool
        Whether the deviation depends on the observation. Otherwise it is a parameter: the weights of a second input,
        which is 1 for every observation.
    """
    given = {"seed": options.seed, "dtype": options.dtype, "device": options.device}
    body, width = options.body(observations.size)
    if actions.is_discrete:
        return nn.Network([*body, nn.Linear(width, actions.size, init=_SMALL)], **given)  # type: ignore[arg-type]
    x = nn.Input(observations.size)
    hidden: nn.values.Value = x
    for layer in body:
        hidden = layer(hidden)
    mean = nn.Linear(width, actions.size, init=_SMALL)(hidden)
    log_variance = 2 * math.log(deviation)
    if depends:
        spread = nn.Linear(width, actions.size, init=_SMALL)(hidden)
        net = nn.Network(x, nn.Concatenate()(mean, spread), **given)  # type: ignore[arg-type]
    else:
        one = nn.Input(1, name="one")
        spread = nn.Linear(1, actions.size, bias=False, init=0.0)(one)
        net = nn.Network([x, one], nn.Concatenate()(mean, spread), **given)  # type: ignore[arg-type]
    net.parameters()[-1].value[...] = log_variance
    return net


class Policy:
    """A distribution of actions for each observation.

    Parameters
    ----------
    network : Network
        The network, of one input, or of a second one that is 1 for every observation.
    observations, actions : Observations, Actions
        The spaces.
    moments : Moments
        Moments of the observations.
    seed : int
        Seed of the sampled actions.
    draws : int
        How many times actions have been sampled.

    Attributes
    ----------
    distribution : ActionDistribution
        The distribution.
    """

    def __init__(
        self,
        network: nn.Network,
        observations: Observations,
        actions: Actions,
        moments: Moments,
        seed: int,
        draws: int = 0,
    ) -> None:
        self.network, self.observations, self.action_space = network, observations, actions
        self.distribution = distribution_of(actions, network.dtype, network.device)
        self.moments, self.seed = moments, seed
        self._shift = self.empty(observations.size)
        self._factor = self.empty(observations.size)
        self.stream = aligned_zeros((), np.int64, network.device)
        self.stream[...] = draws
        self._ones: dict[int, Array] = {}
        self._actors: dict[tuple[int, bool], Actor] = {}
        self.use_moments()

    def empty(self, *shape: int) -> Array:
        """Return an uninitialised array of the network's dtype and on its device."""
        return aligned_empty(shape, self.network.dtype, self.network.device)

    @property
    def draws(self) -> int:
        """How many times actions have been sampled."""
        return int(self.stream)

    def use_moments(self) -> None:
        """Standardise observations by the present moments from now on."""
        assign(self._shift, -self.moments.mean)
        assign(self._factor, 1.0 / self.moments.deviation)

    def standardised(self, rows: Float64Array) -> Array:
        """Return observations of shape (n, size) as inputs of the networks."""
        inputs = self.empty(*rows.shape)
        assign(inputs, (rows - self.moments.mean) / self.moments.deviation)
        return inputs

    def inputs(self, standardised: Array) -> tuple[Array, ...]:
        """Return all inputs of the network for standardised observations."""
        if self.network._n_inputs == 1:
            return (standardised,)
        n = len(standardised)
        if n not in self._ones:
            self._ones[n] = self.empty(n, 1)
            self._ones[n][...] = 1
        return standardised, self._ones[n]

    def actor(self, n: int, *, deterministic: bool) -> Actor:
        """Return the captured step from n observations to actions."""
        key = n, deterministic
        if key not in self._actors:
            if len(self._actors) >= _KEPT:
                self._actors.pop(next(iter(self._actors)))
            self._actors[key] = Actor(self, n, deterministic=deterministic)
        return self._actors[key]

    def described(self, rows: Float64Array) -> Float64Array:
        """Return probabilities, or means and deviations, for observations of shape (n, size)."""
        z = np.asarray(to_host(self.network.predict(*self.inputs(self.standardised(rows)))), np.float64)
        if self.action_space.is_discrete:
            probabilities: Float64Array = softmax(z, axis=1)
            return probabilities
        width = self.distribution.width
        return np.stack([z[:, :width], np.exp(0.5 * z[:, width:])], axis=1)

    def standardise(self, x: Array, out: Array) -> None:
        """Standardise observations by operations of a graph."""
        K.add(x, self._shift, out=out)
        K.multiply(out, self._factor, out=out)


class Actor:
    """From n observations to actions, captured once: a step is then a copy in, a replay and a copy out.

    Attributes
    ----------
    inputs : ndarray of shape (n, size)
        The standardised observations of the last call.
    coded : ndarray of shape (n, width)
        The coded actions of the last call.
    """

    def __init__(self, policy: Policy, n: int, *, deterministic: bool) -> None:
        distribution, network = policy.distribution, policy.network
        self._x = policy.empty(n, policy.observations.size)
        self.inputs = policy.empty(n, policy.observations.size)
        with capture() as self._graph:
            policy.standardise(self._x, self.inputs)
            z = network.predict(*policy.inputs(self.inputs))
            if deterministic:
                self.coded = distribution.mode(z)
            else:
                K.increment(policy.stream)
                self.coded = distribution.sample(z, policy.seed, policy.stream)
            self._actions = distribution.actions(self.coded)

    def __call__(self, rows: Float64Array) -> Array:
        """Return actions for observations of shape (n, size): class ids, or vectors, on the host."""
        assign(self._x, rows)
        self._graph.replay()
        return np.array(to_host(self._actions))
