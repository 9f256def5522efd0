"""The functions of a module of `steepest.kernels`, with what the first sentences of their docstrings say."""

from __future__ import annotations

import importlib
import inspect


def signature_of(function) -> str:
    """Return how a function is called, without the types."""
    parameters = inspect.signature(function).parameters.values()
    plain = [p.replace(annotation=p.empty) for p in parameters]
    return f"{function.__name__}{inspect.Signature(plain)}"


def table(module: str) -> str:
    """Return the table in Markdown."""
    functions = vars(importlib.import_module(f"steepest.kernels.{module}"))
    lines = ["| function | result |", "|---|---|"]
    for function in (functions[name] for name in functions["__all__"]):
        summary = inspect.getdoc(function).partition("\n\n")[0].replace("\n", " ").removeprefix("Return ")
        escaped = summary.replace("|", "\\|")
        lines.append(f"| `{signature_of(function)}` | {escaped} |")
    return "\n".join(lines) + "\n"
