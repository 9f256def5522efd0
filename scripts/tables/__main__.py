"""Write the tables of all registries."""

from __future__ import annotations

from scripts import tables

for name in tables.NAMES:
    tables.path_of(name).write_text(tables.current_page(name), encoding="utf-8")
