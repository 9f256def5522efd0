"""The table of docs/losses.md is the one that its script writes today."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "loss_table.py"


def test_the_page_is_current():
    script = runpy.run_path(str(SCRIPT))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), "run python scripts/loss_table.py"
