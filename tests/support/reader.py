"""The environment that `make docs` installs: without the modules that only the tests need."""

from __future__ import annotations

MISSING = ("pandas", "tensorboardX")


def hide_what_only_tests_need(folder):
    """Write modules into `folder` whose import fails; with `folder` first on the path, `MISSING` seem not installed."""
    for name in MISSING:
        text = f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        (folder / f"{name}.py").write_text(text)
    return folder
