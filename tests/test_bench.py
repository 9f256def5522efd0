"""The benchmarks run: each checks its results and gives a well-formed row. No time is asserted.

PyTorch and JAX stay out of this process (their threads would outlive the test), so that their places are
reported as skipped, as they are where they are not installed.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "bench" / "__main__.py").is_file():
    pytest.skip("the source tree without bench/", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from bench import harness, report  # noqa: E402
from bench.__main__ import NAMES, main, run  # noqa: E402
from bench.peers import Peers  # noqa: E402
from bench.roofline import Roofline  # noqa: E402

RUN = {"date": "2024-02-29", "commit": "0", "device": "CPU", "isa": "generic", "threads": 2, "versions": {}}


def options(folder=None):
    return harness.Options(
        quick=True, rounds=2, round_seconds=1e-4, results=folder, peers=("numpy", "sklearn")
    )


@pytest.mark.parametrize("name", NAMES)
def test_quick_run_gives_checked_rows(name, tmp_path):
    rows = run([name], options(tmp_path), io.StringIO())
    saved = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
    assert saved == json.loads(json.dumps(rows))
    assert len({row["case"] for row in rows}) == len(rows) > 0
    for row in rows:
        assert row["bench"] == name
        assert row["quick"] is True
        assert {"device", "commit", "threads", "versions", "isa"} <= set(row["run"])
        for contestant, entry in row["contestants"].items():
            if entry["status"] == "skipped":
                assert entry["reason"]
                assert contestant.split()[0] in ("PyTorch", "JAX") or row["case"] == "wheel"
                continue
            assert entry["status"] == "ok", (row["case"], contestant, entry)
            if row["case"] == "wheel":
                continue
            assert 0 < entry["min_us"] <= entry["p20_us"] <= entry["median_us"] <= entry["p80_us"]
            # The roofline is no bound where the time of two rounds is mostly noise: only its sign is checked.
            assert entry.get("roofline", 1) > 0
            ratios = {"ratio_of_medians", "median_of_ratios"} & set(entry)
            assert bool(ratios) == (contestant != harness.OURS)


def roofline_of(peak):
    roofline = Roofline(1, seconds=1e-5, samples=1)
    roofline.gflops = peak
    return roofline


def test_a_wrong_result_is_not_timed():
    timed = []
    case = harness.Case(
        "sum",
        [
            harness.Contestant(
                harness.OURS, lambda: timed.append("ours"), lambda: {"x": np.array([1.0, 2.0])}
            ),
            harness.Contestant("NumPy", lambda: timed.append("NumPy"), lambda: {"x": np.array([1.0, 2.1])}),
            harness.Contestant("JAX", lambda: timed.append("JAX"), lambda: {"x": np.array([1.0, np.nan])}),
        ],
        oracle={"x": np.array([1.0, 2.0])},
        tolerance={"x": 1e-6},
    )
    roofline = roofline_of(1.0)
    row = harness.run_case("sum", case, options(), roofline, RUN)
    roofline.close()
    assert [entry["status"] for entry in row["contestants"].values()] == ["ok", "wrong", "wrong"]
    assert set(timed) == {"ours"}
    assert "wrong: error is" in harness.table(row)


def test_contestants_take_turns_and_rotate():
    order = []
    contestants = [harness.Contestant(n, lambda n=n: order.append(n)) for n in "abc"]
    times = harness.measure(contestants, rounds=3, seconds=1.0, calls=1)
    assert times.shape == (3, 3)
    assert [sorted(order[i : i + 3]) for i in (0, 3, 6)] == [["a", "b", "c"]] * 3
    assert {order[i] for i in (0, 3, 6)} == {"a", "b", "c"}


def test_a_missing_or_failing_peer_is_skipped_with_a_reason():
    peers = Peers(1, wanted=("numpy",))
    assert "not among" in peers.contestant("JAX", "jax", None).skipped
    failing = peers.contestant("NumPy", "numpy", lambda label, module: module.no_such_function())
    assert failing.skipped.startswith("failed: AttributeError")


def test_without_a_compiler_the_roofline_is_measured_with_numpy(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    roofline = Roofline(1, seconds=1e-5, samples=1)
    assert "product" in roofline.method
    assert roofline.bandwidth(1 << 16) > 0
    roofline.close()


def full_row(case, ours, peer):
    contestants = {
        harness.OURS: {"status": "ok", "median_us": ours, "roofline": 0.5},
        "PyTorch": {"status": "ok", "median_us": peer, "ratio_of_medians": peer / ours},
        "PyTorch compiled": {"status": "ok", "median_us": 2 * peer, "ratio_of_medians": 2 * peer / ours},
    }
    return {"bench": "adam", "case": case, "quick": False, "contestants": contestants, "run": RUN}


def test_report_takes_the_latest_row_and_the_fastest_variant(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    quick = full_row("a", 1.0, 1.0) | {"quick": True}
    for row in (full_row("a", 10.0, 90.0), full_row("b", 1.0, 0.5), full_row("a", 10.0, 40.0), quick):
        harness.save(row, tmp_path)
    arguments = ["--results", str(tmp_path), "--readme", str(readme)]
    assert report.main([*arguments, "--check"]) == 1
    assert report.main(arguments) == 0
    assert report.main([*arguments, "--check"]) == 0
    text = readme.read_text(encoding="utf-8")
    assert "| a | 10.0 µs | 4.00× | 50 % |" in text
    assert "| b | 1.00 µs | 0.500× | 50 % |" in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


def test_unknown_benchmark_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["no_such"])
    assert "no benchmark named no_such" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("us", "text"),
    [(0.5, "0.500 µs"), (12.3, "12.3 µs"), (999.9, "1.00 ms"), (123456, "123 ms"), (2.5e6, "2.50 s")],
)
def test_duration(us, text):
    assert harness.duration(us) == text
