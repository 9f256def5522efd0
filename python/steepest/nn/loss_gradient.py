"""The gradient of a loss in one call, which need not store the outputs that the loss is computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import aligned_empty
from steepest.kernels.linear_cross_entropy import rows_of_block

from .compiled import Buffers, Compiled, Head, Wanted
from .execution import Arrays, Targets, run_forward
from .gradient import Backward
from .inputs import Inputs, as_contiguous, as_inputs
from .losses import Loss, SoftmaxCrossEntropy
from .ops.base import as_rows


class Differentiable:
    """What a network computes in a training step: values, the loss, and gradients of parameters."""

    dtype: np.dtype[Any]
    device: str
    _values: dict[str, Array]
    _grads: Mapping[str, Array]
    _decaying: frozenset[str]
    _usual: Wanted
    _passes: Array
    _last: tuple[Compiled, Arrays, Buffers] | None

    _check_inputs: Callable[[str, tuple[Array, ...]], None]
    _program_for: Callable[[tuple[Array, ...]], Compiled]
    forward: Callable[..., Any]
    backward: Callable[..., Any]

    def loss_gradient(
        self,
        loss: Loss,
        x: Inputs,
        y: Array,
        sample_weight: Array | None = None,
        *,
        l2: float = 0.0,
        accumulate: bool = False,
        require_finite: bool = False,
    ) -> Float64Array:
        """Compute the loss of a batch as in training, and the gradient of every trained parameter.

        This is `forward`, the loss and `backward` in one. Where the loss is a `SoftmaxCrossEntropy` of class ids and
        the last layer a `Linear`, as in a model of text, the logits of a large batch are computed in blocks of rows
        and never stored as a whole: see `kernels.linear_cross_entropy`. `backward` cannot be called behind it.

        Parameters
        ----------
        loss : Loss
            The loss.
        x : ndarray or tuple of ndarray
            The input of the network, or a tuple of them for a network of several.
        y : ndarray
            The target.
        sample_weight : ndarray or None
            Weights as the loss takes them.
        l2, accumulate
            As for `backward`.
        require_finite : bool, default=False
            Whether a loss that is not finite raises `DivergenceError`, as `kernels.require_finite` does; the gradients
            are then of no use.

        Returns
        -------
        ndarray of shape (), float64
            The loss.

        Raises
        ------
        ValueError, TypeError
            As of `forward` and of the loss.
        DivergenceError
            See `require_finite`.

        Examples
        --------
        >>> import numpy as np
        >>> from steepest import nn
        >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3, init=0.0)])
        >>> value = net.loss_gradient(nn.SoftmaxCrossEntropy(), np.ones((2, 4), np.float32), np.array([0, 2]))
        >>> round(float(value), 4)  # log(3)
        1.0986
        """
        inputs = as_inputs(x)
        self._check_inputs("Network.loss_gradient", inputs)
        inputs = as_contiguous(inputs)
        compiled = self._program_for(inputs)
        head = self._large_head(compiled, loss, y)
        if head is not None:
            assert isinstance(loss, SoftmaxCrossEntropy)
            return self._by_blocks(head, loss, inputs, (y, sample_weight), l2, accumulate, require_finite)
        value, d_output = loss(self.forward(*inputs), y, sample_weight)
        if require_finite:
            K.require_finite(value)
        self.backward(d_output, l2, accumulate=accumulate)
        self._last = None
        return value

    def _large_head(self, compiled: Compiled, loss: Loss, y: Array) -> Head | None:
        """Return the last layer of a program if its outputs are to be computed in blocks of rows."""
        if not isinstance(loss, SoftmaxCrossEntropy) or getattr(y, "dtype", self.dtype).kind not in "iu":
            return None
        head = compiled.head
        if head is None or head.names & self._usual.frozen:
            return None
        n_ids = head.node.parameters["weight"].of(self._values).shape[1]
        return head if rows_of_block(y.size, n_ids) < y.size else None

    def _by_blocks(
        self,
        head: Head,
        loss: SoftmaxCrossEntropy,
        inputs: tuple[Array, ...],
        targets: tuple[Array, Array | None],
        l2: float,
        accumulate: bool,
        require_finite: bool,
    ) -> Float64Array:
        """Compute loss and gradients with the logits in blocks of rows."""
        arrays, buffers = self._run_forward(head.body, inputs)
        (number,) = head.body.training.outputs
        h, references = arrays[number], head.node.parameters
        w = references["weight"].of(self._values)
        rows = as_rows(h)
        if buffers.head is None:
            shape = rows_of_block(len(rows), w.shape[1]), w.shape[1]
            buffers.head = self._allocate(h.shape), self._allocate(shape)
        d_h, logits = buffers.head
        bias = references.get("bias")
        value = loss.of_linear(
            h,
            w,
            None if bias is None else bias.of(self._values),
            *targets,
            l2=l2 if references["weight"].name in self._decaying else 0.0,
            d_x=d_h,
            d_w=references["weight"].of(self._grads),
            d_b=None if bias is None else bias.of(self._grads),
            logits=logits,
            precision=head.precision,
            accumulate=accumulate,
        )
        if require_finite:
            K.require_finite(value)
        self._run_backward((head.body, arrays, buffers), [d_h], self._usual, l2, accumulate=accumulate)
        return value

    def _run_forward(self, compiled: Compiled, inputs: tuple[Array, ...]) -> tuple[Arrays, Buffers]:
        """Compute the values of a program, in buffers of its own."""
        self._last = None  # its buffers are written over
        buffers = compiled.buffers(len(inputs[0]), self._allocate)
        for root in compiled.output_roots:
            buffers.renew_if_held(root, self._allocate)
        if compiled.draws:
            K.increment(self._passes)
        arrays = compiled.arrays(inputs)
        run_forward(compiled.training_steps, arrays, buffers.outs)
        return arrays, buffers

    def _run_backward(
        self,
        values: tuple[Compiled, Arrays, Buffers],
        d_outputs: Sequence[Array],
        wanted: Wanted,
        l2: float,
        *,
        accumulate: bool,
    ) -> tuple[Backward, Arrays]:
        """Run the backward pass of a program, and return it with the gradients of its values."""
        compiled, arrays, buffers = values
        known = buffers.ready.get((wanted, float(l2), accumulate))
        if known is None:
            targets = Targets(self._grads, float(l2), accumulate, self._decaying)
            known = compiled.make_ready(buffers, wanted, len(d_outputs[0]), targets, self._allocate)
        backward, ready = known
        grads: Arrays = [None] * len(backward.values)
        for seed, d in zip(backward.seeds, d_outputs, strict=True):
            grads[seed] = d
        for run in ready:
            run(arrays, grads)
        return backward, grads

    def _allocate(self, shape: tuple[int, ...]) -> Array:
        return aligned_empty(shape, self.dtype, self.device)
