"""Type stub of the compiled CUDA kernels: the operations of `steepest._cpu`, on CuPy arrays."""

from typing import TypedDict

# ruff: noqa: I001 (one statement for all)
from steepest._cpu import (
    ACTIVATION_PARAMETERS as ACTIVATION_PARAMETERS,
    ACTIVATIONS as ACTIVATIONS,
    INPUT_DERIVATIVES as INPUT_DERIVATIVES,
    UPDATE_RULES as UPDATE_RULES,
    POINTWISE_LOSSES as POINTWISE_LOSSES,
    DivergenceError as DivergenceError,
    accumulate as accumulate,
    activation as activation,
    activation_backward as activation_backward,
    adagrad_update as adagrad_update,
    adam_update as adam_update,
    argmax as argmax,
    gaussian as gaussian,
    increment as increment,
    linear as linear,
    linear_backward as linear_backward,
    log_softmax as log_softmax,
    look_up as look_up,
    matmul as matmul,
    max as max,
    mean as mean,
    min as min,
    pointwise_loss as pointwise_loss,
    prelu as prelu,
    prelu_backward as prelu_backward,
    random_bits as random_bits,
    random_uniform as random_uniform,
    require_finite as require_finite,
    rmsprop_update as rmsprop_update,
    sgd_update as sgd_update,
    softmax as softmax,
    softmax_backward as softmax_backward,
    softmax_cross_entropy as softmax_cross_entropy,
    sum as sum,
    sum_squares as sum_squares,
    take_rows as take_rows,
    zero_one_loss as zero_one_loss,
)

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
def end_capture() -> None: ...
def is_capturing() -> bool: ...
