"""The picture of one attribution over its image: three planes of a volume, or a 2D image beside its overlay."""

import io
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.writing import written_beside
from voxplain.errors import FileError
from voxplain.report.panels import BAD, INK, SOFT, Panel, draw_bar, draw_panel
from voxplain.report.scene import Scene, scene

DPI = 150
VOLUME_WIDE, FLAT_WIDE, PICTURE_HIGH = 7.6, 5.6, 3.7
"""Inches for all pictures of a row together (of a volume, of a 2D image), and for the height of one."""

MARGIN, GAP, NAME, LINE, BAR = 0.15, 0.1, 0.22, 0.155, 1.15
"""Inches at the rim, between pictures, for a name above them, for a line of text, and for the colour bar."""

NARROWEST = 6.4
"""Inches; a narrower figure would break its caption into ribbons."""

LETTERS_PER_INCH = 16.3
"""How many caption letters fit into an inch."""

FAST = {"compress_level": 3}
"""A third of the time of the usual level for a few percent more bytes."""

FORMATS: dict[str, dict[str, Any]] = {
    "png": {"metadata": {"Software": None}, "pil_kwargs": FAST},
    "pdf": {"metadata": {"Creator": None, "Producer": None, "CreationDate": None}},
    "svg": {"metadata": {"Creator": None, "Date": None}},
}
"""Kinds of files, written without date and version."""

TITLE_SHARE = 0.78
"""Title letters are larger: this share of the caption's letters fits into an inch."""

PLAIN = "default"
"""matplotlib's own style, set while drawing: a user's settings must not change the picture."""


class Picture(Figure):
    """A figure apart from pyplot's global state that shows itself in a notebook and knows its own words."""

    scene: Scene
    """What is shown."""
    body: tuple[float, float] = (0.0, 1.0)
    """Bottom and top of the part between title and caption, as shares of the height."""

    def _repr_png_(self) -> bytes:
        return png(self)


def draw(
    image: Image,
    attribution: Attribution,
    *,
    mask: Image | None = None,
    channel: str | None = None,
    limits: Sequence[float] | None = None,
    window: Sequence[float] | None = None,
    title: str | None = None,
) -> Picture:
    """The attribution over its image, on the image's own voxels: nothing is resampled, flipped or normalised.

    A volume is cut in three planes in radiological convention, through the place where the map is strongest (through
    its middle where the map is constant): the grey image above, the overlay below. A 2D image stands beside its
    overlay. `channel` picks the image channel shown and, where the map has one for each, the map's; `limits` fixes the
    colour limits, `window` black and white. Same input, same bytes. Raises InputError where map or mask lie on another
    grid than the image.
    """
    shown = scene(image, attribution, mask=mask, channel=channel, limits=limits, window=window, title=title)
    with style.context(PLAIN):
        return _compose(shown, attribution.unit or attribution.quantity.value)


@dataclass(frozen=True)
class _Layout:
    """Inches: where the pictures of a scene go."""

    rows: tuple[tuple[Panel, ...], ...]
    scale: float
    """Inches per unit of the panels; one for all planes, so that lengths compare."""
    width: float
    row_height: float
    above: float
    """Title and alarm."""
    below: float
    """Caption."""

    @property
    def body(self) -> float:
        """Height of all pictures with their names."""
        return len(self.rows) * (self.row_height + NAME)

    @property
    def height(self) -> float:
        """Height of the figure."""
        return self.above + self.body + self.below


def _layout(shown: Scene, lines: int, titles: int) -> _Layout:
    rows = (shown.plain, shown.laid_over) if shown.volume else ((*shown.plain, *shown.laid_over),)
    room = (VOLUME_WIDE if shown.volume else FLAT_WIDE) - GAP * (len(rows[0]) - 1)
    scale = min(room / sum(panel.size[0] for panel in rows[0]), PICTURE_HIGH / max(panel.size[1] for panel in rows[0]))
    wide = sum(panel.size[0] for panel in rows[0]) * scale + GAP * (len(rows[0]) - 1)
    width = max(wide + BAR + 2 * MARGIN, NARROWEST)
    row_height = max(panel.size[1] for panel in rows[0]) * scale
    above = MARGIN + titles * 1.25 * LINE + (1.6 * LINE if shown.alarm else 0)
    return _Layout(rows, scale, width, row_height, above, lines * LINE + 2 * MARGIN)


def _compose(shown: Scene, unit: str) -> Picture:
    probe = _layout(shown, 0, 0)
    lines = textwrap.wrap(" ".join(shown.caption), int((probe.width - 2 * MARGIN) * LETTERS_PER_INCH))
    titles = _title_lines(shown.title, probe.width)
    layout = _layout(shown, len(lines), len(titles))
    picture = Picture(figsize=(layout.width, layout.height), dpi=DPI, facecolor="black")
    FigureCanvasAgg(picture)
    picture.scene = shown
    _write_titles(picture, layout, titles, shown.alarm)
    _write_caption(picture, layout, lines)
    _place_panels(picture, layout, shown, unit)
    alarm = 1.6 * LINE if shown.alarm else 0
    picture.body = (layout.below - MARGIN / 2) / layout.height, 1 - (layout.above - alarm) / layout.height
    return picture


def _title_lines(title: str, width: float) -> list[str]:
    letters = int((width - 2 * MARGIN) * LETTERS_PER_INCH * TITLE_SHARE)
    lines = [" ".join(line.split()) for line in title.splitlines() if line.strip()]
    return [line if len(line) <= letters else line[: letters - 1] + "…" for line in lines]


def _write_titles(picture: Picture, layout: _Layout, titles: Sequence[str], alarm: str) -> None:
    y = layout.height - MARGIN
    for place, line in enumerate(titles):
        look: dict[str, Any] = {"fontsize": 9.5, "color": INK} if place == 0 else {"fontsize": 8.5, "color": SOFT}
        _write(picture, layout, y, line, **look)
        y -= 1.25 * LINE
    if alarm:
        _write(picture, layout, y - 0.2 * LINE, alarm, fontsize=9, color=BAD, fontweight="bold")


def _write_caption(picture: Picture, layout: _Layout, lines: Sequence[str]) -> None:
    for place, line in enumerate(lines):
        _write(picture, layout, layout.below - MARGIN - place * LINE, line, fontsize=7.5, color=SOFT)


def _write(picture: Picture, layout: _Layout, y: float, text: str, **look: Any) -> None:
    # Names come from users: without parse_math a dollar sign would be read as a formula.
    picture.text(MARGIN / layout.width, y / layout.height, text, va="top", ha="left", parse_math=False, **look)


def _place_panels(picture: Picture, layout: _Layout, shown: Scene, unit: str) -> None:
    top = layout.height - layout.above
    for place, row in enumerate(layout.rows):
        left = MARGIN
        ceiling = top - place * (layout.row_height + NAME) - NAME
        for panel in row:
            wide, high = (side * layout.scale for side in panel.size)
            axes = _axes(picture, layout, left, ceiling - high, wide, high)
            draw_panel(axes, panel, first=panel is layout.rows[0][0])
            left += wide + GAP
        if place == len(layout.rows) - 1 and not shown.scale.blank:
            bar = _axes(picture, layout, left + 0.1, ceiling - 0.9 * layout.row_height, 0.16, 0.8 * layout.row_height)
            draw_bar(bar, shown.scale, unit)


def _axes(picture: Picture, layout: _Layout, left: float, bottom: float, wide: float, high: float) -> Axes:
    width, height = layout.width, layout.height
    return picture.add_axes((left / width, bottom / height, wide / width, high / height))


def png(picture: Figure) -> bytes:
    """The figure as PNG bytes, the same for the same figure: no date and no version inside."""
    return _written(picture, "png")


def save(picture: Figure, path: str | Path) -> Path:
    """Write the figure as its suffix says: .png pixels, .pdf or .svg lines and letters for print; same input, same
    bytes. Raises FileError for another suffix and where the file cannot be written.
    """
    target = Path(path)
    drawn = _written(picture, check_suffix(target))
    with written_beside(target) as beside:
        beside.write_bytes(drawn)
    return target


def check_suffix(path: Path) -> str:
    """The kind of file that a figure's name asks for: png, pdf or svg; raises FileError for another one."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise FileError(f"figure must be a file ending in .png, .pdf or .svg, got {path.name!r}")
    return kind


def _written(picture: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    with style.context(PLAIN), rc_context({"svg.hashsalt": "voxplain"}), warnings.catch_warnings():
        # A name in a script the font lacks shows boxes; that is no reason to fail or to clutter the terminal.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        picture.savefig(stream, format=kind, **FORMATS[kind])
    return stream.getvalue()
