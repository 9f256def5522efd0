"""Optimizers of the perceptrons from their parameters: first-order rules, and the natural gradient (K-FAC)."""

from __future__ import annotations

from typing import Any

import numpy as np

from steepest import nn, optim
from steepest.estimators.random_states import copied, seed_of
from steepest.fisher._likelihoods import likelihood_of
from steepest.nn.losses import Loss

from ._parameters import PerceptronParameters, prefixed

# Largest number of outputs for which the exact Fisher matrix costs little more than a Monte Carlo estimate.
_MOST_EXACT_OUTPUTS = 3
# Damping of the inverses, in nats: about the Monte Carlo noise of the factors. Smaller curvature is mostly noise, and
# inverting it gives the largest steps.
_INVERSE_DAMPING = 1e-2
# Losses of the estimators that are negative log-likelihoods.
_WITH_LIKELIHOOD = ("log_loss", "squared_error", "poisson", "gaussian")
# Parameters that the natural gradient does not support, with their neutral values.
_OF_OTHER_SOLVERS = {"learning_rate": "constant", "max_norm": None}


def make_optimizer(
    model: PerceptronParameters, network: nn.Network, loss: Loss, random_state: np.random.RandomState
) -> optim.Optimizer | optim.NaturalGradient:
    """Return a new optimizer for a network.

    Parameters
    ----------
    model : PerceptronParameters
        The parameters of the estimator.
    network : Network
        The network.
    loss : Loss
        The loss to minimise.
    random_state : RandomState
        Generator whose present state seeds the samples of a Monte Carlo Fisher matrix; it is not changed.

    Raises
    ------
    ValueError
        For ``solver="natural"``: if the loss is not a negative log-likelihood, the network has a layer without a Fisher
        matrix, or a parameter is not for this solver.
    """
    if model.solver == "natural":
        return _make_natural_gradient(model, network, loss, random_state)
    return _make_rule(model, network)


def _make_rule(model: PerceptronParameters, network: nn.Network) -> optim.Optimizer:
    return first_order_rule(
        model.solver,
        network.parameters(),
        float(model.learning_rate_init),
        momentum=float(model.momentum),
        nesterov=model.nesterovs_momentum,
        betas=(float(model.beta_1), float(model.beta_2)),
        eps=float(model.epsilon),
        max_norm=model.max_norm,
        weight_decay=float(model.alpha),
    )


def first_order_rule(
    solver: str,
    parameters: list[nn.Parameter],
    lr: float,
    *,
    momentum: float,
    nesterov: bool,
    betas: tuple[float, float],
    eps: float,
    max_norm: float | None,
    weight_decay: float = 0.0,
) -> optim.Optimizer:
    """Return the optimizer that a solver names; of the options it takes those that it has.

    Parameters
    ----------
    solver : str
        Name of the rule.
    parameters : list of Parameter
        The parameters to train.
    lr : float
        Learning rate.
    momentum, nesterov : float and bool
        Momentum, and whether the rule "sgd" uses Nesterov's.
    betas, eps : (float, float) and float
        Decays and the smallest denominator of Adam; RMSprop takes the second decay.
    max_norm : float or None
        Largest norm of all gradients together.
    weight_decay : float, default=0.0
        Decoupled decay of AdamW.
    """
    options: dict[str, Any] = {"max_norm": max_norm}
    if solver == "sgd":
        return optim.SGD(parameters, lr, momentum, nesterov and momentum > 0, **options)
    if solver in ("momentum", "nesterov"):
        rule = optim.Momentum if solver == "momentum" else optim.Nesterov
        return rule(parameters, lr, momentum, **options)
    if solver == "adagrad":
        return optim.AdaGrad(parameters, lr, eps, **options)
    if solver == "rmsprop":
        return optim.RMSprop(parameters, lr, betas[1], eps, **options)
    if solver == "adamw":
        return optim.AdamW(parameters, lr, betas, eps, weight_decay=weight_decay, **options)
    return optim.Adam(parameters, lr, betas, eps, **options)


def _make_natural_gradient(
    model: PerceptronParameters, network: nn.Network, loss: Loss, random_state: np.random.RandomState
) -> optim.NaturalGradient:
    """Return a natural-gradient optimizer for a model's network, which adapts its step sizes and its damping.

    The method is close to K-FAC by J. Martens and R. Grosse: the Kronecker factors are averaged over the batches, and
    the damping is split between them. The quadratic model of each batch sets learning rate and momentum, and the
    reduction ratio sets the damping.

    Raises
    ------
    ValueError
        If the loss is not a negative log-likelihood, the network has a layer without a Fisher matrix, or a parameter
        is not for this solver.
    """
    for name, nothing in _OF_OTHER_SOLVERS.items():
        if getattr(model, name) != nothing:
            raise ValueError(
                prefixed(
                    model, f"{name} is not supported by solver='natural', which chooses its step sizes itself"
                )
            )
    if model.alpha and model.l1_ratio:
        raise ValueError(
            prefixed(model, "solver='natural' does not support l1_ratio: its model of the loss is smooth")
        )
    n_outputs = next(layer.n_out for layer in reversed(network.layers) if isinstance(layer, nn.Linear))
    try:
        likelihood = likelihood_of(loss, n_outputs)
    except ValueError as error:
        known = model._parameter_constraints["loss"][0].options
        names = ", ".join(name for name in _WITH_LIKELIHOOD if name in known)
        raise ValueError(
            prefixed(
                model,
                f"loss={model.loss!r} is not the negative log-likelihood of a distribution, which solver='natural' "
                f"needs: take one of {names}",
            )
        ) from error
    try:
        return optim.NaturalGradient(
            network,
            loss,
            damping=1.0,
            split="pi",
            kind="exact" if n_outputs <= _MOST_EXACT_OUTPUTS else "monte_carlo",
            adapt_damping=True,
            inverse_damping=_INVERSE_DAMPING * likelihood.scale,
            momentum_rule="model",
            factor_decay=0.95,
            inverse_period=5,
            seed=seed_of(copied(random_state)),
        )
    except ValueError as error:
        text = str(error).removeprefix("[FisherMatrix] ")
        raise ValueError(prefixed(model, f"solver='natural': {text}")) from error
