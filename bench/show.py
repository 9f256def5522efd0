"""Formats rows for a terminal."""

from __future__ import annotations

# Number of cores in use by other processes above which a row is marked. Libraries whose threads spin lose far more than
# this when others compute.
DISTURBED = 0.1
TIMES = ("median_us", "p20_us", "p80_us", "min_us", "ratio_of_medians", "median_of_ratios")
MEASURED = ("status", "error_over_tolerance", "relative_error", "clock", *TIMES, "gflops", "gbps", "roofline")


def duration(us: float) -> str:
    """A time with three digits and a unit."""
    for limit, scale, unit in ((1e3, 1.0, "µs"), (1e6, 1e3, "ms")):
        if us < limit * 0.9995:
            return f"{us / scale:#.3g} {unit}".replace(". ", " ")
    return f"{us / 1e6:#.3g} s".replace(". ", " ")


def times(ratio: float) -> str:
    """A ratio with three digits and a sign."""
    return f"{ratio:,.0f}×" if ratio >= 999.5 else f"{ratio:#.3g}×".replace(".×", "×")


def table(row: dict) -> str:
    """A row as text for a terminal."""
    lines = [f"{row['bench']}: {row['case']}"]
    if row["cores_used_by_others"] > DISTURBED:
        lines.append(f"  disturbed: other processes used {row['cores_used_by_others']} cores meanwhile")
    for name, entry in row["contestants"].items():
        if "median_us" not in entry:
            note = entry.get("reason") or ", ".join(f"{k} {v}" for k, v in entry.items() if k != "status")
            lines.append(f"  {name:<26} {entry['status']}: {note}")
            continue
        spread = f"{duration(entry['p20_us'])} – {duration(entry['p80_us'])}"
        text = f"  {name:<26} {duration(entry['median_us']):>9}  ({spread:>19})"
        if "ratio_of_medians" in entry:
            text += f"  {entry['ratio_of_medians']:6.2f}x  per round {entry['median_of_ratios']:6.2f}x"
        else:
            text += " " * 26
        if "gflops" in entry:
            text += f"  {entry['gflops']:7.1f} GFLOP/s"
        elif "gbps" in entry:
            text += f"  {entry['gbps']:7.1f} GB/s"
        if "roofline" in entry:
            text += f"  {100 * entry['roofline']:5.1f} % of {row['roofline'].get('name', 'roofline')}"
        if row.get("device") == "cuda" and "relative_error" in entry:
            text += f"  error {entry['relative_error']:.1e}"
        lines.append(text.rstrip())
        extra = {k: v for k, v in entry.items() if k not in MEASURED}
        if extra:
            lines.append("      " + ", ".join(f"{k} {v}" for k, v in extra.items()))
    if "note" in row:
        lines.append(f"  {row['note']}")
    return "\n".join(lines)
