"""Optimizers for networks: first-order update rules, learning-rate schedules, averages, natural gradient."""

from . import adam, adaptive, schedules, sgd
from ._step_diagnostics import StepDiagnostics
from .adam import *
from .adaptive import *
from .averaging import ParameterAverage
from .base import Optimizer
from .natural_gradient import NaturalGradient
from .sgd import *

RULES: tuple[type[Optimizer], ...] = tuple(
    getattr(module, name) for module in (sgd, adaptive, adam) for name in module.__all__
)
"""All first-order update rules."""

__all__ = [
    "RULES",
    "NaturalGradient",
    "Optimizer",
    "ParameterAverage",
    "StepDiagnostics",
    "schedules",
    *(rule.__name__ for rule in RULES),
]
