"""Type stub of the compiled kernels; `steepest.kernels` documents the functions."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[Any]
_Arrays = _Array | Sequence[_Array]
_Loss = npt.NDArray[np.float64]
_Counter = npt.NDArray[np.int64]
_Indices = npt.NDArray[np.int64]
_Activation = str | tuple[str, float]

class _Info(TypedDict):
    isa: str
    isas_available: list[str]
    isas_built: list[str]
    num_threads: int
    cores: int
    l1d: int
    l2: int
    l3: int
    compiler: str

ACTIVATIONS: tuple[str, ...]
INPUT_DERIVATIVES: tuple[str, ...]
ACTIVATION_PARAMETERS: dict[str, tuple[str, float]]
UPDATE_RULES: dict[str, tuple[str, tuple[str, ...]]]
# Name -> (distribution, name of the parameter, its default).
POINTWISE_LOSSES: Mapping[str, tuple[str | None, str | None, float]]

class DivergenceError(FloatingPointError):
    step: int

def info() -> _Info: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...

# Matrix products and linear layers.
def matmul(a: _Array, b: _Array, out: _Array | None = None, precision: str = "float32") -> _Array: ...
def linear(
    x: _Array,
    w: _Array,
    b: _Array | None = None,
    activation: _Activation = "identity",
    out: _Array | None = None,
    precision: str = "float32",
) -> _Array: ...
def linear_backward(
    d_out: _Array,
    x: _Array,
    w: _Array,
    activation: _Activation = "identity",
    l2: float = 0.0,
    input_grad: bool = True,
    d_x: _Array | None = None,
    d_w: _Array | None = None,
    d_b: _Array | None = None,
    precision: str = "float32",
    accumulate: bool = False,
) -> tuple[_Array | None, _Array, _Array]: ...

# Activations.
def activation(x: _Array, activation: _Activation = "relu", out: _Array | None = None) -> _Array: ...
def activation_backward(
    d_y: _Array, y: _Array, activation: _Activation = "relu", out: _Array | None = None
) -> _Array: ...
def dropout(
    x: _Array, rate: float, *, seed: int, stream: int | _Counter, out: _Array | None = None
) -> _Array: ...
def prelu(x: _Array, slope: _Array, out: _Array | None = None) -> _Array: ...
def prelu_backward(
    d_y: _Array, x: _Array, slope: _Array, d_x: _Array | None = None, d_slope: _Array | None = None
) -> tuple[_Array, _Array]: ...
def softmax_backward(d_y: _Array, y: _Array, out: _Array | None = None) -> _Array: ...
def softmax(x: _Array, out: _Array | None = None) -> _Array: ...
def log_softmax(x: _Array, out: _Array | None = None) -> _Array: ...

# Losses.
def softmax_cross_entropy(
    logits: _Array,
    labels: _Array,
    sample_weight: _Array | None = None,
    ignore_label: int | None = None,
    loss: _Loss | None = None,
    d_logits: _Array | None = None,
) -> tuple[_Loss, _Array]: ...
def pointwise_loss(
    kind: str,
    prediction: _Array,
    target: _Array,
    sample_weight: _Array | None = None,
    parameter: float | None = None,
    half: bool = False,
    reduction: str = "mean",
    loss: _Loss | None = None,
    d_prediction: _Array | None = None,
) -> tuple[_Loss, _Array]: ...
def gaussian(
    prediction: _Array,
    target: _Array,
    sample_weight: _Array | None = None,
    reduction: str = "mean",
    loss: _Loss | None = None,
    d_prediction: _Array | None = None,
) -> tuple[_Loss, _Array]: ...
def zero_one_loss(
    scores: _Array, labels: _Array, ignore_label: int | None = None, out: _Loss | None = None
) -> _Loss: ...

# Linear models with few outputs.
def linear_loss(
    x: _Array,
    w: _Array,
    b: _Array | None,
    target: _Array,
    sample_weight: _Array | None = None,
    *,
    kind: str = "log_loss",
    parameter: float | None = None,
    half: bool = False,
    reduction: str = "mean",
    l2: float = 0.0,
    gradient: bool = True,
    loss: _Loss | None = None,
    d_w: _Array | None = None,
    d_b: _Array | None = None,
) -> tuple[_Loss, _Array | None, _Array | None]: ...
def linear_sgd(
    x: _Array,
    target: _Array,
    w: _Array,
    b: _Array | None,
    step: _Counter,
    *,
    lr: float | _Loss,
    kind: str = "log_loss",
    parameter: float | None = None,
    half: bool = False,
    power: float = 0.0,
    t0: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    passive_aggressive: int = 0,
    sample_weight: _Array | None = None,
    class_weight: _Array | None = None,
    order: _Indices | None = None,
    l1_applied: _Array | None = None,
    l1_total: _Loss | None = None,
    average_w: _Array | None = None,
    average_b: _Array | None = None,
    average_start: int = 1,
    objective: _Loss | None = None,
) -> _Loss: ...

# Updates of parameters.
def sgd_update(
    params: _Arrays,
    grads: _Arrays,
    velocities: _Arrays | None = None,
    *,
    lr: float | _Loss,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decoupled_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    penalised: Sequence[bool] | None = None,
) -> None: ...
def adagrad_update(
    params: _Arrays,
    grads: _Arrays,
    sum_sq: _Arrays,
    *,
    lr: float | _Loss = 1e-2,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
    decoupled_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    penalised: Sequence[bool] | None = None,
) -> None: ...
def rmsprop_update(
    params: _Arrays,
    grads: _Arrays,
    exp_avg_sq: _Arrays,
    *,
    lr: float | _Loss = 1e-2,
    rho: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    penalised: Sequence[bool] | None = None,
) -> None: ...
def adam_update(
    params: _Arrays,
    grads: _Arrays,
    exp_avg: _Arrays,
    exp_avg_sq: _Arrays,
    step: int | _Counter,
    *,
    lr: float | _Loss = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    penalised: Sequence[bool] | None = None,
) -> None: ...

# Rows, reductions, counters.
def take_rows(
    x: _Array, indices: _Indices, out: _Array | None = None, *, start: int | _Counter | None = None
) -> _Array: ...
def take_sparse_rows(
    data: _Array,
    indices: _Array,
    indptr: _Array,
    rows: _Indices,
    out: _Array,
    *,
    start: int | _Counter | None = None,
) -> _Array: ...
def sum(x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
def mean(x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
def max(x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
def min(x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
def sum_squares(x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
def argmax(x: _Array, axis: int = 1, out: _Indices | None = None) -> _Indices: ...
def increment(counter: _Counter, by: int = 1) -> None: ...
def accumulate(total: _Loss, value: float | _Loss, scale: float = 1.0) -> None: ...
def look_up(table: _Loss, index: int | _Counter, out: _Loss | None = None) -> _Loss: ...
def require_finite(value: _Loss) -> None: ...

# Random numbers.
def random_uniform(
    shape: Sequence[int],
    low: float = 0.0,
    high: float = 1.0,
    *,
    seed: int,
    stream: int = 0,
    dtype: str = "float32",
    out: _Array | None = None,
) -> _Array: ...
def random_bits(
    n: int, *, seed: int, stream: int = 0, out: npt.NDArray[np.uint64] | None = None
) -> npt.NDArray[np.uint64]: ...

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
