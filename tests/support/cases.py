"""One small and one large call of every kernel, for the tests of threads, graphs and errors.

Each call of `make` builds a new case from the same numbers, so that tests can compare the bytes of two runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import backends
import numpy as np
from by_kernel import MODULES

from steepest import kernels as K

# (samples, features, outputs) of arrays large enough to be split over threads and blocks; smaller where tests are slow.
LARGE = (389, 150, 35) if backends.SLOW else (1531, 300, 67)

# Exceptions that kernels raise for invalid arguments.
REFUSED = (TypeError, ValueError)


@dataclass
class Case:
    """A kernel, its positional arguments and keywords (outputs included), and the arrays that it writes."""

    function: Callable[..., Any]
    args: tuple
    kwargs: dict
    written: list[np.ndarray]

    def run(self):
        return self.function(*self.args, **self.kwargs)

    def bytes(self):
        return [a.tobytes() for a in self.written]


class Maker:
    """Makes arrays of one dtype and size; large ones are split over threads, small ones may stay on one thread."""

    def __init__(self, dtype, large):
        self.rng = np.random.default_rng(77)
        self.dtype = np.dtype(dtype)
        self.n, self.k, self.c = LARGE if large else (13, 9, 5)

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def positive(self, *shape):
        return (0.1 + self.rng.random(shape)).astype(self.dtype)

    def labels(self):
        return self.rng.integers(0, self.c, self.n)

    def empty(self, *shape):
        """An array filled with a number that no kernel computes, which reveals elements left unwritten."""
        return np.full(shape, -77.25, self.dtype)

    def tensors(self, kind):
        return [kind(self.n, self.k), kind(self.k), kind(self.k, self.c)]

    def scalar(self, value=-77.25):
        return np.array(value, np.float64)

    def case(self, name, args, outputs, **options):
        """The call of a kernel with arrays for its outputs."""
        return Case(getattr(K, name), tuple(args), {**outputs, **options}, list(outputs.values()))

    def in_place(self, name, args, written, **options):
        """The call of a kernel that changes some of its arguments."""
        return Case(getattr(K, name), tuple(args), options, list(written))

    def update(self, rule, **options):
        """The call of an update rule; second moments start positive."""
        name, states = K.UPDATE_RULES[rule]
        p, g = self.tensors(self.normal), self.tensors(self.normal)
        kept = [self.tensors(self.positive if s.endswith("sq") else self.normal) for s in states]
        count = (np.array(3),) if "step" in inspect.signature(getattr(K, name)).parameters else ()
        written = [a for group in (p, *kept) for a in group]
        return self.in_place(name, (p, g, *kept, *count), written, lr=np.array(0.01), **options)


# Keys are the name of a kernel, or name/variant for a kernel with several cases.
CASES = {name: make for module in MODULES for name, make in getattr(module, "CASES", {}).items()}

# Kernels that write no array; their own test files test them.
WITHOUT_OUTPUT = {"require_finite", "random_bits", "permutation", "sinusoidal"}

# Functions that call several kernels, each of which has a case; their own test files test the calls.
COMPOSED = {"linear_cross_entropy"}


def make(name, dtype=np.float32, large=False):
    """Build the case `name`."""
    return CASES[name](Maker(dtype, large))


def kernel_names():
    """Public functions of `steepest.kernels` that compute."""
    public = {name: getattr(K, name) for name in K.__all__}
    return {name for name, f in public.items() if callable(f) and f.__module__ != K.explain.__module__}
