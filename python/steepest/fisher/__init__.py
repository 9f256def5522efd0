"""Fisher matrices of networks: exact, Monte Carlo and empirical, in every structure; and of Boltzmann machines."""

from steepest._runtime.memory import keep_freed_memory

from ._boltzmann import BoltzmannFisher
from ._matrix import FisherMatrix
from ._scores import score, score_norms
from ._solvers import SolveReport

__all__ = ["BoltzmannFisher", "FisherMatrix", "SolveReport", "score", "score_norms"]

keep_freed_memory()
