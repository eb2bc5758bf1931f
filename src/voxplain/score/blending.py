"""What a layer gave in a pass: one map, or one of each window, blended onto one grid of cells over the whole image.

Where windows overlap activations are means by the windows' weights. Gradients add up, as the score would change with a
cell of the blended grid through every window that sees it; so their mean over the grid is one weight a channel, pooled
over all windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import truediv

import torch
from torch import Tensor

from voxplain.score.places import Cells
from voxplain.score.sliding import SlidingWindows


@dataclass(frozen=True, eq=False)
class Caught:
    """What a layer gave in a pass, as (batch, channel, *space)."""

    parts: tuple[Tensor, ...]
    """One map, or those of the windows in the order they ran."""
    cells: Cells
    """Of the whole image."""
    blend: Blend | None = None

    @property
    def activation(self) -> Tensor:
        """The map over the whole image."""
        parts = [part.detach() for part in self.parts]
        return parts[0] if self.blend is None else self.blend.mean(parts)

    def gradient(self, found: Sequence[Tensor]) -> Tensor:
        """The gradient by that map, from those by the parts."""
        return found[0] if self.blend is None else self.blend.sum(found)


@dataclass(frozen=True, eq=False)
class Blend:
    """How the cells of windows lie on one grid of cells, in the order of axes in which the network sees the image."""

    back: tuple[int, ...]
    """Axes of the image by their numbers in what the network gives."""
    offsets: tuple[tuple[float, ...], ...]
    """Of each window: where its first cell lies, in cells of the grid."""
    counts: tuple[int, ...]
    """Cells of the grid."""
    weight: Tensor
    """Of the cells of a window."""

    def mean(self, parts: Sequence[Tensor]) -> Tensor:
        """Weighted means where windows overlap, read between their cells; 0 where none ran."""
        weight = self.weight.to(parts[0])
        total = self._laid([part * weight for part in parts], read_between)
        weights = self._laid([weight[None, None]] * len(parts), read_between)
        return torch.where(weights > 0, total / weights.clamp_min(torch.finfo(weights.dtype).tiny), 0)

    def sum(self, parts: Sequence[Tensor]) -> Tensor:
        """Sums of what all windows give, shared out to the cells between which it lies."""
        return self._laid(parts, shared_out)

    def _laid(self, parts: Sequence[Tensor], matrix: Callable[[float, int, int], Tensor]) -> Tensor:
        total: Tensor | None = None
        for part, offsets in zip(parts, self.offsets, strict=True):
            laid = part
            for axis, (offset, count) in enumerate(zip(offsets, self.counts, strict=True), start=2):
                across = matrix(offset, part.shape[axis], count).to(laid)
                laid = (laid.movedim(axis, -1) @ across.T).movedim(-1, axis)
            total = laid if total is None else total + laid
        if total is None:
            raise RuntimeError("no window ran")
        return total.permute(self.back)


def blended(windows: SlidingWindows, parts: Sequence[Tensor], local: Cells, sides: Sequence[int]) -> Caught:
    """The maps `parts` of the windows that ran over an image of these `sides`; `local` are the cells of one window."""
    padded = windows.sides(sides)
    corners, cells = windows.corners(padded), tuple(parts[0].shape[2:])
    offsets = tuple(tuple(map(truediv, corner, local.step)) for corner in windows.ran)
    furthest = [max(axis) for axis in zip(*corners, strict=True)]
    lasts = zip(furthest, local.step, cells, strict=True)
    counts = tuple(math.floor(far / step + SLACK) + own for far, step, own in lasts)
    starts = [start - before for start, before in zip(local.start, windows.before(sides), strict=True)]
    axes = [windows.order.index(2 + axis) - 2 for axis in range(len(cells))]
    whole = Cells(tuple(starts[axis] for axis in axes), tuple(local.step[axis] for axis in axes), local.measured)
    return Caught(tuple(parts), whole, Blend(windows.back, offsets, counts, _weight(windows, local, cells)))


SLACK = 1e-6
"""A window that begins on a cell of the grid but for rounding begins there."""

FAINT = 1e-12
"""Weight of a cell that lies just outside a window: it counts where no window has it inside."""


def read_between(offset: float, own: int, count: int) -> Tensor:
    """(count, own): what each cell of the grid reads from the two cells of a window between which it lies."""
    places = torch.arange(count, dtype=torch.float64) - offset
    outside = torch.maximum(-places, places - (own - 1)).clamp_min(0)
    inside = places.clamp(0, own - 1)
    low = inside.floor().long().clamp_max(max(own - 2, 0))
    matrix = _two(inside - low, low, count, own)
    return matrix * torch.where(outside <= SLACK, 1.0, torch.where(outside < 1, FAINT, 0.0))[:, None]


def shared_out(offset: float, own: int, count: int) -> Tensor:
    """(count, own): what each cell of a window gives to the two cells of the grid between which it lies."""
    places = (torch.arange(own, dtype=torch.float64) + offset).clamp(0, count - 1)
    low = (places + SLACK).floor().long().clamp_max(max(count - 2, 0))
    return _two((places - low).clamp(0, 1), low, own, count).T


def _two(part: Tensor, low: Tensor, rows: int, columns: int) -> Tensor:
    """(rows, columns): `part` of each row at the column after `low`, the rest at `low`."""
    matrix = torch.zeros(rows, columns, dtype=torch.float64)
    row = torch.arange(rows)
    matrix[row, low] = 1 - part
    matrix[row, (low + 1).clamp_max(columns - 1)] += part
    return matrix


def _weight(windows: SlidingWindows, local: Cells, cells: Sequence[int]) -> Tensor:
    """The weight of a window at the centres of its cells."""
    weight = windows.get_buffer("weight").detach()
    for axis, (start, step, count) in enumerate(zip(local.start, local.step, cells, strict=True)):
        centres = (start + step * torch.arange(count)).round().long().clamp(0, windows.roi[axis] - 1)
        weight = weight.index_select(axis, centres.to(weight.device))
    return weight
