"""A program made ready to run: its passes, the arrays of its parameters, and its backward passes."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from steepest._runtime.arrays import Array

from .execution import Arrays, Ready, Targets, bound, gradient_buffers, make_ready, value_buffers
from .gradient import (
    Backward,
    Places,
    Pull,
    assign_buffers,
    backward_of,
    derive_selected,
    fold_accumulation,
    fold_derivatives,
    mark_accumulation,
    without_dead_gradients,
)
from .ops import LinearOperation
from .ops.kept import KEPT_BATCH_SIZES
from .prediction import PredictionPlan, plan_prediction
from .program import (
    PASSES,
    Node,
    Program,
    differs_at_prediction,
    fold_norms,
    for_prediction,
    optimized,
    with_known_size,
    without_last_linear,
)
from .replayed import Replays

# Backward passes of a batch size that are kept with their arrays, one for each strength of a penalty.
_KEPT_PASSES = 8


class Wanted(NamedTuple):
    """Which gradients a backward pass computes."""

    inputs: bool
    parameters: bool
    frozen: frozenset[str]


@dataclass(eq=False)
class Buffers:
    """What `Network.forward` and `Network.backward` write for a batch size.

    Attributes
    ----------
    outs : list of ndarray or None
        An array for each value that an operation writes.
    ready : dict
        The backward passes that have been run, with their arrays, by what they compute, the strength of the penalty and
        whether they add to the gradients.
    grads : dict
        An array for each gradient that a backward pass writes, by what it computes.
    spare : dict of int to ndarray
        At most one array a value: an output of the network that its caller may still hold.
    head : tuple of ndarray or None
        What the loss of a `Head` writes: the gradient of its input, and the logits of a block of rows.
    """

    outs: Arrays
    ready: dict[tuple[Wanted, float, bool], tuple[Backward, Ready]] = field(default_factory=dict)
    grads: dict[Wanted, Arrays] = field(default_factory=dict)
    spare: dict[int, Array] = field(default_factory=dict)
    head: tuple[Array, Array] | None = None

    def renew_if_held(self, value: int, allocate: Callable[[tuple[int, ...]], Array]) -> None:
        """Put another array in the place of an output that its caller still holds.

        There are two that take turns, so that a loop that keeps the last output in a variable allocates none.
        """
        held = self.outs[value]
        if held is None or not _is_held(held):
            return
        spare = self.spare.get(value)
        self.outs[value] = allocate(held.shape) if spare is None or _is_held(spare) else spare
        self.spare[value] = held


class Compiled:
    """The program of a network for inputs of certain shapes, bound to the network's parameters.

    Parameters
    ----------
    plain : Program
        The program as it was lowered.
    values : mapping of str to ndarray
        The parameters and states by name.
    constants : mapping of int to ndarray
        The constants of the program in the network's dtype, on its device.
    written_before : frozenset of str, default=frozenset()
        Names of the parameters whose first gradients are written before a backward pass.
    """

    def __init__(
        self,
        plain: Program,
        values: Mapping[str, Array],
        constants: Mapping[int, Array],
        written_before: frozenset[str] = frozenset(),
    ) -> None:
        self.plain, self.constants, self._written_before = plain, constants, written_before
        self._values = values
        self.training = optimized(plain)
        self.training_steps = bound(self.training, values)
        self.draws = any(node.operation.draws for node in self.training.nodes)
        self.predicting, self.predicting_steps = self.training, self.training_steps
        if differs_at_prediction(plain):
            self.predicting = optimized(for_prediction(plain))
            self.predicting_steps = bound(self.predicting, values)
        # What predictions run. Derivatives of predictions, as Fisher matrices take them, are of the unfolded program.
        self.folded, self.folded_steps = self.predicting, self.predicting_steps
        if self.predicting is not self.training:
            self.folded = optimized(for_prediction(plain), (fold_norms, *PASSES))
            self.folded_steps = bound(self.folded, values)
        self.step_of = {step.node.output: step for step in self.training_steps}
        self._backwards: dict[Wanted, tuple[Backward, Places]] = {}
        self._buffers: OrderedDict[int, Buffers] = OrderedDict()
        self.output_roots = _output_roots(self.training)
        self.has_known_shapes = plain.has_known_shapes
        self._empty: Arrays = [None] * len(plain.shapes)
        for number, array in constants.items():
            self._empty[number] = array

    def arrays(self, inputs: tuple[Array, ...]) -> Arrays:
        """Return a list of all values, of which the inputs and constants are there."""
        arrays = self._empty.copy()
        for number, array in zip(self.plain.inputs, inputs, strict=True):
            arrays[number] = array
        return arrays

    @cached_property
    def head(self) -> Head | None:
        """The linear map that computes the only output, apart from what lies before it; None if there is none."""
        parts = without_last_linear(self.plain)
        if parts is None:
            return None
        body, last = parts
        names = frozenset(reference.name for reference in last.parameters.values())
        return Head(Compiled(body, self._values, self.constants, names), last, names)

    @cached_property
    def prediction_plan(self) -> PredictionPlan:
        """Where a prediction writes its values."""
        return plan_prediction(self.folded)

    @cached_property
    def replays(self) -> Replays:
        """The captured predictions."""
        ends = sum(
            with_known_size(self.folded.shapes[i]) for i in (*self.folded.inputs, *self.folded.outputs)
        )
        return Replays(self.folded, ends + sum(self.prediction_plan.sizes))

    @cached_property
    def to_parameters(self) -> tuple[Backward, Places]:
        """The backward pass of a prediction to every parameter."""
        return made_ready(self.predicting, Wanted(inputs=False, parameters=True, frozen=frozenset()))

    @cached_property
    def to_inputs(self) -> tuple[Backward, Places]:
        """The backward pass of a prediction to its inputs."""
        return made_ready(self.predicting, Wanted(inputs=True, parameters=False, frozen=frozenset()))

    @cached_property
    def to_operations(self) -> tuple[Backward, Places]:
        """The same, as far as the operations that have parameters: what reaches them is kept."""
        backward, _ = self.to_parameters
        pulls = [i for i in backward.instructions if isinstance(i, Pull)]
        instructions = (
            replace(i, roles=frozenset()) if isinstance(i, Pull) else i for i in backward.instructions
        )
        reaching = replace(backward, instructions=tuple(instructions))
        kept = [i.d for i in pulls if i.node.parameters]
        return reaching, assign_buffers(reaching, self.predicting, keep=kept)

    def backward(self, wanted: Wanted) -> tuple[Backward, Places]:
        """Return the backward pass that computes what is wanted, and where it writes."""
        known = self._backwards.get(wanted)
        if known is None:
            known = self._backwards[wanted] = made_ready(self.training, wanted, self._written_before)
        return known

    def buffers(self, n: int, allocate: Callable[[tuple[int, ...]], Array]) -> Buffers:
        """Return the buffers of a batch size."""
        found = self._buffers.get(n)
        if found is None:
            found = self._buffers[n] = Buffers(value_buffers(self.training, n, allocate))
            if len(self._buffers) > KEPT_BATCH_SIZES:
                self._buffers.popitem(last=False)
        self._buffers.move_to_end(n)
        return found

    def make_ready(
        self,
        buffers: Buffers,
        wanted: Wanted,
        n: int,
        targets: Targets,
        allocate: Callable[[tuple[int, ...]], Array],
    ) -> tuple[Backward, Ready]:
        """Return a backward pass, and its instructions with the arrays that they write for a batch size."""
        backward, places = self.backward(wanted)
        if wanted not in buffers.grads:
            buffers.grads[wanted] = gradient_buffers(backward, places, self.training, n, allocate)
        if len(buffers.ready) >= _KEPT_PASSES:
            buffers.ready.clear()
        ready = make_ready(backward, self.step_of, buffers.grads[wanted], targets)
        buffers.ready[wanted, targets.l2, targets.accumulate] = backward, ready
        return backward, ready

    def forget_backward(self) -> None:
        """Free the backward passes and what they write."""
        self._backwards.clear()
        for buffers in self._buffers.values():
            buffers.ready.clear()
            buffers.grads.clear()
        if self._body is not None:
            self._body.forget_backward()

    def release(self) -> None:
        """Free all buffers."""
        self._buffers.clear()
        self.__dict__.pop("replays", None)
        for node in self.training.nodes:
            node.operation.release()
        if self._body is not None:
            self._body.release()

    @property
    def holds_buffers(self) -> bool:
        """Whether there are buffers of a batch size."""
        return bool(self._buffers) or (self._body is not None and self._body.holds_buffers)

    @property
    def _body(self) -> Compiled | None:
        """What lies before the head, if that has been asked for."""
        head: Head | None = self.__dict__.get("head")
        return None if head is None else head.body


@dataclass(frozen=True)
class Head:
    """The linear map that computes the only output of a program, apart from what lies before it.

    Attributes
    ----------
    body : Compiled
        The program without the map.
    node : Node
        The map.
    names : frozenset of str
        Names of its parameters.
    """

    body: Compiled
    node: Node
    names: frozenset[str]

    @property
    def precision(self) -> str:
        """Precision of the products of the map."""
        assert isinstance(self.node.operation, LinearOperation)
        return self.node.operation.precision


def made_ready(
    program: Program, wanted: Wanted, written_before: frozenset[str] = frozenset()
) -> tuple[Backward, Places]:
    """Return the backward pass of a program after all passes over it, and where it writes."""
    frozen = wanted.frozen if wanted.parameters else None
    backward = without_dead_gradients(backward_of(program), inputs=wanted.inputs, frozen=frozen)
    backward = mark_accumulation(fold_derivatives(derive_selected(backward)), written_before)
    backward = fold_accumulation(backward)
    return backward, assign_buffers(backward, program)


def _output_roots(program: Program) -> list[int]:
    """Return the numbers of the values in whose memory the outputs of a program lie."""
    views = {node.output: node.inputs[0] for node in program.nodes if node.operation.is_view}
    roots = []
    for number in program.outputs:
        while number in views:
            number = views[number]
        roots.append(number)
    return sorted(set(roots))


def _is_held(array: Array) -> bool:
    """Return whether anything but the buffers refers to an array, or to the memory that it is a view of.

    Views of NumPy's arrays refer to that memory, not to the array. Besides the reference of the buffers, those of the
    caller's variable, of this function's and of `getrefcount` are counted.
    """
    memory_is_held = array.base is not None and sys.getrefcount(array.base) > 2
    return memory_is_held or sys.getrefcount(array) > 4
