"""Update rules that take gradients as they are, or scale them parameter by parameter."""

from . import adam, adaptive, sgd
from .adam import *
from .adaptive import *
from .optimizer import Optimizer as Optimizer
from .sgd import *

RULES: tuple[type[Optimizer], ...] = tuple(
    getattr(module, name) for module in (sgd, adaptive, adam) for name in module.__all__
)
"""All first-order update rules."""

__all__ = ["RULES", "Optimizer"]
__all__ += adam.__all__
__all__ += adaptive.__all__
__all__ += sgd.__all__
