"""Run the benchmarks: `python -m bench [NAME ...] [--device cuda] [--quick]` from the root of the repository.

Rows go to bench/results/<name>.jsonl, except those of a quick run, whose times are meaningless. `python -m
bench.report` puts the latest rows into the README.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench import environment
from bench.show import duration, table

# Name of a benchmark -> its title in reports.
TITLES = {
    "products": "Matrix products",
    "matmul": "Layers, and products on a GPU",
    "activation": "Activations",
    "convolution": "Convolutions",
    "elementwise": "Sums, products and copies",
    "unary": "Functions of one item",
    "pool": "Pooling of images",
    "normalization": "Layer, RMS, group and batch norm",
    "take_images": "Mini-batches of images",
    "recurrence": "Recurrent layers, forwards and backwards",
    "attention": "Attention",
    "softmax_cross_entropy": "Softmax-cross-entropy",
    "loss": "Losses of single predictions",
    "linear_loss": "Losses and steps of linear models",
    "adam": "Adam update",
    "update": "Other update rules",
    "train_step": "Training step of 784-128-64-10",
    "convnet": "Convolutional networks",
    "language_model": "Language models",
    "generative": "Generative networks",
    "fit": "Whole fit of 784-128-64-10",
    "convnet_fit": "Whole fit of LeNet-5",
    "regression": "Whole fit of MLPRegressor, 8-100-1",
    "class_scatter": "Scatter of ten classes",
    "gradient_gram": "Products of per-sample gradients",
    "linear_tangent": "Derivative of a layer along a direction",
    "second_moment": "Second moments of rows",
    "discriminant": "Linear discriminant analysis",
    "discriminant_memory": "Memory of linear discriminant analysis",
    "pca": "Principal components",
    "rbm": "Boltzmann machines",
    "linear_model": "Linear models",
    "natural": "Logistic regression by the natural gradient",
    "fisher": "Fisher matrices of 784-128-64-10",
    "overhead": "Overhead",
}
NAMES = tuple(TITLES)
# kept by hand: benchmarks with targets run first, in case the time on the device runs out
CUDA_ORDER = (
    "train_step",
    "convnet",
    "recurrence",
    "language_model",
    "fit",
    "convnet_fit",
    "regression",
    "softmax_cross_entropy",
    "loss",
    "linear_loss",
    "adam",
    "matmul",
    "overhead",
    "update",
    "class_scatter",
    "gradient_gram",
    "linear_tangent",
    "second_moment",
    "discriminant",
    "pca",
    "rbm",
    "generative",
    "linear_model",
    "activation",
    "elementwise",
    "unary",
    "convolution",
    "pool",
    "normalization",
    "take_images",
    "attention",
)
# Benchmarks that run on the host alone: they measure processes, or compare with libraries there.
HOST_ONLY = ("products", "discriminant_memory", "natural", "fisher")
# Benchmarks whose jobs start processes themselves.
OWN_PROCESSES = ("discriminant_memory", "overhead")
PEERS = {
    # kept by hand: the libraries that support each device
    "cpu": ("numpy", "torch", "jax", "sklearn", "kfac_jax", "curvlinops", "nngeometry"),
    "cuda": ("cupy", "torch", "jax", "sklearn"),
}
RESULTS = environment.ROOT / "bench" / "results"


def run(names: Iterable[str], options, out=sys.stdout, seconds: float = float("inf")) -> list[dict]:
    """Run the named benchmarks, print each row once it is measured, and return the rows.

    No case starts later than `seconds` after the start of the run.
    """
    from bench import harness
    from bench.peers import Peers
    from bench.turns import Turns

    device = options.device
    about = environment.describe(options.threads, device.describe())
    print(f"{about['device']}, {options.threads} threads, {about['isa']}, commit {about['commit']}", file=out)
    peers = Peers(options.threads, options.peers, device)
    roofline = open_roofline(options, peers)
    turns = Turns(options) if options.processes else None
    start, rows = time.perf_counter(), []
    try:
        print(f"peak {roofline.sample_peak():.0f} GFLOP/s ({roofline.method})", file=out)
        for name in names:
            began = time.perf_counter()
            own = None if name in OWN_PROCESSES else turns
            for case in built_cases(name, options, peers, about, start + seconds, own):
                # A case that could not be built is already a row.
                row = case if isinstance(case, dict) else run_case(name, case, options, roofline, about)
                rows.append(row)
                print(table(row), file=out, flush=True)
                if options.results is not None and "params" in row:
                    harness.save(row, options.results)
                del case
                device.release()
            print(f"-- {name}: {time.perf_counter() - began:.0f} s", file=out, flush=True)
    finally:
        roofline.close()
        if turns is not None:
            turns.close()
    return rows


def open_roofline(options, peers):
    """Return the measured bandwidth and peak rate of the device."""
    if options.device.name == "cuda":
        from bench.ceiling import Ceiling

        small = {"copied": 1 << 20, "products": (256,), "samples": 2} if options.quick else {}
        return Ceiling(options.device, peers, **small)
    from bench.roofline import Roofline

    return Roofline(options.threads, *((0.0005, 3) if options.quick else ()))


def built_cases(name: str, options, peers, about: dict, deadline: float, turns=None) -> Iterator:
    """Yield the cases of a benchmark until the deadline, or a row for cases that cannot be built.

    With `turns` each library builds them in a process of its own.
    """
    from bench import harness

    try:
        if turns is None:
            cases = importlib.import_module(f"bench.bench_{name}").cases(options, peers)
        else:
            cases = turns.cases(name)
        while time.perf_counter() < deadline and (case := next(cases, None)) is not None:
            yield case
    except Exception as error:
        traceback.print_exc()
        yield harness.failed_row(name, "(the cases from here on)", error, options, about)


def run_case(name: str, case, options, roofline, about: dict) -> dict:
    """Return the row of a case, or a row with its failure, so that the other cases still run."""
    from bench import harness

    try:
        return harness.run_case(name, case, options, roofline, about)
    except Exception as error:
        traceback.print_exc()
        return harness.failed_row(name, case.name, error, options, about)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--device", choices=tuple(PEERS), default="cpu", help="where to compute (default cpu)"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds, as a check")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no case later than this")
    parser.add_argument("--threads", type=int, default=2, help="of every contestant on the CPU (default 2)")
    parser.add_argument("--rounds", type=int, help="number of interleaved rounds for each case")
    parser.add_argument(
        "--peers", nargs="*", choices=sorted({*PEERS["cpu"], *PEERS["cuda"]}), help="other libraries to run"
    )
    parser.add_argument("--max-autotune", action="store_true", help="PyTorch's max-autotune compilation too")
    parser.add_argument("--data", type=Path, help="folder of the four MNIST files, for `fit`")
    parser.add_argument(
        "--results",
        type=Path,
        help="folder of the .jsonl files (default bench/results, or none with --quick)",
    )
    parser.add_argument("--no-save", action="store_true", help="print only")
    args = parser.parse_args(argv)
    if args.results is None and not args.quick:
        args.results = RESULTS
    if unknown := sorted(set(args.names) - set(NAMES)):
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if a contestant of this package is wrong, 2 if the device is missing."""
    args = parse(argv)
    on_cuda = args.device == "cuda"
    threads = environment.prepare(args.threads, args.device)
    from bench.device import open_device
    from bench.harness import Options

    try:
        device = open_device(args.device)
    except RuntimeError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 2
    options = Options(
        quick=args.quick,
        threads=threads,
        rounds=args.rounds or (3 if args.quick else 20 if on_cuda else 40),
        round_seconds=0.002 if args.quick else 0.02,
        data=args.data,
        results=None if args.no_save else args.results,
        peers=PEERS[args.device] if args.peers is None else tuple(args.peers),
        device=device,
        max_autotune=args.max_autotune,
        # On a GPU libraries share a context, and events on its stream time them: host threads do not matter.
        processes=not on_cuda,
    )
    import steepest

    steepest.set_num_threads(threads)
    start = time.perf_counter()
    rows = run(args.names or (CUDA_ORDER if on_cuda else NAMES), options, seconds=args.seconds)
    print(f"{len(rows)} rows in {duration((time.perf_counter() - start) * 1e6)}")
    return int(any(entry["status"] == "wrong" for row in rows for entry in row["contestants"].values()))


if __name__ == "__main__":
    sys.exit(main())
