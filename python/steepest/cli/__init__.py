"""The command line: `steepest train`, `compare`, `reinforce`, `info` and `bench`.

Bad input gives one line on standard error and exit status 2; Ctrl-C gives 130.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from steepest._runtime.config import show_config
from steepest._version import __version__

from ._errors import CommandError
from ._models import AGENTS, GENERATIVE_MODELS, IMAGE_MODELS, TEXT_MODELS

_SEED_LIMIT = 2**32  # seeds of a NumPy RandomState are below this


class _Parser(argparse.ArgumentParser):
    """Argument parser that reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _number(
    convert: Callable[[str], float], accept: Callable[[float], bool], what: str
) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = convert(text)
        except ValueError:
            value = math.nan
        if not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return parse


_count = _number(int, lambda n: n >= 1, "a positive integer")
_rate = _number(float, lambda x: 0 < x < math.inf, "a positive number")
_share = _number(float, lambda x: 0 <= x <= 1, "a number from 0 to 1")
_seed = _number(int, lambda n: 0 <= n < _SEED_LIMIT, f"an integer from 0 to {_SEED_LIMIT - 1}")


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "steepest",
        description="Machine learning on NumPy and CuPy arrays by hand-written C++ and CUDA kernels: estimators with "
        "scikit-learn's names and parameters, networks whose training steps are captured and replayed, natural "
        "gradients. In Python, `import steepest`. The commands train on handwritten digits, learn from rewards, show "
        "what is installed, and run benchmarks.",
        epilog="`steepest COMMAND --help` lists the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"steepest {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="{train,compare,reinforce,info,bench}")

    train = commands.add_parser(
        "train",
        help="train a classifier or a generator of images, or a model of text",
        description="Train a network with a softmax on handwritten digits, or on other images in the format of MNIST; "
        "a fifth of the training images is held out for validation. With --text, train a model of the characters of "
        "a file, and print what it writes as it learns; the last tenth of the text is for validation. Writes the model "
        "(model.safetensors, an MLPClassifier, a ConvClassifier, a GAN, a VariationalAutoencoder or a LanguageModel "
        "for steepest.load) and, where Matplotlib is installed, learning_curve.png.",
    )
    _add_shared(train)
    train.add_argument(
        "--model",
        choices=(*IMAGE_MODELS, *GENERATIVE_MODELS, *TEXT_MODELS),
        help="for images, layers of ReLU units, or a convolutional network: LeNet-5, two convolutions, or three "
        "residual blocks (default mlp); gan and vae learn to make images, and write samples.png after each epoch; for "
        "text, layers of attention or recurrent layers (default transformer)",
    )
    train.add_argument("--text", metavar="FILE", help="a text in UTF-8, for a model of text")
    train.add_argument(
        "--steps", metavar="N", type=_count, help="training steps of a model of text (default 2000)"
    )
    train.add_argument(
        "--solver",
        choices=["adam", "natural"],
        default="adam",
        help="Adam, or the natural gradient (default adam)",
    )
    train.add_argument("--epochs", metavar="N", type=_count, help="epochs on images (default 5)")
    train.add_argument(
        "--batch-size",
        metavar="N",
        type=_count,
        help="(default 32, for convolutional networks 128, for text 12; with --solver natural 200, and growing)",
    )
    train.add_argument(
        "--lr",
        metavar="RATE",
        type=_rate,
        help="learning rate of Adam (default 0.001; for convolutional networks 0.005, the peak of one cycle); not with "
        "--solver natural",
    )
    train.add_argument(
        "--output", metavar="DIR", default="steepest-output", help="where to write (default %(default)s)"
    )

    compare = commands.add_parser(
        "compare",
        help="compare Adam, the natural gradient and linear discriminant analysis on handwritten digits",
        description="Train the network of `steepest train` by Adam and by the natural gradient, each until the "
        "validation accuracy has not risen for five epochs, fit linear discriminant analysis to the same images, and "
        "print a table: test accuracy, epochs, seconds.",
    )
    _add_shared(compare)

    _add_reinforce(commands)

    info_help = "version, instruction set, threads, caches, CUDA kernels and devices"
    commands.add_parser("info", help=f"print {info_help}", description=f"Print {info_help}.")

    bench = commands.add_parser(
        "bench",
        help="run the benchmarks of the source tree",
        description="Run benchmarks against other libraries. They are part of the source tree, not of the "
        "installed package; `python -m bench --help` there lists more options.",
    )
    bench.add_argument("names", metavar="NAME", nargs="*", help="benchmarks (default: all)")
    bench.add_argument("--quick", action="store_true", help="small sizes and few rounds")
    bench.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="where to compute (default %(default)s)"
    )
    bench.add_argument("--dir", metavar="DIR", help="the source tree (default: where this package lies)")
    return parser


def _add_reinforce(commands: argparse._SubParsersAction[_Parser]) -> None:
    reinforce = commands.add_parser(
        "reinforce",
        help="learn to act in an environment of Gymnasium",
        description="Learn a policy from rewards, with a progress line and a learning curve, evaluate it on new "
        "episodes, save it, and play it. Ctrl-C ends the learning; what follows uses the policy so far.",
    )
    reinforce.add_argument(
        "--env", metavar="NAME", help="the environment (default CartPole-v1, or that of --load)"
    )
    reinforce.add_argument(
        "--method",
        choices=sorted(AGENTS),
        help="natural policy gradient (the default), proximal policy optimisation, or plain policy gradient",
    )
    reinforce.add_argument(
        "--steps",
        metavar="N",
        type=_number(int, lambda n: n >= 0, "an integer of at least 0"),
        default=100_000,
        help="steps to learn from (default %(default)s); 0 with --load to only play",
    )
    reinforce.add_argument(
        "--gamma", metavar="G", type=_share, help="discount of later rewards (default 0.99)"
    )
    reinforce.add_argument(
        "--gae-lambda",
        metavar="L",
        type=_share,
        help="weight of later rewards in the advantages (default 0.95)",
    )
    reinforce.add_argument("--envs", metavar="N", type=_count, help="environments side by side (default 16)")
    reinforce.add_argument(
        "--target",
        metavar="RETURN",
        type=_number(float, math.isfinite, "a number"),
        help="mean return to stop at",
    )
    reinforce.add_argument(
        "--save",
        metavar="FILE",
        help="where to write the agent, and beside it the learning curve as FILE.png",
    )
    reinforce.add_argument("--load", metavar="FILE", help="a saved agent to go on from")
    reinforce.add_argument(
        "--play", action="store_true", help="show an episode, in a window or as text if the environment can"
    )
    reinforce.add_argument("--seed", metavar="N", type=_seed, help="(default 0)")


def _add_shared(command: argparse.ArgumentParser) -> None:
    """Add the arguments that `train` and `compare` share."""
    command.add_argument(
        "--data",
        metavar="DIR",
        help="folder of the four files of MNIST or Fashion-MNIST (default: scikit-learn's 8 x 8 digits)",
    )
    command.add_argument(
        "--hidden",
        metavar="N",
        nargs="+",
        type=_count,
        help="units of the hidden layers (default 128 64; behind convolutions, those of the architecture)",
    )
    command.add_argument("--seed", metavar="N", type=_seed, default=0, help="(default 0)")
    command.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="where to compute (default %(default)s)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of the command line.

    Parameters
    ----------
    argv : sequence of str or None, default=None
        Command-line arguments; by default those of the process.

    Returns
    -------
    int
        Exit status: 0 on success, 1 if training diverged or a benchmark failed, 2 for bad input, 130 after Ctrl-C.

    Raises
    ------
    SystemExit
        If argparse ends the program: with status 2 for bad arguments, 0 for ``--help`` and ``--version``.
    """
    parser = _build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        if arguments.command == "train":
            # Imported here because these load scikit-learn, which the other commands do not need.
            if arguments.text is not None or arguments.model in TEXT_MODELS:
                from .text import train_on_text

                return train_on_text(arguments)
            if arguments.model in GENERATIVE_MODELS:
                from .generate import train_generative

                return train_generative(arguments)
            from .train import train_command

            return train_command(arguments)
        if arguments.command == "compare":
            from .compare import compare_command

            return compare_command(arguments)
        if arguments.command == "reinforce":
            from .reinforce import reinforce_command

            return reinforce_command(arguments)
        if arguments.command == "bench":
            options = ["--quick"] if arguments.quick else []
            if arguments.device != "cpu":
                options += ["--device", arguments.device]
            return _bench(arguments.names, options, arguments.dir)
        show_config()
        return 0
    except CommandError as error:
        print(f"steepest {arguments.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"steepest {arguments.command}: interrupted", file=sys.stderr)
        return 130


def _bench(names: Sequence[str], options: Sequence[str], folder: str | None) -> int:
    root = _find_bench(folder)
    known = sorted(path.stem.removeprefix("bench_") for path in (root / "bench").glob("bench_*.py"))
    if unknown := [name for name in names if name not in known]:
        raise CommandError(f"no benchmark named {', '.join(unknown)}; there are {', '.join(known)}")
    command = [sys.executable, "-m", "bench", *names, *options]
    return subprocess.run(command, cwd=root, check=False).returncode


def _find_bench(folder: str | None) -> Path:
    """Return the root of the source tree, the folder that contains bench/."""
    given = Path.cwd() if folder is None else Path(folder)
    # In the source tree this file is python/steepest/cli/__init__.py.
    candidates = [given, given.parent] if folder is not None else [Path(__file__).resolve().parents[3], given]
    for root in candidates:
        if (root / "bench" / "__main__.py").is_file():
            return root.resolve()
    if folder is not None:
        raise CommandError(f"there is no bench/ in {folder}")
    raise CommandError(
        "the benchmarks are not in the installed package, but in its source tree: pass the folder by --dir"
    )
