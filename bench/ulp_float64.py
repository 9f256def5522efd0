"""The largest error of each function of one item in float64: `python -m bench.ulp_float64 [--samples 2000]`.

The numbers are a sample. Exact results come from mpmath with 200 bits, at about 0.1 ms each. Errors are in units in the
last place (see bench/ulp.py), for the instruction set of this process (STEEPEST_ISA).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from bench.oracle import reference


def sample(count: int) -> np.ndarray:
    """Numbers of all magnitudes where the functions are curved, and in their tails until these are 0."""
    rng = np.random.default_rng(0)
    bends = 3 * rng.standard_normal(count // 2)
    tails = np.concatenate([rng.uniform(-40, 5, count // 4), rng.uniform(-745, -40, count // 8)])
    small = rng.choice([-1.0, 1.0], count // 8) * 10.0 ** rng.uniform(-20, 0, count // 8)
    return np.concatenate([bends, tails, small])


def units(y: float, exact) -> float:
    """|y - exact| in units in the last place of exact."""
    import mpmath as mp

    exponent = max(mp.frexp(exact)[1] - 1, -1022) if exact else -1022
    return float(abs(mp.mpf(y) - exact) / mp.ldexp(1, exponent - 52))


def main(arguments: Sequence[str] | None = None) -> int:
    import mpmath as mp

    from steepest import _cpu
    from steepest import kernels as K

    parser = argparse.ArgumentParser(prog="python -m bench.ulp_float64", description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    x = sample(parser.parse_args(arguments).samples)
    mp.mp.prec = 200
    for name, entry in {**reference.ACTIVATIONS, **reference.UNARY_FUNCTIONS}.items():
        if entry.exact is None:
            continue
        at = np.abs(x) if getattr(entry, "positive", False) else x
        results = zip(at, getattr(K, name)(at), strict=True)
        errors = [units(float(y), entry.exact(mp, mp.mpf(float(v)))) for v, y in results]
        worst = int(np.argmax(errors))
        print(f"{_cpu.info()['isa']:8} {name:13} {errors[worst]:6.3f} at {at[worst]!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
