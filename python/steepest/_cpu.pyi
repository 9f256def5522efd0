"""Type stub of the compiled kernels; `steepest.kernels` documents the functions."""

from collections.abc import Callable
from typing import Generic, TypedDict, TypeVar

from steepest._exports import *  # noqa: F403
from steepest._operations import Backend, BackendGraph
from steepest._runtime.arrays import Array

_Graph = TypeVar("_Graph")

class _Info(TypedDict):
    isa: str
    isas_available: list[str]
    isas_built: list[str]
    bfloat16: str
    bfloat16_available: list[str]
    num_threads: int
    cores: int
    l1d: int
    l2: int
    l3: int
    compiler: str

class _ExplainedProduct(TypedDict):
    form: str
    parts: int
    turned: bool
    tile: tuple[int, int]
    packs_left: bool
    packs_right: bool
    prefetches_right: bool
    blocks: int
    threads_by_rows: int
    threads_by_columns: int
    threads_by_blocks: int

class DivergenceError(FloatingPointError):
    step: int

def info() -> _Info: ...
def explain_product(left: Array, right: Array, precision: str) -> _ExplainedProduct: ...
def processors_of_quota(cgroups: str, mount: str) -> int: ...
def current_processor() -> int: ...
def leave_processor(occupied: int) -> None: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...

# Capture and replay.
class Graph:
    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def operations(self) -> list[str]: ...
    def replay(self, n: int = 1) -> int: ...
    # (name, seconds, flops, bytes) of one call of each operation
    def profile(self, n: int) -> list[tuple[str, float, float, float]]: ...

def begin_capture(graph: Graph) -> None: ...
def end_capture(graph: Graph) -> None: ...
def is_capturing() -> bool: ...

# Begins and ends the recordings, pairs of a backend and its graph; the value of `with` is `graph`.
class Capture(Generic[_Graph]):
    def __init__(
        self,
        graph: _Graph,
        recordings: list[tuple[Backend, BackendGraph]],
        complete: Callable[[], None],
    ) -> None: ...
    def __enter__(self) -> _Graph: ...
    def __exit__(self, type: object, value: object, traceback: object, /) -> None: ...
