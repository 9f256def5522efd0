"""Functions of `steepest.kernels` have the parameters of their compiled operations: names, order and defaults."""

import inspect

import numpy as np
import pytest

from steepest import _cpu
from steepest import kernels as K


def defaults(function):
    """Name of each parameter -> its default; a dtype by its name."""
    given = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    return {
        name: np.dtype(d).name if isinstance(d, type) and d is not inspect.Parameter.empty else d
        for name, d in given.items()
    }


@pytest.mark.parametrize("name", sorted(set(_cpu.SIGNATURES) & set(K.__all__)))
def test_a_kernel_takes_what_its_operation_takes(name):
    made = {}
    exec(f"from __future__ import annotations\ndef operation{_cpu.SIGNATURES[name]}: ...", made)
    public, own = defaults(getattr(K, name)), defaults(made["operation"])
    public.pop("device", None)  # only the public function has `device`, which chooses the backend
    assert list(public.items()) == list(own.items())
