"""Parameters that all agents have: constraints, and the part of the docstrings that describes them."""

from __future__ import annotations

import inspect
import string
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, TypeVar

from sklearn.utils._param_validation import Interval, StrOptions

from steepest import kernels as K
from steepest.callbacks import Callback

T = TypeVar("T")

_PARAMETERS = """env : str, callable, VectorEnv or None, default=None
        The name of an environment of Gymnasium, a function without arguments that makes an environment with
        Gymnasium's interface, or a vectorised environment. Observations and actions are boxes or discrete. None for an
        agent that only acts.
    n_envs : int, default=16
        Number of environments side by side; a vectorised environment has its own number.
    horizon : int, default=$horizon
        Steps of each environment between two updates.
    gamma : float, default=0.99
        Discount of later rewards, in [0, 1].
    gae_lambda : float, default=$gae_lambda
        Weight of later rewards in the advantages, in [0, 1]: with 1 they vary most, with 0 they are as wrong as the
        values; see `generalised_advantages`.
    hidden_layer_sizes : int or sequence of int, default=(64, 64)
        Units of the hidden layers of each of the two networks, policy and value.
    activation : str, default="tanh"
        Activation of the hidden layers, one of `kernels.ACTIVATIONS`.
    initial_deviation : float, default=1.0
        For actions in a box, the standard deviation of each component before learning.
    learned_deviation : {"shared", "by_state"}, default="shared"
        For actions in a box, whether the deviation is the same in all states, or an output of the policy's network.
    normalize_observations : bool, default=True
        Whether observations are standardised by the moments of those so far, which belong to the policy.
    normalize_advantages : bool, default=True
        Whether the advantages of an update are standardised.
    normalize_rewards : bool, default=False
        Whether rewards are divided by the standard deviation of the discounted returns so far. Values are
        standardised anyway; this matters without `normalize_advantages`.
    entropy_coef : float, default=0.0
        Factor of the policy's entropy in the objective: above 0, the policy stays random for longer.
    value_learning_rate : float, default=0.001
        Learning rate of Adam for the value network.
    value_epochs, value_batch_size : int, default=$value_epochs and 64
        Passes of the value network over the steps of an update, and steps in a mini-batch.
    max_norm : float or None, default=0.5
        Largest norm of all gradients of a network together.
    dtype : {"float32", "float64"}, default="float32"
        Dtype of the networks.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the sampled actions, the shuffles and the environments.
    verbose : bool, default=False
        Whether to print a line for each update.
    callbacks : list of Callback or None, default=None
        Objects of `steepest.callbacks`; an update counts as an epoch, and its validation score is the mean return of
        the last 100 episodes.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device of the networks; "auto" is the CPU, on which environments compute."""

_ATTRIBUTES = """history_ : dict of str to list
        For each update so far: ``steps`` and ``episodes`` up to then, ``seconds`` since `learn` began, ``mean_return``
        and ``mean_length`` of the last 100 episodes (NaN before one has ended), ``loss`` (minus the estimated gain of
        the update), ``divergence`` of the new policy from the old one in nats, ``entropy`` of the old one,
        ``value_error`` (mean squared), and ``explained_variance`` of the returns by the values.
    episode_returns_ : list of float
        Return of each episode that has ended.
    n_steps_ : int
        Number of steps that the agent has learned from."""


def described(kind: type[T]) -> type[T]:
    """Describe the parameters and attributes that all agents share where an agent's docstring has ``$shared``.

    Defaults that differ between agents are those of the constructor.
    """
    if kind.__doc__ is not None:  # python -OO
        defaults = {name: p.default for name, p in inspect.signature(kind).parameters.items()}
        shared = string.Template(_PARAMETERS).substitute(defaults)
        kind.__doc__ = string.Template(kind.__doc__).substitute(shared=shared, attributes=_ATTRIBUTES)
    return kind


class AgentParameters:
    """Parameters that all agents have; the docstrings of the agents describe them."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "env": [object],
        "n_envs": [Interval(Integral, 1, None, closed="left")],
        "horizon": [Interval(Integral, 1, None, closed="left")],
        "gamma": [Interval(Real, 0, 1, closed="both")],
        "gae_lambda": [Interval(Real, 0, 1, closed="both")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(K.ACTIVATIONS))],
        "initial_deviation": [Interval(Real, 0, None, closed="neither")],
        "learned_deviation": [StrOptions({"shared", "by_state"})],
        "normalize_observations": ["boolean"],
        "normalize_advantages": ["boolean"],
        "normalize_rewards": ["boolean"],
        "entropy_coef": [Interval(Real, 0, None, closed="left")],
        "value_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "value_epochs": [Interval(Integral, 1, None, closed="left")],
        "value_batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "dtype": [StrOptions({"float32", "float64"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
    }

    # Set by the constructors of the agents, as scikit-learn's `clone` requires.
    env: Any
    n_envs: int
    horizon: int
    gamma: float
    gae_lambda: float
    hidden_layer_sizes: Any
    activation: str
    initial_deviation: float
    learned_deviation: str
    normalize_observations: bool
    normalize_advantages: bool
    normalize_rewards: bool
    entropy_coef: float
    value_learning_rate: float
    value_epochs: int
    value_batch_size: int
    max_norm: float | None
    dtype: str
    random_state: Any
    verbose: bool | int
    callbacks: Iterable[Callback] | None
    device: str

    def _store(self, arguments: Mapping[str, Any]) -> None:
        """Set the attributes to the arguments of the constructor, which are its local variables."""
        for name, value in arguments.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)
