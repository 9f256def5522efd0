"""Print the settings of `make test-matrix`, one per line.

A setting is an instruction set other than that of `make test`, if named or if none is named, with a number of threads
other than that of `make test`, and with the emulation of bfloat16 units.

Usage: python scripts/test_settings.py [ISA ...]
"""

from __future__ import annotations

import sys

from steepest import _cpu

THREADS = (3, 1)


def main(named: list[str]) -> None:
    *others, widest = _cpu.info()["isas_available"]
    for i, isa in enumerate(others or [widest]):
        if not named or isa in named:
            threads = THREADS[i % len(THREADS)]
            print(f"STEEPEST_ISA={isa},OMP_NUM_THREADS={threads},STEEPEST_BFLOAT16=emulated")


if __name__ == "__main__":
    main(sys.argv[1:])
