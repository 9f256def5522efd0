"""Type stub of the compiled CUDA kernels: the operations of `steepest._cpu`, on CuPy arrays."""

from typing import TypedDict

from steepest._cpu import DivergenceError as DivergenceError
from steepest._exports import *  # noqa: F403

class _Device(TypedDict):
    name: str
    capability: str
    memory: int
    multiprocessors: int

class _Info(TypedDict):
    built_for: list[str]
    runtime: str
    driver: str | None
    devices: list[_Device]
    problem: str

def info() -> _Info: ...
def synchronize() -> None: ...

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
