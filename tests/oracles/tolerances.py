"""The tolerances of all kernels, collected from the modules of `by_kernel`, and their building blocks."""

from __future__ import annotations

from by_kernel import public, rounding

globals().update({name: value for name, value in vars(rounding).items() if callable(value)})
globals().update(
    {name.removesuffix("_tolerance"): value for name, value in public() if name.endswith("_tolerance")}
)
