"""Tables of the documentation that follow from the registries: `python -m scripts.tables` writes them all.

Each module of this package has the page, and a function that returns the table. In the page it stands between two
marks, `<!-- table: begin -->` and `<!-- table: end -->`.
"""

from __future__ import annotations

import importlib
from pathlib import Path

NAMES = ("activations", "losses", "update_rules")
DOCS = Path(__file__).parent.parent.parent / "docs"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def path_of(name: str) -> Path:
    """Return the file of the page that a table is in."""
    return DOCS / importlib.import_module(f"{__name__}.{name}").PAGE


def current_page(name: str) -> str:
    """Return the text of that page with the table of today."""
    before, rest = path_of(name).read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + importlib.import_module(f"{__name__}.{name}").table() + END + rest.split(END)[1]
