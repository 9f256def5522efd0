"""The float64 oracles and tolerances of the tests, for the benchmarks: every timed result is checked."""

from __future__ import annotations

import sys

from bench.environment import ROOT

sys.path.insert(0, str(ROOT / "tests" / "oracles"))
try:
    import reference
    import tolerances
finally:
    sys.path.remove(str(ROOT / "tests" / "oracles"))

__all__ = ["reference", "tolerances"]
