"""Averages of parameters over the steps of a training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from steepest import _cpu
from steepest import kernels as K
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros, assign, to_host
from steepest.nn import Parameter

from ._of_parameters import OfParameters, list_parameters
from .first_order.optimizer import saved_arrays


class ParameterAverage(OfParameters):
    """An exponential moving average of parameters, to predict with: ``a = decay * a + (1 - decay) * p``.

    Parameters that stochastic gradients move about a minimum are nearer to it on average [1]_. The exponential
    average forgets the first steps; with the bias correction, ``a / (1 - decay^t)`` after t updates, it is a weighted
    mean of the parameters after each update alone [2]_.

    `update` can be called inside `steepest.capture`, behind the optimizer's step. The average has the dtype of the
    parameters; its rounding errors are at most eps / (1 - decay) of the largest value. An average that is copied or
    pickled together with its network, as ``copy.deepcopy((net, average))``, belongs to the copy.

    Parameters
    ----------
    params : iterable of Parameter
        The parameters, as `Network.parameters` returns them. Frozen ones are averaged like others.
    decay : float, default=0.999
        Weight of the average in an update, in [0, 1). About the last 1 / (1 - decay) steps count.
    bias_correction : bool, default=True
        Whether the average starts with the first update. Without, it starts with the present values of the parameters,
        which keep the weight decay^t.

    Attributes
    ----------
    params : list of Parameter
        The parameters.
    decay : float
        The decay.
    bias_correction : bool
        Whether the bias is corrected.

    Raises
    ------
    ValueError, TypeError
        If there are no parameters, or `decay` is not in [0, 1).

    References
    ----------
    .. [1] B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30,
       1992.
    .. [2] D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, sections 3 and 7.2.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn, optim
    >>> net = nn.Network([nn.Linear(1, 1, bias=False)], dtype=np.float64)
    >>> weight, average = net.parameters()[0].value, optim.ParameterAverage(net.parameters(), decay=0.5)
    >>> for weight[...] in (1.0, 4.0):
    ...     average.update()
    >>> with average.applied():
    ...     print(net.predict(np.ones((1, 1))))
    [[3.]]
    >>> weight
    array([[4.]])
    """

    _looked_up = ("_values", "_device")

    def __init__(
        self, params: Iterable[Parameter], decay: float = 0.999, *, bias_correction: bool = True
    ) -> None:
        self.params = list_parameters(params, "ParameterAverage", "average")
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"[ParameterAverage] decay must be in [0, 1), got {decay}")
        self.decay, self.bias_correction = decay, bias_correction
        self._look_up_arrays()
        self._steps: Int64Array = aligned_zeros((), np.int64, self._device)
        # The kernel of gradient descent averages all tensors in one launch: with the decay 1, the rate 1 - decay and
        # the parameters as gradients, -a becomes -a - (1 - decay) (-a) - (1 - decay) p.
        self._negated = [aligned_zeros(v.shape, v.dtype, self._device) for v in self._values]
        if not bias_correction:
            for negated, value in zip(self._negated, self._values, strict=True):
                assign(negated, -value)
        # The parameters themselves, while the averages stand in their place.
        self._kept: list[Array] | None = None

    def _look_up_arrays(self) -> None:
        self._values = [p.value for p in self.params]
        self._device = device_of(self._values[0])

    @property
    def steps(self) -> int:
        """Number of updates. On CUDA, reading it waits for the device."""
        return int(self._steps)

    def update(self) -> None:
        """Let the present values of the parameters join the average.

        Raises
        ------
        RuntimeError
            If the averages are applied.
        """
        if self._kept is not None:
            raise RuntimeError("[ParameterAverage.update] the averages are applied: call restore() first")
        K.increment(self._steps)
        K.sgd_update(self._negated, self._values, lr=1.0 - self.decay, weight_decay=1.0)

    def values(self) -> list[Array]:
        """Return the averages in new arrays, in the order of the parameters.

        Returns
        -------
        list of ndarray
            The averages, of the parameters' shapes and dtypes.

        Raises
        ------
        RuntimeError
            If there has been no update that the bias correction could divide by, or a graph is being captured.
        """
        if _cpu.is_capturing():
            raise RuntimeError("[ParameterAverage] only update can be captured by steepest.capture()")
        steps = self.steps
        if self.bias_correction and steps == 0:
            raise RuntimeError("[ParameterAverage] there is no average yet: call update() first")
        factor = -1.0 / (1.0 - self.decay**steps) if self.bias_correction else -1.0
        return [negated * factor for negated in self._negated]

    def apply(self) -> None:
        """Write the averages into the parameters, in place, and keep the parameters for `restore`.

        Raises
        ------
        RuntimeError
            If the averages are applied already, there are none yet, or a graph is being captured.
        """
        if self._kept is not None:
            raise RuntimeError(
                "[ParameterAverage.apply] the averages are applied already: call restore() first"
            )
        averages = self.values()
        self._kept = [value.copy() for value in self._values]
        for value, average in zip(self._values, averages, strict=True):
            assign(value, average)

    def restore(self) -> None:
        """Write the parameters that `apply` has kept back into their place.

        Raises
        ------
        RuntimeError
            If the averages are not applied.
        """
        if self._kept is None:
            raise RuntimeError("[ParameterAverage.restore] the averages are not applied: call apply() first")
        for value, kept in zip(self._values, self._kept, strict=True):
            assign(value, kept)
        self._kept = None

    @contextmanager
    def applied(self) -> Iterator[ParameterAverage]:
        """Apply the averages within a ``with`` block, and restore the parameters at its end, after an exception too."""
        self.apply()
        try:
            yield self
        finally:
            self.restore()

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state.

        Returns
        -------
        dict
            The options, the number of updates as ``"steps"``, and the averages before the bias correction as a list of
            NumPy arrays, ``"averages"``.
        """
        return {
            "rule": "ParameterAverage",
            "decay": self.decay,
            "bias_correction": self.bias_correction,
            "steps": [np.array(to_host(self._steps))],
            "averages": [-to_host(negated) for negated in self._negated],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `state_dict` returned, in place: graphs captured before stay valid.

        Parameters
        ----------
        state : mapping
            The state of an average with the same options over tensors of the same shapes.

        Raises
        ------
        ValueError
            If options, shapes or dtypes of the state do not match; nothing is changed then.
        """
        for name, own in (
            ("rule", "ParameterAverage"),
            ("decay", self.decay),
            ("bias_correction", self.bias_correction),
        ):
            if state.get(name) != own:
                raise ValueError(
                    f"[ParameterAverage] {name} is {state.get(name)!r} in the state, but {own!r} here"
                )
        steps = saved_arrays(state.get("steps", ()), [self._steps], "[ParameterAverage] steps")
        averages = saved_arrays(state.get("averages", ()), self._negated, "[ParameterAverage] averages")
        assign(self._steps, steps[0])
        for negated, average in zip(self._negated, averages, strict=True):
            assign(negated, -average)
