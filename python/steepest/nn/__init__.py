"""Layers, losses and networks: forward, backward, parameters, all capturable by `steepest.capture`."""

from types import ModuleType as _ModuleType

from .activations import *
from .checking import *
from .input_gradient import *
from .layers import *
from .losses import Loss as Loss
from .losses.classification import *
from .losses.regression import *
from .network import Network as Network
from .parameter import Parameter as Parameter
from .stream import Stream as Stream
from .values import Constant as Constant
from .values import Input as Input
from .values import Value as Value

__all__ = [
    name for name in dir() if not name.startswith("_") and not isinstance(globals()[name], _ModuleType)
]
