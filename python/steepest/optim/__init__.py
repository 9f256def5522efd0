"""Optimizers for networks: first-order update rules, learning-rate schedules, averages, natural gradient."""

import sys

from . import first_order, natural, schedules
from .averaging import ParameterAverage
from .first_order import RULES as RULES
from .first_order import Optimizer as Optimizer
from .first_order.adam import *
from .first_order.adaptive import *
from .first_order.sgd import *
from .natural import NaturalGradient as NaturalGradient
from .natural import StepDiagnostics as StepDiagnostics

__all__ = ["ParameterAverage", "schedules"]
__all__ += first_order.__all__
__all__ += natural.__all__

# Pickles of earlier states of the package name the modules by which the classes were found then.
for _old, _module in {
    "sgd": first_order.sgd,
    "adaptive": first_order.adaptive,
    "adam": first_order.adam,
    "natural_gradient": natural.natural_gradient,
    "_step_diagnostics": natural.step_diagnostics,
}.items():
    sys.modules[f"{__name__}.{_old}"] = _module
