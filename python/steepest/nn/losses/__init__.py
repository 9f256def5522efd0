"""Losses: the mean over a batch, and its gradient with respect to the network's output, in one pass.

Each says in `distribution` which distribution's negative log-likelihood it is, up to a factor and to terms that do not
depend on the prediction, or None. A mean over the rows of a batch is weighted by `sample_weight`.
"""

from . import classification, regression
from .base import Loss as Loss
from .classification import *
from .regression import *

__all__ = ["Loss"]
__all__ += classification.__all__
__all__ += regression.__all__
