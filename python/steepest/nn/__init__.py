"""Layers, losses and networks: forward, backward, parameters, all capturable by `steepest.capture`."""

from types import ModuleType as _ModuleType

from ._stages import Parameter as Parameter
from .activations import *
from .layers import *
from .losses import *
from .network import Network as Network

__all__ = [
    name for name in dir() if not name.startswith("_") and not isinstance(globals()[name], _ModuleType)
]
