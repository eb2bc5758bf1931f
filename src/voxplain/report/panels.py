"""One picture of a plane on its axes: pixels, orientation letters, crosshair, mask outline, scale bar."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from voxplain.report.display import Array, Scale, blend, number

INK = "#f2f2f2"
"""Letters and lines on the black surround of a reading room."""
SOFT = "#b8b8b8"
BAD = "#ff6b60"
FRAME = "#5a5a5a"
CROSS = "#ffe14d"
HALO = [withStroke(linewidth=2.0, foreground="black", alpha=0.8)]
"""A dark rim keeps white letters and the scale bar readable on bright bone and white films."""

CROSS_GAP = (0.06, 0.15)
"""Half the gap in the crosshair, at most these shares of the longer and shorter side: the evidence stays free."""

BAR_GREY = 0.25
"""The grey under the colour bar: where it shows through, the map is transparent."""

WORDS_PER_INCH = 13
"""How many letters across a picture fit into an inch."""

BAR_INCHES = 2 / 72
"""How thick a scale bar is."""

BAR_STEPS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Lengths in mm a scale bar may have; the largest under a third of the picture is taken."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One plane ready to be drawn."""

    name: str
    """What stands above it: 'axial', 'image' ..."""
    pixels: Array
    """(columns, rows, 3), red, green and blue from 0 to 1."""
    step: tuple[float, float]
    """Size of a pixel along columns and rows, in mm (or pixels of unknown size)."""
    letters: tuple[str, str, str, str] = ("", "", "", "")
    """Where the patient's sides are: left, right, top and bottom of the picture."""
    cross: tuple[float, float] | None = None
    """Column and row of the crosshair."""
    outline: npt.NDArray[np.bool_] | None = None
    """(columns, rows): the mask whose rim is drawn."""
    words: str = ""
    """A sentence across the picture instead of an overlay: 'constant map'."""
    ruler: str = "mm"
    """What a scale bar counts; '' where lengths are unknown."""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the picture, edge to edge, in the unit of `step`."""
        columns, rows = self.pixels.shape[:2]
        return columns * self.step[0], rows * self.step[1]


def draw_panel(axes: Axes, panel: Panel, *, first: bool = False) -> None:
    """Draw a panel on axes that already have its aspect; the first one of a figure gets the scale bar."""
    (across, down), (width, height) = panel.step, panel.size
    extent = (-across / 2, width - across / 2, height - down / 2, -down / 2)
    # Enlarged pictures are interpolated as a workstation does; shrunk ones averaged, so that no voxel drops out.
    smooth = "bilinear" if axes.bbox.width >= panel.pixels.shape[0] else "hanning"
    axes.imshow(panel.pixels.transpose(1, 0, 2), extent=extent, aspect="auto", interpolation=smooth)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(panel.name, fontsize=8, color=SOFT, pad=3, loc="left", parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.6)
    _outline(axes, panel)
    _cross(axes, panel, extent)
    _letters(axes, panel)
    if first and panel.ruler:
        _scale_bar(axes, width, panel.ruler)
    if panel.words:
        _across(axes, panel.words)


def _across(axes: Axes, words: str) -> None:
    """A sentence over the middle of the picture, wrapped to its width."""
    inches = axes.bbox.width / axes.get_figure().dpi  # type: ignore[union-attr]
    lines = textwrap.fill(words, max(10, int(inches * WORDS_PER_INCH)))
    axes.text(0.5, 0.6, lines, transform=axes.transAxes, color=INK, fontsize=8, ha="center", va="center",
              parse_math=False, path_effects=HALO)  # fmt: skip


def _outline(axes: Axes, panel: Panel) -> None:
    if panel.outline is None or not panel.outline.any():
        return
    # One empty pixel around lets the line close where a mask touches the picture's edge.
    inside = np.pad(panel.outline.astype(np.float32), 1)
    columns = (np.arange(inside.shape[0]) - 1) * panel.step[0]
    rows = (np.arange(inside.shape[1]) - 1) * panel.step[1]
    axes.contour(columns, rows, inside.T, levels=[0.5], colors="black", linewidths=1.8, alpha=0.6)
    axes.contour(columns, rows, inside.T, levels=[0.5], colors="white", linewidths=0.8)


def _cross(axes: Axes, panel: Panel, extent: Sequence[float]) -> None:
    if panel.cross is None:
        return
    x, y = panel.cross[0] * panel.step[0], panel.cross[1] * panel.step[1]
    left, right, bottom, top = extent
    gap = min(CROSS_GAP[0] * max(panel.size), CROSS_GAP[1] * min(panel.size))
    line: dict[str, Any] = {"color": CROSS, "linewidth": 0.6, "alpha": 0.75}
    for start, end in ((left, x - gap), (x + gap, right)):
        if start < end:
            axes.plot([start, end], [y, y], **line)
    for start, end in ((top, y - gap), (y + gap, bottom)):
        if start < end:
            axes.plot([x, x], [start, end], **line)


def _letters(axes: Axes, panel: Panel) -> None:
    beside = ((0.015, 0.5, "left", "center"), (0.985, 0.5, "right", "center"))
    ends = ((0.5, 0.985, "center", "top"), (0.5, 0.015, "center", "bottom"))
    for letter, (x, y, across, along) in zip(panel.letters, (*beside, *ends), strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, color=INK, fontsize=9, fontweight="bold", ha=across,
                  va=along, parse_math=False, path_effects=HALO)  # fmt: skip


def _scale_bar(axes: Axes, width: float, ruler: str) -> None:
    length = max([step for step in BAR_STEPS if step <= width / 3], default=0)
    if not length:
        return
    start, thick = 0.03, BAR_INCHES * axes.get_figure().dpi / axes.bbox.height  # type: ignore[union-attr]
    axes.add_patch(Rectangle((start, 0.03 - thick / 2), length / width, thick, transform=axes.transAxes, zorder=3,
                             facecolor=INK, linewidth=0, path_effects=HALO))  # fmt: skip
    axes.text(start, 0.045, f"{length} {ruler}", transform=axes.transAxes, color=INK, fontsize=7, ha="left",
              va="bottom", path_effects=HALO)  # fmt: skip


def draw_bar(axes: Axes, scale: Scale, label: str) -> None:
    """Draw the colour bar as it looks on dark tissue, with the raw extremes at its ends."""
    steps = np.linspace(scale.low, scale.high, 256)
    pixels = blend(np.full(256, BAR_GREY, dtype=np.float32), scale(steps))
    axes.imshow(pixels[:, None], extent=(0, 1, scale.low, scale.high), origin="lower", aspect="auto")
    ticks = np.linspace(scale.low, scale.high, 5)
    axes.set_xticks([])
    axes.set_yticks(ticks, [number(float(tick)) for tick in ticks], fontsize=7, color=INK)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.tick_params(axis="y", length=2, color=FRAME)
    axes.set_ylabel(label, fontsize=7.5, color=INK, parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.6)
    low, high = scale.raw
    for y, text, along in ((1.03, f"max {number(high)}", "bottom"), (-0.03, f"min {number(low)}", "top")):
        axes.text(0, y, text, transform=axes.transAxes, color=SOFT, fontsize=7, va=along, parse_math=False)
