"""The contact sheet: every map of one case and target side by side, on one slice of the image."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.report.display import Array, Scale, blend, grey_window, number, one_map
from voxplain.report.figures import DPI, GAP, LETTERS_PER_INCH, LINE, MARGIN, PLAIN, Picture
from voxplain.report.panels import BAD, BAR_GREY, FRAME, INK, SOFT, Panel, draw_panel
from voxplain.report.scene import Cut, coloured_panel, conventions, grey_panel, wide_planes
from voxplain.space.grid import Grid

PICTURE = (1.9, 2.2)
"""Inches that a picture is at most wide and high."""

MOST_COLUMNS = 6
"""Pictures in a row: more would not be legible on a page."""

NAME_LINES, SMALL_LINE, BAR_HIGH = 2, 0.125, 0.06
"""Lines for a method's name, inches of a small line, and of the colour bar below a picture."""

LETTERS, TINY = 16.5, 20.5
"""How many letters fit into an inch: of a method's name or a bold warning, and of the limits."""


@dataclass(frozen=True, eq=False)
class Ground:
    """The slice of a case that all maps are shown on."""

    cut: Cut
    panel: Panel
    """The image alone."""
    words: tuple[str, ...]
    """Sentences: which slice, window, channel, convention."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One map on the slice."""

    panel: Panel
    scale: Scale
    unit: str
    alarm: str
    """Which checks of the map failed; empty where none did."""
    derivative: bool
    """True where the two colours are directions and not evidence for and against."""

    @property
    def warning(self) -> str:
        """What stands below the map in red: the checks that failed, and that it lies like noise."""
        return "; ".join(part for part in (f"CHECK FAILED: {self.alarm}" * bool(self.alarm), self.scale.doubt) if part)


def ground(image: Image, mask: Image | None = None) -> Ground:
    """The slice that shows most of the mask, else the middle one; axial where the volume has such a plane."""
    inside = None if mask is None else (mask.values != 0).any(axis=0)
    view = wide_planes(image.grid)[0]
    index, why = _slice(image.grid, view.order[2], inside)
    cut = Cut(view, index, None)
    voxels = image.values[0]
    grey = grey_window(voxels, image.unit)
    panel = grey_panel(cut, image.grid, grey(cut.take(voxels)), inside)
    channel = "" if image.channels == ("image",) else f"channel {image.channels[0]}, "
    place = () if image.grid.is_2d else (f"{view.name.capitalize()} slice {index}, {why}.",)
    words = (*place, f"Image: {channel}{grey.words}.", *conventions([panel], inside, image.grid))
    return Ground(cut, replace(panel, name="image"), words)


def _slice(grid: Grid, axis: int, inside: npt.NDArray[np.bool_] | None) -> tuple[int, str]:
    """The number of the slice along an axis, and why it was taken."""
    others = tuple(other for other in range(3) if other != axis)
    areas = np.zeros(grid.shape[axis]) if inside is None else inside.sum(axis=others)
    if not areas.any():
        return grid.shape[axis] // 2, "the middle one"
    largest = np.flatnonzero(areas == areas.max())
    return int(largest[len(largest) // 2]), "where the mask is largest"


def tile(on: Ground, attribution: Attribution, scale: Scale) -> Tile:
    """A map on the slice in the colours of its whole `scale`: no slice is stretched to look like something."""
    values, _ = one_map(attribution)
    panel = coloured_panel(on.cut, on.panel, values, scale)
    name = f"{attribution.method}, {attribution.layer}" if attribution.layer else attribution.method
    alarm = ", ".join(check.name for check in attribution.certificate.failures)
    unit = attribution.unit or attribution.quantity.value
    bare = replace(panel, name=name, letters=("", "", "", ""))
    return Tile(bare, scale, unit, alarm, attribution.evidence == "absolute")


def draw_sheet(on: Ground, tiles: Sequence[Tile], title: str) -> Picture:
    """The image and its maps in rows; each map has its own colours and limits, told below it."""
    with style.context(PLAIN):
        return _Sheet(on, tiles, title).drawn()


class _Sheet:
    """Where everything goes, in inches from the top left corner."""

    def __init__(self, on: Ground, tiles: Sequence[Tile], title: str) -> None:
        self._on, self._tiles = on, tiles
        wide, high = on.panel.size
        scale = min(PICTURE[0] / wide, PICTURE[1] / high)
        self._picture = wide * scale, high * scale
        # Narrow pictures leave room for more of them, but names need their inches.
        self._step = max(self._picture[0], 0.75 * PICTURE[0]) + 2 * GAP
        self._columns = min(MOST_COLUMNS, ceil(sqrt(1.4 * (len(tiles) + 1))))
        told = 2 if any(one.warning for one in tiles) else 1
        self._cell = NAME_LINES * SMALL_LINE + 0.06 + self._picture[1] + BAR_HIGH + told * SMALL_LINE + 0.14
        self._width = max(self._columns * self._step + 2 * MARGIN, 5.0)
        self._titles = [line for line in title.splitlines() if line.strip()]
        words = " ".join([*on.words, *_reading(tiles)])
        self._caption = textwrap.wrap(words, int((self._width - 2 * MARGIN) * LETTERS_PER_INCH))
        self._above = MARGIN + len(self._titles) * 1.25 * LINE + 0.1
        self._caption_top = self._above + ceil((len(tiles) + 1) / self._columns) * self._cell + MARGIN
        self._height = self._caption_top + len(self._caption) * LINE + MARGIN
        self._figure = Picture(figsize=(self._width, self._height), dpi=DPI, facecolor="black")

    def drawn(self) -> Picture:
        """The sheet with everything on it."""
        FigureCanvasAgg(self._figure)
        for place, line in enumerate(self._titles):
            look: dict[str, Any] = {"fontsize": 8.5, "color": SOFT} if place else {"fontsize": 9.5, "color": INK}
            self._write(MARGIN, MARGIN + place * 1.25 * LINE, line, **look)
        for place, one in enumerate([None, *self._tiles]):
            row, column = divmod(place, self._columns)
            self._draw_cell(one, MARGIN + column * self._step, self._above + row * self._cell)
        for place, line in enumerate(self._caption):
            self._write(MARGIN, self._caption_top + place * LINE, line, fontsize=7.5, color=SOFT)
        below = (self._height - self._caption_top + MARGIN / 2) / self._height
        self._figure.body = below, 1 - (self._above - 0.1) / self._height
        return self._figure

    def _draw_cell(self, one: Tile | None, left: float, top: float) -> None:
        """The image, or one map with its name above and its limits below."""
        panel = self._on.panel if one is None else one.panel
        self._draw_name(panel.name, left, top)
        top += NAME_LINES * SMALL_LINE + 0.06
        draw_panel(self._axes(left, top, *self._picture), replace(panel, name=""), first=one is None)
        top += self._picture[1] + 0.04
        if one is not None and not one.scale.blank:
            _draw_flat_bar(self._axes(left, top, self._picture[0], BAR_HIGH), one.scale)
            limits = f"{_limits(one.scale)} {one.unit}"
            self._write(left, top + BAR_HIGH + 0.03, self._cut(limits, TINY), fontsize=6, color=SOFT)
        if one is not None and one.warning:
            look = {"fontsize": 6, "color": BAD, "fontweight": "bold"}
            self._write(left, top + BAR_HIGH + 0.03 + SMALL_LINE, self._cut(one.warning), **look)

    def _draw_name(self, name: str, left: float, top: float) -> None:
        lines = textwrap.wrap(name, self._letters(LETTERS))
        lines = [*lines[: NAME_LINES - 1], *(self._cut(" ".join(lines[n:])) for n in [NAME_LINES - 1] if lines[n:])]
        for place, line in enumerate(lines, NAME_LINES - len(lines)):  # next to the picture, not to the one above
            self._write(left, top + place * SMALL_LINE, line, fontsize=6.5, color=INK)

    def _letters(self, an_inch: float) -> int:
        """How many letters are as wide as a cell."""
        return int((self._step - GAP) * an_inch)

    def _cut(self, text: str, an_inch: float = LETTERS) -> str:
        most = self._letters(an_inch)
        return text if len(text) <= most else text[: most - 1] + "…"

    def _axes(self, left: float, top: float, wide: float, high: float) -> Axes:
        across, along = 1 / self._width, 1 / self._height
        return self._figure.add_axes((left * across, 1 - (top + high) * along, wide * across, high * along))

    def _write(self, left: float, top: float, text: str, **look: Any) -> None:
        x, y = left / self._width, 1 - top / self._height
        self._figure.text(x, y, text, va="top", ha="left", parse_math=False, **look)


def _limits(scale: Scale) -> str:
    high = number(scale.high)
    return f"±{high}" if scale.low == -scale.high else f"{number(scale.low)} to {high}"


def _draw_flat_bar(axes: Axes, scale: Scale) -> None:
    steps = np.linspace(scale.low, scale.high, 256)
    pixels: Array = blend(np.full(256, BAR_GREY, dtype=np.float32), scale(steps))
    axes.imshow(pixels[None], aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.5)


def _reading(tiles: Sequence[Tile]) -> list[str]:
    """How to read the colours of the maps that are there."""
    sentences = ["Every map has colour limits of its own, told below it: compare places, not brightness."]
    if any(one.scale.low < 0 and not one.derivative for one in tiles):
        sentences.append("Red to orange speaks for what was explained, blue against it.")
    if any(one.derivative for one in tiles):
        names = ", ".join(one.panel.name for one in tiles if one.derivative)
        sentences.append(f"Derivatives ({names}): red where a brighter voxel would raise the score, else blue.")
    if any(one.scale.low >= 0 for one in tiles):
        sentences.append("Maps from purple to yellow are unsigned.")
    return sentences
