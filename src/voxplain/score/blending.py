"""What a layer gave in a pass: one map, or one of each window, blended onto one grid of cells over the whole image.

Where windows overlap activations are means by the windows' weights. Gradients add up, as the score would change with a
cell of the blended grid through every window that sees it; so their mean over the grid is one weight a channel, pooled
over all windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    matrices: tuple[tuple[Tensor, ...], ...]
    """Of each window and axis: (cells of the grid, cells of the window), columns that sum to 1."""
    weight: Tensor
    """Of the cells of a window."""

    def mean(self, parts: Sequence[Tensor]) -> Tensor:
        """Weighted means where windows overlap; 0 where none ran."""
        weight = self.weight.to(parts[0])
        total = self._laid([part * weight for part in parts])
        weights = self._laid([weight[None, None]] * len(parts))
        return torch.where(weights > 0, total / weights.clamp_min(torch.finfo(weights.dtype).tiny), 0)

    def sum(self, parts: Sequence[Tensor]) -> Tensor:
        """Sums of what all windows give to a cell."""
        return self._laid(parts)

    def _laid(self, parts: Sequence[Tensor]) -> Tensor:
        total: Tensor | None = None
        for part, matrices in zip(parts, self.matrices, strict=True):
            laid = part
            for axis, matrix in enumerate(matrices, start=2):
                laid = (laid.movedim(axis, -1) @ matrix.to(laid).T).movedim(-1, axis)
            total = laid if total is None else total + laid
        if total is None:
            raise RuntimeError("no window ran")
        return total.permute(self.back)


def blended(windows: SlidingWindows, parts: Sequence[Tensor], local: Cells, sides: Sequence[int]) -> Caught:
    """The maps `parts` of the windows that ran over an image of these `sides`; `local` are the cells of one window."""
    padded = windows.sides(sides)
    corners, cells = windows.corners(padded), tuple(parts[0].shape[2:])
    furthest = [max(axis) for axis in zip(*corners, strict=True)]
    counts = [math.ceil(far / step - SLACK) + own for far, step, own in zip(furthest, local.step, cells, strict=True)]
    matrices = tuple(
        tuple(_placed(start / step, own, count)
              for start, step, own, count in zip(corner, local.step, cells, counts, strict=True))
        for corner in windows.ran
    )  # fmt: skip
    starts = [start - before for start, before in zip(local.start, windows.before(sides), strict=True)]
    axes = [windows.order.index(2 + axis) - 2 for axis in range(len(cells))]
    whole = Cells(tuple(starts[axis] for axis in axes), tuple(local.step[axis] for axis in axes), local.measured)
    return Caught(tuple(parts), whole, Blend(windows.back, matrices, _weight(windows, local, cells)))


SLACK = 1e-6
"""A corner that lies on a cell of the grid but for rounding begins there."""


def _placed(offset: float, own: int, count: int) -> Tensor:
    """(count, own): each cell of a window shared out to the two cells of the grid that it lies between."""
    whole = math.floor(offset + SLACK)
    part = max(0.0, offset - whole)
    matrix = torch.zeros(count, own, dtype=torch.float64)
    cells = torch.arange(own)
    matrix[cells + whole, cells] = 1 - part
    if part > SLACK:
        matrix[cells + whole + 1, cells] = part
    return matrix


def _weight(windows: SlidingWindows, local: Cells, cells: Sequence[int]) -> Tensor:
    """The weight of a window at the centres of its cells."""
    weight = windows.get_buffer("weight").detach()
    for axis, (start, step, count) in enumerate(zip(local.start, local.step, cells, strict=True)):
        centres = (start + step * torch.arange(count)).round().long().clamp(0, windows.roi[axis] - 1)
        weight = weight.index_select(axis, centres.to(weight.device))
    return weight
