"""One operation of a recorded forward pass: what it was, what went in and out, and its own small graph."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from voxplain.score.operation_kinds import BATCH_NORMS, CONVOLUTIONS, kind_of

Node = Any
"""A node of autograd's graph; torch has no public type for it."""


@dataclass(frozen=True)
class Slot:
    """Where the n-th followed tensor stood among the arguments."""

    number: int


@dataclass(eq=False, kw_only=True)
class Operation:
    """What a backward rule may read about one operation and run again.

    `inputs` are the tensors that depend on the explained image, in the order of the arguments; everything else
    (weights, sizes) stands in `arguments` and `options` as it was called.
    """

    name: str
    """Plain name: 'conv2d', 'relu', 'add'; in-place and overload marks are taken off."""
    function: Callable[..., Any]
    """The operation itself, in the form that changes nothing in place."""
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    inputs: list[Tensor]
    """Values of the followed inputs, detached."""
    sources: list[Operation | None]
    """The operation each input comes from; operations that only move numbers are looked through, None at the image."""
    direct: list[bool]
    """True for inputs that are exactly what their source gave, with nothing moved in between."""
    depth: int
    """Operations with weights on the longest way from the image to here, this one included."""
    outputs: list[Tensor] = field(default_factory=list)
    """Values of the results, detached."""
    uses: int = 0
    """How many operations read a result directly."""
    after: weakref.ref[Operation] | None = None
    """A batch norm or bias that reads this operation's result; weak, as it holds this operation as its source."""
    _leaves: list[Tensor] = field(default_factory=list)
    _results: list[Tensor] = field(default_factory=list)

    @cached_property
    def kind(self) -> str:
        """The family of the operation, by which rules are looked up: 'weights', 'rectifier', 'norm' ..."""
        return kind_of(self.name, len(self.inputs))

    @property
    def folded(self) -> Operation | None:
        """The batch norm or bias that alone reads this operation's result: both are one affine map."""
        return None if self.after is None or self.uses != 1 else self.after()

    @property
    def output(self) -> Tensor:
        """The first result."""
        return self.outputs[0]

    @property
    def channel_axis(self) -> int:
        """The axis of the result's channels, for an operation with weights."""
        if self.name not in CONVOLUTIONS:
            return self.output.ndim - 1
        weight: Tensor = self.argument(1, "weight")
        return self.output.ndim - weight.ndim + 1

    @property
    def first(self) -> bool:
        """True for an operation with weights that reads the image with no other weights before it."""
        return self.kind == "weights" and self.depth == 1

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """The argument of that place or name as it was called; a followed one comes as its value."""
        given = self.arguments[place] if len(self.arguments) > place else self.options.get(name, default)
        return self.inputs[given.number] if isinstance(given, Slot) else given

    def run(self, *inputs: Tensor, **options: Any) -> Tensor:
        """The first result for other values of the followed inputs; `options` replace arguments given by name."""
        return results_of(self.call(list(inputs), **options))[0]

    def call(self, inputs: Sequence[Tensor], **options: Any) -> Any:
        """Everything the operation returns for other values of the followed inputs."""
        place = lambda value: inputs[value.number]  # noqa: E731
        given = {name: replaced(value, Slot, place) for name, value in {**self.options, **options}.items()}
        return self.function(*(replaced(value, Slot, place) for value in self.arguments), **given)

    def begin(self) -> Any:
        """Run the operation on leaves of its own graph; returns everything it gave."""
        with torch.enable_grad():
            self._leaves = [value.detach().requires_grad_() for value in self.inputs]
            given = self.call(self._leaves)
        self._results = results_of(given)
        self.outputs = [result.detach() for result in self._results]
        return given

    @property
    def differentiable(self) -> list[bool]:
        """Which results depend smoothly on the inputs; indices and comparisons do not."""
        return [result.requires_grad for result in self._results]

    def derivative(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Gradients by the inputs for gradients by the results, from the operation's own graph: no second forward."""
        pairs = [(result, grad) for result, grad in zip(self._results, grads, strict=True) if grad is not None]
        results, known = [result for result, _ in pairs], [grad for _, grad in pairs]
        return list(torch.autograd.grad(results, self._leaves, known, retain_graph=True, allow_unused=True))

    def place(self, number: int, name: str) -> int | None:
        """Which followed input stands at that place or name of the arguments; None where a constant does."""
        given = self.arguments[number] if len(self.arguments) > number else self.options.get(name)
        return given.number if isinstance(given, Slot) else None

    def holding_others(self, place: int) -> Operation:
        """The operation with one input followed and the others held constant."""
        held = lambda slot: Slot(0) if slot.number == place else self.inputs[slot.number]  # noqa: E731
        return replace(
            self,
            arguments=replaced(self.arguments, Slot, held),
            options=replaced(self.options, Slot, held),
            inputs=[self.inputs[place]],
            sources=[self.sources[place]],
            direct=[self.direct[place]],
            _leaves=[self._leaves[place]],
        )


def replaced(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """`value` with everything of type `kind` in it changed, lists, tuples and dictionaries included."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, list | tuple):
        items = [replaced(item, kind, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: replaced(item, kind, change) for key, item in value.items()}
    return value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in an argument or result, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def results_of(given: Any) -> list[Tensor]:
    """The tensors that an operation returned."""
    return list(tensors_in(given))


def source_of(node: Node) -> Operation | None:
    """The recorded operation behind a graph node, looking through moves with one origin."""
    while node is not None:
        operation: Operation | None = getattr(node, "operation", None)
        if operation is not None:
            return operation
        before = [previous for previous, _ in node.next_functions if previous is not None]
        node = before[0] if len(before) == 1 else None
    return None


def depth_of(node: Node) -> int:
    """Operations with weights on the longest way from the image to a graph node."""
    todo, known, deepest = [node], set(), 0
    while todo:
        node = todo.pop()
        if node is None or node in known:
            continue
        known.add(node)
        operation: Operation | None = getattr(node, "operation", None)
        if operation is None:
            todo += [previous for previous, _ in node.next_functions]
        else:
            deepest = max(deepest, operation.depth)
    return deepest


def is_batch_norm(operation: Operation, source: Operation) -> bool:
    """True for a batch norm in evaluation whose channels are those of the layer with weights that it reads."""
    if operation.name not in BATCH_NORMS or operation.argument(3, "running_mean") is None:
        return False
    training = not operation.name.endswith("no_training") and operation.argument(5, "training", False)
    return not training and source.channel_axis == 1


def is_bias(operation: Operation, source: Operation) -> bool:
    """True for the addition of one constant a channel to the result of a layer with weights."""
    if operation.name != "add" or operation.kind != "shift" or operation.options:
        return False
    added = next((value for value in operation.arguments if isinstance(value, Tensor)), None)
    axis, size = source.channel_axis, source.output.shape
    return added is not None and added.numel() == size[axis] == added.shape[axis - len(size) :][0]


def body_of(function: Any) -> Callable[..., Any] | None:
    """A torch function written in Python, as one whose inner operations can be seen; None for any other.

    Torch's Python functions hand themselves to the active mode first; with the question taken out of their namespace
    they run their body instead, operation by operation.
    """
    if not isinstance(function, types.FunctionType) or not _asks(function):
        return None
    if function not in _BODIES:
        never = {name: _never for name in function.__globals__ if name.startswith("has_torch_function")}
        body = types.FunctionType(
            function.__code__,
            {**function.__globals__, **never},
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        body.__kwdefaults__ = function.__kwdefaults__
        _BODIES[function] = body
    return _BODIES[function]


_BODIES: dict[Any, Callable[..., Any]] = {}


def _asks(function: types.FunctionType) -> bool:
    return any(name.startswith("has_torch_function") for name in function.__globals__)


def _never(*_: Any) -> bool:
    return False
