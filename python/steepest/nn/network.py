"""A network: a program of layers whose parameters lie in one flat, aligned arena."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.memory import aligned_zeros, to_device

from ._arena import Arena
from .architecture import Architecture, between, chain
from .compiled import Buffers, Compiled, Wanted
from .copying import checked_precision, require_device
from .execution import Arrays, run_tangent
from .inputs import (
    as_contiguous,
    check_declared_dtypes,
    check_inputs,
    checked_changes,
    checked_gradients,
    constant_in,
)
from .layers import Layer
from .layers.base import initialize_parameter
from .loss_gradient import Differentiable
from .lowering import Carried, Lowered, input_shapes, lower
from .prediction import predict_in_blocks
from .program import at_precision
from .stream import Streamable
from .summary import program_text, summary_of
from .values import Input, Shape, Value

# `predict` works in blocks of rows, so that its memory does not grow with n: on the CPU small enough for hidden layers
# to stay in the cache, on CUDA large enough to occupy the whole device.
_PREDICT_ROWS = {"cpu": 2048, "cuda": 65536}
# Programs that are kept for inputs of other widths, of a network whose layers take any.
_KEPT_PROGRAMS = 8


class Network(Streamable, Differentiable):
    """Layers that compute outputs from inputs: a chain, ``y = f_k(… f_1(x))``, or whatever lies between values.

    ``Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)])`` is a chain. Otherwise layers are called on values, and
    the network is what lies between its inputs and outputs: ``x = nn.Input(4)``, ``h = nn.Linear(4, 8)(x)``,
    ``nn.Network(x, nn.Add()(h, nn.Tanh()(h)))``. A layer that is called several times has one set of parameters.

    A `Linear` and the activation behind it run as one kernel; backward folds the derivative of each such
    activation into the kernel that writes the gradient. Every method can be called inside `steepest.capture`.

    Parameters
    ----------
    layers : iterable of layers, or Input or sequence of Input
        The layers of a chain, first to last; a chain may begin with an `Input`, for layers that need its shape.
        With `outputs`, the inputs of the network.
    outputs : Value or sequence of Value, optional
        The outputs of the network, made by calling layers on values.
    seed : int, default=0
        Seed of the initial weights, of which tensor i is drawn from stream i of Philox4x32-10, and of dropout.
    dtype : {float32, float64}, default=float32
        Dtype of parameters, inputs and outputs.
    device : {"cpu", "cuda"}, default="cpu"
        Where the parameters lie and everything is computed, on NumPy or on CuPy arrays; for CUDA, on CuPy's current
        device and stream. The initial weights are the same on both.
    precision : {"float32", "high", "tf32", "bfloat16"}, default="float32"
        Precision of the products of a float32 network, forward and backward: see `steepest.kernels.matmul`. Parameters,
        gradients and everything between the products stay float32, so that small updates of weights are not lost.

    Attributes
    ----------
    layers : tuple of layers
        The layers, each once, in the order of their first calls.
    seed : int
        The seed.
    dtype : dtype
        Dtype of parameters, inputs and outputs.
    precision : str
        Precision of the products; it may be set at any time, for passes from then on. A captured graph keeps its own.
    device : str
        Where the parameters lie. A pickle holds NumPy arrays and gives a network on the CPU. A network and its
        optimizer that are pickled or deep-copied together, as ``copy.deepcopy((net, optimizer))``, belong together
        afterwards too.
    arena, grad_arena : ndarray of shape (size,)
        All parameters and all gradients. Every tensor starts on a 64-byte boundary; the gaps stay zero.
    weight_arena : ndarray
        The first part of `arena`, which holds the parameters that decay: the weights, and no biases or slopes.

    Raises
    ------
    ValueError, TypeError
        If there is no layer, an object is no layer, shapes do not fit, an input is unused, an output depends on no
        input or on another network's, or dtype, device or precision are not supported.
    RuntimeError
        If CUDA is asked for and not available.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)], seed=0)
    >>> net.predict(np.zeros((2, 4), np.float32)).shape
    (2, 3)

    Two inputs through one layer, and how far their codes are apart:

    >>> a, b = nn.Input(4, name="a"), nn.Input(4, name="b")
    >>> encode = nn.Linear(4, 2)
    >>> twins = nn.Network([a, b], nn.Multiply()(encode(a), encode(b)))
    >>> [p.name for p in twins.parameters()]
    ['0.weight', '0.bias']
    """

    def __init__(
        self,
        layers: Iterable[Layer] | Input | Sequence[Input],
        outputs: Value | Sequence[Value] | None = None,
        *,
        seed: int = 0,
        dtype: npt.DTypeLike = np.float32,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        precision = checked_precision(precision)
        seed = checked_integer("Network", "seed", seed)
        if outputs is not None:
            inputs = (layers,) if isinstance(layers, Value) else tuple(layers)
            last = (outputs,) if isinstance(outputs, Value) else tuple(outputs)
            architecture = between(cast("tuple[Value, ...]", inputs), last)
        elif isinstance(layers, Value):
            raise TypeError("[Network] there are inputs, but no outputs: pass both, as in Network(x, y)")
        else:
            architecture = chain(tuple(layers))
        self._build(architecture, seed, np.dtype(dtype), device, precision)
        for stream, parameter in enumerate(self._parameters):
            initialize_parameter(parameter.value, self._arena.specs[parameter.name], seed, stream)

    def _build(
        self,
        architecture: Architecture,
        seed: int,
        dtype: np.dtype[Any],
        device: str,
        precision: str = "float32",
    ) -> None:
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"[Network] dtype {dtype} is not supported: use float32 or float64")
        check_declared_dtypes(architecture.inputs, dtype)
        require_device(device)
        passes = aligned_zeros((), np.int64, device)
        lowered = lower(architecture, input_shapes(architecture), seed, passes)
        self._use(Arena(architecture, dtype, device, lowered.asked), seed, precision, passes, lowered)

    def _use(
        self,
        arena: Arena,
        seed: int,
        precision: str,
        passes: Int64Array | None = None,
        lowered: Lowered | None = None,
    ) -> None:
        """Be the network of an arena's layers and parameters; what is not given is made."""
        self.layers, self.dtype, self.device = arena.layers, arena.dtype, arena.device
        self.seed, self._precision = seed, precision
        self._arena, self._architecture = arena, arena.architecture
        self.arena, self.grad_arena, self.weight_arena = arena.values, arena.grads, arena.weights
        self._parameters = arena.parameters()
        # The states of layers, which passes write, beside the parameters.
        self._values = {p.name: p.value for p in self._parameters} | arena.states
        self._grads = {parameter.name: parameter.grad for parameter in self._parameters}
        self._decaying = frozenset(p.name for p in self._parameters if p.decays)
        self._usual = Wanted(inputs=False, parameters=True, frozen=arena.frozen)
        self._passes: Int64Array = aligned_zeros((), np.int64, self.device) if passes is None else passes
        self._shapes = input_shapes(self._architecture)
        self._n_inputs = len(self._shapes)
        self._has_one_output = len(self._architecture.outputs) == 1
        self._programs: dict[tuple[Shape, ...], Compiled] = {}
        # Programs for other numbers of steps go on from the same states.
        self._carried: Carried = {} if lowered is None else lowered.carried
        # The program, the values and the buffers of the last forward pass.
        self._last: tuple[Compiled, Arrays, Buffers] | None = None
        self._main = self._compile(lowered or self._lower(self._shapes))

    def _lower(self, shapes: tuple[Shape, ...], part: slice = slice(None)) -> Lowered:
        return lower(
            self._architecture,
            shapes,
            self.seed,
            self._passes,
            specs=self._arena.specs,
            carried=self._carried,
            part=part,
        )

    def _compile(self, lowered: Lowered) -> Compiled:
        constants = {
            number: to_device(constant_in(array, self.dtype), self.device)
            for number, array in lowered.program.constants.items()
        }
        return Compiled(at_precision(lowered.program, self._precision), self._values, constants)

    def _program_for(self, inputs: tuple[Array, ...]) -> Compiled:
        """Return the program for inputs; there is one for each shape where the layers leave it open."""
        if self._main.has_known_shapes:
            return self._main
        shapes: tuple[Shape, ...] = tuple(x.shape[1:] for x in inputs)
        compiled = self._programs.get(shapes)
        if compiled is None:
            compiled = self._programs[shapes] = self._compile(self._lower(shapes))
            if len(self._programs) > _KEPT_PROGRAMS:
                del self._programs[next(iter(self._programs))]
        return compiled

    @property
    def precision(self) -> str:
        """Precision of the products of a float32 network."""
        return self._precision

    @precision.setter
    def precision(self, name: str) -> None:
        if checked_precision(name) == self._precision:
            return
        self._precision, self._last = name, None
        self._programs.clear()
        self._main = self._compile(self._lower(self._shapes))

    @property
    def states(self) -> dict[str, Array]:
        """What layers write while training, such as the averages of `BatchNorm`, by name: views, as parameters are."""
        return dict(self._arena.states)

    @property
    def draws(self) -> bool:
        """Whether `forward` draws masks, and so differs from `predict`."""
        return self._main.draws

    @property
    def program(self) -> str:
        """The operations of a training step in a readable form: as lowered, after the passes, and the backward pass."""
        return program_text(self._main, self._usual)

    def summary(self) -> str:
        """Return a table of the operations: output shapes, numbers of parameters, and MFLOP a sample."""
        return summary_of(self._main.training, self._arena.specs, self.frozen)

    def _set_frozen(self, names: Iterable[str]) -> None:
        super()._set_frozen(names)
        self._usual = Wanted(inputs=False, parameters=True, frozen=self._arena.frozen)
        for compiled in (self._main, *self._programs.values()):
            compiled.forget_backward()

    # ------------------------------------------------------------------------------------------------- passes

    def forward(self, *inputs: Array) -> Any:
        """Compute the output for a batch as in training, with dropout, and keep what `backward` needs.

        Parameters
        ----------
        *inputs : ndarray of shape (n, ...)
            An array for each input of the network, of the network's dtype, in the order of the inputs; (n, n_in) for a
            chain. Not copied, unless they have more than two axes and are not contiguous: they may not change before
            `backward`.

        Returns
        -------
        ndarray of shape (n, n_out), or tuple of ndarray
            The output, or all of them if the network has several. Its memory is used again by a later batch of the same
            size, but never while the output, or a view of it, is referred to. What `backward` needs is kept for the
            last call alone.

        Raises
        ------
        ValueError, TypeError
            If there are too few or too many inputs, or a shape or a dtype does not fit.
        """
        self._check_inputs("Network.forward", inputs)
        inputs = as_contiguous(inputs)
        compiled = self._program_for(inputs)
        arrays, buffers = self._run_forward(compiled, inputs)
        self._last = compiled, arrays, buffers
        return self._outputs([arrays[number] for number in compiled.training.outputs])

    def predict(self, *inputs: Array, layers: slice | None = None) -> Any:
        """Compute the output without dropout, and keep no values.

        For few rows, as often as the same number of them comes on the CPU, the operations are replayed from a graph.

        Parameters
        ----------
        *inputs : ndarray of shape (n, ...)
            An array for each input, of the network's dtype.
        layers : slice or None, default=None
            For a chain, which of `layers` to compute, such as ``slice(2)`` for what the first two make of x, or
            ``slice(2, None)`` for what the others make of that; None for all.

        Returns
        -------
        ndarray of shape (n, n_out), or tuple of ndarray
            The output of the last of them in a new array, or all outputs if the network has several.

        Raises
        ------
        ValueError, TypeError
            If there are too few or too many inputs, a shape or a dtype does not fit, or `layers` is not such a slice.
        """
        if layers is None and len(inputs) == self._n_inputs + 1 and not hasattr(inputs[-1], "dtype"):
            *arguments, layers = inputs  # type: ignore[assignment]
            inputs = tuple(arguments)
        compiled, inputs = self._to_predict("Network.predict", inputs, layers)
        return self._outputs(
            predict_in_blocks(compiled, inputs, _PREDICT_ROWS[self.device], self.dtype, self.device)
        )

    def backward(
        self,
        d_output: Array | Sequence[Array],
        l2: float = 0.0,
        *,
        inputs: bool = False,
        parameters: bool = True,
        accumulate: bool = False,
    ) -> Any:
        """Compute the gradient of every trained parameter for the last batch of `forward`.

        Parameters
        ----------
        d_output : ndarray of shape (n, n_out), or sequence of ndarray
            Gradient of the loss with respect to the output, or to all outputs if the network has several; None stands
            for an output that the loss does not depend on.
        l2 : float, default=0.0
            ``l2 * w`` is added to the gradient of every weight, not to those of biases and slopes.
        inputs : bool, default=False
            Whether the gradients with respect to the inputs are computed and returned.
        parameters : bool, default=True
            Whether the gradients of the parameters are computed; without, `grad_arena` stays as it is.
        accumulate : bool, default=False
            Whether gradients of parameters are added to those that are there, as for a batch in several pieces.

        Returns
        -------
        None, ndarray or tuple of ndarray
            With `inputs` the gradient with respect to the input in a new array, or a tuple of them if there are
            several inputs, with None for inputs of integers.

        Raises
        ------
        RuntimeError
            If `forward` has not been called.
        ValueError, TypeError
            If the shape or the dtype does not fit.
        """
        if self._last is None:
            raise RuntimeError(
                "[Network.backward] there is no forward pass to differentiate: call forward first"
            )
        compiled, arrays, _ = self._last
        program = compiled.training
        given = (d_output,) if self._has_one_output else tuple(d_output)
        outputs = [arrays[number] for number in program.outputs]
        d_outputs = checked_gradients("Network.backward", given, outputs, self.dtype, self.device)
        wanted = self._usual
        if inputs or not parameters:
            wanted = Wanted(inputs, parameters, self.frozen if parameters else frozenset())
        backward, grads = self._run_backward(self._last, d_outputs, wanted, l2, accumulate=accumulate)
        if not inputs:
            return None
        found = [None if i is None else K.copy(grads[i]) for i in backward.of_inputs]
        return found[0] if self._n_inputs == 1 else tuple(found)

    def jvp(
        self, tangents: Sequence[Array | None] | None, inputs: Sequence[Array | None] | None = None
    ) -> Any:
        """Return how the output of the last `forward` changes with parameters and inputs: a Jacobian-vector product.

        Parameters
        ----------
        tangents : sequence of ndarray or None
            A direction in the parameters: an array for each of `parameters`, in their order, or None for one that does
            not change; None for no change of any.
        inputs : sequence of ndarray or None, default=None
            The changes of the inputs, in their order.

        Returns
        -------
        ndarray of shape (n, n_out), or tuple of ndarray
            The directional derivative of the output, or of each output if the network has several.

        Raises
        ------
        RuntimeError
            If `forward` has not been called.
        ValueError, TypeError
            If there are too few or too many arrays, or a shape or a dtype does not fit.
        """
        if self._last is None:
            raise RuntimeError("[Network.jvp] there is no forward pass to differentiate: call forward first")
        compiled, arrays, _ = self._last
        program = compiled.training
        of_parameters = checked_changes("tangents", tangents, [p.value for p in self._parameters])
        of_inputs = checked_changes("inputs", inputs, [arrays[number] for number in program.inputs])
        moved: Arrays = [None] * len(program.shapes)
        for number, change in zip(program.inputs, of_inputs, strict=True):
            moved[number] = change
        named = zip(self._grads, of_parameters, strict=True)
        changes = {name: change for name, change in named if change is not None}
        run_tangent(compiled.training_steps, arrays, moved, changes)
        # An output that does not depend on what changes has a derivative of zeros.
        return self._outputs(
            [
                aligned_zeros(arrays[number].shape, self.dtype, self.device)
                if moved[number] is None
                else moved[number]
                for number in program.outputs
            ]
        )

    def release_buffers(self) -> None:
        """Free what `forward` keeps: its buffers, and the reference to its last input."""
        for compiled in (self._main, *self._programs.values()):
            compiled.release()
        self._last = None

    # ------------------------------------------------------------------------------------------------- internals

    @property
    def _is_sequence(self) -> bool:
        """Whether the layers follow one another."""
        calls = self._architecture.calls
        return all(call.layer == i and call.inputs == (i,) for i, call in enumerate(calls))

    def _outputs(self, arrays: Sequence[Array | None]) -> Any:
        return arrays[0] if self._has_one_output else tuple(arrays)

    def _to_predict(
        self, name: str, inputs: tuple[Array, ...], layers: slice | None
    ) -> tuple[Compiled, tuple[Array, ...]]:
        """Return the program of a network, or of some layers of a chain, and its inputs, checked and contiguous."""
        if layers is None:
            self._check_inputs(name, inputs)
            inputs = as_contiguous(inputs)
            return self._program_for(inputs), inputs
        if not isinstance(layers, slice) or layers.step not in (None, 1):
            raise ValueError(
                f"[{name}] layers must be a slice of layers that follow each other, got {layers!r}"
            )
        if not (self._is_sequence and self._has_one_output):
            raise ValueError(f"[{name}] layers takes a slice of a chain of layers, which this network is not")
        self._check_inputs(name, inputs, starts_inside=layers.indices(len(self.layers))[0] > 0)
        inputs = as_contiguous(inputs)
        return self._compile(self._lower((inputs[0].shape[1:],), layers)), inputs

    def _check_inputs(self, name: str, inputs: tuple[Array, ...], *, starts_inside: bool = False) -> None:
        if len(inputs) != self._n_inputs:
            raise ValueError(f"[{name}] takes {self._n_inputs} inputs, got {len(inputs)}")
        declared, x = self._architecture.inputs, inputs[0]
        # The usual case, in which checks take as long as a kernel.
        if (
            not declared
            and type(x) is np.ndarray
            and x.dtype == self.dtype
            and x.ndim == 2
            and self.device == "cpu"
        ):
            return
        if starts_inside and declared:
            # Of a value between layers the shape is looked at by the next layer.
            declared = (Input(x.shape[1:] if np.ndim(x) else ()),)
        check_inputs(name, declared, inputs, self.dtype, self.device)

    def __repr__(self) -> str:
        device = "" if self.device == "cpu" else f", device={self.device!r}"
        precision = "" if self._precision == "float32" else f", precision={self._precision!r}"
        return f"Network({list(self.layers)!r}, dtype={self.dtype.name}{device}{precision})"
