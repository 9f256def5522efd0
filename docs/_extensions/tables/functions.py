"""The functions of modules of `steepest.kernels`: signature, link to the reference, and what their docstrings say.

A row has the docstring's first sentence, without "Return", and the first sentence of the second paragraph if that holds
a formula.
"""

from __future__ import annotations

import importlib
import inspect
import re

LONGEST = 100  # characters of a signature; the reference has the parameters that do not fit
FORMULA = re.compile(r"``[^`]*=[^`]*``")
FOOTNOTE = re.compile(r"\s*\([^()]*\[\d+\]_[^()]*\)|\s*\[\d+\]_")
CLASS = re.compile(r"<class '(?:\w+\.)*(\w+)'>")  # of a default such as numpy.float32


def signature_of(function) -> str:
    """Return how a function is called, without types; if that is long, the first parameters and an ellipsis."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    text = CLASS.sub(r"\1", f"{function.__name__}{inspect.Signature(parameters)}")
    if len(text) <= LONGEST:
        return text
    return text[: text.rindex(", ", 0, LONGEST)].removesuffix(", *") + ", ...)"


def summary_of(function) -> str:
    """Return what the docstring says of the result, on one line."""
    first, _, rest = inspect.getdoc(function).partition("\n\n")
    second = rest.partition("\n\n")[0].replace("\n", " ").partition(". ")[0].removesuffix(".")
    summary = first.replace("\n", " ").removeprefix("Return ")
    if FORMULA.search(second) and not second.endswith("::"):
        summary += f" {second}."
    return FOOTNOTE.sub("", summary)


def table(*modules: str) -> str:
    """Return the table in Markdown."""
    lines = ["| function | result |", "|---|---|"]
    for module in modules:
        names = vars(importlib.import_module(f"steepest.kernels.{module}"))
        for function in (names[name] for name in names["__all__"] if inspect.isroutine(names[name])):
            link = f"{{py:obj}}`{signature_of(function)} <steepest.kernels.{function.__name__}>`"
            summary = summary_of(function).replace("|", "\\|")
            lines.append(f"| {link} | {summary} |")
    return "\n".join(lines) + "\n"
