"""A coarse map of amounts laid on voxels: each cell's amount is shared among the voxels around it, none gets lost."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def spread(
    values: Float[Tensor, "batch channel *cells"], start: Sequence[float], step: Sequence[float], size: Sequence[int]
) -> Float[Tensor, "batch channel *space"]:
    """Amounts of cells centred at `start + n * step` voxels, on an image of `size` voxels; sums are kept.

    Along each axis a cell's shares fall off linearly to nothing at the next cell (or the next voxel where cells are
    finer), and are cut at the image's edge; a cell beyond the edge gives to the outermost voxel.
    """
    for axis, (first, hop, length) in enumerate(zip(start, step, size, strict=True), start=2):
        shares = _shares(values.shape[axis], first, hop, length).to(values)
        values = torch.tensordot(values, shares, dims=([axis], [0])).movedim(-1, axis)
    return values


def _shares(cells: int, first: float, hop: float, length: int) -> Tensor:
    """Which share of each cell's amount goes to each voxel of an axis (cell, voxel); rows sum to 1."""
    centres = (first + hop * torch.arange(cells, dtype=torch.float64)).clamp(0, length - 1)
    voxels = torch.arange(length, dtype=torch.float64)
    shares = (1 - (voxels - centres[:, None]).abs() / max(hop, 1.0)).clamp(min=0)
    return shares / shares.sum(dim=1, keepdim=True)
