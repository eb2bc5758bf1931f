"""The mean over a box around each voxel, with borders mirrored as in OpenCV's `blur`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def box_mean(x: Float[Tensor, "batch channel *space"], sides: Sequence[int]) -> Float[Tensor, "batch channel *space"]:
    """Each voxel the mean of the box of `sides` voxels that begins side // 2 before it, axis by axis.

    Beyond the border the image is mirrored about its last voxel, as often as the box needs.
    """
    mean = x.double()
    for axis, side in enumerate(sides, start=2):
        mean = _along(mean, axis, side)
    return mean.to(x.dtype)


def _along(x: Tensor, axis: int, side: int) -> Tensor:
    length = x.shape[axis]
    places = torch.arange(-(side // 2), length + side - 1 - side // 2, device=x.device)
    period = max(2 * (length - 1), 1)
    folded = places.remainder(period)
    wide = x.index_select(axis, torch.minimum(folded, period - folded) if length > 1 else torch.zeros_like(places))
    sums = torch.cat([torch.zeros_like(x.narrow(axis, 0, 1)), wide.cumsum(dim=axis)], dim=axis)
    return (sums.narrow(axis, side, length) - sums.narrow(axis, 0, length)) / side
