"""Gaussian blur in 2D and 3D: separable, one small matrix an axis, so that no kernel is too wide for the image."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Border = Literal["reflect", "nearest", "constant"]
"""What lies beyond the image: itself mirrored at the edge of its last voxel, its last voxel, or zeros."""

TRUNCATE = 4.0
"""Kernels end at four standard deviations, as in SciPy: the tail beyond weighs 6e-5."""


def gaussian_blur(
    x: Float[Tensor, "batch channel *space"],
    sigma: float | Sequence[float],
    border: Border = "reflect",
    truncate: float = TRUNCATE,
) -> Float[Tensor, "batch channel *space"]:
    """Each channel blurred by a Gaussian of standard deviation `sigma` voxels, one number or one a spatial axis.

    Equals `scipy.ndimage.gaussian_filter` with the same border mode.
    """
    rank = x.ndim - 2
    sigmas = [float(sigma)] * rank if isinstance(sigma, int | float) else list(sigma)
    for axis, width in enumerate(sigmas, start=2):
        if width > 0:
            x = _along(x, _matrix(x.shape[axis], width, border, truncate), axis)
    return x


def _along(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    return (x.movedim(axis, -1) @ matrix.to(x).T).movedim(-1, axis)


def _matrix(length: int, sigma: float, border: Border, truncate: float) -> Tensor:
    """The blur of one axis as a matrix (length, length), float64: row n says what voxel n is made of."""
    radius = int(truncate * sigma + 0.5)
    offset = torch.arange(-radius, radius + 1)
    weight = torch.exp(-0.5 * (offset.double() / sigma) ** 2)
    weight = weight / weight.sum()
    place = torch.arange(length)[:, None] + offset
    kept = weight.expand(place.shape)
    if border == "constant":
        kept = kept * ((place >= 0) & (place < length))
    if border == "reflect":  # the mirrored image repeats every two lengths
        place = place % (2 * length)
        place = torch.minimum(place, 2 * length - 1 - place)
    return torch.zeros(length, length, dtype=torch.float64).scatter_add_(1, place.clamp(0, length - 1), kept)
