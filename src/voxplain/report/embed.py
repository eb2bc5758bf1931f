"""A drawn picture made small enough to live inside the page."""

import base64
import io
from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import features

PAGE_BYTES = 3_300_000
"""What all pictures of a page may take before base64 adds a third: the page stays below 5 MB, short enough to mail."""

RUNGS = ((1280, 90), (960, 85), (860, 80), (760, 75), (640, 70))
"""Width in pixels and WebP quality, tried in turn until a picture fits its share of the page.

WebP rather than a PNG of few colours: a palette draws false steps into a smooth map, and is twice as large.
"""

SHEET_RUNGS = ((1920, 88), (1600, 84), (1280, 80), (960, 75), (760, 70))
SHEET_SHARE = 4
"""A contact sheet holds many pictures: it may be wider, and take the room of this many."""


@dataclass(frozen=True)
class Embedded:
    """A picture as the page's `img` needs it."""

    source: str
    """A data address."""
    width: int
    height: int


def embed(png: bytes, body: tuple[float, float], pictures: int, *, sheet: bool = False) -> Embedded:
    """The part of a PNG between two heights (shares from the bottom) for a page that holds so many `pictures`."""
    with Pillow.open(io.BytesIO(png)) as opened:
        whole = opened.convert("RGB")
    bottom, top = body
    part = whole.crop((0, round((1 - top) * whole.height), whole.width, round((1 - bottom) * whole.height)))
    share = PAGE_BYTES * (SHEET_SHARE if sheet else 1) // max(pictures, 1)
    for width, quality in SHEET_RUNGS if sheet else RUNGS:
        small = part.resize(_size(part.size, width), Pillow.Resampling.LANCZOS) if part.width > width else part
        data, kind = _encoded(small, quality)
        if len(data) <= share:
            break
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Embedded(source, *small.size)


def _size(size: tuple[int, int], width: int) -> tuple[int, int]:
    return width, max(1, round(size[1] * width / size[0]))


def _encoded(picture: Pillow.Image, quality: int) -> tuple[bytes, str]:
    stream = io.BytesIO()
    # Some system builds of Pillow lack WebP; the page is then larger but complete.
    kind = "webp" if features.check("webp") else "png"
    picture.save(stream, kind, **({"quality": quality, "method": 2} if kind == "webp" else {"optimize": True}))
    return stream.getvalue(), kind
