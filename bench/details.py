"""The detailed report for docs/performance.md: every contestant of every case, with the spread of its times."""

from __future__ import annotations

import math

from bench.show import duration, times

NO_BREAK = "\N{NO-BREAK SPACE}"
# Contestants of Fisher matrices that take part only for the ratio of times. They do less work than the case counts, so
# the number of operations of the case does not give their speed.
OTHER_WORK = ("steepest gradient", "steepest Adam", "steepest Adam captured")
# Name in older rows -> today's name.
RENAMED = {"steepest with a certificate": "steepest with diagnostics"}


def cells(case: str, name: str, entry: dict) -> list[str]:
    """The cells of one contestant in the table."""
    does_the_case = name not in OTHER_WORK
    name = RENAMED.get(name, name)
    if "median_us" not in entry:
        return [case, name, entry.get("reason") or entry["status"], "", "", "", ""]
    ratio = times(entry["ratio_of_medians"]) if "ratio_of_medians" in entry else ""
    units = {"gflops": " GFLOP/s", "gbps": " GB/s"} if does_the_case else {}
    speed = next((f"{entry[key]:#.3g}".rstrip(".") + unit for key, unit in units.items() if key in entry), "")
    roofline = f"{100 * entry['roofline']:.0f} %" if does_the_case and "roofline" in entry else ""
    spread = f"{duration(entry['p20_us'])} – {duration(entry['p80_us'])}"
    numbers = [duration(entry["median_us"]), spread, ratio, speed, roofline]
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


def grid(rows: list[dict], ours: str, libraries: tuple[str, ...]) -> list[str]:
    """A table with a line for each case: the speed of each library's fastest variant, and the fastest over ours."""
    lines = [
        f"| case | {ours} | {' | '.join(libraries)} | fastest × {ours} |",
        "|---|--:|" + "--:|" * (len(libraries) + 1),
    ]
    factors = []
    for row in rows:
        speeds = [row["contestants"][ours].get("gflops", 0.0)]
        for library in libraries:
            found = [
                e["gflops"] for n, e in row["contestants"].items() if n.startswith(library) and "gflops" in e
            ]
            speeds.append(max(found, default=0.0))
        cells = [f"{speed:#.3g}".rstrip(".") if speed else "" for speed in speeds]
        factor = speeds[0] / max(speeds[1:]) if any(speeds[1:]) else 0.0
        lines.append(f"| {row['case']} | {' | '.join(cells)} | {times(factor) if factor else ''} |")
        factors += [factor] if factor else []
    if factors:
        mean = math.exp(sum(map(math.log, factors)) / len(factors))
        lines.append(f"| geometric mean of {len(factors)} | {' | ' * len(libraries)} | {times(mean)} |")
    return lines
