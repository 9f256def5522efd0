"""Run the benchmarks: `python -m bench [NAME ...] [--quick]` from the root of the repository.

Rows go to bench/results/<name>.jsonl; `python -m bench.report` puts the latest into the README.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import environment

NAMES = ("matmul", "softmax_cross_entropy", "adam", "train_step", "fit", "overhead")
PEERS = ("numpy", "torch", "jax", "sklearn")
RESULTS = environment.ROOT / "bench" / "results"


def run(names: Iterable[str], options, out=sys.stdout) -> list[dict]:
    """Run the named benchmarks, print each row as it is there, and return the rows."""
    from bench import harness
    from bench.peers import Peers
    from bench.roofline import Roofline

    about = environment.describe(options.threads)
    print(f"{about['device']}, {options.threads} threads, {about['isa']}, commit {about['commit']}", file=out)
    peers = Peers(options.threads, options.peers)
    roofline = Roofline(options.threads, *((0.0005, 3) if options.quick else ()))
    rows = []
    try:
        print(f"peak {roofline.sample_peak():.0f} GFLOP/s ({roofline.method})", file=out)
        for name in names:
            start = time.perf_counter()
            for case in importlib.import_module(f"bench.bench_{name}").cases(options, peers):
                row = harness.run_case(name, case, options, roofline, about)
                rows.append(row)
                print(harness.table(row), file=out, flush=True)
                if options.results is not None:
                    harness.save(row, options.results)
            print(f"-- {name}: {time.perf_counter() - start:.0f} s", file=out, flush=True)
    finally:
        roofline.close()
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns 1 where a contestant of this package is wrong."""
    parser = argparse.ArgumentParser("bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds: to see that all runs")
    parser.add_argument("--threads", type=int, default=2, help="of every contestant (default 2)")
    parser.add_argument("--rounds", type=int, help="interleaved rounds a case")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="libraries to compare with")
    parser.add_argument("--data", type=Path, help="folder of the four MNIST files, for `fit`")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the .jsonl files")
    parser.add_argument("--no-save", action="store_true", help="print only")
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.names) - set(NAMES)):
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(NAMES)}")

    threads = environment.prepare(args.threads)
    from bench.harness import Options, duration

    options = Options(
        quick=args.quick,
        threads=threads,
        rounds=args.rounds or (3 if args.quick else 40),
        round_seconds=0.002 if args.quick else 0.02,
        data=args.data,
        results=None if args.no_save else args.results,
        peers=tuple(args.peers),
    )
    import steepest

    steepest.set_num_threads(threads)
    start = time.perf_counter()
    rows = run(args.names or NAMES, options)
    print(f"{len(rows)} rows in {duration((time.perf_counter() - start) * 1e6)}")
    return int(any(entry["status"] == "wrong" for row in rows for entry in row["contestants"].values()))


if __name__ == "__main__":
    sys.exit(main())
