"""A forward pass in stretches: what one made is let go when it ends, and made again when the way back comes to it.

What a later stretch reads is kept, so skip connections are never computed twice; operations run again exactly as they
ran, outside the network's own code, so neither hooks nor rules nor counters meet them a second time.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from voxplain.score.operation import Operation, tensors_in
from voxplain.score.rules_storage import Keepers, storage_of
from voxplain.score.stretch import Move, Step, Stretch, version, versions

OVERDUE = 2
"""A stretch ends before a layer with weights once it is full, and anywhere once it is so many times full."""


class Stretches:
    """The stretches of one recorded forward; a new one begins where `limit` bytes are reached."""

    def __init__(self, limit: int, keepers: Keepers) -> None:
        self._limit, self._keepers = limit, keepers
        self._open = Stretch(0)
        self._there: dict[int, Stretch] = {0: self._open}
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._dice: list[Tensor] = []
        self._backward = self._last = False

    @property
    def count(self) -> int:
        """How many there are."""
        return self._open.number + 1

    @property
    def made(self) -> int:
        """Bytes that the operations of the last one gave."""
        return self._open.made

    def begin(self, operation: Operation, followed: Sequence[Tensor]) -> list[int]:
        """An operation is about to run: numbers of the values it reads. A full stretch ends before it."""
        layer = operation.kind == "weights"
        if self._open.made >= self._limit * (1 if layer else OVERDUE):
            self._next()
        elif layer:
            self._open.slim()
        self._dice = dice(followed)
        return self.read(followed)

    def read(self, tensors: Sequence[Tensor]) -> list[int]:
        """Numbers of values that are about to be read; those from before this stretch are kept for it."""
        return [self._number(tensor) for tensor in tensors]

    def note(self, what: Move | Operation, reads: list[int], results: Sequence[Tensor]) -> None:
        """What ran and which tensors came out, those that go on in the network; a draw of chance is not run again."""
        if isinstance(what, Operation) and not all(map(torch.equal, self._dice, dice(what.inputs))):
            return
        gives = self._open.new(len(results))
        constants = list(tensors_in([what.arguments, what.options]))
        self._keepers.keep(self._open, constants)
        known: Move | weakref.ref[Operation] = weakref.ref(what) if isinstance(what, Operation) else what
        if isinstance(what, Operation):
            what.recall = _Recall(self, self._open)
            self._open.made += sum(value.nbytes for value in what.outputs)
        self._open.steps.append(Step(known, reads, gives, versions(constants)))
        for tensor, number in zip(results, gives, strict=True):
            self._known[tensor] = (self._open, number)

    def changed(self, tensor: Tensor) -> None:
        """Forget which value any tensor holds that shows memory which was written to."""
        storage = storage_of(tensor)
        for other in list(self._known):
            if storage_of(other) == storage:
                del self._known[other]

    def recall(self, stretch: Stretch) -> None:
        """Make what a stretch had let go again."""
        stretch.run()
        self._there[stretch.number] = stretch

    def turn(self, last: bool) -> None:
        """A way back begins; where it is the last one, what it needs may be given up on the way."""
        self._backward, self._last = True, last

    def reached(self, operation: Operation) -> None:
        """The way back is at an operation: what came after its stretch is let go."""
        if self._backward and isinstance(operation.recall, _Recall):
            self._leave_after(operation.recall.stretch.number)

    def passed(self, operation: Operation) -> None:
        """The way back is past an operation: nothing asks for it again, but for a norm that its source merges."""
        if not self._backward or operation.recall is None:  # the network itself may differentiate on its way
            return
        merged, source = operation.folded, operation.sources[0]
        if merged is not None and merged.recall is not None:
            merged.let_go()
        if source is None or source.folded is not operation:
            operation.let_go()

    def rest(self) -> None:
        """A way back is over."""
        self._leave_after(-1)

    def _leave_after(self, number: int) -> None:
        for stretch in [stretch for stretch in self._there.values() if stretch.number > number]:
            self._leave(stretch)

    def _leave(self, stretch: Stretch) -> None:
        stretch.let_go()
        del self._there[stretch.number]
        if self._last and not stretch.merged_before:
            stretch.kept.clear()

    def _next(self) -> None:
        """A new stretch begins; the joins that lead to it belong to it, as their parts are kept for others too."""
        old, self._open = self._open, Stretch(self._open.number + 1)
        joins = old.joins_at_end()
        held = old.held() if joins else {}
        if all(number in held for step in joins for number in step.reads):
            del old.steps[len(old.steps) - len(joins) :]
            for step in joins:
                reads = [self._kept(held[number]) for number in step.reads]
                gives = self._open.new(len(step.gives))
                self._open.steps.append(Step(step.what, reads, gives, step.constants))
                self._moved_on(old, step.gives, gives)
        self._leave(old)
        self._there[self._open.number] = self._open

    def _moved_on(self, old: Stretch, before: Sequence[int], after: Sequence[int]) -> None:
        numbers = dict(zip(before, after, strict=True))
        for tensor, (stretch, number) in list(self._known.items()):
            if stretch is old and number in numbers:
                self._known[tensor] = (self._open, numbers[number])

    def _number(self, tensor: Tensor) -> int:
        stretch, number = self._known.get(tensor, (None, 0))
        if stretch is not self._open:
            number = self._kept(tensor)
            self._known[tensor] = (self._open, number)
        return int(number)

    def _kept(self, tensor: Tensor) -> int:
        """The number of a value from before the open stretch, kept for it."""
        (number,) = self._open.new(1)
        self._open.kept[number] = kept = tensor.detach()
        self._open.versions[number] = version(kept)
        self._keepers.keep(self._open, [kept])
        return number


@dataclass(frozen=True)
class _Recall:
    """Makes what a stretch had let go again."""

    stretches: Stretches
    stretch: Stretch

    def __call__(self) -> None:
        self.stretches.recall(self.stretch)


def dice(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The state of the generators that an operation on these tensors may draw from."""
    devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]
