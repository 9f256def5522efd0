"""The reference's pages, written before each build from the `__all__` of the modules: nothing is listed by hand."""

import importlib.util
import inspect
import re
import string
import sys
from collections import defaultdict
from pathlib import Path

from sphinx.ext import autosummary
from sphinx.pycode import ModuleAnalyzer

MODULES = (
    "steepest",
    "steepest.kernels",
    "steepest.nn",
    "steepest.optim",
    "steepest.optim.schedules",
    "steepest.fisher",
    "steepest.neural_network",
    "steepest.linear_model",
    "steepest.decomposition",
    "steepest.discriminant_analysis",
    "steepest.reinforcement",
    "steepest.callbacks",
    "steepest.plots",
    "steepest.datasets",
)


# reStructuredText reads an initial at the start of a paragraph or of a citation, "S. Kakade", as the number of a list.
INITIAL = re.compile(r"^(\s*(?:\.\. \[#?\w+\] )?)(?=[A-Z]\. )", re.MULTILINE)


def public_names(module):
    """Return what a module offers: its `__all__`, or else the functions and classes that it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, item in vars(module).items()
        if not name.startswith("_") and getattr(item, "__module__", None) == module.__name__
    ]


def heading(item, page):
    """Return the family of a function or class: the room of a page's module that holds it, or else its own module."""
    parts = item.__module__.removeprefix(f"{page}.").split(".")
    in_room = item.__module__ != page and not parts[0].startswith("_")
    return parts[0 if in_room else -1].strip("_").replace("_", " ").capitalize()


def underlined(text, line):
    """Return a heading in reStructuredText."""
    return [text, line * len(text), ""]


def page(name):
    """Return the page of a module: its docstring, its constants, a table of each family of functions and classes."""
    module = importlib.import_module(name)
    families, constants = defaultdict(list), []
    for member in sorted(public_names(module), key=str.lower):
        item = getattr(module, member)
        if inspect.isclass(item) or inspect.isroutine(item):
            families[heading(item, name)].append(member)
        elif not inspect.ismodule(item) and not member.startswith("__"):
            constants.append(member)
    lines = [*underlined(name, "="), f".. automodule:: {name}", "   :no-members:", ""]
    for member in constants:
        lines += [f".. py:data:: {member}", f"   :module: {name}", ""]
        lines += [f"   {line}" for line in docstring(module, member)] + [""]
    for family in sorted(families):
        lines += underlined(family, "-") if len(families) > 1 else []
        lines += [f".. currentmodule:: {name}", "", ".. autosummary::", "   :toctree: generated", ""]
        lines += [f"   {member}" for member in families[family]] + [""]
    return "\n".join(lines)


def docstring(module, constant):
    """Return the lines of a constant's docstring, which stands below its assignment, often in a submodule."""
    for name in sorted(sys.modules):
        if name == module.__name__ or name.startswith(f"{module.__name__}."):
            documented = ModuleAnalyzer.for_module(name).find_attr_docs()
            if ("", constant) in documented:
                return documented["", constant]
    raise ValueError(f"{module.__name__}.{constant} has no docstring")


def write_pages(docs):
    """Write the page of each module and the index of them, where they have changed; return their paths."""
    folder = Path(docs) / "api"
    folder.mkdir(exist_ok=True)
    present = [name for name in MODULES if importlib.util.find_spec(name)]
    pages = {name: page(name) for name in present}
    index = [*underlined("Reference", "="), ".. toctree::", "   :hidden:", ""]
    index += [f"   {name}" for name in present] + [""]
    for name in present:
        index += [f":doc:`{name}`", f"   {importlib.import_module(name).__doc__.splitlines()[0]}", ""]
    pages["index"] = "\n".join(index)
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return [f"api/{name}.rst" for name in present]


def skip_foreign(app, what, name, item, skip, options):
    """Leave out what scikit-learn's base classes bring: its own documentation describes it."""
    owner = getattr(item, "__module__", None) or type(item).__module__
    return True if owner.partition(".")[0] == "sklearn" else None


def escape_attributes(app, what, name, item, options, lines):
    """Escape names such as `n_components_` in the shapes of docstrings, which would be links in reStructuredText."""
    for i, line in enumerate(lines):
        if " of shape (" in line:
            lines[i] = re.sub(r"(?<=\w)_(?=[,)\s])", r"\\_", line)


def escape_initials_of_docstring(app, what, name, item, options, lines):
    """Escape initials at the start of the lines of a docstring."""
    lines[:] = [INITIAL.sub(r"\1\\", line) for line in lines]


def escape_initials_of_gallery(app, page, source):
    """Escape initials at the start of the lines of an example's text."""
    if page.startswith("gallery/"):
        source[0] = INITIAL.sub(r"\1\\", source[0])


def plain_unless_ours(app, env, node, contnode):
    """Set `name` in a docstring, which may be a parameter, as code where nothing of that name is documented."""
    is_default = node.get("reftype") == "obj" and not node["reftarget"].startswith("steepest.")
    return contnode if is_default else None


def setup(app):
    """Connect to Sphinx's events."""
    app.connect("autodoc-skip-member", skip_foreign)
    for escape in (escape_attributes, escape_initials_of_docstring):
        app.connect("autodoc-process-docstring", escape, priority=400)  # before numpydoc
    app.connect("source-read", escape_initials_of_gallery)
    # The summary of a docstring is its first sentence, which does not end at an initial.
    autosummary.WELL_KNOWN_ABBREVIATIONS += tuple(
        f"{before}{letter}." for before in " (-\\" for letter in string.ascii_uppercase
    )
    app.connect("missing-reference", plain_unless_ours)
    return {"parallel_read_safe": True}
