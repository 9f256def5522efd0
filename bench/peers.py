"""The other libraries, each optional: one that is missing gives a contestant that is reported as skipped."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable

from bench.device import Cpu, Cuda
from bench.harness import Contestant, one_line

MODULES = ("numpy", "cupy", "torch", "jax", "sklearn", "kfac_jax", "curvlinops", "nngeometry")
# Steps that a CUDA graph of PyTorch is warmed up with, as its documentation does.
WARM_UP = 3


class PeerUnavailableError(Exception):
    """Why a peer does not take part."""


class Peers:
    """Imports the peers that are wanted, once each, with their thread settings."""

    def __init__(self, threads: int, wanted: Iterable[str] = MODULES, device: Cpu | Cuda | None = None):
        self.threads = threads
        self.wanted = set(wanted)
        self.device = device or Cpu()
        self._loaded: dict[str, object] = {}

    def load(self, name: str):
        """The module, or PeerUnavailableError."""
        if name not in self.wanted:
            raise PeerUnavailableError("not among the peers asked for")
        if name not in self._loaded:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    module = importlib.import_module(name)
            except ImportError as error:
                raise PeerUnavailableError(f"not installed ({error})") from error
            if name == "torch":
                module.set_num_threads(self.threads)
            if self.device.compute == "cuda":
                require_cuda(name, module)
            self._loaded[name] = module
        return self._loaded[name]

    def contestant(self, label: str, name: str, build: Callable[..., Contestant]) -> Contestant:
        """`build(label, module)`, or a skipped contestant that says why the peer cannot take part.

        Only a peer may fail here (a compiler that is missing, an option that this version lacks).
        """
        try:
            return build(label, self.load(name))
        except PeerUnavailableError as error:
            return Contestant.skip(label, str(error))
        except Exception as error:
            return Contestant.skip(label, f"failed: {one_line(error)}")


def require_cuda(name: str, module) -> None:
    """PeerUnavailableError unless the library computes on the GPU; products of float32 are float32 then."""
    if name == "torch":
        if not module.cuda.is_available():
            raise PeerUnavailableError("this build of PyTorch finds no GPU")
        module.set_float32_matmul_precision("highest")
    if name == "jax":
        if module.default_backend() != "gpu":
            raise PeerUnavailableError("this build of JAX finds no GPU")
        # Its default would be tf32.
        module.config.update("jax_default_matmul_precision", "highest")


def jax_contestant(device: Cpu | Cuda, name: str, jax, start: Callable[[], object], result, **rest):
    """A contestant of JAX: `start` returns arrays that may still be computed.

    On CUDA calls follow one another without waiting, as those of the other libraries do; the last is waited for.
    """
    last = []

    def call():
        last[:] = [start()]

    if device.name == "cpu":
        return Contestant(name, lambda: jax.block_until_ready(start()), result, **rest)
    return Contestant(name, call, result, wait=lambda: jax.block_until_ready(last), **rest)


def compiled(torch, function: Callable, mode: str | None = None) -> Callable:
    """`function` compiled for the shapes that it is called with.

    Modes: None, "reduce-overhead" (CUDA graphs of its own), "max-autotune" (those, and kernels chosen by trial).
    """
    run = torch.compile(function, dynamic=False, mode=mode)
    if mode is None:
        return run

    def step(*arguments):
        # What a call returned may be overwritten by the next.
        torch.compiler.cudagraph_mark_step_begin()
        return run(*arguments)

    return step


def captured(torch, step: Callable[[], object]) -> Callable[[], object]:
    """A function that replays a CUDA graph of `step`, whatever arrays it works on staying where they are."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Threads of other libraries may allocate meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay


def blas_contestant(
    torch, name: str, call, result, library: str = "default", precision: str = "highest"
) -> Contestant:
    """A product of PyTorch by cuBLAS ("cublas") or cuBLASLt ("cublaslt"), in float32 ("highest") or tf32 ("high")."""

    def choose(library=library, precision=precision):
        torch.backends.cuda.preferred_blas_library(library)
        torch.set_float32_matmul_precision(precision)

    def chosen_result():
        choose()
        return result()

    def restore():
        choose("default", "highest")
        return {}

    return Contestant(name, call, chosen_result, prepare=choose, finish=restore)
