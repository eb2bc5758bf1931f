"""Segments of one image: superpixels, supervoxels, grids and given labels, numbered from 0 without gaps.

Quickshift: Vedaldi, Soatto, ECCV 2008. SLIC: Achanta et al., TPAMI 2012. Both from scikit-image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from voxplain.errors import InputError, missing_extra

Picture = npt.NDArray[np.float64]
"""(*space, channel), black at 0 and white at 1."""

MAX_DISTANCE, RATIO = 200.0, 0.2
"""How far quickshift joins voxels, and how much colours weigh against places, as lime 0.2.0.1 has them."""

LIGHTNESS = 100.0
"""Lightness runs from 0 to 100 in CIE Lab, which is what compactness is measured in."""


def consecutive(labels: Tensor) -> Tensor:
    """Labels numbered 0, 1, 2 ... in their own order."""
    numbered: Tensor = torch.unique(labels, return_inverse=True)[1]
    return numbered


def quickshift(image: Tensor, *, kernel: float = 4.0, black_white: tuple[float, float] | None = None) -> Tensor:
    """Superpixels (*space) of one 2D image (channel, *space); `kernel` is the width of its Gaussian in voxels.

    Three channels are taken as red, green, blue and one as grey, as lime does; of others each one's lightness counts.
    """
    picture, colour = _shown(_picture(image, black_white), _scikit_image("color"))
    cut = _scikit_image("segmentation").quickshift
    labels = cut(picture, kernel_size=kernel, max_dist=MAX_DISTANCE, ratio=RATIO, convert2lab=colour)
    return _tensor(labels, image)


def slic(
    image: Tensor,
    count: int,
    *,
    compactness: float = 10.0,
    spacing: Sequence[float] | None = None,
    black_white: tuple[float, float] | None = None,
) -> Tensor:
    """About `count` superpixels or supervoxels (*space) of one image (channel, *space); `spacing` is the voxel size.

    Compactness weighs places against lightness, which runs from 0 to 100.
    """
    picture, colour = _picture(_cubes(image, spacing), black_white), image.shape[0] == 3 and image.ndim == 3
    labels = _scikit_image("segmentation").slic(
        picture,
        n_segments=count,
        compactness=compactness if colour else compactness / LIGHTNESS,
        convert2lab=colour,
        start_label=0,
        channel_axis=-1,
    )
    found = torch.from_numpy(np.asarray(labels)).to(image.device, torch.float64)
    back = functional.interpolate(found[None, None], image.shape[1:], mode="nearest-exact")[0, 0]
    return consecutive(back.long())


def grid(size: Sequence[int], count: int, spacing: Sequence[float] | None = None) -> Tensor:
    """About `count` boxes (*space) that fill an image of `size` voxels, as near to cubes as whole numbers allow."""
    lengths = [n * side for n, side in zip(size, spacing or [1.0] * len(size), strict=True)]
    parts, left, axes = [1] * len(size), float(count), sorted(range(len(size)), key=lengths.__getitem__)
    while axes:  # the shortest axis first: where it holds less than one edge, the others share its boxes
        edge = (math.prod(lengths[axis] for axis in axes) / left) ** (1 / len(axes))
        axis = axes.pop(0)
        parts[axis] = min(size[axis], max(1, round(lengths[axis] / edge)))
        left /= parts[axis]
    return _boxes([torch.arange(n) * part // n for n, part in zip(size, parts, strict=True)])


def cells(size: Sequence[int], window: Sequence[int]) -> Tensor:
    """Boxes (*space) of `window` voxels from the first voxel on; the last ones are cut at the edge."""
    return _boxes([torch.arange(n) // side for n, side in zip(size, window, strict=True)])


def given(labels: Tensor | None, x: Tensor, asker: str) -> Tensor:
    """Labels (batch, *space) given for a batch, checked, as the user numbered them."""
    if labels is None:
        raise InputError(f"{asker}: segments must be given, got none; pass segments=... or choose another segmenter")
    if labels.is_floating_point() or labels.is_complex():
        raise InputError(f"{asker}: segments must be whole numbers, got {labels.dtype}")
    if labels.shape[1:] != x.shape[2:] or len(labels) not in (1, len(x)):
        raise InputError(
            f"{asker}: segments must be {(len(x), *x.shape[2:])} (or 1 for all samples) like the input, "
            f"got {tuple(labels.shape)}"
        )
    return labels.to(x.device, torch.int64).expand(len(x), *labels.shape[1:])


def segment_means(image: Tensor, labels: Tensor) -> Tensor:
    """One image (channel, *space), each channel of each segment at its mean; labels (1 or channel, *space) from 0."""
    channel = torch.arange(len(image), device=image.device).reshape(-1, *[1] * (image.ndim - 1))
    parts = (labels * len(image) + channel).flatten()
    totals = torch.zeros(int(parts.max()) + 1, dtype=torch.float64, device=image.device)
    means = totals.index_add(0, parts, image.flatten().double()) / torch.bincount(parts).clamp_min(1)
    return means[parts].reshape(image.shape).to(image.dtype)


def _cubes(image: Tensor, spacing: Sequence[float] | None) -> Tensor:
    """The image on about as many voxels that are as long as wide, since SLIC seeds its segments voxel by voxel."""
    if spacing is None:
        return image
    edge = math.prod(spacing) ** (1 / len(spacing))
    size = [max(1, round(n * side / edge)) for n, side in zip(image.shape[1:], spacing, strict=True)]
    mode = "bilinear" if image.ndim == 3 else "trilinear"
    return functional.interpolate(image[None].double(), size, mode=mode, align_corners=False)[0]


def _boxes(numbers: Sequence[Tensor]) -> Tensor:
    """Labels from the number of the box along each axis."""
    labels = torch.zeros([len(one) for one in numbers], dtype=torch.int64)
    for axis, one in enumerate(numbers):
        labels = labels * (int(one[-1]) + 1) + one.reshape([-1 if n == axis else 1 for n in range(len(numbers))])
    return labels


def _picture(image: Tensor, black_white: tuple[float, float] | None) -> Picture:
    values: Picture = image.detach().double().cpu().movedim(0, -1).contiguous().numpy()
    black, white = (values.min(), values.max()) if black_white is None else black_white
    return (values - black) / (white - black) if white != black else np.zeros_like(values)


def _shown(picture: Picture, color: Any) -> tuple[Picture, bool]:
    """The picture as quickshift takes it, and whether it has colours."""
    channels = picture.shape[-1]
    if channels in (1, 3):
        return np.repeat(picture, 3 // channels, axis=-1), True
    grey = [color.rgb2lab(np.repeat(one[..., None], 3, axis=-1))[..., 0] for one in np.moveaxis(picture, -1, 0)]
    return np.stack(grey, axis=-1), False


def _scikit_image(part: str) -> Any:
    try:
        from skimage import color, segmentation
    except ImportError as error:
        raise missing_extra("scikit-image", "segments", "cutting an image into segments") from error
    return {"color": color, "segmentation": segmentation}[part]


def _tensor(labels: Any, image: Tensor) -> Tensor:
    return consecutive(torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(image.device))
