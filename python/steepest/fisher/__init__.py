"""Fisher information matrices of networks: exact, Monte Carlo and empirical, dense or as K-FAC, EKFAC or a diagonal."""

from steepest._runtime.memory import keep_freed_memory

from ._matrix import FisherMatrix
from ._scores import score, score_norms
from ._solvers import SolveReport

__all__ = ["FisherMatrix", "SolveReport", "score", "score_norms"]

keep_freed_memory()
