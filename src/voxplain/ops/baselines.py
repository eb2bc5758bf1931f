"""What stands for 'nothing there': baselines and fills derived from the image itself."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from voxplain.errors import unknown

Fill = float | str
"""A number, or one of `FILLS`."""

FILLS = ("zero", "mean", "minimum", "blur")

BLUR_SHARE = 8
"""A blurred baseline averages over boxes of about an eighth of each side, three times (close to a Gaussian)."""


def baseline(x: Float[Tensor, "batch channel *space"], fill: float | str) -> Float[Tensor, "batch channel *space"]:
    """The baseline of each sample: a constant, its channel means or minima, or itself blurred."""
    if isinstance(fill, int | float):
        return torch.full_like(x, float(fill))
    if fill == "zero":
        return torch.zeros_like(x)
    axes = tuple(range(2, x.ndim))
    if fill == "mean":
        return x.mean(dim=axes, keepdim=True).expand_as(x)
    if fill == "minimum":
        return x.amin(dim=axes, keepdim=True).expand_as(x)
    if fill == "blur":
        return blurred(x)
    raise unknown("fill", fill, FILLS)


def blurred(x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
    """Each sample averaged over a centred box, three times; at the borders only voxels inside count.

    A box is at least three voxels wide, unless the side itself is shorter.
    """
    pool = functional.avg_pool2d if x.ndim == 4 else functional.avg_pool3d
    sides = [max(2, length // BLUR_SHARE) // 2 * 2 + 1 if length > 2 else 1 for length in x.shape[2:]]
    for _ in range(3):
        x = pool(x, sides, stride=1, padding=[side // 2 for side in sides], count_include_pad=False)
    return x
