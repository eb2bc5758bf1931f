"""What a group of windows changes: a box of every map, or all of it, and how much work that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import Tensor

from voxplain.score.windows_boxes import Box
from voxplain.score.windows_operations import Rule
from voxplain.score.windows_step import Step
from voxplain.score.windows_trace import Program

WHOLE = 0.9
"""From this share of the cost of a whole map on all of it is computed: cutting parts out costs time as well."""

HEAVY = 1e6
"""A convolution with more weights than this reads them from beyond the processor's nearest memory."""

READING = {True: 22.0, False: 8.0}
"""What reading one weight costs for one window, in multiply-adds, where they are heavy and where not (measured)."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Which box of each value changes (None: all of it), and the multiply-adds of each step for one window."""

    boxes: dict[int, Box | None]
    works: list[float]
    costs: list[float]
    """As `works`, with the reading of weights."""


def laid_out(program: Program, box: Box) -> Layout:
    """The layout for windows that change the boxes `box` of the input."""
    boxes: dict[int, Box | None] = {0: box}
    works, costs = [], []
    for step, rule in zip(program.steps, program.rules, strict=True):
        out = _out(step, rule, [boxes[number] for number in step.inputs])
        boxes.update(dict.fromkeys(step.outputs, out))
        works.append(work(step) if out is None or rule is None else out.cells * rule.work)
        costs.append(works[-1] + _reading(step))
    return Layout(boxes, works, costs)


def cuts(program: Program) -> list[int]:
    """Steps before which a group of windows can be split: the clean map of each value that is read later is known."""
    last = {number: place for place, step in enumerate(program.steps) for number in step.inputs}
    alive, found = {0}, []
    for place, (step, rule) in enumerate(zip(program.steps, program.rules, strict=True)):
        if rule is not None and rule.halo and place and alive <= program.clean.keys():
            found.append(place)
        alive.update(step.outputs)
        alive = {number for number in alive if last.get(number, -1) > place or number == program.output}
    return found


def joins(program: Program) -> int:
    """The step from which no maps are left, only rows of numbers: layers of many weights take all windows at once."""
    last = {number: place for place, step in enumerate(program.steps) for number in step.inputs}
    alive = {0}
    for place, step in enumerate(program.steps):
        if all(len(program.shapes[number]) < program.rank + 2 for number in alive):
            return place
        alive.update(step.outputs)
        alive = {number for number in alive if last.get(number, -1) > place or number == program.output}
    return len(program.steps)


def whole_work(program: Program) -> float:
    """Multiply-adds of one ordinary forward."""
    return sum(work(step) for step in program.steps)


def whole_cost(program: Program) -> float:
    """As `whole_work`, with the reading of weights."""
    return sum(work(step) + _reading(step) for step in program.steps)


def work(step: Step) -> float:
    """Multiply-adds of a whole convolution or linear layer; all else is not counted."""
    if step.name == "convolution" and isinstance(step.arguments[1], Tensor):
        transposed = bool(step.arguments[6])
        return float(step.arguments[1].numel() * prod((step.shapes if transposed else step.result_shapes)[0][2:]))
    if step.name in ("addmm", "mm") and isinstance(step.arguments[-1], Tensor):
        return float(step.arguments[-1].numel() * prod(step.result_shapes[0][:-1]))
    return 0.0


def _out(step: Step, rule: Rule | None, boxes: Sequence[Box | None]) -> Box | None:
    known = [box for box in boxes if box is not None]
    if rule is None or len(known) < len(boxes):
        return None
    sides = step.shapes[0][-len(rule.sides) :]
    out = rule.out(Box.union(known, sides))
    if not rule.halo and len(known) == 1:
        return out
    read = READING[rule.work > HEAVY]
    return out if out.cells + read < WHOLE * (prod(rule.sides) + read) else None


def _reading(step: Step) -> float:
    """Multiply-adds that reading a layer's weights for one window is worth."""
    if step.name != "convolution" or not isinstance(step.arguments[1], Tensor):
        return 0.0
    weights = step.arguments[1].numel()
    return weights * READING[weights > HEAVY]
