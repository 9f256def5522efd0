"""Optimizers for networks: first-order update rules, learning-rate schedules, averages, natural gradient."""

import sys

from . import schedules
from .averaging import ParameterAverage
from .first_order import adam, adaptive, sgd
from .first_order.adam import *
from .first_order.adaptive import *
from .first_order.optimizer import Optimizer
from .first_order.sgd import *
from .natural import natural_gradient, step_diagnostics
from .natural.natural_gradient import NaturalGradient
from .natural.step_diagnostics import StepDiagnostics

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

# Pickles of earlier states of the package name the modules by which the classes were found then.
for _old, _module in {
    "sgd": sgd,
    "adaptive": adaptive,
    "adam": adam,
    "natural_gradient": natural_gradient,
    "_step_diagnostics": step_diagnostics,
}.items():
    sys.modules[f"{__name__}.{_old}"] = _module
