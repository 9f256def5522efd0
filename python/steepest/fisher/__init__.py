"""Fisher information matrices of networks: every kind, and every structure, as one object."""

from steepest._runtime.memory import keep_freed_memory

from ._matrix import FisherMatrix
from ._scores import score, score_norms
from ._solvers import SolveReport

__all__ = ["FisherMatrix", "SolveReport", "score", "score_norms"]

keep_freed_memory()
