"""Masks that can only vary smoothly, and the area they may take. Fong et al., ICCV 2019, arXiv:1910.08485, section 3.

A mask comes from a coarse grid of numbers in 0..1: each voxel is the smooth maximum, over the cells around it, of the
cell's number times a kernel that falls with the distance. Derivatives are written out, one neighbour after the other:
memory does not grow with the neighbourhood.
"""

from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from voxplain.ops.ties import step_of

COLDNESS = 20.0
"""One over the temperature of the smooth maximum, as in the paper."""

LEAST_WEIGHT = 0.1
"""Neighbours whose kernel is below this everywhere in a cell are left out: they cannot matter to a maximum."""


class Made(NamedTuple):
    """Masks (n, *size), the same by place in a cell (n, place, *cells), and the weights they were divided by."""

    masks: Tensor
    blocks: Tensor
    weights: Tensor


class SmoothMask:
    """The smooth max-convolution (equations 7 and 8) from a grid (n, *cells) to masks (n, *size)."""

    def __init__(self, size: Sequence[int], step: Sequence[int], sigma: Sequence[float]) -> None:
        """A cell every `step` voxels; the kernel is 1 up to half of `sigma` voxels away, then falls like a Gaussian."""
        self.size, self.step = tuple(size), tuple(step)
        self.cells = tuple(ceil(length / hop) for length, hop in zip(size, step, strict=True))
        self._reach = [1 + ceil(width / hop) for width, hop in zip(sigma, step, strict=True)]
        offsets = product(*(range(-reach, reach + 1) for reach in self._reach))
        kernels = {offset: self._kernel(offset, sigma) for offset in offsets}
        self._kernels = {offset: kernel for offset, kernel in kernels.items() if kernel.max() >= LEAST_WEIGHT}

    def _kernel(self, offset: Sequence[int], sigma: Sequence[float]) -> Tensor:
        """The weight of the cell `offset` cells away at each place of a cell (place, 1, ...)."""
        squares = torch.zeros((1,) * len(offset), dtype=torch.float64)
        for axis, (cells, hop, width) in enumerate(zip(offset, self.step, sigma, strict=True)):
            away = torch.arange(hop, dtype=torch.float64) - (hop - 1) / 2 - cells * hop  # from the cell's middle
            squares = squares + (away / width).square().reshape([-1 if n == axis else 1 for n in range(len(offset))])
        return torch.exp(-2 * (squares.sqrt() - 0.5).clamp_min(0) ** 2).reshape(-1, *[1] * len(offset))

    def __call__(self, grid: Tensor) -> Made:
        """The masks of a grid, in 0..1 where the grid is; beyond the image its outer cells go on."""
        wide = self._widened(grid)
        weighed = weights = torch.zeros((), dtype=grid.dtype, device=grid.device)
        for offset, kernel in self._kernels.items():
            part = wide[self._around(offset)][:, None] * kernel.to(grid)
            weight = torch.exp(COLDNESS * part - COLDNESS)
            weighed, weights = weighed + part * weight, weights + weight
        blocks = weighed / weights
        return Made(self._merged(blocks), blocks, weights)

    def pulled_back(self, grid: Tensor, made: Made, slope: Tensor) -> Tensor:
        """The derivative by the grid of a number whose derivative by the masks (n, *size) is `slope`."""
        wide, per_weight = self._widened(grid), self._split(slope) / made.weights
        total = torch.zeros_like(wide)
        for offset, kernel in self._kernels.items():
            weight = kernel.to(grid)
            part = wide[self._around(offset)][:, None] * weight
            by_part = torch.exp(COLDNESS * part - COLDNESS) * (1 + COLDNESS * (part - made.blocks)) * per_weight
            total[self._around(offset)] += (by_part * weight).sum(dim=1)
        return self._narrowed(total)

    def _around(self, offset: Sequence[int]) -> tuple[slice, ...]:
        """The cells `offset` away from each cell, in a widened grid."""
        starts = [reach + cells for reach, cells in zip(self._reach, offset, strict=True)]
        return (slice(None), *(slice(start, start + n) for start, n in zip(starts, self.cells, strict=True)))

    def _edges(self, axis: int, device: torch.device) -> Tensor:
        """Which cell each place of a widened axis holds."""
        count, reach = self.cells[axis], self._reach[axis]
        return torch.arange(-reach, count + reach, device=device).clamp(0, count - 1)

    def _widened(self, grid: Tensor) -> Tensor:
        for axis in range(len(self.cells)):
            grid = grid.index_select(axis + 1, self._edges(axis, grid.device))
        return grid

    def _narrowed(self, wide: Tensor) -> Tensor:
        """What was added to a widened grid, added to the cells it was made of."""
        for axis, count in enumerate(self.cells, start=1):
            shape = [*wide.shape[:axis], count, *wide.shape[axis + 1 :]]
            wide = wide.new_zeros(shape).index_add_(axis, self._edges(axis - 1, wide.device), wide)
        return wide

    def _merged(self, blocks: Tensor) -> Tensor:
        """(n, place, *cells) as (n, *size)."""
        rank, sides = len(self.cells), list(zip(self.cells, self.step, strict=True))
        apart = blocks.reshape(len(blocks), *self.step, *self.cells)
        order = [axis for n in range(rank) for axis in (1 + rank + n, 1 + n)]  # each cell axis before its places
        fine = apart.permute(0, *order).reshape(len(blocks), *(n * hop for n, hop in sides))
        return fine[(slice(None), *(slice(0, length) for length in self.size))]

    def _split(self, masks: Tensor) -> Tensor:
        """(n, *size) as (n, place, *cells), zeros beyond the image."""
        rank, sides = len(self.cells), list(zip(self.cells, self.step, strict=True))
        gaps = [n * hop - length for (n, hop), length in zip(sides, self.size, strict=True)]
        padded = functional.pad(masks, [n for gap in reversed(gaps) for n in (0, gap)])
        apart = padded.reshape(len(masks), *(n for side in sides for n in side))
        order = [*range(2, 2 * rank + 1, 2), *range(1, 2 * rank + 1, 2)]
        return apart.permute(0, *order).reshape(len(masks), -1, *self.cells)


def area_loss(masks: Tensor, voxels: Sequence[int]) -> tuple[Tensor, Tensor]:
    """How far masks (n, *size) are from being 1 on `voxels` voxels and 0 elsewhere, and its slope (equation 5).

    The mean square, over voxels sorted by value, from the sorted mask that has the area. Voxels that tie at the limit
    share what is left of the area, so that which of them come first does not matter.
    """
    flat = masks.flatten(1)
    tie = float(step_of(torch.ones(()), masks.dtype))
    limits = [row.kthvalue(row.numel() - count + 1).values for row, count in zip(flat, voxels, strict=True)]
    limit = torch.stack(limits)[:, None]
    over, near = flat > limit + tie, (flat - limit).abs() <= tie
    rest = torch.as_tensor(voxels, device=flat.device)[:, None] - over.sum(dim=1, keepdim=True)
    wanted = over.to(flat) + near.to(flat) * (rest / near.sum(dim=1, keepdim=True)).to(flat)
    off = flat - wanted
    return off.square().mean(dim=1), (2 * off / flat.shape[1]).reshape(masks.shape)
