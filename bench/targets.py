"""Performance targets on CUDA and on the CPU, and the rows that measure them; targets without a row stay open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from bench.environment import UNKNOWN
from bench.harness import OURS
from bench.show import duration

NOT_MEASURED = "not yet measured"
CUBLAS = ("CuPy cuBLAS", "PyTorch cuBLAS", "PyTorch cuBLASLt")
GRAPHS = ("PyTorch graph", "PyTorch compiled graph", "PyTorch reduce-overhead", "PyTorch max-autotune")
CURVATURE = ("kfac-jax", "curvlinops", "nngeometry")
GRADIENT = f"{OURS} gradient"
FORMED = tuple(f"{name}, gradients formed" for name in (OURS, "PyTorch vmap", "JAX vmap"))
ADAM = (f"{OURS} Adam", f"{OURS} Adam captured")
# Largest difference of mean accuracies over five seeds.
ACCURACY_MARGIN = 0.0025


@dataclass(frozen=True)
class Result:
    """The measured text of a target; `met` is None if the target has no threshold."""

    text: str
    met: bool | None


@dataclass(frozen=True)
class Target:
    """A target, the case that measures it (the start of its name), a function that reads the row, and the device.

    `read` raises KeyError or ValueError if the row lacks a figure.
    """

    text: str
    bench: str
    case: str
    read: Callable[[dict], Result]
    device: str = "cuda"

    def result(self, row: dict) -> Result | None:
        try:
            return self.read(row)
        except (KeyError, ValueError):
            return None


def median(row: dict, name: str) -> float:
    return row["contestants"][name]["median_us"]


def fastest(row: dict, names: Iterable[str]) -> str:
    """The fastest of the contestants that were timed; raises ValueError if none was."""
    return min((n for n in names if "median_us" in row["contestants"].get(n, {})), key=partial(median, row))


def share_of_copy(row: dict, least: float) -> Result:
    if row["roofline"]["bound_by"] != "memory":
        raise ValueError(row["case"])
    share = row["contestants"][OURS]["roofline"]
    return Result(f"{100 * share:.0f} %", share >= least)


def times_faster(row: dict, names: Iterable[str], least: float | None) -> Result:
    """Time of the fastest of `names` divided by ours, at least `least`."""
    factor = median(row, fastest(row, names)) / median(row, OURS)
    return Result(f"{factor:.3g}×", None if least is None else factor >= least)


def times_longer(row: dict, names: Iterable[str], most: float) -> Result:
    """Our time divided by that of the fastest of `names`, at most `most`."""
    factor = median(row, OURS) / median(row, fastest(row, names))
    return Result(f"{factor:.3g}×", factor <= most)


def times_more(row: dict, name: str, most: float) -> Result:
    """Our time minus that of `name`, divided by that of `name`, at most `most`."""
    factor = median(row, OURS) / median(row, name) - 1
    return Result(f"{factor:.3g}×", factor <= most)


def sooner(row: dict, iterations: int) -> Result:
    """Our iterations, and the time of scikit-learn's fastest solver divided by ours."""
    other = fastest(row, [name for name in row["contestants"] if name.startswith("scikit-learn")])
    factor, count = median(row, other) / median(row, OURS), row["contestants"][OURS]["iterations"]
    return Result(f"{count} iterations, {factor:.3g}× ({other})", count <= iterations and factor > 1)


def emulated(row: dict, least: float) -> Result:
    """Speed and error of high relative to the fastest float32 product of cuBLAS."""
    name, other = f"{OURS} high", fastest(row, CUBLAS)
    factor = median(row, other) / median(row, name)
    errors = [row["contestants"][n]["relative_error"] for n in (name, other)]
    text = f"{factor:.3g}×, error {errors[0]:.2g} (cuBLAS {errors[1]:.2g})"
    return Result(text, factor >= least and errors[0] <= errors[1])


def step(row: dict) -> Result:
    eager, graph = (times_faster(row, names, None).text for names in (("PyTorch",), GRAPHS))
    return Result(f"{duration(median(row, OURS))}; {eager} eager, {graph} graph-captured", None)


def fit(row: dict, seconds: float) -> Result:
    time = median(row, OURS)
    accuracy, on_cpu = (row["contestants"][n]["accuracy"] for n in (OURS, f"{OURS} on the CPU"))
    text = f"{duration(time)}, accuracy {accuracy:.4f} (CPU {on_cpu:.4f})"
    return Result(text, time < 1e6 * seconds and accuracy >= on_cpu - ACCURACY_MARGIN)


def products() -> list[Target]:
    found = []
    for n in (1024, 2048, 4096, 8192):
        case = f"float32 product {n}³"
        read = partial(times_faster, names=CUBLAS, least=0.9)
        found.append(Target(f"{case}: at least 0.9× as fast as cuBLAS", "matmul", case, read))
    for n in (1024, 2048, 4096, 8192):
        text = f"high product {n}³: at least 1.5× as fast as cuBLAS's float32, at no larger error"
        found.append(Target(text, "matmul", f"float32 product {n}³", partial(emulated, least=1.5)))
    for precision in ("tf32", "bfloat16"):
        case = f"{precision} product 4096³"
        read = partial(times_faster, names=CUBLAS, least=None)
        found.append(Target(f"{case}: times as fast as cuBLAS's {precision}", "matmul", case, read))
    return found


def natural_gradient() -> list[Target]:
    """Targets for the costs of Fisher matrices on the CPU."""
    product, factors, gram, step = jobs = (
        "Fisher-vector product, batch 512",
        "K-FAC factors, batch 512",
        "Gram matrix of the scores, batch 512",
        "natural-gradient step, batch 128",
    )
    wanted = [
        (product, "at most 1.3 gradients", partial(times_longer, names=(GRADIENT,), most=1.3)),
        (factors, "at most 0.5 gradients more than a gradient", partial(times_more, name=GRADIENT, most=0.5)),
        (
            gram,
            "at least 20× as fast as through the gradients of the samples",
            partial(times_faster, names=FORMED, least=20.0),
        ),
        (step, "at most 3 steps of Adam", partial(times_longer, names=ADAM, most=3.0)),
    ]
    faster = f"at least 3× as fast as the fastest of {', '.join(CURVATURE)}"
    wanted += [(case, faster, partial(times_faster, names=CURVATURE, least=3.0)) for case in jobs]
    found = [Target(f"{case}: {text}", "fisher", case, read, "cpu") for case, text, read in wanted]
    for data in ("breast cancer, standardised", "digits", "100,000 × 100"):
        case = f"logistic regression, {data}"
        text = f"{case}: at most 12 iterations, and faster than scikit-learn's solvers"
        found.append(Target(text, "natural", case, partial(sooner, iterations=12), "cpu"))
    return found


def all_targets() -> list[Target]:
    copy = partial(share_of_copy, least=0.85)
    eager = partial(times_faster, names=("PyTorch",), least=20.0)
    graph = partial(times_faster, names=GRAPHS, least=3.0)
    loss = "loss and gradient, 4096 × 32768"
    mlp = "training step of 784-128-64-10"
    return [
        Target(
            f"softmax-cross-entropy, {loss}: at least 85 % of copy bandwidth",
            "softmax_cross_entropy",
            loss,
            copy,
        ),
        Target("Adam, 100 M parameters: at least 85 % of copy bandwidth", "adam", "100 M parameters", copy),
        *products(),
        Target(f"{mlp}, batch 32: at least 20× as fast as PyTorch eager", "train_step", "batch 32", eager),
        Target(
            f"{mlp}, batch 32: at least 3× as fast as graph-captured PyTorch", "train_step", "batch 32", graph
        ),
        *(Target(f"{mlp}, batch {n}: beside PyTorch", "train_step", f"batch {n}", step) for n in (256, 2048)),
        Target(
            "whole fit of MNIST, 5 epochs at batch 32: under 0.3 s, with the accuracy of the CPU",
            "fit",
            "MNIST",
            partial(fit, seconds=0.3),
        ),
        *natural_gradient(),
    ]


def may_be_quoted(row: dict) -> bool:
    """Whether a row comes from a full run of a known commit."""
    return not row["quick"] and row["run"]["commit"] != UNKNOWN


def answers(rows: Iterable[dict]) -> list[tuple[Target, Result | None, dict | None]]:
    """Each target with its result and the latest row that measures it, or None and None."""
    rows = [row for row in rows if may_be_quoted(row)]
    found = []
    for target in all_targets():
        # Names match up to a comma, so "batch 2" does not match "batch 2048"; cases with emptied caches do not count.
        fitting = [
            row
            for row in rows
            if row.get("device", "cpu") == target.device
            and row["bench"] == target.bench
            and (row["case"] == target.case or row["case"].startswith(target.case + ","))
            and "caches emptied" not in row["case"]
            and target.result(row) is not None
        ]
        row = fitting[-1] if fitting else None
        found.append((target, target.result(row) if row else None, row))
    return found


def lines(rows: Iterable[dict]) -> list[str]:
    """The targets as lines for a terminal."""
    words = {True: "met", False: "MISSED", None: "-"}
    return [
        f"{words[result.met]:<7} {target.text}: {result.text}"
        if result
        else f"{'?':<7} {target.text}: {NOT_MEASURED}"
        for target, result, _ in answers(rows)
    ]
