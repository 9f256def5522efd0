"""Fail when an object file of one instruction set defines a weak symbol that another could share.

Every CPU kernel source is compiled once for each instruction set, into its own namespace
(`steepest::generic`, `steepest::avx2`, `steepest::avx512`). An inline function or a template outside that
namespace becomes a weak symbol with the same name in each of these objects. The linker keeps one of them for
all; if it keeps the AVX-512 one, the library crashes on a CPU without AVX-512, whichever set is chosen there.

Usage: python scripts/check_isa_symbols.py BUILD_DIR
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ISAS = ("generic", "avx2", "avx512")

# `nm` types of symbols that the linker merges by name: weak function, weak object, unique global.
WEAK_TYPES = frozenset("WVu")

# A pointer to the C++ runtime's exception routine: data, which is the same in every object.
EXEMPT = frozenset({"DW.ref.__gxx_personality_v0"})

SYMBOL = re.compile(r"^[0-9a-fA-F]* *(?P<type>[A-Za-z]) (?P<name>.+)$")


def shared_weak_symbols(nm_output: str, isa: str) -> list[str]:
    """Weak symbols in the output of `nm -C` whose name does not contain the namespace of `isa`.

    The namespace may appear anywhere in the name: `std::vector<steepest::avx2::Tile>::resize` belongs to one
    instruction set, because its template argument does.
    """
    found = []
    for line in nm_output.splitlines():
        symbol = SYMBOL.match(line)
        if symbol is None or symbol["type"] not in WEAK_TYPES:
            continue
        name = symbol["name"]
        if f"steepest::{isa}::" not in name and name not in EXEMPT:
            found.append(name)
    return found


def main(build_dir: Path) -> int:
    failures = 0
    for isa in ISAS:
        folder = build_dir / "CMakeFiles" / f"steepest_cpu_{isa}.dir"
        objects = sorted(folder.rglob("*.o"))
        if not objects:
            print(f"check_isa_symbols: no object file under {folder}", file=sys.stderr)
            return 2
        for path in objects:
            output = subprocess.run(["nm", "-C", path], check=True, capture_output=True, text=True).stdout
            for name in shared_weak_symbols(output, isa):
                failures += 1
                print(f"{path}: weak symbol outside steepest::{isa}: {name}")
        print(f"check_isa_symbols: {isa}: {len(objects)} objects")
    if failures:
        print(f"check_isa_symbols: {failures} weak symbols could be shared between instruction sets")
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
