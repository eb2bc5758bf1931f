"""Masks that can only vary smoothly, and the area they may take. Fong et al., ICCV 2019, arXiv:1910.08485, section 3.

A mask comes from a coarse grid of numbers in 0..1: each voxel is the smooth maximum, over the cells around it, of the
cell's number times a kernel that falls with the distance. Derivatives are written out, some neighbours at a time:
memory does not grow with the neighbourhood.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil, prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from voxplain.ops.ties import step_of

COLDNESS = 20.0
"""One over the temperature of the smooth maximum, as in the paper."""

LEAST_WEIGHT = 0.1
"""Neighbours whose kernel is below this everywhere in a cell are left out: they cannot matter to a maximum."""


PIECE = 2**20
"""Numbers worked on at once: few enough for memory and caches, enough to keep the calls from adding up."""


class Made(NamedTuple):
    """Masks (n, *size), the same by place in a cell (n, place, cell), and the weights they were divided by."""

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
        offsets = list(product(*(range(-reach, reach + 1) for reach in self._reach)))
        kernels = torch.stack([self._kernel(offset, sigma) for offset in offsets])
        near = kernels.amax(dim=1) >= LEAST_WEIGHT
        self._kernels = kernels[near]
        self._around = torch.stack(
            [self._neighbours(offset) for offset, kept in zip(offsets, near, strict=True) if kept]
        )

    def _kernel(self, offset: Sequence[int], sigma: Sequence[float]) -> Tensor:
        """The weight of the cell `offset` cells away at each place of a cell (place,)."""
        squares = torch.zeros((1,) * len(offset), dtype=torch.float64)
        for axis, (cells, hop, width) in enumerate(zip(offset, self.step, sigma, strict=True)):
            away = torch.arange(hop, dtype=torch.float64) - (hop - 1) / 2 - cells * hop  # from the cell's middle
            squares = squares + (away / width).square().reshape([-1 if n == axis else 1 for n in range(len(offset))])
        return torch.exp(-2 * (squares.sqrt() - 0.5).clamp_min(0) ** 2).flatten()

    def _neighbours(self, offset: Sequence[int]) -> Tensor:
        """The number of the cell `offset` cells away from each cell (cell,); beyond the image its outer cells go on."""
        numbers = torch.zeros((1,) * len(offset), dtype=torch.long)
        for axis, (shift, count) in enumerate(zip(offset, self.cells, strict=True)):
            along = (torch.arange(count) + shift).clamp(0, count - 1)
            numbers = numbers * count + along.reshape([-1 if n == axis else 1 for n in range(len(offset))])
        return numbers.flatten()

    def _parts(self, grid: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Some neighbours at a time: their numbers (k, cell), kernels (k, place, 1), parts (n, k, place, cell)."""
        flat, voxels = grid.flatten(1), len(grid) * self._kernels.shape[1] * self._around.shape[1]
        most = max(1, PIECE // voxels)
        for numbers, kernels in zip(self._around.split(most), self._kernels.split(most), strict=True):
            near, weight = numbers.to(grid.device), kernels.to(grid)[:, :, None]
            yield near, weight, flat[:, near][:, :, None] * weight

    def __call__(self, grid: Tensor) -> Made:
        """The masks of a grid, in 0..1 where the grid is."""
        weighed = weights = torch.zeros((), dtype=grid.dtype, device=grid.device)
        for _, _, part in self._parts(grid):
            weight = torch.exp(COLDNESS * part - COLDNESS)
            weighed, weights = weighed + (part * weight).sum(dim=1), weights + weight.sum(dim=1)
        blocks = weighed / weights
        return Made(self._merged(blocks), blocks, weights)

    def pulled_back(self, grid: Tensor, made: Made, slope: Tensor) -> Tensor:
        """The derivative by the grid of a number whose derivative by the masks (n, *size) is `slope`."""
        total, per_weight = torch.zeros_like(grid.flatten(1)), (self._split(slope) / made.weights)[:, None]
        for near, weight, part in self._parts(grid):
            rising = 1 + COLDNESS * (part - made.blocks[:, None])
            by_part = torch.exp(COLDNESS * part - COLDNESS) * rising * per_weight
            total.index_add_(1, near.flatten(), (by_part * weight).sum(dim=2).flatten(1))
        return total.reshape(grid.shape)

    def _merged(self, blocks: Tensor) -> Tensor:
        """(n, place, cell) as (n, *size)."""
        rank, sides = len(self.cells), list(zip(self.cells, self.step, strict=True))
        apart = blocks.reshape(len(blocks), *self.step, *self.cells)
        order = [axis for n in range(rank) for axis in (1 + rank + n, 1 + n)]  # each cell axis before its places
        fine = apart.permute(0, *order).reshape(len(blocks), *(n * hop for n, hop in sides))
        return fine[(slice(None), *(slice(0, length) for length in self.size))]

    def _split(self, masks: Tensor) -> Tensor:
        """(n, *size) as (n, place, cell), zeros beyond the image."""
        rank, sides = len(self.cells), list(zip(self.cells, self.step, strict=True))
        gaps = [n * hop - length for (n, hop), length in zip(sides, self.size, strict=True)]
        padded = functional.pad(masks, [n for gap in reversed(gaps) for n in (0, gap)])
        apart = padded.reshape(len(masks), *(n for side in sides for n in side))
        order = [*range(2, 2 * rank + 1, 2), *range(1, 2 * rank + 1, 2)]
        return apart.permute(0, *order).reshape(len(masks), prod(self.step), prod(self.cells))


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
