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

from types import ModuleType as _ModuleType

from steepest.kernels.activation import *
from steepest.kernels.activation_functions import *
from steepest.kernels.class_scatter import *
from steepest.kernels.classification_loss import *
from steepest.kernels.counters import *
from steepest.kernels.distribution import *
from steepest.kernels.dropout import *
from steepest.kernels.elementwise import *
from steepest.kernels.gradient_gram import *
from steepest.kernels.gradient_norms import *
from steepest.kernels.linear import *
from steepest.kernels.linear_model import *
from steepest.kernels.loss import *
from steepest.kernels.random import *
from steepest.kernels.reduce import *
from steepest.kernels.regression_loss import *
from steepest.kernels.second_moment import *
from steepest.kernels.softmax import *
from steepest.kernels.take_rows import *
from steepest.kernels.update import *

# What the modules above export; each says in its own `__all__` what that is.
__all__ = [
    name for name in dir() if not name.startswith("_") and not isinstance(globals()[name], _ModuleType)
]
