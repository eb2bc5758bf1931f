"""One image cut into segments from fine to coarse, where XRAI starts. Felzenszwalb, Huttenlocher, IJCV 2004; SLIC."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from voxplain.errors import missing_extra
from voxplain.ops.segments import slic

Labels = npt.NDArray[np.int64]
"""Labels (*space), a segment each."""

SCALES = (50, 100, 150, 250, 500, 1200)
"""Felzenszwalb's scales in the XRAI paper (section 3.1); a larger one prefers larger segments."""

SIGMA, SMALLEST, SIDE = 0.8, 150, 224
"""Width of the blur before and fewest pixels of a segment, for an image brought to -1..1 and this side length first."""


def superpixels(image: Tensor) -> list[Labels]:
    """Labels of one 2D image (channel, *space) at each of the paper's scales."""
    segmentation, transform = _scikit_image()
    picture = image.detach().double().cpu().movedim(0, -1).contiguous().numpy()
    black, white = picture.min(), picture.max()
    picture = 2 * (picture - black) / (white - black or 1.0) - 1
    picture = transform.resize(picture, (SIDE, SIDE), order=3, mode="constant", preserve_range=True, anti_aliasing=True)
    with warnings.catch_warnings():  # more than three channels are meant
        warnings.filterwarnings("ignore", message="Got image with third dimension", category=RuntimeWarning)
        found = [segmentation.felzenszwalb(picture, scale=scale, sigma=SIGMA, min_size=SMALLEST) for scale in SCALES]
    back = {"order": 0, "mode": "constant", "preserve_range": True, "anti_aliasing": False}
    return [transform.resize(labels, image.shape[1:], **back).astype(np.int64) for labels in found]


def supervoxels(image: Tensor, counts: Sequence[int], spacing: Sequence[float] | None = None) -> list[Labels]:
    """Labels of one image (channel, *space) with about each of `counts` segments; `spacing` is the voxel size."""
    return [slic(image, count, spacing=spacing).cpu().numpy() for count in counts]


def _scikit_image() -> tuple[Any, Any]:
    try:
        from skimage import segmentation, transform
    except ImportError as error:
        raise missing_extra("scikit-image", "segments", "cutting an image into segments") from error
    return segmentation, transform
