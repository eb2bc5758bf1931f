"""A recorded forward played back for many windows at once, only where each of them changes something."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from voxplain.score.windows_boxes import Box, Ground, crop, lying, paste, regrid, upright
from voxplain.score.windows_operations import Rule
from voxplain.score.windows_plan import Layout, joins, laid_out
from voxplain.score.windows_rules import batchwise
from voxplain.score.windows_step import Step
from voxplain.score.windows_trace import Program

RESHAPES = ("view", "_unsafe_view", "reshape")
"""Operations that name the number of samples among their arguments."""


class Replay:
    """Plays a program; the grounds it cuts from are made once and serve all groups of windows."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._grounds: dict[tuple[int, float], Ground] = {}
        self.last = {number: place for place, step in enumerate(program.steps) for number in step.inputs}
        self.join = joins(program)

    def output(self, part: Tensor, box: Box, branches: Sequence[Sequence[int]] = (), split: int = 0) -> Tensor:
        """The network's output (n, ...) where the boxes of the input hold `part` (n, channel, *size).

        From step `split` on, the windows go on in `branches` (places among the n), each in boxes of its own.
        """
        run, steps = _Run(self, laid_out(self.program, box), {0: part}), len(self.program.steps)
        if len(branches) < 2:
            return run.through(0, steps).whole(self.program.output)
        run.through(0, split)
        join, parts = max(split, self.join), []
        for branch in branches:
            here = Box.around(box.origin[branch], box.past[branch], self.program.shapes[0][2:])
            parts.append(run.branch(branch, laid_out(self.program, here)).through(split, join))
        order = torch.tensor([place for branch in branches for place in branch], device=part.device).argsort()
        return parts[0].joined(parts, order).through(join, steps).whole(self.program.output)

    def ground(self, number: int, fill: float | None) -> Ground:
        """The clean map of a value with that fill around it; None takes any."""
        if fill is None:
            fill = next((key[1] for key in self._grounds if key[0] == number), 0.0)
        key = (number, fill)
        if key not in self._grounds:
            self._grounds[key] = Ground.of(self.program.clean[number], self.program.rank, fill)
        return self._grounds[key]


class _Run:
    """The values of one group of windows while it is played."""

    def __init__(self, replay: Replay, layout: Layout, values: dict[int, Tensor]) -> None:
        self._replay, self._boxes, self._values = replay, layout.boxes, values
        self._filled: dict[int, Tensor] = {}
        self._count = len(next(iter(values.values())))

    def through(self, start: int, stop: int) -> _Run:
        """Play the steps from `start` to before `stop`, and let go of what nobody reads any more."""
        program = self._replay.program
        for place in range(start, stop):
            step = program.steps[place]
            self.play(step, program.rules[place])
            for number in (*step.inputs, *step.outputs):
                if self._replay.last.get(number, -1) <= place and number != program.output:
                    self.forget(number)
        return self

    def branch(self, places: Sequence[int], layout: Layout) -> _Run:
        """The values of some of the windows, in the boxes of another layout."""
        values = {number: self._moved(number, list(places), layout.boxes[number]) for number in self._values}
        return _Run(self._replay, layout, values)

    def joined(self, runs: Sequence[_Run], order: Tensor) -> _Run:
        """The whole values of several runs as those of one, windows in another order."""
        values = {number: torch.cat([run.whole(number) for run in runs])[order] for number in self._values}
        return _Run(self._replay, Layout(dict.fromkeys(self._boxes), [], []), values)

    def _moved(self, number: int, places: list[int], box: Box | None) -> Tensor:
        old, rank = self._boxes[number], self._replay.program.rank
        if box is None:
            return self.whole(number)[places]
        value = self._values[number][places]
        if old is None:
            return upright(crop(lying(value, rank), box.origin, box.size), rank)
        have = Box(old.origin[places], old.size)
        return value if have.same(box) else regrid(self._replay.ground(number, None), value, have, box.origin, box.size)

    def play(self, step: Step, rule: Rule | None) -> None:
        """Compute the results of one step."""
        out = self._boxes[step.outputs[0]]
        results = self._all(step) if rule is None or out is None else self._part(step, rule, out)
        self._values.update(zip(step.outputs, results, strict=False))

    def forget(self, number: int) -> None:
        """Let go of a value."""
        self._values.pop(number, None)
        self._filled.pop(number, None)

    def whole(self, number: int) -> Tensor:
        """A value as the ordinary forward would hold it (n, ...)."""
        box = self._boxes[number]
        if box is None:
            return self._values[number]
        if number not in self._filled:
            ground, rank = self._replay.ground(number, None), self._replay.program.rank
            clean = ground.whole()
            maps = clean.expand(self._count, *clean.shape).clone(memory_format=torch.contiguous_format)
            paste(maps, lying(self._values[number], rank), box.origin)
            self._filled[number] = upright(maps, rank)
        return self._filled[number]

    def _all(self, step: Step) -> list[Tensor]:
        return on_stacked(step, [self.whole(number) for number in step.inputs])

    def _part(self, step: Step, rule: Rule, out: Box) -> list[Tensor]:
        start, size = rule.need(out)
        region, fill = Box(start, size), rule.fill if rule.halo else None
        return rule.apply([self._region(number, region, fill) for number in step.inputs], out, start)

    def _region(self, number: int, region: Box, fill: float | None) -> Tensor:
        box, part = self._boxes[number], self._values[number]
        if box is None:
            raise RuntimeError("a part was asked of a value that changes everywhere")
        if box.same(region):
            return part
        return regrid(self._replay.ground(number, fill), part, box, region.origin, region.size)


def on_stacked(step: Step, values: Sequence[Tensor]) -> list[Tensor]:
    """A step on whole values (n, ...) of n samples; an axis of samples stands before those recorded without one.

    Together where it is known to keep samples apart, else one by one as recorded.
    """
    fast = _reshaped(step, values) or _normed(step, values)
    if fast is not None:
        return [fast()]
    if batchwise(step):
        return step.run(values)
    each = [
        step.run([value[n].reshape(shape) for value, shape in zip(values, step.shapes, strict=True)])
        for n in range(len(values[0]))
    ]
    return [_stacked(parts) for parts in zip(*each, strict=True)]


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Results of single samples as those of a batch; an axis of samples is added where the first is none."""
    return torch.cat(list(parts)) if parts[0].ndim and len(parts[0]) == 1 else torch.stack(list(parts))


def _reshaped(step: Step, values: Sequence[Tensor]) -> Callable[[], Tensor] | None:
    """A new shape for each sample, where samples stay in front."""
    if step.name not in RESHAPES or step.shapes[0][:1] != (1,) or step.result_shapes[0][:1] != (1,):
        return None
    return lambda: values[0].reshape(len(values[0]), *step.result_shapes[0][1:])


def _normed(step: Step, values: Sequence[Tensor]) -> Callable[[], Tensor] | None:
    """Norms over the map of each sample: those of groups, and batch norms of a single sample in training."""
    if step.name == "native_group_norm" and step.shapes[0][0] == 1:
        _, weight, bias, _, channels, voxels, groups, eps = step.arguments
        x = values[0].contiguous()
        return lambda: torch.ops.aten.native_group_norm(x, weight, bias, len(x), channels, voxels, groups, eps)[0]
    if step.name == "native_batch_norm" and step.shapes[0][0] == 1 and step.argument(5, "training"):
        _, weight, bias, mean, _, _, momentum, eps = step.arguments
        if mean is None:
            return lambda: torch.instance_norm(values[0], weight, bias, None, None, True, momentum, eps, False)
    return None
