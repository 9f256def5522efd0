"""Every benchmark runs, checks its results and gives a well-formed row; times are not checked.

PyTorch and JAX are not loaded, since their threads would outlive the test. They and the libraries built on them are
reported as skipped, as on a machine without them.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "bench" / "__main__.py").is_file():
    pytest.skip("the source tree without bench/", allow_module_level=True)

from bench import device as devices  # noqa: E402
from bench import environment, harness, instructions, show  # noqa: E402
from bench.__main__ import CUDA_ORDER, HOST_ONLY, NAMES, PEERS, RESULTS, built_cases, main, parse, run  # noqa: E402
from bench.ceiling import Ceiling  # noqa: E402
from bench.peak_memory import CHUNK, measure  # noqa: E402
from bench.peers import Peers  # noqa: E402
from bench.roofline import Roofline  # noqa: E402

OUTSIDE = ("PyTorch", "JAX", "kfac-jax", "curvlinops", "nngeometry")
RUN = {"date": "2024-02-29", "commit": "0", "device": "CPU", "isa": "generic", "threads": 2, "versions": {}}


def options(folder=None, **more):
    return harness.Options(
        quick=True, rounds=2, round_seconds=1e-4, results=folder, peers=("numpy", "sklearn"), **more
    )


class FakeEvent:
    """A CUDA event that completes as soon as it is recorded."""

    def record(self):
        self.time = time.perf_counter()

    def synchronize(self):
        assert self.time <= time.perf_counter()


class FakeCupy:
    """NumPy with the parts of CuPy that the CUDA device uses, so that CUDA benchmarks run on the CPU."""

    def __init__(self):
        self.device_waits = 0
        self.sums = 0
        self.cuda = SimpleNamespace(
            Event=FakeEvent,
            get_elapsed_time=lambda start, end: 1e3 * (end.time - start.time),
            Device=lambda: SimpleNamespace(attributes={"ClockRate": 1_000_000}),
            runtime=SimpleNamespace(
                deviceSynchronize=self._wait,
                getDevice=lambda: 0,
                getDeviceProperties=lambda i: {
                    "name": b"Fake GPU",
                    "l2CacheSize": 1 << 16,
                    "multiProcessorCount": 10,
                    "major": 9,
                    "minor": 0,
                },
                driverGetVersion=lambda: 13000,
                runtimeGetVersion=lambda: 13000,
            ),
        )

    def __getattr__(self, name):
        return getattr(np, name)

    def _wait(self):
        self.device_waits += 1

    def sum(self, array, out):
        self.sums += 1
        return np.sum(array, out=out)

    def get_default_memory_pool(self):
        return SimpleNamespace(free_all_blocks=lambda: None)


def fake_cuda():
    return devices.Cuda(FakeCupy(), compute="cpu")


def check_rows(rows, name, skipped):
    """Assert that every contestant is correct and timed, except for the skipped libraries."""
    assert len({row["case"] for row in rows}) == len(rows) > 0
    for row in rows:
        assert row["bench"] == name
        assert row["quick"] is True
        assert {"device", "commit", "threads", "versions", "isa"} <= set(row["run"])
        for contestant, entry in row["contestants"].items():
            if entry["status"] == "skipped":
                assert entry["reason"]
                assert contestant.split()[0] in skipped or row["case"] == "wheel"
                continue
            assert entry["status"] == "ok", (row["case"], contestant, entry)
            if row["case"] == "wheel":
                continue
            if "peak_mib" in entry:
                # Our fit may need less than a page; scikit-learn copies the samples, which take 1.5 MiB.
                assert entry["peak_mib"] > 1 or contestant != "scikit-learn"
                continue
            assert 0 < entry["min_us"] <= entry["p20_us"] <= entry["median_us"] <= entry["p80_us"]
            # Times of two rounds are mostly noise and may beat the roofline, so only the sign is checked.
            assert entry.get("roofline", 1) > 0
            ratios = {"ratio_of_medians", "median_of_ratios"} & set(entry)
            assert bool(ratios) == (contestant != harness.OURS)


@pytest.mark.parametrize("name", NAMES)
def test_quick_run_gives_checked_rows(name, tmp_path):
    rows = run([name], options(tmp_path), io.StringIO())
    saved = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
    assert saved == json.loads(json.dumps(rows))
    check_rows(rows, name, skipped=OUTSIDE)
    assert {row["device"] for row in rows} == {"cpu"}


@pytest.mark.parametrize("name", CUDA_ORDER)
def test_the_cuda_benchmarks_run_on_a_fake_device(name, tmp_path, monkeypatch):
    device = fake_cuda()
    monkeypatch.setattr(Peers, "load", with_fake_cupy(Peers.load, device.xp))
    cuda_options = options(tmp_path)
    cuda_options.device, cuda_options.peers = device, ("cupy", "sklearn")
    rows = run([name], cuda_options, io.StringIO())
    check_rows(rows, name, skipped=OUTSIDE)
    for row in rows:
        assert row["device"] == "cuda"
        assert row["run"]["device"] == "Fake GPU"
        clocks = {entry["clock"] for entry in row["contestants"].values() if entry["status"] == "ok"}
        assert clocks <= {"host", "events", "events, caches emptied"}
        host = ("fit", "regression", "linear_model")
        assert clocks == {"host"} if name in host else "host" not in clocks


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from Linux's /proc")
def test_samples_made_as_they_are_read_take_less_memory_than_all_of_them():
    n, d = 3 * CHUNK, 20
    figures = measure("streamed", n, d, 5, dict(os.environ))
    assert 0 < figures["peak_mib"] < 4 * n * d / 2**20


def test_the_benchmarks_are_found_without_pytest():
    # pytest adds folders of the tests to the path, which are not there when a user runs a benchmark.
    names = "; ".join(f"import bench.bench_{name}" for name in NAMES)
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", names], cwd=ROOT, env=environ, check=True)


def with_fake_cupy(load, cupy):
    return lambda self, name: cupy if name == "cupy" else load(self, name)


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
    assert "wrong: error is" in show.table(row)


def test_events_time_what_lies_on_the_stream_and_the_host_the_rest():
    device = fake_cuda()
    calls = []
    on_stream = harness.Contestant("a", lambda: calls.append("a"))
    elsewhere = harness.Contestant("b", lambda: calls.append("b"), wait=lambda: calls.append("wait"))
    assert device.seconds(on_stream, 3) > 0
    assert device.seconds(elsewhere, 2) > 0
    assert calls == ["a"] * 3 + ["b", "b", "wait"]
    assert device.xp.device_waits == 2
    assert device.xp.sums == 0
    # The time does not include emptying the caches.
    device.xp.sum = lambda array, out: time.sleep(0.01)
    assert 0 < device.seconds(on_stream, 3, cold=True) < 0.01
    assert device.clock(on_stream, True) == "events, caches emptied"
    assert device.clock(elsewhere, True) == "host"


def test_the_ceiling_of_a_cuda_device():
    device = fake_cuda()
    ceiling = Ceiling(device, Peers(1, wanted=(), device=device), copied=1 << 20, samples=2)
    assert "no PyTorch" in ceiling.method
    large = ceiling.bound(1e9, 2e9, 2e9)
    assert large.by == "memory"
    assert large.seconds == pytest.approx(2 / large.gbps)
    row = ceiling.describe(large)
    assert row["name"] == "copy bandwidth"
    assert row["float32_gflops_by_clock"] == 2 * 1.0 * 10 * 128
    # Memory does not bound work on data in the cache.
    assert ceiling.bound(0.0, 1e3, 1e3).seconds == 0
    ceiling.gflops = 5.0
    assert ceiling.bound(1e9, 1e3, 1e3) == (0.2, "compute", 5.0, 0.0)


def test_a_contestant_may_stand_aside():
    times = harness.measure(
        [harness.Contestant("a", lambda: None), harness.Contestant("b", lambda: None, max_rounds=1)],
        rounds=3,
        seconds=1.0,
        calls=1,
    )
    assert np.isfinite(times).tolist() == [[True] * 3, [True, False, False]]


def test_a_case_that_fails_is_reported_and_the_others_run(monkeypatch, capsys):
    def cases(options, peers):
        yield harness.Case("broken", [harness.Contestant(harness.OURS, lambda: 1 / 0)])
        yield harness.Case("sound", [harness.Contestant(harness.OURS, lambda: None)])
        raise ValueError("cannot be built")

    monkeypatch.setitem(sys.modules, "bench.bench_adam", SimpleNamespace(cases=cases))
    rows = run(["adam"], options(), io.StringIO())
    entries = [row["contestants"][harness.OURS] for row in rows]
    assert [entry["status"] for entry in entries] == ["wrong", "ok", "wrong"]
    assert "ZeroDivisionError" in entries[0]["reason"]
    assert "cannot be built" in entries[2]["reason"]
    assert "Traceback" in capsys.readouterr().err


def test_no_case_is_begun_after_the_deadline():
    assert list(built_cases("adam", options(), None, {}, time.perf_counter() - 1)) == []
    assert sorted((*CUDA_ORDER, *HOST_ONLY)) == sorted(NAMES)


def test_cuda_where_it_is_missing_is_an_error(monkeypatch, capsys):
    from steepest._runtime import backends

    monkeypatch.setattr(backends, "cuda_problem", lambda: "no driver")
    monkeypatch.setattr(environment, "prepare", lambda threads, device: threads)
    assert main(["--device", "cuda"]) == 2
    assert "CUDA is not available: no driver" in capsys.readouterr().err
    assert "numpy" not in PEERS["cuda"]


def test_a_copy_without_its_repository_is_told_its_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.delenv("STEEPEST_COMMIT", raising=False)
    assert environment.commit() == "unknown"
    monkeypatch.setenv("STEEPEST_COMMIT", "0123abc")
    assert environment.commit() == "0123abc"


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


def test_the_reason_of_a_failure_is_its_first_line():
    error = ValueError("too many\nvalues")
    error.add_note("what came later")
    assert harness.one_line(error) == "ValueError: too many"


def test_a_note_is_in_the_row_and_shown():
    case = harness.Case("a", [harness.Contestant(harness.OURS, lambda: None)], note="read this")
    roofline = roofline_of(1.0)
    row = harness.run_case("a", case, options(), roofline, RUN)
    roofline.close()
    assert row["note"] == "read this"
    assert show.table(row).splitlines()[-1] == "  read this"


def test_without_a_compiler_the_roofline_is_measured_with_numpy(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    roofline = Roofline(1, seconds=1e-5, samples=1)
    assert "product" in roofline.method
    assert roofline.bandwidth(1 << 16) > 0
    roofline.close()


def test_unknown_benchmark_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["no_such"])
    assert "no benchmark named no_such" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("us", "text"),
    [(0.5, "0.500 µs"), (12.3, "12.3 µs"), (999.9, "1.00 ms"), (123456, "123 ms"), (2.5e6, "2.50 s")],
)
def test_duration(us, text):
    assert show.duration(us) == text


def test_a_quick_run_leaves_the_measured_rows_alone(tmp_path):
    assert parse([]).results == RESULTS
    assert parse(["--quick"]).results is None
    assert parse(["--quick", "--results", str(tmp_path)]).results == tmp_path


def test_instructions_above_the_record():
    now = {"compiler": "GNU 12.2.0", "python": "3.11", "numpy": "2.3"}
    of_kernel, of_python = (next(iter(make())) for make in (instructions.kernels, instructions.paths))
    record = {"versions": now, "counts": {of_kernel: 1000, of_python: 1000}}

    def slower(kernel, python, **versions):
        lines, names = instructions.compare(
            {of_kernel: kernel, of_python: python, "new": 5}, now | versions, record
        )
        assert len(lines) == 3 and "not on record" in lines[2]
        return names

    assert slower(1020, 1020) == []
    assert slower(1021, 900) == [of_kernel]
    assert slower(1, 1021) == [of_python]
    assert slower(2000, 2000, numpy="2.4") == [of_kernel]
    assert slower(2000, 2000, compiler="Clang 19") == []


def test_the_record_of_instructions_has_every_job():
    counts = json.loads(instructions.RECORD.read_text())["counts"]
    assert counts.keys() == instructions.kernels().keys() | instructions.paths().keys()


PLANTED = """
import os, threading, time
import numpy as np
from bench.harness import OURS, Case, Contestant

calls, spins = [], []

def spin(seconds):
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        pass
    spins.append((begin, time.monotonic()))

def cases(options, peers):
    def contestant(name, value, seconds, status):
        def result():
            if status:
                os._exit(status)
            return {"x": value}
        def call():
            calls.append(time.monotonic())
            time.sleep(seconds)
            if name == "NumPy":  # leaves a thread that spins for a while
                threading.Thread(target=spin, args=(0.03,)).start()
        return Contestant(
            name, call, result, finish=lambda: {"process": os.getpid(), "calls": calls, "spins": spins}
        )

    for case, status in (("a", 0), ("b", 3)):
        yield Case(
            case,
            [
                contestant(OURS, 1.0, 1e-4, 0),
                contestant(f"{OURS} again", 1.0, 1e-4, 0),
                peers.contestant("NumPy", "numpy", lambda name, _: contestant(name, 1.0, 5e-3, 0)),
                peers.contestant("scikit-learn", "sklearn", lambda name, _: contestant(name, 1.1, 1e-4, status)),
                peers.contestant("JAX", "jax", None),
            ],
            oracle={"x": np.asarray(1.0)},
            tolerance={"x": np.asarray(1e-6)},
            params={"n": 1},
        )
"""


def test_each_library_has_a_process(monkeypatch, tmp_path):
    """A slow and a wrong library are shown as such, and one whose process ends stops no other."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "bench_planted.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(tmp_path)
    first, second = run(["planted"], options(processes=True), io.StringIO())
    entries = first["contestants"]
    assert list(entries) == [harness.OURS, f"{harness.OURS} again", "NumPy", "scikit-learn", "JAX"]
    slow, ours = entries["NumPy"], entries[harness.OURS]
    assert first["own_processes"] and slow["min_us"] >= 5000  # it sleeps for 5 ms
    assert slow["ratio_of_medians"] == pytest.approx(slow["median_us"] / ours["median_us"], rel=1e-3)
    assert entries["scikit-learn"]["status"] == "wrong"
    assert "error is" in entries["scikit-learn"]["reason"]
    assert entries["JAX"] == {"status": "skipped", "reason": "not among the peers asked for"}
    at = {name: entry["process"] for name, entry in entries.items() if "process" in entry}
    assert at[harness.OURS] == at[f"{harness.OURS} again"] != at["NumPy"]
    assert os.getpid() not in at.values()
    # No contestant runs while a thread of another process still spins.
    assert len(slow["spins"]) > 3
    assert not any(begin < call < end for begin, end in slow["spins"] for call in ours["calls"])
    ended = second["contestants"]
    assert ended["NumPy"]["status"] == "ok"
    assert "sklearn: its process ended with status 3" in ended["scikit-learn"]["reason"]
