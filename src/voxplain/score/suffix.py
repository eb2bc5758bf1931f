"""What follows a layer in a forward pass: recorded once for a clean sample, then played for changed activations.

Whatever leads to the layer runs once; what later steps read past the layer, such as skip connections, is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from voxplain.score.dry import workspace
from voxplain.score.layout import FORMATS, PLAIN
from voxplain.score.memory import MOST_BYTES, SAFETY
from voxplain.score.model import Model
from voxplain.score.windows_plan import work
from voxplain.score.windows_replay import RESHAPES, on_stacked
from voxplain.score.windows_rules import batchwise
from voxplain.score.windows_step import Step
from voxplain.score.windows_trace import Trace, Unfollowed

MOST_AT_ONCE = {"cpu": 64, "cuda": 1024}
"""More changed activations at once no longer run faster, however little follows the layer: on 2 cores ResNet-50 took
the same time for each with 8 to 128 of them, and a twelfth more with 256."""


MAPPED = frozenset(
    """
    add addmm baddbmm bmm cat clone div expand mm mul permute roll select slice squeeze sub transpose unsqueeze
    """.split()  # noqa: SIM905 - a list of words
)
"""Operations that torch maps over samples which the operation itself does not keep apart."""

ATTENTION = frozenset(
    """
    _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_efficient_attention
    """.split()  # noqa: SIM905 - a list of words
)
"""Operations whose first dimension, of all three inputs, counts whatever attends to itself alone."""


@dataclass(frozen=True, eq=False)
class Suffix:
    """The steps of one clean sample's forward pass that depend on what a layer hands on."""

    steps: Sequence[Step]
    start: int
    """Number of the value that the layer hands on."""
    handed: Tensor
    """That value (1, ...), in the network's own layout."""
    kept: dict[int, Tensor]
    """Values that the steps read and the layer has no part in."""
    end: int
    """Number of the network's output."""
    shapes: dict[int, tuple[int, ...]]
    share: float
    """Multiply-adds of these steps as a share of a forward's; convolutions and linear layers are counted."""
    _last: dict[int, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._last.update((number, place) for place, step in enumerate(self.steps) for number in step.inputs)

    def copies(self, count: int) -> Tensor:
        """What the layer hands on (count, ...), once for each sample, in memory of its own."""
        last = FORMATS.get(self.handed.ndim, PLAIN)  # a max pooling of volumes is 8 times as slow in the other order
        ordered = not self.handed.is_contiguous() and self.handed.is_contiguous(memory_format=last)
        order = last if ordered else PLAIN
        return self.handed.expand(count, *self.handed.shape[1:]).clone(memory_format=order)

    def output(self, handed: Tensor) -> Tensor:
        """The network's output (n, ...) where the layer hands on `handed` (n, ...) instead."""
        count = len(handed)
        values = {number: _repeated(value, count) for number, value in self.kept.items()}
        values[self.start] = handed
        for place, step in enumerate(self.steps):
            results = _results(step, [values[number] for number in step.inputs])
            values.update(zip(step.outputs, results, strict=False))
            for number in {*step.inputs, *step.outputs}:
                if self._last.get(number, -1) <= place and number != self.end:
                    values.pop(number, None)
        return values[self.end]

    def chunk(self, allowed: int) -> int:
        """How many changed activations fit `allowed` bytes at once; 0 where not even one does."""
        peak, device = self._peak(), self.handed.device.type
        most = min(MOST_AT_ONCE.get(device, 64), MOST_BYTES.get(device, allowed) / peak)
        fits = int(allowed / (SAFETY * peak))
        return max(1, min(fits, int(most))) if fits else 0

    def _peak(self) -> int:
        """Most bytes alive at once for one changed activation, views counted as copies."""
        size = self.handed.element_size()
        held = {self.start: self.handed.nbytes}
        most = 2 * self.handed.nbytes  # a copy, and the same with a channel less
        for place, step in enumerate(self.steps):
            shapes = zip(step.outputs, step.result_shapes, strict=True)
            held.update((number, size * torch.Size(shape).numel()) for number, shape in shapes)
            most = max(most, sum(held.values()) + _room(step, self.handed))
            gone = [number for number in held if self._last.get(number, -1) <= place and number != self.end]
            for number in gone:
                del held[number]
        return max(most, 1)


def recorded(network: Model, layer: str, x: Tensor, allowed: int) -> Suffix:
    """What follows a layer in the forward pass of one sample `x` (1, channel, *space), by one forward.

    Values that go past the layer may take up at most `allowed` bytes. Raises `Unfollowed` where the way of the numbers
    is not understood, or where the layer does not run exactly once.
    """
    x = x.clone()
    tail = _Tail(x, allowed)
    handle = network.layer(layer).register_forward_hook(tail.mark)
    try:
        with torch.inference_mode(False), torch.autocast(x.device.type, enabled=False), torch.no_grad(), tail:
            output = network(x)
    finally:
        handle.remove()
    return tail.suffix(output)


MADE = frozenset(
    """
    zeros_like ones_like empty_like full_like new_zeros new_ones new_empty new_full new_empty_strided
    """.split()  # noqa: SIM905 - a list of words
)
"""Operations that take only the shape of their input."""


class _Tail(Trace):
    """Writes a forward pass down and keeps, from the layer on, what goes past it."""

    def __init__(self, x: Tensor, allowed: int) -> None:
        super().__init__(x, allowed)
        self.clean = {}
        self._start: int | None = None
        self._changing: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and write it down, unless it reads a shape alone."""
        if func.overloadpacket.__name__ in MADE:
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def mark(self, module: object, inputs: object, output: object) -> object:
        """A hook on the layer: hands on a copy, which is where the suffix starts."""
        first = output[0] if isinstance(output, tuple) and output else output
        if self._start is not None:
            raise Unfollowed("the layer runs more than once")
        if not isinstance(first, Tensor) or first not in self.numbers or first.shape[:1] != (1,):
            raise Unfollowed("what the layer gives could not be followed")
        handed = first.clone()
        self._start = self.numbers[handed]
        self._changing = {self._start}
        self.clean[self._start] = handed
        if not isinstance(output, tuple):
            return handed
        rest = (handed, *output[1:])
        return type(output)(*rest) if hasattr(output, "_fields") else rest  # named tuples keep their names

    def suffix(self, output: Tensor) -> Suffix:
        """What was written down from the layer on, as far as the output needs it."""
        if self._start is None:
            raise Unfollowed("the layer does not run")
        if output not in self.numbers:
            raise Unfollowed("the output does not depend on the input in a way that can be seen")
        end = self.numbers[output]
        if end not in self._changing:
            self.clean.setdefault(end, output)
        steps = self._needed(end)
        read = {number for step in steps for number in step.inputs} | {end}
        kept = {number: value for number, value in self.clean.items() if number in read - self._changing}
        all_of_it = sum(map(work, self.steps))
        share = sum(map(work, steps)) / all_of_it if all_of_it else 1.0
        return Suffix(steps, self._start, self.clean[self._start], kept, end, self.shapes, share)

    def _needed(self, end: int) -> list[Step]:
        """The steps through which the layer reaches the output, in their order."""
        read, steps = {end}, []
        for step in reversed(self.steps):
            if read & {*step.outputs} and self._changing & {*step.inputs}:
                read.update(step.inputs)
                steps.append(step)
        return steps[::-1]

    def _keep(self, step: Step, followed: list[Tensor]) -> None:
        """Hold on to what goes past the layer and is read together with what comes from it."""
        if not self._changing & {*step.inputs}:
            return
        for tensor in followed:
            number = self.numbers[tensor]
            if number not in self._changing:
                self.clean.setdefault(number, tensor)
        if sum(kept.nbytes for kept in self.clean.values()) > self.allowed:
            raise Unfollowed("what goes past the layer does not fit the memory allowed")

    def _note(self, step: Step, given: object, written: list[Tensor], followed: list[Tensor]) -> None:
        super()._note(step, given, written, followed)
        if self._changing & {*step.inputs}:
            self._changing.update(step.outputs)


def _results(step: Step, values: Sequence[Tensor]) -> list[Tensor]:
    """A step on whole values (n, ...) of n samples, as `on_stacked`, with rows of tokens and windows together too."""
    count, shapes = len(values[0]), [shape[1:] if shape[:1] == (1,) else shape for shape in step.result_shapes]
    if step.name in RESHAPES:
        return [values[0].reshape(count, *shapes[0])]
    whole = [value.reshape(count, *shape) for value, shape in zip(values, step.shapes, strict=True)]
    if step.name in ATTENTION and len(whole) == 3:
        attended = step.run([value.flatten(0, 1) for value in whole])[0]
        return [attended.reshape(count, *shapes[0])]
    if step.name not in MAPPED or batchwise(step):
        return on_stacked(step, values)
    given = torch.vmap(lambda *parts: tuple(step.run(parts)))(*whole)
    return [part.reshape(count, *shape) for part, shape in zip(given, shapes, strict=True)]


def _repeated(value: Tensor, count: int) -> Tensor:
    """A clean value once for each sample, without copies; an axis of samples is added where the first is none."""
    alone = value.ndim > 0 and len(value) == 1
    return value.expand(count, *value.shape[1:]) if alone else value.expand(count, *value.shape)


def _room(step: Step, like: Tensor) -> int:
    """Bytes that a step needs for one sample besides its inputs and results; a copy of the weights serves all."""
    weight = step.arguments[1] if step.name == "convolution" else None
    if not isinstance(weight, Tensor):
        return 0
    x, out = (torch.empty(shape, dtype=like.dtype, device="meta") for shape in (step.shapes[0], step.result_shapes[0]))
    room = workspace(x, weight, out, bool(step.arguments[6]), like.device.type)
    return room - weight.nbytes if room == x.nbytes + out.nbytes + weight.nbytes else room
