"""Update rules for the parameters of a network, schedules of their learning rates, and the natural gradient."""

from . import schedules
from .adam import Adam, AdamW
from .adaptive import AdaGrad, RMSprop
from .base import Optimizer
from .natural_gradient import NaturalGradient, StepDiagnostics
from .sgd import SGD, Momentum, Nesterov

RULES: tuple[type[Optimizer], ...] = (SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam, AdamW)
"""All update rules of first order."""

__all__ = [
    "RULES",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Momentum",
    "NaturalGradient",
    "Nesterov",
    "Optimizer",
    "RMSprop",
    "StepDiagnostics",
    "schedules",
]
