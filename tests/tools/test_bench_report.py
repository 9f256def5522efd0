"""The report of the benchmarks: its text for rows, and its text without rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "bench" / "__main__.py").is_file():
    pytest.skip("the source tree without bench/", allow_module_level=True)

from bench import harness, report, targets  # noqa: E402
from bench.__main__ import NAMES  # noqa: E402

# kept by hand: the description of the run in a saved row
RUN = {"date": "2024-02-29", "commit": "0", "device": "CPU", "isa": "generic", "threads": 2, "versions": {}}


def full_row(case, ours, peer):
    contestants = {
        harness.OURS: {"status": "ok", "median_us": ours, "roofline": 0.5},
        "PyTorch": {"status": "ok", "median_us": peer, "ratio_of_medians": peer / ours},
        "PyTorch compiled": {"status": "ok", "median_us": 2 * peer, "ratio_of_medians": 2 * peer / ours},
    }
    for entry in contestants.values():
        entry |= {"p20_us": 0.9 * entry["median_us"], "p80_us": 1.1 * entry["median_us"]}
    return {"bench": "adam", "case": case, "quick": False, "contestants": contestants, "run": RUN}


def test_report_takes_the_latest_row_and_the_fastest_variant(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "HEADLINES", (("adam", "a", "Adam, a"), ("adam", "b", "Adam, b")))
    readme = tmp_path / "README.md"
    page = tmp_path / "performance.md"
    for path in (readme, page):
        path.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    quick = full_row("a", 1.0, 1.0) | {"quick": True}
    for row in (full_row("a", 10.0, 90.0), full_row("b", 1.0, 0.5), full_row("a", 10.0, 40.0), quick):
        harness.save(row, tmp_path)
    arguments = ["--results", str(tmp_path), "--readme", str(readme), "--page", str(page)]
    assert report.main([*arguments, "--check"]) == 1
    assert report.main(arguments) == 0
    assert report.main([*arguments, "--check"]) == 0
    text = readme.read_text(encoding="utf-8")
    assert "| Adam, a | 10.0 µs | 4.00× |" in text
    assert "| Adam, b | 1.00 µs | 0.500× |" in text
    assert "Adam, b" in (tmp_path / "_static" / "speed.svg").read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    details = page.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert "| a | steepest | 10.0 µs | 9.00 µs – 11.0 µs |  |  | 50 % |" in details
    assert "|  | PyTorch compiled | 80.0 µs | 72.0 µs – 88.0 µs | 8.00× |  |  |" in details
    assert "In 1 of 2 cases another library is faster than steepest." in details
    assert "| Adam update | b | 1.00 µs | PyTorch | 0.500 µs | 0.500× |" in details
    assert "Adam update" in (tmp_path / "_static" / "families.svg").read_text(encoding="utf-8")


def test_a_grid_has_a_line_for_each_case_and_their_geometric_mean():
    rows = [
        full_row("a", 1.0, 2.0),
        full_row("b", 1.0, 0.5),
        full_row("c", 1.0, 8.0),
        full_row("d", 1.0, 1.0),
    ]
    rows[-1]["contestants"] = {harness.OURS: rows[-1]["contestants"][harness.OURS]}
    for row in rows:
        for entry in row["contestants"].values():
            entry["gflops"] = 10.0 / entry["median_us"]
    lines = report.details.grid(rows, harness.OURS, ("NumPy", "PyTorch"))
    assert lines[2:] == [
        "| a | 10.0 |  | 5.00 | 2.00× |",
        "| b | 10.0 |  | 20.0 | 0.500× |",
        "| c | 10.0 |  | 1.25 | 8.00× |",
        "| d | 10.0 |  |  |  |",
        "| geometric mean of 3 |  |  |  | 2.00× |",
    ]


def test_no_speed_for_contestants_that_do_other_work_than_the_case():
    entry = {"median_us": 2.0, "p20_us": 1.0, "p80_us": 3.0, "gflops": 500.0, "roofline": 1.3}
    assert report.details.cells("a", harness.OURS, entry)[-2:] == [
        "500\N{NO-BREAK SPACE}GFLOP/s",
        "130\N{NO-BREAK SPACE}%",
    ]
    assert report.details.cells("a", "steepest Adam", entry)[-2:] == ["", ""]


def test_readme_and_page_say_what_the_rows_do():
    assert report.main(["--check"]) == 0


def cuda_row(bench, case, medians, commit="abc1234", **more):
    contestants = {
        name: {"status": "ok", "median_us": us, "p20_us": us, "p80_us": us} for name, us in medians.items()
    }
    for name, entry in contestants.items():
        entry["relative_error"] = 2e-7 if "high" in name else 3e-7
        if name != harness.OURS and harness.OURS in medians:
            entry["ratio_of_medians"] = entry["median_us"] / medians[harness.OURS]
    gpu = {"commit": commit, "device": "Fake GPU", "host": "CPU", "gpu": {}}
    row = {"bench": bench, "case": case, "device": "cuda", "quick": False, "contestants": contestants}
    return row | {"run": RUN | gpu} | more


def shown(*rows):
    """Results of the measured targets, by the start of the target's text."""
    answers = targets.answers(rows)
    return {target.text.split(":")[0]: result for target, result, _ in answers if result is not None}


def test_every_benchmark_has_a_title():
    assert list(report.TITLES) == list(NAMES)


def test_no_figure_without_a_row():
    assert shown() == {}
    assert all(line.endswith("not yet measured") for line in targets.lines([]))
    text = report.generate_page([])
    assert text.count("not yet measured") == len(targets.all_targets())
    medians = {harness.OURS: 1.0, "CuPy cuBLAS": 1.0}
    for row in (
        cuda_row("matmul", "float32 product 1024³", medians, commit="unknown"),
        cuda_row("matmul", "float32 product 1024³", medians, quick=True),
        cuda_row("matmul", "float32 product 1024³", medians, device="cpu"),
        cuda_row("matmul", "float32 product 1024³, caches emptied", medians),
        cuda_row("matmul", "float32 product 1024³", {harness.OURS: 1.0, "JAX": 1.0}),
        cuda_row("train_step", "batch 32", {"PyTorch": 1.0}),
    ):
        assert shown(row) == {}


def test_targets_are_read_from_rows():
    products = {
        harness.OURS: 10.0,
        f"{harness.OURS} high": 4.0,
        "PyTorch cuBLAS": 9.5,
        "CuPy cuBLAS": 8.0,
    }
    steps = {harness.OURS: 10.0, "PyTorch": 190.0, "PyTorch graph": 50.0, "PyTorch compiled graph": 40.0}
    copy = {"roofline": {"bound_by": "memory"}}
    loss = cuda_row("softmax_cross_entropy", "loss and gradient, 4096 × 32768", {harness.OURS: 1.0}, **copy)
    loss["contestants"][harness.OURS]["roofline"] = 0.86
    fit = cuda_row("fit", "MNIST, 48000 rows", {harness.OURS: 2.5e5, f"{harness.OURS} on the CPU": 1e6})
    for entry, accuracy in zip(fit["contestants"].values(), (0.971, 0.975), strict=True):
        entry["accuracy"] = accuracy
    found = shown(
        cuda_row("matmul", "float32 product 4096³", products),
        cuda_row("train_step", "batch 32", steps),
        cuda_row("train_step", "batch 256", steps),
        loss,
        fit,
    )
    assert found == {
        "float32 product 4096³": targets.Result("0.8×", False),
        "high product 4096³": targets.Result("2×, error 2e-07 (cuBLAS 3e-07)", True),
        "training step of 784-128-64-10, batch 32": targets.Result("4×", True),
        "training step of 784-128-64-10, batch 256": targets.Result(
            "10.0 µs; 19× eager, 4× graph-captured", None
        ),
        "softmax-cross-entropy, loss and gradient, 4096 × 32768": targets.Result("86 %", True),
        "whole fit of MNIST, 5 epochs at batch 32": targets.Result(
            "250 ms, accuracy 0.9710 (CPU 0.9750)", False
        ),
    }


def cpu_row(bench, case, medians, **more):
    row = cuda_row(bench, case, medians, **more)
    return row | {"device": "cpu", "run": RUN}


def test_costs_of_fisher_matrices_are_read_from_rows_of_the_cpu():
    product = {harness.OURS: 12.0, targets.GRADIENT: 10.0, "kfac-jax": 40.0, "curvlinops": 30.0, "JAX": 11.0}
    factors = {harness.OURS: 16.0, targets.GRADIENT: 10.0}
    step = {harness.OURS: 10.0, "steepest Adam": 5.0, "steepest Adam captured": 4.0}
    gram = {harness.OURS: 1.0, "steepest, gradients formed": 50.0, "JAX vmap, gradients formed": 19.0}
    solvers = {harness.OURS: 2.0, "scikit-learn lbfgs": 9.0, "scikit-learn newton-cg": 3.0}
    natural = cpu_row("natural", "logistic regression, digits", solvers)
    natural["contestants"][harness.OURS]["iterations"] = 9
    rows = [
        cpu_row("fisher", "Fisher-vector product, batch 512", product),
        cpu_row("fisher", "K-FAC factors, batch 512", factors, note="the floor"),
        cpu_row("fisher", "Gram matrix of the scores, batch 512", gram),
        cpu_row("fisher", "natural-gradient step, batch 128", step),
        natural,
    ]
    found = {t.text.split(": ")[0]: [] for t in targets.all_targets() if t.device == "cpu"}
    for target, result, _ in targets.answers(rows):
        if target.device == "cpu" and result is not None:
            found[target.text.split(": ")[0]].append(result)
    assert found == {
        "Fisher-vector product, batch 512": [targets.Result("1.2×", True), targets.Result("2.5×", False)],
        "K-FAC factors, batch 512": [targets.Result("0.6×", False)],
        "Gram matrix of the scores, batch 512": [targets.Result("19×", False)],
        "natural-gradient step, batch 128": [targets.Result("2.5×", True)],
        "logistic regression, digits": [targets.Result("9 iterations, 1.5× (scikit-learn newton-cg)", True)],
        "logistic regression, breast cancer, standardised": [],
        "logistic regression, 100,000 × 100": [],
    }
    # Rows of a GPU do not measure targets of the CPU, and vice versa.
    assert shown(*(row | {"device": "cuda"} for row in rows)) == {}
    text = report.generate_page([row | {"rounds": 1} for row in rows])
    assert "- K-FAC factors, batch 512: the floor." in text
    assert "- Iterations, logistic regression, digits: steepest 9." in text


def test_rows_measured_elsewhere_are_added_with_their_device_and_commit(tmp_path, capsys):
    readme, rows = tmp_path / "README.md", tmp_path / "rows.jsonl"
    page = tmp_path / "performance.md"
    for path in (readme, page):
        path.write_text(f"{report.BEGIN}\n{report.END}\n", encoding="utf-8")
    row = cuda_row("adam", "100 M parameters, 2 tensors", {harness.OURS: 800.0, "PyTorch fused": 1000.0})
    row["contestants"][harness.OURS]["roofline"] = 0.9
    rows.write_text(json.dumps(row | {"roofline": {"bound_by": "memory"}}) + "\n", encoding="utf-8")
    harness.save(full_row("100 M parameters, 2 tensors", 5.0, 10.0), tmp_path / "results")
    arguments = ["--results", str(tmp_path / "results"), "--readme", str(readme), "--page", str(page)]
    assert report.main([*arguments, "--add", str(rows), "--targets"]) == 0
    assert "met     Adam, 100 M parameters: at least 85 % of copy bandwidth: 90 %" in capsys.readouterr().out
    assert report.main(arguments) == 0
    text = page.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    # The row of the CPU is kept, and the two tables do not mix.
    on_cpu, on_gpu = text.split("## Measured on a GPU")
    assert "| 100 M parameters, 2 tensors | steepest | 5.00 µs |" in on_cpu
    assert "|  | PyTorch | 10.0 µs | 9.00 µs – 11.0 µs | 2.00× |" in on_cpu
    assert "| 100 M parameters, 2 tensors | steepest | 800 µs |" in on_gpu
    assert "|  | PyTorch fused | 1.00 ms | 1.00 ms – 1.00 ms | 1.25× |" in on_gpu
    assert "85 % of copy bandwidth | 90 % | yes | Fake GPU | abc1234 |" in text
    assert "**Fake GPU, commit abc1234**" in on_gpu
