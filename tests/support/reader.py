"""The environment of a reader of the docs: the package and `make docs`, without the modules that only tests need."""

from __future__ import annotations

MISSING = ("pandas", "tensorboardX")


def hide_what_only_tests_need(folder):
    """Fill a folder that, first on the path, makes the import of these modules fail as where they are missing."""
    for name in MISSING:
        text = f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        (folder / f"{name}.py").write_text(text)
    return folder
