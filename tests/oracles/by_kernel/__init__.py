"""The oracles: for each family of kernels a module with reference implementations, tolerances and test cases.

A module holds

* the float64 oracle of each kernel, under the kernel's name; `reference` collects the oracles;
* the absolute tolerance, named after the kernel with the suffix `_tolerance`, which `tolerances` drops;
* `CASES`, which maps a name, or name/variant, to a function that makes a call of the kernel from a
  `support.cases.Maker`; `cases` collects them.

Nothing here calls a kernel. Each oracle takes arrays of any float dtype, computes in float64, and returns new arrays.
"""

from __future__ import annotations

import importlib
import pkgutil

MODULES = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]


def public():
    """Yield (name, value) for every public function and class that the modules define, and instances of the classes."""
    for module in MODULES:
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and not name.startswith("_"):
                yield name, value
