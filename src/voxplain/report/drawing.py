"""A scene as SVG inside the page: pixels embedded once, everything else drawn as lines and letters.

Many times faster and smaller than a figure of matplotlib, sharp at every size, and printed as vectors.
"""

import hashlib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator
from markupsafe import Markup
from matplotlib.colors import to_hex

from voxplain.report.display import Array, Scale, blend, number
from voxplain.report.embed import embed
from voxplain.report.panels import BAR_GREY, BAR_STEPS, CROSS, CROSS_GAP, FRAME, INK, SOFT, Panel
from voxplain.report.scene import Scene

VOLUME_WIDE, FLAT_WIDE, HIGHEST, LOWEST = 860.0, 560.0, 430.0, 60.0
"""Units for all pictures of a row together (of a volume, of a 2D image), and bounds of a picture's height."""

GAP, NAME, BAR, STEPS = 10.0, 20.0, 128.0, 17
"""Units between pictures, for a name above them and for the colour bar; and how many colours make the bar."""

TILE = 190.0
"""Units that the longer side of a picture among many has."""

LETTER = 7.2
"""Units that a letter of a sentence takes."""

SVG = Markup('<svg viewBox="0 0 {:.1f} {:.1f}" width="{:.0f}" height="{:.0f}" role="img" aria-label="{}">{}</svg>')
PIXELS = Markup('<image id="{}" width="1" height="1" preserveAspectRatio="none" href="{}"/>')
COLOURS = Markup('<linearGradient id="{}" x1="0" y1="{}" x2="{}" y2="0">{}</linearGradient>')
TEXT = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" fill="{}"{}>{}</text>')


@dataclass
class Stock:
    """The pixels and colour bars of a case, each held once: equal ones are shown again by their name."""

    pictures: int
    """How many pictures the whole page will hold: they share its bytes."""
    owner: str = "case"
    """How the names begin: a page holds the stocks of many cases."""
    names: dict[str, str] = field(default_factory=dict)

    def picture(self, pixels: Array) -> Markup:
        """Pixels (columns, rows, 3) as an element one unit wide and high."""
        key = hashlib.sha256(np.ascontiguousarray(pixels).tobytes() + repr(pixels.shape).encode()).hexdigest()
        if key in self.names:
            return Markup('<use href="#{}"/>').format(self.names[key])
        self.names[key] = f"{self.owner}-pixels-{len(self.names)}"
        return PIXELS.format(self.names[key], embed(pixels, self.pictures))

    def colours(self, scale: Scale, *, upright: bool) -> tuple[Markup, str]:
        """The definition of a bar's colours (empty where the page has it already) and its name."""
        values = np.linspace(scale.low, scale.high, STEPS)
        pixels = blend(np.full(STEPS, BAR_GREY, dtype=np.float32), scale(values))
        stops = [to_hex(colour) for colour in np.clip(pixels, 0, 1).tolist()]
        key = repr((stops, upright))
        if key in self.names:
            return Markup(""), self.names[key]
        self.names[key] = name = f"{self.owner}-colours-{len(self.names)}"
        stop = Markup('<stop offset="{}" stop-color="{}"/>')
        inside = Markup("").join(stop.format(round(n / (STEPS - 1), 4), colour) for n, colour in enumerate(stops))
        across, along = (0, 1) if upright else (1, 0)
        return COLOURS.format(name, along, across, inside), name


def draw(shown: Scene, unit: str, words: str, stock: Stock) -> Markup:
    """The planes of a scene without and with the map, and the colour bar; `words` are for those who cannot see it."""
    rows = [shown.plain, shown.laid_over] if shown.volume else [(*shown.plain, *shown.laid_over)]
    gaps = GAP * (len(rows[0]) - 1)
    room = (VOLUME_WIDE if shown.volume else FLAT_WIDE) - gaps
    # One scale for all planes, so that lengths compare.
    scale = min(room / sum(panel.size[0] for panel in rows[0]), HIGHEST / max(panel.size[1] for panel in rows[0]))
    high = max(LOWEST, max(panel.size[1] for panel in rows[0]) * scale)
    wide = sum(panel.size[0] for panel in rows[0]) * scale + gaps
    parts = []
    for place, row in enumerate(rows):
        left, top = 0.0, place * (high + NAME) + NAME
        for panel in row:
            parts.append(_panel(panel, left, top, scale, stock, first=panel is rows[0][0]))
            left += panel.size[0] * scale + GAP
    if not shown.scale.blank:
        parts.append(_upright_bar(shown.scale, unit, wide + GAP, (len(rows) - 1) * (high + NAME) + NAME, high, stock))
    return _svg(wide + (0 if shown.scale.blank else BAR), len(rows) * (high + NAME), words, parts)


def draw_tile(panel: Panel, scale: Scale | None, words: str, stock: Stock, *, side: float = TILE) -> Markup:
    """One plane whose longer side has `side` units, with a flat colour bar below it where it has a `scale`."""
    factor = side / max(panel.size)
    wide, high = (side * factor for side in panel.size)
    parts = [_panel(panel, 0, 0, factor, stock, first=scale is None, named=False)]
    if scale is not None and not scale.blank:
        defined, name = stock.colours(scale, upright=False)
        bar = Markup('{}<rect y="{:.1f}" width="{:.1f}" height="6" fill="url(#{})"/>')
        parts.append(bar.format(defined, high + 4, wide, name))
    return _svg(wide, high + 10, words, parts)


def limits(scale: Scale) -> str:
    """The colour limits of a map, as they stand below a small picture."""
    high = number(scale.high)
    return f"±{high}" if scale.low == -scale.high else f"{number(scale.low)} to {high}"


def _svg(wide: float, high: float, words: str, parts: Sequence[Markup]) -> Markup:
    return SVG.format(wide, high, wide, high, words, Markup("").join(parts))


def _panel(
    panel: Panel, left: float, top: float, scale: float, stock: Stock, *, first: bool, named: bool = True
) -> Markup:
    """A plane at its place: pixels, rim of the mask, crosshair, letters, and a scale bar on the first."""
    wide, high = (side * scale for side in panel.size)
    pixels = Markup('<g transform="scale({:.3f} {:.3f})">{}</g>').format(wide, high, stock.picture(panel.pixels))
    frame = Markup('<rect width="{:.1f}" height="{:.1f}" fill="none" stroke="{}"/>').format(wide, high, FRAME)
    parts = [pixels, frame, _rim(panel, scale), _crosshair(panel, scale), _letters(panel, wide, high)]
    parts += [_text(0, -6, panel.name, fill=SOFT)] if named else []
    parts += [_ruler(panel, wide, high, scale)] if first else []
    parts += [_across(panel.words, wide, high)] if panel.words and named else []
    return Markup('<g transform="translate({:.1f} {:.1f})">{}</g>').format(left, top, Markup("").join(parts))


def _text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = INK, halo: bool = False) -> Markup:
    kind = Markup(' class="halo"') if halo else ""
    return TEXT.format(x, y, anchor, fill, kind, words)


def _rim(panel: Panel, scale: float) -> Markup:
    """The outline of the mask, half way between the centres of voxels inside and outside."""
    if panel.outline is None or not panel.outline.any():
        return Markup("")
    inside = np.pad(panel.outline.astype(np.float32), 1)  # closed where a mask touches the picture's edge
    lines = contour_generator(z=inside.T).lines(0.5)
    step = np.array(panel.step) * scale
    path = " ".join(_path((np.asarray(line, dtype=np.float64) - 0.5) * step) for line in lines)
    return Markup('<path class="rim dark" d="{0}"/><path class="rim" d="{0}"/>').format(path)


def _path(points: npt.NDArray[np.float64]) -> str:
    steps = [f"{x:.1f} {y:.1f}" for x, y in points]
    return f"M{'L'.join(dict.fromkeys(steps))}Z"


def _crosshair(panel: Panel, scale: float) -> Markup:
    """Lines that meet at the chosen voxel's centre, with a gap that leaves the evidence free."""
    if panel.cross is None:
        return Markup("")
    x, y = ((place + 0.5) * step * scale for place, step in zip(panel.cross, panel.step, strict=True))
    wide, high = (side * scale for side in panel.size)
    gap = min(CROSS_GAP[0] * max(wide, high), CROSS_GAP[1] * min(wide, high))
    pieces = [f"M{start:.1f} {y:.1f}H{end:.1f}" for start, end in ((0.0, x - gap), (x + gap, wide)) if start < end] + [
        f"M{x:.1f} {start:.1f}V{end:.1f}" for start, end in ((0.0, y - gap), (y + gap, high)) if start < end
    ]
    return Markup('<path d="{}" stroke="{}" fill="none" opacity=".75"/>').format("".join(pieces), CROSS)


def _letters(panel: Panel, wide: float, high: float) -> Markup:
    places = ((5, high / 2 + 5, "start"), (wide - 5, high / 2 + 5, "end"), (wide / 2, 17, "middle"),
              (wide / 2, high - 7, "middle"))  # fmt: skip
    shown = [
        _text(x, y, letter, anchor=anchor, halo=True)
        for letter, (x, y, anchor) in zip(panel.letters, places, strict=True)
        if letter
    ]
    return Markup("").join(shown)


def _ruler(panel: Panel, wide: float, high: float, scale: float) -> Markup:
    length = max([step for step in BAR_STEPS if step <= panel.size[0] / 3], default=0) if panel.ruler else 0
    if not length:
        return Markup("")
    bar = Markup('<rect x="6" y="{:.1f}" width="{:.1f}" height="3" fill="{}" stroke="#000" stroke-width=".5"/>')
    return bar.format(high - 9, length * scale, INK) + _text(6, high - 14, f"{length} {panel.ruler}", halo=True)


def _across(words: str, wide: float, high: float) -> Markup:
    """A sentence over the middle of the picture, wrapped to its width."""
    lines = textwrap.wrap(words, max(10, int(wide / LETTER) - 2))
    shown = [_text(wide / 2, high * 0.42 + 16 * n, line, anchor="middle", halo=True) for n, line in enumerate(lines)]
    return Markup("").join(shown)


def _upright_bar(scale: Scale, unit: str, left: float, top: float, high: float, stock: Stock) -> Markup:
    """The colour bar as it looks on dark tissue, with the raw extremes at its ends."""
    defined, name = stock.colours(scale, upright=True)
    length, (low, most) = 0.8 * high - 20, scale.raw
    bar = Markup('{}<rect width="18" height="{:.1f}" fill="url(#{})" stroke="{}"/>').format(
        defined, length, name, FRAME
    )
    ticks = [
        _text(24, length * (1 - share) + 4, number(float(scale.low + share * (scale.high - scale.low))))
        for share in np.linspace(0, 1, 5)
    ]
    ends = [_text(0, -14, f"max {number(most)}", fill=SOFT), _text(0, length + 23, f"min {number(low)}", fill=SOFT)]
    along = Markup('<g transform="translate(110 {:.1f}) rotate(-90)">{}</g>').format(
        length / 2, _text(0, 0, unit if len(unit) * LETTER <= high else unit[: int(high / LETTER)] + "…",
                          anchor="middle", fill=INK),
    )  # fmt: skip
    inside = Markup("").join([bar, *ticks, *ends, along])
    return Markup('<g transform="translate({:.1f} {:.1f})">{}</g>').format(left, top + 0.1 * high + 8, inside)
