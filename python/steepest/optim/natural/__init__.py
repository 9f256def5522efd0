"""Natural-gradient descent, which solves with the Fisher matrix of a network in each step."""

from .natural_gradient import NaturalGradient
from .step_diagnostics import StepDiagnostics

__all__ = ["NaturalGradient", "StepDiagnostics"]
