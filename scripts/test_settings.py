"""Print the settings of `make test-matrix`, one a line: every instruction set and every number of threads once."""

from __future__ import annotations

from steepest import _cpu

THREADS = (1, 2, 3)


def main() -> None:
    isas = _cpu.info()["isas_available"]
    for i in range(max(len(isas), len(THREADS))):
        print(f"STEEPEST_ISA={isas[i % len(isas)]},OMP_NUM_THREADS={THREADS[i % len(THREADS)]}")


if __name__ == "__main__":
    main()
