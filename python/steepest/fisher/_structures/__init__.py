"""Structures of a Fisher matrix, each with a basis in which it is diagonal."""

from .base import Operator, Structure
from .diagonal import Diagonal
from .exact import Block, Dense
from .kronecker import Ekfac, Kfac

STRUCTURES: dict[str, type[Structure]] = {
    "dense": Dense,
    "block": Block,
    "kfac": Kfac,
    "ekfac": Ekfac,
    "diagonal": Diagonal,
}

__all__ = ["STRUCTURES", "Operator", "Structure"]
