"""Places of an image where evidence is suspect: outside the body, along the border, and in the corners."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from voxplain.data.prepare import prepare_mask
from voxplain.ops.marking import otsu
from voxplain.study.ready import Ready

Body = Literal["otsu", "mask", "segments", "nonzero"]
"""What counts as body: above Otsu's threshold, the case's mask or segments, or voxels that are not 0."""

BORDER = 16
"""The border is what is nearer to the edge than its side divided by this."""

CORNER = 5
"""A corner is a box whose sides are the image's divided by this; markers of films lie in there."""

RIM = 32
"""The body is widened by its side divided by this: at its rim coarse maps cannot be told from it."""

PART = 0.02
"""Parts of a body have at least this share of the image; letters have less."""

FEWEST, MOST = 0.05, 0.95
"""A body that has a smaller or larger share of the image leaves nothing to hold against it."""

OUTSIDE, ALONG, CORNERS = "outside the body", "border", "corners"

Mask = npt.NDArray[np.bool_]


def places(ready: Ready, rule: Body) -> dict[str, Mask]:
    """Each place as a mask (*space) on the network's grid; none of the body where it fills the image or is missing."""
    shape = tuple(ready.x.shape[2:])
    found = {ALONG: border(shape), CORNERS: np.any([*corners(shape).values()], axis=0)}
    inside = body(ready, rule)
    return found if inside is None else {OUTSIDE: ~inside, **found}


def border(shape: tuple[int, ...]) -> Mask:
    """True near the edges."""
    inner = np.zeros(shape, dtype=bool)
    inner[tuple(slice(depth, side - depth) for side in shape for depth in [_part(side, BORDER)])] = True
    return ~inner


def corners(shape: tuple[int, ...]) -> dict[str, Mask]:
    """A box in each corner, by name: of a picture 'upper left' ..., of a volume by the ends of its axes."""
    found = {}
    for ends in product((0, 1), repeat=len(shape)):
        sizes = [_part(side, CORNER) for side in shape]
        box = np.zeros(shape, dtype=bool)
        box[tuple(slice(-size, None) if end else slice(size) for end, size in zip(ends, sizes, strict=True))] = True
        found[_name(ends)] = box
    return found


def _part(side: int, share: int) -> int:
    return max(side // share, 1)


def _name(ends: tuple[int, ...]) -> str:
    if len(ends) == 2:
        return f"{('upper', 'lower')[ends[0]]} {('left', 'right')[ends[1]]}"
    return "corner " + "".join(("-", "+")[end] + axis for end, axis in zip(ends, "ijk", strict=True))


def body(ready: Ready, rule: Body) -> Mask | None:
    """The body (*space), a little widened; None where the case has none or it is nearly nothing or everything."""
    given = {"mask": ready.mask, "segments": ready.segments}
    if rule in given:
        image = given[rule]
        inside = None if image is None else prepare_mask(image, ready.prepared) > 0
    else:
        values = ready.x[0].double().cpu().numpy()
        inside = (values != 0).any(axis=0) if rule == "nonzero" else _bright(values.mean(axis=0))
    if inside is None or not FEWEST < inside.mean() < MOST:
        return None
    wide = ndimage.binary_dilation(inside, iterations=_part(min(inside.shape), RIM))
    return wide if wide.mean() < MOST else None


def _bright(values: npt.NDArray[np.float64]) -> Mask:
    """All parts above Otsu's threshold that are larger than letters, with what they enclose."""
    smooth = ndimage.gaussian_filter(values, 1.0, mode="nearest")
    parts, _ = ndimage.label(smooth > otsu(smooth.ravel()))
    large = np.bincount(parts.ravel()) >= PART * values.size
    large[0] = False
    return np.asarray(ndimage.binary_fill_holes(ndimage.binary_closing(large[parts], iterations=2)))


def shares(values: Tensor, where: dict[str, Mask]) -> dict[str, float]:
    """The share of a map's magnitude (channel or 1, *space), channels summed, in each place."""
    mass = values.double().sum(dim=0).abs().cpu()
    total = float(mass.sum())
    return {name: float(mass[torch.from_numpy(mask)].sum()) / total for name, mask in where.items()}
