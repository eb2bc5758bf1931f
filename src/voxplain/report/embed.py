"""Pixels made small enough to live inside the page."""

import base64
import io

import numpy as np
from PIL import Image as Pillow
from PIL import features

from voxplain.report.display import Array

PAGE_BYTES = 18_000_000
"""What all pictures of a page may take before base64 adds a third: half of the 60 MB that a page may have."""

RUNGS = ((448, 88), (448, 78), (320, 75), (256, 70))
"""Pixels along the longer side and WebP quality, tried in turn until a picture fits its share of the page.

Lossy WebP keeps colours at half the resolution: voxel-fine maps keep theirs only where they are enlarged first.
"""

ENLARGED = {1: None, 2: Pillow.Resampling.NEAREST, 4: Pillow.Resampling.BILINEAR}
"""By what pixels are enlarged, and how: doubled ones fill the blocks in which WebP keeps colours, so that a single
voxel keeps its own; fourfold ones of small volumes are interpolated, as a workstation does."""

LARGEST = 1024
"""Pixels along the longer side that a page can show."""


def embed(pixels: Array, pictures: int) -> str:
    """The data address of pixels (columns, rows, 3) from 0 to 1, for a page that holds so many `pictures`."""
    whole = Pillow.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(1, 0, 2))
    share = PAGE_BYTES // max(pictures, 1)
    for longer, quality in RUNGS:
        data, kind = _encoded(_sized(whole, longer), quality)
        if len(data) <= share:
            break
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _sized(picture: Pillow.Image, longer: int) -> Pillow.Image:
    """The picture enlarged by a whole number towards the `longer` side, or shrunk to what a page can show."""
    side = max(picture.size)
    most = LARGEST if longer == RUNGS[0][0] else LARGEST // 2
    if side > most:
        size = max(1, round(picture.width * most / side)), max(1, round(picture.height * most / side))
        return picture.resize(size, Pillow.Resampling.BOX)
    factor = min(ENLARGED, key=lambda one: abs(one * side - longer))
    kind = ENLARGED[factor]
    return picture if kind is None else picture.resize((picture.width * factor, picture.height * factor), kind)


def _encoded(picture: Pillow.Image, quality: int) -> tuple[bytes, str]:
    stream = io.BytesIO()
    # Some system builds of Pillow lack WebP; the page is then larger but complete.
    kind = "webp" if features.check("webp") else "png"
    picture.save(stream, kind, **({"quality": quality, "method": 2} if kind == "webp" else {"compress_level": 6}))
    return stream.getvalue(), kind
