"""Tables of the pages that follow from the registries: the mark `<!-- table: losses -->` stands for `losses.table()`.

The tables are made when the site is built, so that a new entry of a registry touches no page. Words behind the name are
handed to the function. Behind each mark there is a line for those who read the page as a file. It starts with "*The
built site" and links to the source of the table; in the site, the table replaces this line as well.
"""

from __future__ import annotations

import importlib
import re

MARK = re.compile(r"<!-- table: (\w+)((?: \w+)*) -->\n(?:\*The built site[^\n]*\n)?")


def table(name: str, *arguments: str) -> str:
    """Return a table in Markdown."""
    made: str = importlib.import_module(f"{__name__}.{name}").table(*arguments)
    return made


def fill(page: str) -> str:
    """Return a page with its tables in the place of their marks."""
    return MARK.sub(lambda mark: table(mark[1], *mark[2].split()), page)


def _fill_source(app, name, source):
    source[0] = fill(source[0])


def setup(app):
    """Connect to Sphinx's events."""
    app.connect("source-read", _fill_source)
    return {"parallel_read_safe": True}
