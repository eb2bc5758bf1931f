"""Some operations of a recorded forward in a row, which can run again from what the stretch before them handed on."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from voxplain.score.operation import Operation, Slot, replaced, tensors_in
from voxplain.score.operation_kinds import JOINS, plain_name


@dataclass(eq=False)
class Move:
    """An operation that only moved numbers, as it was called."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]

    def again(self, inputs: list[Tensor]) -> list[Tensor]:
        """Its results."""
        place = lambda slot: inputs[slot.number]  # noqa: E731
        given = self.function(*replaced(self.arguments, Slot, place), **replaced(self.options, Slot, place))
        return list(tensors_in(given))


@dataclass(eq=False)
class Step:
    """What ran, and which values of its stretch it read and gave."""

    what: Move | weakref.ref[Operation]
    reads: list[int]
    gives: list[int]
    constants: list[int]
    """Versions of the constants among its arguments."""

    @property
    def record(self) -> Move | Operation | None:
        """What ran; None once nothing depends on it any more."""
        return self.what() if isinstance(self.what, weakref.ref) else self.what

    def rescue(self, safe: Callable[[Tensor], Tensor]) -> None:
        """Put what `safe` gives in the place of every constant."""
        what, changed = self.record, False

        def put(constant: Tensor) -> Tensor:
            nonlocal changed
            found = safe(constant)
            changed = changed or found is not constant
            return found

        if what is not None and self.constants:
            what.arguments, what.options = replaced(what.arguments, Tensor, put), replaced(what.options, Tensor, put)
            if changed:
                self.constants = versions(tensors_in([what.arguments, what.options]))

    def run(self, values: dict[int, Tensor]) -> None:
        """Run it again and put its results among the values."""
        what = self.record
        if what is None or not all(number in values for number in self.reads):
            return  # nothing that anybody waits for depends on it any more
        if versions(tensors_in([what.arguments, what.options])) != self.constants:
            raise RuntimeError(CHANGED)
        inputs = [values[number].detach() for number in self.reads]
        if isinstance(what, Operation):
            what.inputs = inputs
            what.begin()
            results = what.outputs
            what.slim()
        else:
            results = what.again(inputs)
        values.update(zip(self.gives, results, strict=True))


CHANGED = "a tensor that the way back needs was changed in place where that could not be seen"


@dataclass(eq=False)
class Stretch:
    """Some operations in a row, in the order they ran."""

    number: int
    steps: list[Step] = field(default_factory=list)
    kept: dict[int, Tensor] = field(default_factory=dict)
    """Values from before it that it reads."""
    versions: dict[int, int] = field(default_factory=dict)
    values: int = 0
    made: int = 0
    """Bytes that its operations gave."""

    def new(self, count: int) -> list[int]:
        """Numbers for so many further values."""
        first, self.values = self.values, self.values + count
        return list(range(first, self.values))

    def joins_at_end(self) -> list[Step]:
        """The last steps, as far as they put tensors together."""
        found: list[Step] = []
        for step in reversed(self.steps):
            if not isinstance(step.what, Move) or plain_name(step.what.function) not in JOINS:
                break
            found.insert(0, step)
        return found

    def held(self) -> dict[int, Tensor]:
        """The values that are there now."""
        found = dict(self.kept)
        for step in self.steps:
            record = step.record
            if isinstance(record, Operation) and record.held:
                found.update(zip(step.gives, record.outputs, strict=True))
        return found

    @property
    def merged_before(self) -> bool:
        """Whether an earlier stretch merges one of its norms or biases into a layer."""
        parts = [(operation, operation.sources[0]) for operation in self.operations()]
        return any(
            source is not None and source.folded is operation and source.recall != operation.recall
            for operation, source in parts
        )

    def operations(self) -> Iterable[Operation]:
        """Its operations that something still depends on."""
        found = (step.what() for step in self.steps if isinstance(step.what, weakref.ref))
        return (operation for operation in found if operation is not None)

    def slim(self) -> None:
        """Give up the values that no derivative needs."""
        for operation in self.operations():
            operation.slim()

    def let_go(self) -> None:
        """Give up what its operations made."""
        for operation in self.operations():
            operation.let_go()

    def rescue(self, safe: Callable[[Tensor], Tensor]) -> None:
        """Put what `safe` gives in the place of every kept tensor and of the constants among arguments."""
        for number, tensor in list(self.kept.items()):
            self.kept[number] = safe(tensor)
            if self.kept[number] is not tensor:
                self.versions[number] = version(self.kept[number])
        for step in self.steps:
            step.rescue(safe)

    @torch.no_grad()
    def run(self) -> None:
        """Run it again from what was kept."""
        if any(number not in self.kept or version(self.kept[number]) != seen for number, seen in self.versions.items()):
            raise RuntimeError(CHANGED)
        values, last = (
            dict(self.kept),
            {number: place for place, step in enumerate(self.steps) for number in step.reads},
        )
        for place, step in enumerate(self.steps):
            step.run(values)
            for number in (*step.reads, *step.gives):
                if last.get(number, -1) <= place:
                    values.pop(number, None)


def version(tensor: Tensor) -> int:
    """How often the memory of a tensor was written to; -1 where torch does not count."""
    return -1 if tensor.is_inference() else tensor._version  # noqa: SLF001 - torch has no public name for it


def versions(tensors: Iterable[Tensor]) -> list[int]:
    """The version of each."""
    return [version(tensor) for tensor in tensors]
