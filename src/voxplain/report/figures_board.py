"""A board: pictures in rows with names above and numbers below, a title, and the sentences that say how to read it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import BboxImage
from matplotlib.transforms import Bbox, TransformedBbox

from voxplain.errors import InputError
from voxplain.report.display import Array, Scale, blend, number
from voxplain.report.figures import DPI, GAP, LINE, MARGIN, PLAIN, Picture
from voxplain.report.palettes import Fire, Stepped
from voxplain.report.panels import BAD, BAR_GREY, INK, SOFT, Panel, draw_panel

LETTER_POINTS = 112
"""Letters in an inch times their size in points, of sans serif text; a little under the mean, so that lines fit."""

NAME_SIZE, TOLD_SIZE, CAPTION_SIZE, TITLE_SIZE = 7.5, 6.5, 7.5, 10.0
"""Points of the letters."""

SMALL = 0.13
"""Inches of a line of names or numbers."""

BAR_WIDE, BAR_HIGH, ROW_NAME = 0.95, 0.06, 0.47
"""Inches of a row's colour bar with its numbers, of a flat bar below a picture, and of a row's name."""


MOST_NAME_LINES = 3
"""Lines of a row's name; of a longer one the end is left out."""

SHORT_BAR, END_GAP = 1.1, 0.07
"""Inches: a shorter bar has three ticks; between its end, whose tick has a label, and the raw extreme."""


GLUE = "\N{WORD JOINER}"
"""Marks a piece of a name that goes on without a space."""


@dataclass(frozen=True)
class Look:
    """Colours of what is around the pictures."""

    surround: str
    ink: str
    soft: str
    bad: str
    under_bar: float
    """The grey that shows through a colour bar where the map is transparent."""


DARK = Look("black", INK, SOFT, BAD, BAR_GREY)
PAPER = Look("white", "#111111", "#505050", "#c4001a", BAR_GREY)


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture of a board."""

    panel: Panel
    """Its name stands above it."""
    told: tuple[str, ...] = ()
    """Lines below it."""
    bad: bool = False
    """The name is printed in red."""
    alarm: str = ""
    """Checks that failed, printed in red below."""
    doubt: str = ""
    """Why the map may be no evidence, printed in red below."""
    scale: Scale | None = None
    """Colours of the flat bar below the picture; None for none."""
    more: Callable[[Axes], None] | None = None
    """Draws further marks on the finished picture."""


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a board."""

    cells: tuple[Cell | None, ...]
    """None leaves a place empty."""
    name: str = ""
    """What stands at the left of the row, turned upwards."""
    bar: Scale | None = None
    """Colours of a bar at the right of the row; None for none."""
    unit: str = ""


def draw_board(
    rows: Sequence[Row],
    *,
    title: str = "",
    caption: Sequence[str] = (),
    look: Look = DARK,
    largest: tuple[float, float] = (1.9, 2.2),
) -> Picture:
    """The board as a figure; `largest` is the size in inches that a picture may have at most."""
    if not any(cell for row in rows for cell in row.cells):
        raise InputError("a figure must have at least one picture to show, got none")
    with style.context(PLAIN):
        return _Board(rows, title, caption, look, largest).drawn()


class _Board:
    """Where everything goes, in inches from the top left corner."""

    def __init__(
        self, rows: Sequence[Row], title: str, caption: Sequence[str], look: Look, largest: tuple[float, float]
    ) -> None:
        self._rows, self._look, self._largest = rows, look, largest
        widest = max(self._size(cell.panel)[0] for row in rows for cell in row.cells if cell)
        # Narrow pictures leave room for more of them, but names need their inches.
        self._step = max(widest, 0.6 * largest[0]) + GAP
        self._left = MARGIN + (ROW_NAME if any(row.name for row in rows) else 0)
        most = max(len(row.cells) for row in rows)
        self._bars_left = self._left + most * self._step
        bars = BAR_WIDE if any(row.bar for row in rows) else 0
        self._width = max(self._bars_left + bars + MARGIN - GAP, 4.6)
        self._titles = [
            (part, place == 0)
            for place, line in enumerate(title.splitlines())
            for part in self._wrapped(line, self._inner, TITLE_SIZE)
        ]
        self._caption = self._wrapped(" ".join(caption), self._inner, CAPTION_SIZE)
        self._tops = [MARGIN + len(self._titles) * 1.3 * LINE + (0.08 if self._titles else 0)]
        for row in rows:
            self._tops.append(self._tops[-1] + sum(self._parts(row)) + GAP)
        self._height = self._tops[-1] + len(self._caption) * LINE + MARGIN
        self._figure = Picture(figsize=(self._width, self._height), dpi=DPI, facecolor=look.surround)

    def drawn(self) -> Picture:
        """The figure with everything on it."""
        FigureCanvasAgg(self._figure)
        for place, (line, main) in enumerate(self._titles):
            colour, size = (self._look.ink, TITLE_SIZE) if main else (self._look.soft, 8.5)
            self._write(MARGIN, MARGIN + place * 1.3 * LINE, line, fontsize=size, color=colour)
        first = next(cell for row in self._rows for cell in row.cells if cell)
        for row, top in zip(self._rows, self._tops, strict=False):
            self._draw_row(row, top, first)
        for place, line in enumerate(self._caption):
            self._write(MARGIN, self._tops[-1] + place * LINE, line, fontsize=CAPTION_SIZE, color=self._look.soft)
        below = (self._height - self._tops[-1]) / self._height
        self._figure.body = below, 1 - (self._tops[0] - 0.04) / self._height
        return self._figure

    @property
    def _inner(self) -> float:
        return self._width - 2 * MARGIN

    def _size(self, panel: Panel) -> tuple[float, float]:
        wide, high = panel.size
        fit = min(self._largest[0] / wide, self._largest[1] / high)
        return wide * fit, high * fit

    @staticmethod
    def _wrapped(text: str, inches: float, size: float) -> list[str]:
        return wrapped(text, max(8, int(inches * LETTER_POINTS / size)))

    def _names(self, cell: Cell) -> list[str]:
        return self._wrapped(cell.panel.name, self._step - GAP / 2, NAME_SIZE)

    def _told(self, cell: Cell) -> list[tuple[str, str]]:
        """Lines below a picture with their colours."""
        alarm = [cell.doubt] * bool(cell.doubt) + [f"CHECK FAILED: {cell.alarm}"] * bool(cell.alarm)
        lines = [(line, self._look.soft) for line in cell.told] + [(line, self._look.bad) for line in alarm]
        room = self._step - GAP / 2
        return [(part, colour) for line, colour in lines for part in self._wrapped(line, room, TOLD_SIZE)]

    def _parts(self, row: Row) -> tuple[float, float, float]:
        """Height of a row's names, pictures and numbers."""
        cells = [cell for cell in row.cells if cell]
        names = max((len(self._names(cell)) for cell in cells), default=0)
        lines = max((len(self._told(cell)) for cell in cells), default=0)
        bar = BAR_HIGH + 0.05 if any(cell.scale for cell in cells) else 0
        high = max((self._size(cell.panel)[1] for cell in cells), default=0)
        return names * SMALL + 0.05, high, bar + lines * SMALL + 0.04

    def _draw_row(self, row: Row, top: float, first: Cell) -> None:
        names, high, _ = self._parts(row)
        if row.name:
            self._draw_row_name(row.name, top + names + high / 2, high)
        for place, cell in enumerate(row.cells):
            if cell:
                self._draw_cell(cell, self._left + place * self._step, top + names, first is cell)
        if row.bar is not None and not row.bar.blank:
            wide = 0.13
            axes = self._axes(self._bars_left + 0.06, top + names + 0.08 * high, wide, 0.84 * high)
            draw_scale(axes, row.bar, row.unit, self._look)

    def _draw_row_name(self, name: str, middle: float, high: float) -> None:
        lines = wrapped(name, max(8, int(high * LETTER_POINTS / NAME_SIZE)))
        whole = "\n".join(lines if len(lines) <= MOST_NAME_LINES else [*lines[: MOST_NAME_LINES - 1], "…"])
        x, y = (MARGIN + 0.02) / self._width, 1 - middle / self._height
        look: dict[str, Any] = {"fontsize": NAME_SIZE, "color": self._look.ink, "rotation": 90, "linespacing": 1.1}
        self._figure.text(x, y, whole, ha="left", va="center", parse_math=False, multialignment="center", **look)

    def _draw_cell(self, cell: Cell, left: float, top: float, first: bool) -> None:
        colour = self._look.bad if cell.bad else self._look.ink
        names = self._names(cell)
        for place, line in enumerate(names, -len(names)):
            self._write(left, top + place * SMALL - 0.03, line, fontsize=NAME_SIZE, color=colour)
        wide, high = self._size(cell.panel)
        axes = self._axes(left, top, wide, high)
        draw_panel(axes, replace(cell.panel, name=""), first=first)
        if cell.more:
            cell.more(axes)
        below = top + high + 0.03
        if cell.scale is not None and not cell.scale.blank:
            self._draw_flat_scale(left, below, wide, cell.scale)
            below += BAR_HIGH + 0.03
        for place, (line, tone) in enumerate(self._told(cell)):
            self._write(left, below + place * SMALL, line, fontsize=TOLD_SIZE, color=tone)

    def _draw_flat_scale(self, left: float, top: float, wide: float, scale: Scale) -> None:
        """A thin bar of the colours between the limits; axes of its own would cost as much as a picture."""
        place = Bbox.from_bounds(left, self._height - top - BAR_HIGH, wide, BAR_HIGH)
        bar = BboxImage(TransformedBbox(place, self._figure.dpi_scale_trans), interpolation="nearest")
        bar.set_data(_ramp(scale, self._look)[None])
        self._figure.add_artist(bar)

    def _axes(self, left: float, top: float, wide: float, high: float) -> Axes:
        across, along = 1 / self._width, 1 / self._height
        return self._figure.add_axes((left * across, 1 - (top + high) * along, wide * across, high * along))

    def _write(self, left: float, top: float, text: str, **look: Any) -> None:
        x, y = left / self._width, 1 - top / self._height
        self._figure.text(x, y, text, va="top", ha="left", parse_math=False, **look)


def wrapped(text: str, letters: int) -> list[str]:
    """Lines of at most so many letters; long names are broken after '_', '(', ',' or '.' where they can be."""
    words = []
    for word in text.split():
        pieces = [word] if len(word) <= 0.7 * letters else [piece for piece in re.split(r"(?<=[_(,.])", word) if piece]
        words += [*[piece + GLUE for piece in pieces[:-1]], pieces[-1]]
    lines = [""]
    for word in (part for whole in words for part in _cut(whole, letters)):
        if len((lines[-1] + word).rstrip(GLUE)) > letters and lines[-1]:
            lines.append("")
        lines[-1] += word.rstrip(GLUE) if word.endswith(GLUE) else f"{word} "
    return [line.strip() for line in lines if line.strip()]


def _cut(word: str, letters: int) -> list[str]:
    """A word that no line can hold, in pieces that one can."""
    bare, glue = word.rstrip(GLUE), GLUE if word.endswith(GLUE) else ""
    pieces = [bare[start : start + letters] for start in range(0, len(bare), letters)]
    return [*[piece + GLUE for piece in pieces[:-1]], pieces[-1] + glue]


def _ramp(scale: Scale, look: Look) -> Array:
    steps = np.linspace(scale.low, scale.high, 256)
    return blend(np.full(256, look.under_bar, dtype=np.float32), scale(steps))


def draw_scale(axes: Axes, scale: Scale, unit: str, look: Look) -> None:
    """An upright colour bar with its unit, the raw extremes at its ends."""
    axes.imshow(_ramp(scale, look)[:, None], extent=(0, 1, scale.low, scale.high), origin="lower", aspect="auto")
    shares = isinstance(scale, Fire) and not scale.true_scale
    inches = axes.bbox.height / axes.get_figure().dpi  # type: ignore[union-attr]
    ticks = _ticks(scale, short=inches < SHORT_BAR)
    names = [number(float(tick / scale.high if shares else tick)) for tick in ticks]
    axes.set_xticks([])
    axes.set_yticks(ticks, names, fontsize=TOLD_SIZE, color=look.ink)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.tick_params(axis="y", length=2, color=look.soft)
    label = f"share of {number(scale.high)} {unit}".strip() if shares else unit
    label = "\n".join(wrapped(label, max(8, int(inches * LETTER_POINTS / TOLD_SIZE))))
    axes.set_ylabel(label, fontsize=TOLD_SIZE, color=look.ink, parse_math=False, labelpad=2)
    _frame(axes, look)
    low, high = (number(value) for value in scale.raw)
    room = END_GAP / inches
    for y, text, along in ((1 + room, f"max {high}", "bottom"), (-room, f"min {low}", "top")):
        axes.text(0, y, text, transform=axes.transAxes, color=look.soft, fontsize=TOLD_SIZE, va=along, parse_math=False)


def _ticks(scale: Scale, *, short: bool) -> npt.NDArray[np.float64]:
    if isinstance(scale, Stepped):
        return np.arange(scale.low, scale.high + 1, dtype=np.float64)
    count = 3 if short else 7 if isinstance(scale, Fire) else 5
    ticks = np.linspace(scale.low, scale.high, count, dtype=np.float64)
    # The middle of symmetric limits may miss 0 by rounding and would read -5.55e-17.
    return np.where(np.abs(ticks) < 1e-9 * (scale.high - scale.low), 0, ticks)


def _frame(axes: Axes, look: Look) -> None:
    for spine in axes.spines.values():
        spine.set(color=look.soft, linewidth=0.5)
