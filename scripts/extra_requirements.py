"""Print the requirements of one extra of the installed package, one per line, for `pip install -r`.

`pip install -e .[test]` would rebuild the extension; with this list pip installs an extra without a build.

Usage: python scripts/extra_requirements.py EXTRA
"""

from __future__ import annotations

import sys
from importlib.metadata import requires

from packaging.requirements import Requirement


def extra_requirements(extra: str) -> list[str]:
    found = []
    for text in requires("steepest") or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker and not marker.evaluate({"extra": ""}) and marker.evaluate({"extra": extra}):
            requirement.marker = None
            found.append(str(requirement))
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    lines = extra_requirements(sys.argv[1])
    if not lines:
        sys.exit(f"extra_requirements: steepest has no extra {sys.argv[1]!r}")
    print("\n".join(lines))
