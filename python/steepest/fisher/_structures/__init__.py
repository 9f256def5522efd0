"""Structures of a Fisher matrix (dense, block, K-FAC, EKFAC, diagonal), each with its eigenbasis."""

from .base import Operator, Structure
from .diagonal import Diagonal
from .exact import BlockDiagonal, Dense
from .kronecker import Ekfac, Kfac, KfacReduce, require_factors

STRUCTURES: dict[str, type[Structure]] = {
    "dense": Dense,
    "block": BlockDiagonal,
    "kfac": Kfac,
    "kfac_reduce": KfacReduce,
    "ekfac": Ekfac,
    "diagonal": Diagonal,
}

__all__ = ["STRUCTURES", "Operator", "Structure", "require_factors"]
