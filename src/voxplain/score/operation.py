"""One operation of a recorded forward pass: what it was, what went in and out, and its own small graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from voxplain.score.operation_kinds import BATCH_NORMS, CONVOLUTIONS, kind_of

Node = Any
"""A node of autograd's graph; torch has no public type for it."""

TENSORS = ("inputs", "outputs", "_leaves", "_results")
"""What an operation may let go of: values, and its own graph."""


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
    shape: torch.Size = field(default_factory=torch.Size)
    """Of the first result."""
    uses: int = 0
    """How many operations read a result directly."""
    after: weakref.ref[Operation] | None = None
    """A batch norm or bias that reads this operation's result; weak, as it holds this operation as its source."""
    recall: Callable[[], None] | None = None
    """Makes the tensors again that were let go; None where they never are."""
    lean: bool = False
    """Whether only its derivative will be asked for: then its own graph holds what torch saves for that and no more."""
    differentiable: list[bool] = field(default_factory=list)
    """Which results depend smoothly on the inputs; indices and comparisons do not."""
    _leaves: list[Any] = field(default_factory=list)
    _results: list[Any] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """Asked only for what is not there: tensors that were let go come back."""
        if name not in TENSORS or self.recall is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.recall()
        return self.__dict__[name]

    @property
    def held(self) -> bool:
        """Whether its tensors are there now."""
        return "outputs" in self.__dict__

    def let_go(self) -> None:
        """Give up all tensors but weights and other constants, until `recall` makes them again."""
        for name in TENSORS:
            self.__dict__.pop(name, None)

    def slim(self) -> None:
        """Give up the values that no derivative needs, where nothing else will be asked for."""
        if self.lean:
            self.__dict__.pop("inputs", None)
            self.__dict__.pop("outputs", None)

    def rescue(self, safe: Callable[[Tensor], Tensor]) -> None:
        """Put what `safe` gives in the place of every tensor; used before memory is written to."""
        if self.held:
            self.inputs = [safe(value) for value in self.inputs]
            self.outputs = [safe(value) for value in self.outputs]

    @cached_property
    def kind(self) -> str:
        """The family of the operation, by which rules are looked up: 'weights', 'rectifier', 'norm' ..."""
        return kind_of(self.name, len(self.sources))

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
            return len(self.shape) - 1
        weight: Tensor = self.argument(1, "weight")
        return len(self.shape) - weight.ndim + 1

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
            leaves = [
                _Begin.apply(torch.empty((), requires_grad=True), [value])
                if self.lean
                else value.detach().requires_grad_()
                for value in self.inputs
            ]
            given = self.call(leaves)
        results = results_of(given)
        self.differentiable = [result.requires_grad for result in results]
        self.outputs = [result.detach() for result in results]
        self.shape = self.outputs[0].shape if results else self.shape
        self._leaves = [get_gradient_edge(leaf) for leaf in leaves] if self.lean else leaves
        self._results = [_end(result) for result in results] if self.lean else results
        return given

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


class _Begin(torch.autograd.Function):
    """Where the graph of a lean operation begins: a node that, unlike a leaf, does not hold the value itself."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, value: list[Tensor]) -> Tensor:
        return value[0].detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None]:
        return None, None


def _begin(value: Tensor) -> Tensor:
    return _Begin.apply(torch.empty((), requires_grad=True), [value])  # type: ignore[no-any-return]


def _end(result: Tensor) -> GradientEdge | None:
    return get_gradient_edge(result) if result.requires_grad else None


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
    axis, size = source.channel_axis, source.shape
    return added is not None and added.numel() == size[axis] == added.shape[axis - len(size) :][0]
