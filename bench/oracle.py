"""The float64 oracles and the derived tolerances of the tests: what is timed is what is tested."""

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
