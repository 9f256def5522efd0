"""The other libraries of the benchmarks, all optional: a missing one gives a contestant that is reported as skipped."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable

from bench.device import Cpu, Cuda
from bench.harness import NOT_WANTED, Contestant, one_line

MODULES = ("numpy", "cupy", "torch", "jax", "sklearn", "kfac_jax", "curvlinops", "nngeometry")
# Number of warm-up steps before PyTorch captures a CUDA graph, as in its documentation.
WARM_UP = 3


class PeerUnavailableError(Exception):
    """The reason why a library cannot take part."""


class Peers:
    """Imports the selected libraries once each, and sets their number of threads."""

    def __init__(self, threads: int, wanted: Iterable[str] = MODULES, device: Cpu | Cuda | None = None):
        self.threads = threads
        self.wanted = set(wanted)
        self.device = device or Cpu()
        self._loaded: dict[str, object] = {}

    def load(self, name: str):
        """Return the module, or raise PeerUnavailableError."""
        if name not in self.wanted:
            raise PeerUnavailableError(NOT_WANTED)
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
        """Return `build(label, module)`, or a skipped contestant with the reason why the library cannot take part.

        Other libraries may fail here, for example without a compiler or an option.
        """
        try:
            return build(label, self.load(name))
        except PeerUnavailableError as error:
            return Contestant.skip(label, str(error))
        except Exception as error:
            return Contestant.skip(label, f"failed: {one_line(error)}")


def require_cuda(name: str, module) -> None:
    """Raise PeerUnavailableError unless the library computes on the GPU, and set float32 products to full precision."""
    if name == "torch":
        if not module.cuda.is_available():
            raise PeerUnavailableError("this build of PyTorch finds no GPU")
        module.set_float32_matmul_precision("highest")
    if name == "jax":
        if module.default_backend() != "gpu":
            raise PeerUnavailableError("this build of JAX finds no GPU")
        # The default is tf32.
        module.config.update("jax_default_matmul_precision", "highest")


def jax_contestant(device: Cpu | Cuda, name: str, jax, start: Callable[[], object], result, **rest):
    """A contestant of JAX, where `start` returns arrays whose computation may still be running.

    On CUDA calls follow one another without waiting, as for the other libraries, and only the last is waited for.
    """
    last = []

    def call():
        last[:] = [start()]

    if device.name == "cpu":
        return Contestant(name, lambda: jax.block_until_ready(start()), result, **rest)
    return Contestant(name, call, result, wait=lambda: jax.block_until_ready(last), **rest)


def jax_adam(jax, state, grads, lr: float):
    """The state (parameters, first and second moments, steps) after a step of Adam."""
    params, m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    m_scale, v_scale = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
    params = jax.tree.map(
        lambda p, m, v: p - lr * (m * m_scale) / (jax.numpy.sqrt(v * v_scale) + 1e-8), params, m, v
    )
    return params, m, v, t


def compiled(torch, function: Callable, mode: str | None = None) -> Callable:
    """`function` compiled by torch.compile for the shapes of its calls.

    Modes: None, "reduce-overhead" (CUDA graphs), "max-autotune" (CUDA graphs, and kernels chosen by measurement).
    """
    run = torch.compile(function, dynamic=False, mode=mode)
    if mode is None:
        return run

    def step(*arguments):
        # The next call may overwrite the result of this one.
        torch.compiler.cudagraph_mark_step_begin()
        return run(*arguments)

    return step


def captured(torch, step: Callable[[], object]) -> Callable[[], object]:
    """A function that replays a CUDA graph of `step`, whose arrays must stay at the same addresses."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Threads of other libraries may allocate memory during the capture.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay


def blas_contestant(
    torch, name: str, call, result, library: str = "default", precision: str = "highest"
) -> Contestant:
    """A PyTorch product by cuBLAS ("cublas") or cuBLASLt ("cublaslt"), in float32 ("highest") or tf32 ("high")."""

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
