"""The oracles: for each family of kernels a module with what it should compute, how far it may be off, and its cases.

A module holds

* the float64 oracle of each kernel, under the kernel's name: `reference` collects these;
* its absolute tolerance, under that name and `_tolerance`: `tolerances` collects these without the ending;
* `CASES`: name, or name/variant, -> a call of the kernel, from a `support.cases.Maker`: `cases` collects these.

Nothing here calls a kernel. Each oracle takes arrays of any float dtype, computes in float64, and returns new arrays.
"""

from __future__ import annotations

import importlib
import pkgutil

MODULES = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]


def public():
    """(name, function, class or registry) of all that the modules define for others."""
    for module in MODULES:
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and not name.startswith("_"):
                yield name, value
