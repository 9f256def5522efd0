"""The detailed report for docs/performance.md: every contestant of every case, with the spread of its times."""

from __future__ import annotations

from bench.show import duration, times

NO_BREAK = "\N{NO-BREAK SPACE}"


def cells(case: str, name: str, entry: dict) -> list[str]:
    """The cells of one contestant in the table."""
    if "median_us" not in entry:
        return [case, name, entry.get("reason") or entry["status"], "", "", "", ""]
    ratio = times(entry["ratio_of_medians"]) if "ratio_of_medians" in entry else ""
    speed = next((f"{entry[key]:#.3g}" for key in ("gflops", "gbps") if key in entry), "").rstrip(".")
    unit = " GFLOP/s" if "gflops" in entry else " GB/s" if "gbps" in entry else ""
    roofline = f"{100 * entry['roofline']:.0f} %" if "roofline" in entry else ""
    spread = f"{duration(entry['p20_us'])} – {duration(entry['p80_us'])}"
    numbers = [duration(entry["median_us"]), spread, ratio, speed + unit, roofline]
    return [case, name, *(number.replace(" ", NO_BREAK) for number in numbers)]


def table(rows: list[dict], ours: str) -> list[str]:
    """A table with a line for each contestant; the first line of a case names it."""
    lines = [
        f"| case | | median | 20 – 80 % | × {ours} | speed | of roofline |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        for i, (name, entry) in enumerate(row["contestants"].items()):
            lines.append(f"| {' | '.join(cells(row['case'] if i == 0 else '', name, entry))} |")
    return lines
