"""How far a picture is from the stored one, letters left out: fonts differ between releases of matplotlib.

Letters are compared as words (`words.json`); what is not a letter, pixel by pixel in small tiles.
"""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from PIL import Image
from scipy import ndimage

PICTURES = Path(__file__).with_name("pictures")
WORDS = Path(__file__).with_name("words.json")

Box = tuple[str, int, int, int, int]
"""A piece of writing, and its left, top, right and bottom end in pixels."""

DPI = 56
"""Of the stored pictures: small files, in which a line of a point is still a pixel wide."""

TILE = 12
"""Pixels along the side of a tile: the mean over it forgives how a rim is smoothed and not what is missing."""

TOLERANCE = 8.0
"""Largest mean difference of a tile, of 255 levels. Between matplotlib 3.9 and 3.11 the figures differ by 5.6 at most.
A missing outline makes 20, limits wider by a quarter 20, an opacity of 0.4 for 0.5 makes 10.6, a map that is shifted
by a voxel 67, flipped or with swapped colours 130 and more."""

MARGIN = 2
"""Pixels around letters that are left out as well."""


def rendered(figure: Figure) -> tuple[np.ndarray, list[Box]]:
    """The pixels (rows, columns, 3) of a figure, and every piece of writing with where it is."""
    if figure.get_layout_engine() is not None:
        # A layout that gives way to letters moves everything with the font.
        figure.set_layout_engine("none")
        figure.subplotpars.update(0.15, 0.15, 0.68, 0.85)
        for axes in figure.axes:
            if (place := axes.get_subplotspec()) is not None:
                axes.set_position(place.get_position(figure))
    figure.set_dpi(DPI)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    pixels = np.asarray(Image.open(stream).convert("RGB"))
    written: list[Artist] = [*texts(figure), *figure.findobj(Legend)]
    return pixels, [_box(one, figure, len(pixels)) for one in written]


def _box(one: Artist, figure: Figure, high: int) -> Box:
    """A text, or a legend without a word of its own: its samples of lines move with its letters."""
    box = one.get_window_extent(figure.canvas.get_renderer())
    ends = (box.x0, high - box.y1, box.x1, high - box.y0)
    said = " ".join(one.get_text().split()) if isinstance(one, Text) else ""
    return said, *(round(end) for end in ends)


def texts(figure: Figure) -> list[Text]:
    """Every piece of writing that is seen."""
    unseen = {id(label) for axes in figure.axes for label in _unseen(axes)}
    written = (text for text in figure.findobj(Text) if id(text) not in unseen)
    return [text for text in written if text.get_visible() and text.get_text().strip()]


def _unseen(axes: Axes) -> Iterator[Text]:
    """Labels that an axis keeps but does not draw: of ticks beyond its ends, and all of them where it is off."""
    for axis, ends, place in ((axes.xaxis, axes.get_xlim(), 0), (axes.yaxis, axes.get_ylim(), 1)):
        low, high = sorted(ends)
        for label in axis.get_ticklabels():
            if not axes.axison or not low <= label.get_position()[place] <= high:
                yield label


def words(boxes: Sequence[Box]) -> list[str]:
    """Everything that is written, in an order that does not depend on where it is."""
    return sorted(box[0] for box in boxes)


def letters(shape: tuple[int, ...], boxes: Sequence[Box]) -> np.ndarray:
    """Where letters are (rows, columns)."""
    found = np.zeros(shape[:2], dtype=bool)
    for _, left, top, right, bottom in boxes:
        rows = slice(max(0, top - MARGIN), max(0, bottom + MARGIN))
        found[rows, max(0, left - MARGIN) : max(0, right + MARGIN)] = True
    return found


def difference(stored: np.ndarray, drawn: np.ndarray, boxes: Sequence[Box] = ()) -> float:
    """The largest mean difference of a tile outside the letters; infinite where sizes differ."""
    if stored.shape != drawn.shape:
        return float("inf")
    gaps = np.maximum(_beyond(stored, drawn), _beyond(drawn, stored)) * ~letters(drawn.shape, boxes)
    rows, columns = (-side % TILE for side in gaps.shape)
    tiles = np.pad(gaps, ((0, rows), (0, columns)))
    high, wide = tiles.shape
    return float(tiles.reshape(high // TILE, TILE, wide // TILE, TILE).mean(axis=(1, 3)).max())


def _beyond(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far each pixel of one picture is from all that lies within a pixel of it in the other (rows, columns).

    Releases place an image up to half a pixel apart.
    """
    near = [ndimage.minimum_filter(other, (3, 3, 1)), ndimage.maximum_filter(other, (3, 3, 1))]
    low, high = (end.astype(float) for end in near)
    return np.maximum(np.maximum(low - one, one - high), 0).max(axis=-1)


def stored(name: str) -> np.ndarray:
    """The stored picture (rows, columns, 3) of a figure."""
    return np.asarray(Image.open(PICTURES / f"{name}.png").convert("RGB"))


def known_writing() -> dict[str, list[Box]]:
    """What is written on every stored picture, and where."""
    return {name: [tuple(box) for box in boxes] for name, boxes in json.loads(WORDS.read_text("utf-8")).items()}
