"""Mutation tests of the CUDA kernels: plants faults in copies, and shows that the tests fail on the stand-in.

    python tests/standin/faults.py build/standin [all|races]

The folder holds a build of the stand-in that passes its tests. Each fault replaces one piece of text. The program
recompiles one source with the fault, and links it with the other objects of the build.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CSRC, TESTS = ROOT / "csrc", ROOT / "tests" / "kernels"

RACE = r"\[cuda stand-in\] block .* (no barrier lies between|no thread of the block wrote|is on its way)"
WRONG = r"elements are off|assert|array_equal"


@dataclass
class Fault:
    what: str
    file: str
    old: str  # occurs exactly once in `file`
    new: str
    source: str  # the file that is recompiled
    tests: str
    finding: str  # pattern that the report of the failing test must match


FAULTS = [
    Fault(
        "matrix product: no barrier before a tile is used",
        "cuda/gemm.cuh",
        "__syncthreads();                 // and that of all others; all have multiplied tile t - 1",
        "",
        "gemm.cu",
        "test_matmul.py",
        RACE,
    ),
    Fault(
        "matrix product: a tile is used while it is copied",
        "cuda/gemm.cuh",
        "copy_async_wait<kStages - 2>()",
        "copy_async_wait<kStages - 1>()",
        "gemm.cu",
        "test_matmul.py",
        RACE,
    ),
    Fault(
        "take_rows: an item too early turns to the next row",
        "cuda/take_rows.cu",
        "rows.source<kPuts>(e / row_vectors)",
        "rows.source<kPuts>((e + 1) / row_vectors)",
        "take_rows.cu",
        "test_take_rows.py",
        WRONG,
    ),
    Fault(
        "linear_bernoulli: rows share the words of their counters",
        "cuda/linear_bernoulli.cu",
        "words = Philox::at(op.seed, static_cast<uint64_t>(op.stream.get()), static_cast<uint64_t>(counter));",
        "words = Philox::at(op.seed, static_cast<uint64_t>(op.stream.get()), static_cast<uint64_t>(j0 / 4));",
        "linear_bernoulli.cu",
        "test_linear_bernoulli.py",
        WRONG,
    ),
    Fault(
        "take_images: placements are read before they are drawn",
        "cuda/take_images.cu",
        "__syncthreads();  // placements and weight are drawn",
        "",
        "take_images.cu",
        "test_take_images.py",
        RACE,
    ),
    Fault(
        "embedding: rows are placed before their digits are there",
        "cuda/embedding_backward.cu",
        "__syncthreads();  // rows and digits are there",
        "",
        "embedding_backward.cu",
        "test_embedding_backward.py",
        RACE,
    ),
    Fault(
        "rotary: a step too early",
        "cuda/rotary.cu",
        "op.position(i, place)",
        "op.position(i, place + 1)",
        "rotary.cu",
        "test_positions.py",
        WRONG,
    ),
    Fault(
        "attention: a chunk is read before it is loaded",
        "cuda/device/attention.cuh",
        "__syncthreads();  // the chunks are loaded",
        "",
        "attention.cu",
        "test_attention.py",
        RACE,
    ),
    Fault(
        "copy: a tile is written before it is there",
        "cuda/copy.cu",
        "__syncthreads();  // the tile is there",
        "",
        "copy.cu",
        "test_elementwise.py",
        RACE,
    ),
    Fault(
        "reduction: neighbouring lanes are not combined",
        "cuda/device/warp.cuh",
        "offset > 0",
        "offset > 1",
        "reduce.cu",
        "test_reduce.py",
        WRONG,
    ),
    Fault(
        "reduction: the ticket is left behind",
        "cuda/device/last_block.cuh",
        "if (last) *ticket = 0;",
        "",
        "reduce.cu",
        "test_reduce.py",
        WRONG,
    ),
    Fault(
        "losses: items past the end of a row count",
        "cuda/device/item_loss.cuh",
        "if (x[0].position_of(q) < x[0].size) row_sum",
        "row_sum",
        "pointwise_loss.cu",
        "test_pointwise_loss.py",
        WRONG,
    ),
    Fault(
        "softmax: partial maxima are overwritten by partial sums",
        "cuda/device/warp.cuh",
        "__syncthreads();  // and may be overwritten now",
        "",
        "softmax.cu",
        "test_softmax.py",
        RACE,
    ),
    Fault(
        "prelu: totals are taken over before they are there",
        "cuda/device/columns.cuh",
        "__syncthreads();  // the upper half has left its totals to the lower",
        "",
        "prelu.cu",
        "test_prelu.py",
        RACE,
    ),
    Fault(
        "softmax backward: a row's sum misses its last vectors",
        "cuda/softmax_backward.cu",
        "start < y_row.size; start += y.kSpan) {",
        "start + y.kSpan < y_row.size; start += y.kSpan) {",
        "softmax_backward.cu",
        "test_softmax_backward.py",
        WRONG,
    ),
    Fault(
        "update: the numbers of a step are read before they are there",
        "cuda/update.cu",
        "__syncthreads();  // the numbers are there",
        "",
        "update.cu",
        "test_update.py",
        RACE,
    ),
    Fault(
        "update: penalties act on tensors that are spared",
        "cuda/update.cu",
        "numbers.on(t.tensor.penalised)",
        "numbers",
        "update.cu",
        "test_update.py",
        WRONG,
    ),
    Fault(
        "update: the norm leaves out a vector of each thread",
        "cuda/update.cu",
        "u < kMapVectors; ++u) {\n            const int64_t e = vector_of_thread(block * rounds + r, u);",
        "u < kMapVectors - 1; ++u) {\n            const int64_t e = vector_of_thread(block * rounds + r, u);",
        "update.cu",
        "test_update.py",
        WRONG,
    ),
    Fault(
        "linear loss: the penalty leaves out columns",
        "cuda/linear_loss.cu",
        "e < w.rows * w.cols; e += kThreads",
        "e < w.rows; e += kThreads",
        "linear_loss.cu",
        "test_linear_loss.py",
        WRONG,
    ),
    Fault(
        "linear SGD: the scale that the penalty left is forgotten",
        "cuda/linear_sgd.cu",
        "static_cast<T>(w / divisor)",
        "static_cast<T>(w)",
        "linear_sgd.cu",
        "test_linear_sgd.py",
        WRONG,
    ),
    Fault(
        "class scatter: samples of all parts are those of the first",
        "cuda/class_scatter.cu",
        "const int64_t r = begin + i, c",
        "const int64_t r = i, c",
        "class_scatter.cu",
        "test_class_scatter.py",
        WRONG,
    ),
    Fault(
        "linear tangent: the second product takes the place of the first",
        "cuda/linear_tangent.cu",
        "call.accumulate = true",
        "call.accumulate = false",
        "linear_tangent.cu",
        "test_linear_tangent.py",
        WRONG,
    ),
    Fault(
        "linear tangent: the bias is left out where there is a derivative",
        "cuda/device/epilogue.cuh",
        "(e.bias ? c + e.bias[j] : c) * f.derivative",
        "c * f.derivative",
        "gemm.cu",
        "test_linear_tangent.py",
        WRONG,
    ),
    Fault(
        "output Fisher: the exponentials are not divided by their sum",
        "cuda/output_fisher.cu",
        "z.item[q] / sum * (v.item[q] - mean)",
        "z.item[q] * (v.item[q] - mean)",
        "output_fisher.cu",
        "test_output_fisher.py",
        WRONG,
    ),
    Fault(
        "output Fisher: rows without weight keep what they hold",
        "cuda/output_fisher.cu",
        "counts ? value * x : T(0)",
        "value * x",
        "output_fisher.cu",
        "test_output_fisher.py",
        WRONG,
    ),
    Fault(
        "output divergence: the mean is that of a lane alone",
        "cuda/output_divergence.cu",
        "combined(products, Plus()) / exponentials",
        "products / exponentials",
        "output_divergence.cu",
        "test_output_divergence.py",
        WRONG,
    ),
    Fault(
        "output divergence: rows without weight are not left out",
        "cuda/output_divergence.cu",
        "if (weight == 0) continue;",
        "",
        "output_divergence.cu",
        "test_output_divergence.py",
        WRONG,
    ),
    Fault(
        "sampled score: the lanes before do not count",
        "cuda/sampled_score.cu",
        "lane == 0 ? 0 : before",
        "lane == 0 ? 0 : before / 2",
        "sampled_score.cu",
        "test_sampled_score.py",
        WRONG,
    ),
    Fault(
        "sampled score: an item takes the noise of its neighbour",
        "cuda/sampled_score.cu",
        "Lane<T>(noise[l])",
        "Lane<T>(noise[l ^ 1])",
        "sampled_score.cu",
        "test_sampled_score.py",
        WRONG,
    ),
    Fault(
        "gradient Gram: a sample's rows are those of another",
        "cuda/gradient_gram.cu",
        "products(r / repeats, c / repeats)",
        "products(r / repeats, c % op.x.rows)",
        "gradient_gram.cu",
        "test_gradient_gram.py",
        WRONG,
    ),
    Fault(
        "gradient Gram: tiles of columns take the place of those that are being multiplied",
        "cuda/gradient_gram.cu",
        "__syncthreads();  // all have multiplied what is there",
        ";",
        "gradient_gram.cu",
        "test_gradient_gram.py",
        RACE,
    ),
    Fault(
        "gradient norms: a group's rows of d are those of its number",
        "cuda/gradient_norms.cu",
        "const int64_t r = i * repeats + s;",
        "const int64_t r = i + s * op.x.rows;",
        "gradient_norms.cu",
        "test_gradient_norms.py",
        WRONG,
    ),
    Fault(
        "second moment: a row of no weight is multiplied",
        "cuda/second_moment.cu",
        "if (share == 0) memory.cols[item] = T(0);",
        "",
        "second_moment.cu",
        "test_second_moment.py",
        WRONG,
    ),
    Fault(
        "second moment: tiles are multiplied while they are weighed",
        "cuda/second_moment.cu",
        "__syncthreads();  // all items are weighed",
        ";",
        "second_moment.cu",
        "test_second_moment.py",
        RACE,
    ),
    Fault(
        "sparse rows: the last number of a column stands for their sum",
        "cuda/take_sparse_rows.cu",
        "op.out(i, j) += rows.data[p]",
        "op.out(i, j) = rows.data[p]",
        "take_sparse_rows.cu",
        "test_take_sparse_rows.py",
        WRONG,
    ),
    Fault(
        "products of windows: the last digit of a walk carries too late",
        "cuda/device/lines.cuh",
        "point.last >= last_extent",
        "point.last > last_extent",
        "convolution_product.cu",
        "test_convolution.py",
        WRONG,
    ),
    Fault(
        "products of windows: the first tap of each phase is the first of all",
        "cuda/convolution_product.cu",
        "first_tap * w.dilation % w.stride != rest",
        "first_tap * w.dilation % w.stride > rest",
        "convolution_product.cu",
        "test_convolution.py",
        WRONG,
    ),
    Fault(
        "products of windows: other groups' slices are added",
        "cuda/convolution_product.cu",
        "memory.sums[thread + s * kItems]",
        "memory.sums[(thread + s * kItems + 1) % kNarrowThreads]",
        "convolution_product.cu",
        "test_convolution.py",
        WRONG,
    ),
]


def build(fault: Fault, objects: Path, folder: Path) -> None:
    """Build cuda_standin with the fault in `folder`."""
    shutil.copytree(CSRC, folder / "csrc")
    file = folder / "csrc" / fault.file
    text = file.read_text()
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.file} holds {text.count(fault.old)} times, not once: {fault.old}")
    file.write_text(text.replace(fault.old, fault.new))

    commands = json.loads((objects / "compile_commands.json").read_text())
    (entry,) = [c for c in commands if c["file"] == str(CSRC / "cuda" / fault.source)]
    words = shlex.split(entry["command"].replace(str(CSRC), str(folder / "csrc")))
    changed = folder / "changed.o"
    words[words.index("-o") + 1] = str(changed)
    subprocess.run(words, cwd=objects, check=True)

    # The changed object comes first, since the linker takes the first definition of an inline function.
    others = [str(objects / c["output"]) for c in commands if c is not entry]
    module = folder / ("cuda_standin" + sysconfig.get_config_var("EXT_SUFFIX"))
    options = [w for w in words if w.startswith("-fsanitize")]
    subprocess.run([words[0], "-shared", *options, "-o", module, changed, *others], check=True)


def run_tests(tests: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"STEEPEST_STANDIN": str(folder)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        str(TESTS / tests),
        "--tb=short",
    ]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def examine(fault: Fault, objects: Path) -> tuple[bool, str]:
    """Return whether the tests find the fault, and a text that reports it."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        build(fault, objects, Path(folder))
        done = run_tests(fault.tests, Path(folder))
    # pytest's lines about a failing test start with an E.
    lines = [n.strip("E ") for n in done.stdout.splitlines() if n.startswith("E ")]
    found = next((n for n in lines if re.search(fault.finding, n)), None)
    text = f"{'found ' if found else 'MISSED'} {fault.what} ({time.perf_counter() - began:.0f} s)\n       {found}"
    if not found:
        text += f"\nexit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return found is not None, text


def main() -> int:
    objects = Path(sys.argv[1]).resolve()
    faults = [f for f in FAULTS if f.finding == RACE] if sys.argv[2:] == ["races"] else FAULTS
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found, text in pool.map(partial(examine, objects=objects), faults):
            missed += not found
            print(text, flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
