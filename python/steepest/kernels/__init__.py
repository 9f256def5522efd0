"""Fast C++ and CUDA kernels on NumPy and CuPy arrays: linear algebra, activations, losses, updates, random numbers.

All functions share these conventions.

* Rows are samples. Any strides are accepted, so that ``a.T`` needs no copy.
* Dtypes are float32 and float64. All float arrays of one call, and the result, have the same dtype.
* Results go to new arrays, or to the output arrays of the call (``out=`` and similar parameters).
* Error messages start with the operation's name. When an error is raised, nothing has been written. ``TypeError``: not
  an array, a masked array, or a wrong dtype. ``ValueError``: wrong shapes, read-only or overlapping outputs, labels out
  of range.
* An output, 0-d or not, must not overlap another array of the call. Some functions allow an input as output; their
  descriptions say so.
* Numbers may be of Python or of NumPy.
* The type of the first array decides where a call computes: NumPy arrays on the CPU, CuPy arrays on CUDA, on CuPy's
  current device and stream. An array on another device raises ``TypeError``; nothing moves between devices. If CUDA
  kernels, CuPy or a driver are missing, a ``RuntimeError`` says which.
* On CUDA a call returns before its operation is done. An error that depends on the data (labels or indices out of
  range, values that are not finite) is raised by a later call on that stream, at the latest by
  ``steepest.synchronize()``. Operations after the one that found the error do not run.
* Inside ``steepest.capture()`` a call is recorded instead of run.
* A *scalar array* is a 0-d array that is read when the operation runs, so that it can change between replays.
* Arrays of other libraries are read through DLPack without a copy: on the CPU if they are in host memory, on CUDA if
  they are on a CUDA device. An array whose library refuses the export raises ``TypeError``.
* Results do not depend on the number of threads.
"""

from types import ModuleType as _ModuleType

from steepest.kernels.activation import *
from steepest.kernels.activation_functions import *
from steepest.kernels.attention import *
from steepest.kernels.batch_norm import *
from steepest.kernels.class_scatter import *
from steepest.kernels.classification_loss import *
from steepest.kernels.convolution import *
from steepest.kernels.counters import *
from steepest.kernels.distribution import *
from steepest.kernels.dropout import *
from steepest.kernels.elementwise import *
from steepest.kernels.explain import *
from steepest.kernels.gradient_gram import *
from steepest.kernels.gradient_norms import *
from steepest.kernels.layer_norm import *
from steepest.kernels.linear import *
from steepest.kernels.linear_cross_entropy import *
from steepest.kernels.linear_model import *
from steepest.kernels.loss import *
from steepest.kernels.pool import *
from steepest.kernels.pool_spans import *
from steepest.kernels.positions import *
from steepest.kernels.random import *
from steepest.kernels.recurrence import *
from steepest.kernels.reduce import *
from steepest.kernels.regression_loss import *
from steepest.kernels.second_moment import *
from steepest.kernels.softmax import *
from steepest.kernels.take_images import *
from steepest.kernels.take_rows import *
from steepest.kernels.unary import *
from steepest.kernels.update import *

# All public names of the modules above, which list them in their own `__all__`.
__all__ = [
    name for name in dir() if not name.startswith("_") and not isinstance(globals()[name], _ModuleType)
]
