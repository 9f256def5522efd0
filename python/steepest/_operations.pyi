"""What both backends offer, for type checkers: `steepest._cpu` and `steepest._cuda` implement `Backend`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

# CuPy's arrays have no types of their own; to type checkers they are NumPy's.
_Array: TypeAlias = npt.NDArray[Any]
_Arrays: TypeAlias = _Array | Sequence[_Array]
_Loss: TypeAlias = npt.NDArray[np.float64]
_Counter: TypeAlias = npt.NDArray[np.int64]
_Indices: TypeAlias = npt.NDArray[np.int64]
_Activation: TypeAlias = str | tuple[str, float]

class BackendGraph(Protocol):
    """A list of operations of one backend."""

    def __len__(self) -> int: ...
    def operations(self) -> list[str]: ...
    def replay(self, n: int = 1) -> int: ...
    def profile(self, n: int) -> list[tuple[str, float, float, float]]: ...

class Backend(Protocol):
    """The functions of a backend module; `steepest.kernels` documents the operations."""

    ACTIVATIONS: tuple[str, ...]
    INPUT_DERIVATIVES: tuple[str, ...]
    ACTIVATION_PARAMETERS: dict[str, tuple[str, float]]
    UPDATE_RULES: dict[str, tuple[str, tuple[str, ...]]]
    # Name -> (distribution, name of the parameter, its default).
    POINTWISE_LOSSES: Mapping[str, tuple[str | None, str | None, float]]

    def info(self) -> Mapping[str, Any]: ...

    # Matrix products and linear layers.
    def matmul(
        self, a: _Array, b: _Array, out: _Array | None = None, precision: str = "float32"
    ) -> _Array: ...
    def linear(
        self,
        x: _Array,
        w: _Array,
        b: _Array | None = None,
        activation: _Activation = "identity",
        out: _Array | None = None,
        precision: str = "float32",
    ) -> _Array: ...
    def linear_backward(
        self,
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
    def linear_tangent(
        self,
        x: _Array,
        v: _Array,
        c: _Array | None = None,
        dx: _Array | None = None,
        w: _Array | None = None,
        *,
        y: _Array | None = None,
        activation: _Activation = "identity",
        out: _Array | None = None,
        precision: str = "float32",
    ) -> _Array: ...
    def gradient_gram(
        self,
        x: _Array,
        d: _Array,
        *,
        bias: bool = False,
        accumulate: bool = False,
        out: _Loss | None = None,
    ) -> _Loss: ...
    def gradient_norms(
        self,
        x: _Array,
        d: _Array,
        *,
        bias: bool = True,
        accumulate: bool = False,
        out: _Loss | None = None,
    ) -> _Loss: ...
    def second_moment(
        self,
        x: _Array,
        sample_weight: _Array | None = None,
        *,
        ones: bool = False,
        scale: float = 1.0,
        decay: float | _Loss = 0.0,
        out: _Array | None = None,
    ) -> _Array: ...

    # Activations.
    def activation(
        self, x: _Array, activation: _Activation = "relu", out: _Array | None = None
    ) -> _Array: ...
    def activation_backward(
        self, d_y: _Array, y: _Array, activation: _Activation = "relu", out: _Array | None = None
    ) -> _Array: ...
    def dropout(
        self, x: _Array, rate: float, *, seed: int, stream: int | _Counter, out: _Array | None = None
    ) -> _Array: ...
    def prelu(self, x: _Array, slope: _Array, out: _Array | None = None) -> _Array: ...
    def prelu_backward(
        self,
        d_y: _Array,
        x: _Array,
        slope: _Array,
        d_x: _Array | None = None,
        d_slope: _Array | None = None,
    ) -> tuple[_Array, _Array]: ...
    def softmax_backward(self, d_y: _Array, y: _Array, out: _Array | None = None) -> _Array: ...
    def softmax(self, x: _Array, out: _Array | None = None) -> _Array: ...
    def log_softmax(self, x: _Array, out: _Array | None = None) -> _Array: ...

    # Losses.
    def softmax_cross_entropy(
        self,
        logits: _Array,
        labels: _Array,
        sample_weight: _Array | None = None,
        ignore_label: int | None = None,
        loss: _Loss | None = None,
        d_logits: _Array | None = None,
    ) -> tuple[_Loss, _Array]: ...
    def pointwise_loss(
        self,
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
        self,
        prediction: _Array,
        target: _Array,
        sample_weight: _Array | None = None,
        reduction: str = "mean",
        loss: _Loss | None = None,
        d_prediction: _Array | None = None,
    ) -> tuple[_Loss, _Array]: ...
    def zero_one_loss(
        self, scores: _Array, labels: _Array, ignore_label: int | None = None, out: _Loss | None = None
    ) -> _Loss: ...

    # Distributions of a network's outputs.
    def output_fisher(
        self,
        z: _Array,
        v: _Array,
        distribution: str,
        sample_weight: _Array | None = None,
        *,
        scale: float = 1.0,
        out: _Array | None = None,
    ) -> _Array: ...
    def output_divergence(
        self,
        z: _Array,
        w: _Array,
        distribution: str,
        sample_weight: _Array | None = None,
        *,
        out: _Loss | None = None,
    ) -> _Loss: ...
    def sampled_score(
        self, z: _Array, distribution: str, *, seed: int, stream: int | _Counter, out: _Array | None = None
    ) -> _Array: ...

    # Linear models with few outputs.
    def linear_loss(
        self,
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
        self,
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
        self,
        params: _Arrays,
        grads: _Arrays,
        velocities: _Arrays | None = None,
        *,
        lr: float | _Loss,
        momentum: float = 0.0,
        nesterov: bool = False,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        penalised: Sequence[bool] | None = None,
    ) -> None: ...
    def adagrad_update(
        self,
        params: _Arrays,
        grads: _Arrays,
        sum_sq: _Arrays,
        *,
        lr: float | _Loss = 1e-2,
        eps: float = 1e-10,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        penalised: Sequence[bool] | None = None,
    ) -> None: ...
    def rmsprop_update(
        self,
        params: _Arrays,
        grads: _Arrays,
        exp_avg_sq: _Arrays,
        *,
        lr: float | _Loss = 1e-2,
        rho: float = 0.99,
        eps: float = 1e-8,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        penalised: Sequence[bool] | None = None,
    ) -> None: ...
    def adam_update(
        self,
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
        l2: float = 0.0,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        penalised: Sequence[bool] | None = None,
    ) -> None: ...

    # Rows, reductions, counters.
    def take_rows(
        self, x: _Array, indices: _Indices, out: _Array | None = None, *, start: int | _Counter | None = None
    ) -> _Array: ...
    def take_sparse_rows(
        self,
        data: _Array,
        indices: _Array,
        indptr: _Array,
        rows: _Indices,
        out: _Array,
        *,
        start: int | _Counter | None = None,
    ) -> _Array: ...
    def class_scatter(
        self,
        x: _Array,
        labels: _Array | None,
        centre: _Array,
        sample_weight: _Array | None = None,
        *,
        accumulate: bool = False,
        weights: _Loss | None = None,
        sums: _Loss | None = None,
        scatter: _Loss | None = None,
    ) -> tuple[_Loss, _Loss, _Loss]: ...
    def sum(self, x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
    def mean(self, x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
    def max(self, x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
    def min(self, x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
    def sum_squares(self, x: _Array, axis: int | None = None, out: _Array | None = None) -> _Array: ...
    def argmax(self, x: _Array, axis: int = 1, out: _Indices | None = None) -> _Indices: ...
    def increment(self, counter: _Counter, by: int = 1) -> None: ...
    def accumulate(self, total: _Loss, value: float | _Loss, scale: float = 1.0) -> None: ...
    def look_up(self, table: _Loss, index: int | _Counter, out: _Loss | None = None) -> _Loss: ...
    def require_finite(self, value: _Loss) -> None: ...

    # Random numbers.
    def random_uniform(
        self,
        shape: int | Sequence[int],
        low: float = 0.0,
        high: float = 1.0,
        *,
        seed: int,
        stream: int = 0,
        dtype: str = "float32",
        out: _Array | None = None,
    ) -> _Array: ...
    def random_bits(
        self, n: int, *, seed: int, stream: int = 0, out: npt.NDArray[np.uint64] | None = None
    ) -> npt.NDArray[np.uint64]: ...

    # Capture and replay.
    def Graph(self) -> BackendGraph: ...  # noqa: N802 (a class of the modules)
    def begin_capture(self, graph: Any) -> None: ...
    def end_capture(self, graph: Any) -> None: ...
    def is_capturing(self) -> bool: ...

class CudaBackend(Backend, Protocol):
    """The CUDA module, whose operations return before they are done."""

    def synchronize(self) -> None: ...
