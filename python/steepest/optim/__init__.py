"""Update rules for the parameters of a network."""

from .adam import Adam
from .base import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer"]
