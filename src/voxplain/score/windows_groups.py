"""Which windows are played back together, and whether playing back is worth it, from shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from voxplain.score.windows_boxes import Box, Places
from voxplain.score.windows_operations import Rule
from voxplain.score.windows_plan import Layout, cuts, joins, laid_out, whole_cost, whole_work
from voxplain.score.windows_step import Step
from voxplain.score.windows_trace import Program

Numbers = NDArray[np.float64]

TILES = (1, 2, 3, 4, 6, 8)
"""Neighbouring windows a side of a group, which has as many again opposite of them along each axis: large groups fill
the processor, small ones lie alike at the borders."""

HALO_COST = 2e7
STEP_COST = 4e6
"""What an operation of one group costs besides its arithmetic, in multiply-adds, with and without a halo to cut out."""

WEIGHT_COST = 30.0
"""What reading one weight costs for one group, in multiply-adds: convolutions reorder their weights at each call."""

LOOKED_AT = 12
"""Groups of each size that are laid out to find the best size."""

WORTH = 0.85
"""Playing back must cost less than this share of ordinary forwards."""

LEAST_WORK = 2e7
"""Multiply-adds a forward below which calling operations costs more than the arithmetic that is saved."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Groups of windows (numbers), and the share of a forward that each window takes."""

    groups: list[list[int]]
    share: float
    cost: float
    """As `share`, with what a group costs besides arithmetic."""
    work: float
    """Multiply-adds of an ordinary forward."""
    split: int = 0
    """The step from which groups go on in branches."""
    tile: int = 0
    """Neighbouring windows a side of a branch; 0 where groups stay whole."""

    @property
    def worth_it(self) -> bool:
        """True where playing back is clearly faster than ordinary forwards, the recording included."""
        count = sum(map(len, self.groups))
        return self.work >= LEAST_WORK and count * self.cost + 2 <= WORTH * count


@dataclass(frozen=True, eq=False)
class _Tiling:
    """Groups of one size, and what each step costs for a window: arithmetic alone, and in all."""

    tile: int
    groups: list[list[int]]
    works: Numbers
    costs: Numbers


def planned(program: Program, first: Places, past: Places, allowed: int) -> Plan:
    """The fastest grouping of the windows [first, past) (n, axis) within `allowed` bytes.

    Early steps take large groups, as their parts are small; later ones smaller groups, which lie alike at the borders.
    """
    whole, join = max(whole_work(program), 1.0), joins(program)
    tilings = _tilings(program, first, past, allowed)
    options = [(t.costs.sum(), t.works.sum(), t, 0, 0) for t in tilings]
    for split in cuts(program):
        for large in tilings:
            for small in tilings[: tilings.index(large)]:
                cost, work = (
                    early[:split].sum() + late[split:join].sum() + early[max(split, join) :].sum()
                    for early, late in ((large.costs, small.costs), (large.works, small.works))
                )
                options.append((cost, work, large, split, small.tile))
    cost, work, tiling, split, tile = min(options, key=lambda option: option[0])
    return Plan(tiling.groups, float(work) / whole, float(cost) / max(whole_cost(program), 1.0), whole, split, tile)


def _tilings(program: Program, first: Places, past: Places, allowed: int) -> list[_Tiling]:
    fixed = np.array([_fixed(step, rule) for step, rule in zip(program.steps, program.rules, strict=True)])
    room, rank, found = _room(program, first, past, allowed), first.shape[1], []
    for tile in TILES:
        size = max(1, min((2 * tile) ** rank, room))
        groups = grouped(first, list(range(len(first))), tile, size)
        looked = groups[:: max(1, len(groups) // LOOKED_AT)]
        count = sum(map(len, looked))
        layouts = [(_layout(program, first, past, group), len(group)) for group in looked]
        works = np.sum([np.array(layout.works) * number for layout, number in layouts], axis=0) / count
        costs = np.sum([np.array(layout.costs) * number + fixed for layout, number in layouts], axis=0) / count
        found.append(_Tiling(tile, groups, works, costs))
        if size < (2 * tile) ** rank or len(groups) == 1:
            break
    return found


def _fixed(step: Step, rule: Rule | None) -> float:
    weights = sum(value.numel() for value in step.arguments if isinstance(value, Tensor))
    return WEIGHT_COST * weights + (HALO_COST if rule is None or rule.halo else STEP_COST)


def _layout(program: Program, first: Places, past: Places, group: Sequence[int]) -> Layout:
    chosen = list(group)
    return laid_out(program, Box.around(first[chosen], past[chosen], program.shapes[0][2:]))


def grouped(first: Places, numbers: list[int], tile: int, size: int) -> list[list[int]]:
    """Numbers in groups of at most `size`, neighbours together, with those that lie alike at the opposite borders."""
    ranks = np.stack([_from_border(first[numbers, axis]) for axis in range(first.shape[1])], axis=1)
    order = np.lexsort([*(ranks % tile).T[::-1], *(ranks // tile).T[::-1]])
    changes = (np.diff((ranks // tile)[order], axis=0) != 0).any(axis=1)
    tiles = [0, *(np.flatnonzero(changes) + 1).tolist(), len(numbers)]
    sorted_ = np.asarray(numbers)[order]
    found: list[list[int]] = []
    for start, stop in pairwise(tiles):
        tile_numbers = sorted_[start:stop].tolist()
        if found and len(found[-1]) + len(tile_numbers) <= size:
            found[-1] += tile_numbers
        else:
            found += [tile_numbers[n : n + size] for n in range(0, len(tile_numbers), size)]
    return found


def _from_border(starts: Places) -> Places:
    """The number of each start, counted from the border that is nearer."""
    found, place = np.unique(starts, return_inverse=True)
    place = place.reshape(-1)
    return np.minimum(place, len(found) - 1 - place)


def _room(program: Program, first: Places, past: Places, allowed: int) -> int:
    """How many windows fit the memory allowed at once."""
    middle = first[[len(first) // 2]]
    box = Box.around(middle, middle + (past - first).max(axis=0), program.shapes[0][2:])
    return max(1, int(allowed // max(1, most_bytes(program, laid_out(program, box)))))


def most_bytes(program: Program, layout: Layout) -> int:
    """Bytes alive at once for one window, copies of what operations read included."""
    last = {number: place for place, step in enumerate(program.steps) for number in step.inputs}
    alive, peak = dict[int, int](), 0
    for place, step in enumerate(program.steps):
        for number, shape in zip(step.outputs, step.result_shapes, strict=True):
            box = layout.boxes[number]
            inner = prod(shape) if box is None else prod(shape[: -program.rank]) * box.cells
            alive[number] = inner * program.itemsize
        read = sum(alive.get(number, 0) for number in step.inputs)
        peak = max(peak, sum(alive.values()) + 2 * read)
        for number in (*step.inputs, *step.outputs):
            if last.get(number, -1) <= place:
                alive.pop(number, None)
    return peak
