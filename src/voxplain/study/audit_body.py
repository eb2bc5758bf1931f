"""The body in an image: what is brighter than air, with all that it encloses, and no letters."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxplain.data.prepare import prepare_mask
from voxplain.ops.marking import otsu
from voxplain.study.ready import Ready

Body = Literal["otsu", "mask", "segments", "nonzero"]
"""What counts as body: what is brighter than air and all that it encloses, the case's mask or segments, or voxels that
are not 0."""

DARKEST = 1
"""Percentile of the values that stands for air."""

GAP = 16
"""Gaps in the body narrower than twice its side divided by this are bridged: lungs that open to the air by one."""

RIM = 32
"""The body is widened by its side divided by this: at its rim coarse maps cannot be told from it."""

PART = 0.02
"""Parts of a body have at least this share of the image; letters have less."""

FEWEST, MOST = 0.05, 0.95
"""A body that has a smaller or larger share of the image leaves nothing to hold against it."""

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def body(ready: Ready, rule: Body) -> Mask | None:
    """The body (*space) on the network's grid, a little widened; None where there is none or it is nearly everything.

    A mask or segments stand as they are drawn; what is told from brightness is filled.
    """
    given = {"mask": ready.mask, "segments": ready.segments}
    if rule in given:
        image = given[rule]
        inside = None if image is None else prepare_mask(image, ready.prepared) > 0
    else:
        values = ready.x[0].double().cpu().numpy()
        inside = (values != 0).any(axis=0) if rule == "nonzero" else bright(values.mean(axis=0))
    if inside is None or not FEWEST < inside.mean() < MOST:
        return None
    wide = _within(inside, max(min(inside.shape) // RIM, 1))
    return wide if wide.mean() < MOST else None


def bright(values: Floats) -> Mask:
    """All parts of an image (*space) brighter than air that are larger than letters, with what they enclose.

    Otsu's threshold parts lungs from the rest of a chest; half way down to the darkest lies between lungs and air.
    The image is thought to go on beyond its edges as it ends there.
    """
    smooth = ndimage.gaussian_filter(values, 1.0, mode="nearest")
    least = (otsu(smooth.ravel()) + np.percentile(smooth, DARKEST)) / 2
    parts, _ = ndimage.label(smooth > least)
    sizes = np.bincount(parts.ravel(), weights=(values > least).ravel())  # smoothing makes letters larger
    large = sizes >= PART * values.size
    large[0] = False
    gap = max(min(values.shape) // GAP, 1)
    wide = _within(np.pad(large[parts], gap, mode="edge"), gap)
    closed = ~_within(~ndimage.binary_fill_holes(wide), gap)
    return np.asarray(closed[tuple(slice(gap, -gap) for _ in values.shape)])


def _within(mask: Mask, distance: int) -> Mask:
    """Everything not farther from a mask (*space) than so many voxels; nothing where the mask is empty."""
    return np.asarray(ndimage.distance_transform_edt(~mask) <= distance) & bool(mask.any())
