"""Update rules for the parameters of a network, and schedules of their learning rates."""

from . import schedules
from .adam import Adam, AdamW
from .adaptive import AdaGrad, RMSprop
from .base import Optimizer
from .sgd import SGD, Momentum, Nesterov

RULES: tuple[type[Optimizer], ...] = (SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam, AdamW)
"""All update rules."""

__all__ = [
    "RULES",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSprop",
    "schedules",
]
