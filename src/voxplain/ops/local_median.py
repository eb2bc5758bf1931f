"""What is left of an image without its small structures, such as letters: the median around each voxel."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

WINDOW = 4
"""The window around a voxel is the image's side divided by this wide; what covers less than half of it is removed."""

CELLS = {2: 32, 3: 16}
"""Medians are taken at so many places a side, by the image's rank, and are linear in between."""

SAMPLES = 8
"""Voxels a side of the window that count, evenly spread over it."""


def local_median(x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
    """Images in 2D or 3D without what is smaller than about a sixth of their sides.

    At the border, where windows are mirrored, half of that is removed.
    """
    rank, sides = x.ndim - 2, x.shape[2:]
    cells = [min(CELLS[rank], side) for side in sides]
    places = [_places(side, count, x.device) for side, count in zip(sides, cells, strict=True)]
    # Axis n has its cells along n and its samples along rank + n.
    index = tuple(_along(one, axis, rank) for axis, one in enumerate(places))
    windows = x.movedim((0, 1), (-2, -1))[index].movedim((-2, -1), (0, 1)).flatten(2 + rank)
    # Of an even number of samples the mean of the middle two, unlike torch's own median.
    middle = windows.sort(dim=-1).values[..., (windows.shape[-1] - 1) // 2 : windows.shape[-1] // 2 + 1].mean(dim=-1)
    mode = "bilinear" if rank == 2 else "trilinear"
    return functional.interpolate(middle, tuple(sides), mode=mode, align_corners=False)


def _places(side: int, count: int, device: torch.device) -> Tensor:
    """Voxels (cell, sample) of each cell's window along an axis; beyond the border the image is mirrored."""
    centres = (torch.arange(count, device=device) + 0.5) * side / count
    offsets = ((torch.arange(SAMPLES, device=device) + 0.5) / SAMPLES - 0.5) * side / WINDOW
    found = (centres[:, None] + offsets).floor().long()
    found = torch.where(found < 0, -1 - found, found)
    return torch.where(found >= side, 2 * side - 1 - found, found)


def _along(places: Tensor, axis: int, rank: int) -> Tensor:
    shape: Sequence[int] = [1] * (2 * rank)
    shape = [*shape[:axis], places.shape[0], *shape[axis + 1 : rank + axis], places.shape[1], *shape[rank + axis + 1 :]]
    return places.reshape(shape)
