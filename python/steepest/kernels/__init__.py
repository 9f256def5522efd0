"""Fast functions on NumPy arrays: the kernels that everything else in the package is made of.

All functions share these conventions.

* Rows are samples. Any strides are accepted, so ``a.T`` costs nothing.
* float32 and float64; all float arrays of one call have the same dtype, which is the result's.
* Results go to new arrays, or to the arrays given for them (``out=`` and the like).
* Errors start with the operation's name, and nothing has been written when one is raised. ``TypeError``: not an array,
  or a wrong dtype. ``ValueError``: wrong shapes, read-only or overlapping outputs, labels out of range.
* Inside ``steepest.capture()`` a call is recorded instead of run.
* A *scalar array* is a 0-d array that is read when the operation runs, so that it can change between replays.
* Arrays of other libraries in host memory are taken through DLPack without a copy.
* Results do not depend on the number of threads.
"""

from steepest.kernels.activation import (
    ACTIVATIONS,
    activation,
    activation_backward,
    identity,
    relu,
    sigmoid,
    tanh,
)
from steepest.kernels.counters import accumulate, increment, require_finite
from steepest.kernels.linear import linear, linear_backward, matmul
from steepest.kernels.loss import softmax_cross_entropy, squared_error, zero_one_loss
from steepest.kernels.random import permutation, random_bits, random_uniform
from steepest.kernels.reduce import argmax, max, mean, min, sum, sum_squares
from steepest.kernels.softmax import log_softmax, softmax
from steepest.kernels.take_rows import take_rows
from steepest.kernels.update import adam_update, sgd_update

__all__ = [
    "ACTIVATIONS",
    "accumulate",
    "activation",
    "activation_backward",
    "adam_update",
    "argmax",
    "identity",
    "increment",
    "linear",
    "linear_backward",
    "log_softmax",
    "matmul",
    "max",
    "mean",
    "min",
    "permutation",
    "random_bits",
    "random_uniform",
    "relu",
    "require_finite",
    "sgd_update",
    "sigmoid",
    "softmax",
    "softmax_cross_entropy",
    "squared_error",
    "sum",
    "sum_squares",
    "take_rows",
    "tanh",
    "zero_one_loss",
]
