"""Fast functions on NumPy and CuPy arrays: the kernels that everything else in the package is made of.

All functions share these conventions.

* Rows are samples. Any strides are accepted, so ``a.T`` costs nothing.
* float32 and float64; all float arrays of one call have the same dtype, which is the result's.
* Results go to new arrays, or to the arrays given for them (``out=`` and the like).
* Errors start with the operation's name, and nothing has been written when one is raised. ``TypeError``: not an array,
  a masked one, or a wrong dtype. ``ValueError``: wrong shapes, read-only or overlapping outputs, labels out of range.
* An output overlaps no other array of the call, be it a 0-d one; where a function says so, it may be an input itself.
* Numbers are those of Python or of NumPy.
* The type of the first array decides where a call computes: NumPy arrays on the CPU, CuPy arrays on CUDA, on CuPy's
  current device and stream. All arrays of a call lie on one device; arrays of the other are a ``TypeError``, and what
  is missing for CUDA (kernels, CuPy, a driver) is a ``RuntimeError`` that says so. Nothing moves between devices.
* On CUDA a call returns before its operation is done. An error that depends on the data (labels or indices out of
  range, values that are not finite) is raised by a later call on that stream, at the latest by
  ``steepest.synchronize()``; nothing after the operation that found it is run.
* Inside ``steepest.capture()`` a call is recorded instead of run.
* A *scalar array* is a 0-d array that is read when the operation runs, so that it can change between replays.
* Arrays of other libraries are taken through DLPack without a copy, those in host memory on the CPU, those on a CUDA
  device on CUDA. One whose library does not give it is a ``TypeError``.
* Results do not depend on the number of threads.
"""

from steepest.kernels.activation import (
    ACTIVATION_PARAMETERS,
    ACTIVATIONS,
    INPUT_DERIVATIVES,
    activation,
    activation_backward,
    elu,
    gelu,
    hard_sigmoid,
    identity,
    leaky_relu,
    prelu,
    prelu_backward,
    relu,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from steepest.kernels.class_scatter import class_scatter
from steepest.kernels.classification_loss import (
    exponential,
    hinge,
    log_loss,
    modified_huber,
    softmax_cross_entropy,
    squared_hinge,
    zero_one_loss,
)
from steepest.kernels.counters import accumulate, increment, look_up, require_finite
from steepest.kernels.distribution import output_divergence, output_fisher, sampled_score
from steepest.kernels.dropout import dropout
from steepest.kernels.gradient_gram import gradient_gram
from steepest.kernels.gradient_norms import gradient_norms
from steepest.kernels.linear import linear, linear_backward, linear_tangent, matmul
from steepest.kernels.linear_model import linear_loss, linear_sgd
from steepest.kernels.loss import LOSSES
from steepest.kernels.random import permutation, random_bits, random_uniform
from steepest.kernels.reduce import argmax, max, mean, min, sum, sum_squares
from steepest.kernels.regression_loss import (
    absolute_error,
    epsilon_insensitive,
    gaussian,
    huber,
    poisson,
    quantile,
    squared_epsilon_insensitive,
    squared_error,
)
from steepest.kernels.second_moment import second_moment
from steepest.kernels.softmax import log_softmax, softmax, softmax_backward
from steepest.kernels.take_rows import take_rows, take_sparse_rows
from steepest.kernels.update import UPDATE_RULES, adagrad_update, adam_update, rmsprop_update, sgd_update

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_PARAMETERS",
    "INPUT_DERIVATIVES",
    "LOSSES",
    "UPDATE_RULES",
    "absolute_error",
    "accumulate",
    "activation",
    "activation_backward",
    "adagrad_update",
    "adam_update",
    "argmax",
    "class_scatter",
    "dropout",
    "elu",
    "epsilon_insensitive",
    "exponential",
    "gaussian",
    "gelu",
    "gradient_gram",
    "gradient_norms",
    "hard_sigmoid",
    "hinge",
    "huber",
    "identity",
    "increment",
    "leaky_relu",
    "linear",
    "linear_backward",
    "linear_loss",
    "linear_sgd",
    "linear_tangent",
    "log_loss",
    "log_softmax",
    "look_up",
    "matmul",
    "max",
    "mean",
    "min",
    "modified_huber",
    "output_divergence",
    "output_fisher",
    "permutation",
    "poisson",
    "prelu",
    "prelu_backward",
    "quantile",
    "random_bits",
    "random_uniform",
    "relu",
    "require_finite",
    "rmsprop_update",
    "sampled_score",
    "second_moment",
    "sgd_update",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softplus",
    "squared_epsilon_insensitive",
    "squared_error",
    "squared_hinge",
    "sum",
    "sum_squares",
    "take_rows",
    "take_sparse_rows",
    "tanh",
    "zero_one_loss",
]
