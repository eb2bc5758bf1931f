"""Random masks of a coarse grid, enlarged and shifted. Petsiuk et al., BMVC 2018, arXiv:1806.07421, section 3.2."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from voxplain.ops import draws


def grid_masks(
    seed: int,
    numbers: Sequence[int] | Tensor,
    size: Sequence[int],
    cells: Sequence[int],
    share: float,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Masks (len(numbers), *size), float64 in 0..1: mask n depends on the seed and `numbers[n]` only.

    The cells are drawn on the processor, the same for every device; masks grow out of them on the device.

    Each of the `cells` (one count an axis) is 1 with probability `share`, else 0; the grid is enlarged by linear
    interpolation (cells are points at their middles, held beyond the outer ones) to one cell more than the image a
    side, and the image is cut out of it at a random place within the first cell. The mean of every voxel is `share`.
    """
    steps = [-(-length // count) for length, count in zip(size, cells, strict=True)]
    count = prod(cells)
    drawn = draws.uniform(seed, numbers, (count + len(cells),)).to(device)
    masks = (drawn[:, :count] < share).double().reshape(-1, *cells)
    for axis, (length, step) in enumerate(zip(size, steps, strict=True)):
        enlarging = _enlarging(cells[axis], step).to(device)
        shift = (drawn[:, count + axis] * step).long()
        rows = enlarging[shift[:, None] + torch.arange(length, device=shift.device)]
        masks = torch.einsum("na...,nla->n...l", masks, rows)  # the axis that was first comes back as the last
    return masks


def _enlarging(cells: int, step: int) -> Tensor:
    """Linear interpolation of `cells` points to (cells + 1) * step as a matrix (places, cells), edges aligned."""
    places = (cells + 1) * step
    at = ((torch.arange(places, dtype=torch.float64) + 0.5) * cells / places - 0.5).clamp(0, cells - 1)
    below = at.floor().long().clamp_max(max(cells - 2, 0))
    part = (at - below)[:, None]
    points = torch.eye(cells, dtype=torch.float64)
    return points[below] * (1 - part) + points[(below + 1).clamp_max(cells - 1)] * part
