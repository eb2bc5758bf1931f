"""One map over its image as tools usually show it: constant opacity, outlines of regions, heat over grey."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.display import Array, Scale
from voxplain.report.figures import Picture, draw
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_runs import case_maps
from voxplain.report.figures_view import Shown, checked, image_cell, laid, map_cell, on_grid, reading, view
from voxplain.report.palettes import painted
from voxplain.report.panels import Panel
from voxplain.report.sheet import Ground

RIMS = ("#45d6fe", "#f7db13", "#499d3e", "#d26d9b", "#ffffff")
"""Outlines of the regions in their order: light colours that stay apart on grey, also for colour-blind eyes."""


def draw_overlay(
    image: Image,
    shown: Shown,
    *,
    opacity: float | None = 0.5,
    outlines: Mapping[str, npt.ArrayLike] | None = None,
    limits: Sequence[float] | None = None,
    plane: str | None = None,
    index: int | None = None,
    channel: str | None = None,
    window: Sequence[float] | None = None,
    title: str = "",
) -> Picture:
    """The image, and the map over it with a colour bar in the map's unit; regions (i, j, k) are outlined on both.

    `opacity` is the same everywhere; None lets it grow with the strength, so that weak values cannot hide anatomy.
    Raises InputError where map or regions are not on the image's grid.
    """
    one = checked(image, shown)
    on = view(image, [one], plane=plane, index=index, channel=channel, window=window)
    scale = painted(one.values, one.quantity, colours=one.colours, opacity=opacity, limits=limits)
    rims = {name: on_grid(region, image, f"outline {name!r}") != 0 for name, region in (outlines or {}).items()}
    over = map_cell(on, one, scale, backdrop="image" if opacity is not None else "dimmed", bar=False)
    cells = [outlined(cell, on, list(rims.values())) for cell in (image_cell(on), over)]
    row = Row(tuple(cells), bar=scale, unit=one.unit or one.quantity.value)
    caption = [*on.words, f"{scale.words[0].upper()}{scale.words[1:]}.", *_opacity(opacity), *outline_words(list(rims))]
    heading = title or f"{image.identifier}: {one.name}"
    return draw_board([row], title=heading, caption=[*caption, *reading([one], shared=True)[1:]], largest=(2.9, 3.3))


def overlay_pixels(on: Ground, shown: Shown, scale: Scale, *, heat_only: bool = False) -> npt.NDArray[np.uint8]:
    """The overlay's pixels (rows, columns, 3), 8 bit, one a voxel: what the sources write as PNG beside the arrays."""
    pixels: Array = laid(on, shown.values, scale, "black" if heat_only else "image")
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(1, 0, 2)


def outlined(cell: Cell, on: Ground, regions: Sequence[npt.NDArray[np.bool_]]) -> Cell:
    """The cell with the rims of regions (i, j, k) where they meet the slice, in the order of `RIMS`."""
    if len(regions) > len(RIMS):
        raise InputError(f"outlines must be at most {len(RIMS)} to be told apart, got {len(regions)}")
    cuts = [np.asarray(on.cut.take(region), dtype=np.bool_) for region in regions]
    before = cell.more

    def marks(axes: Axes) -> None:
        if before is not None:
            before(axes)
        for inside, colour in zip(cuts, RIMS, strict=False):
            rim(axes, cell.panel, inside, colour)

    return replace(cell, more=marks)


def rim(axes: Axes, panel: Panel, inside: npt.NDArray[np.bool_], colour: str, width: float = 1.1) -> None:
    """Draw the rim of a region (columns, rows) on a panel's axes; nothing where the region is empty."""
    if not inside.any():
        return
    closed = np.pad(inside.astype(np.float32), 1)
    columns = (np.arange(closed.shape[0]) - 1) * panel.step[0]
    rows = (np.arange(closed.shape[1]) - 1) * panel.step[1]
    drawn = axes.contour(columns, rows, closed.T, levels=[0.5], colors=colour, linewidths=width)
    drawn.set(path_effects=[withStroke(linewidth=width + 1, foreground="black", alpha=0.5)])


def outline_words(names: Sequence[str]) -> tuple[str, ...]:
    """Which outline has which colour, in a sentence; nothing without outlines."""
    colours = ("cyan", "yellow", "green", "pink", "white")
    told = ", ".join(f"{name} ({colour})" for name, colour in zip(names, colours, strict=False))
    return (f"Outlines: {told}.",) if told else ()


def _opacity(opacity: float | None) -> tuple[str, ...]:
    if opacity is None:
        return ("Weaker values are more transparent; the image below is dimmed.",)
    return (f"The map lies over the image at opacity {opacity:g} everywhere.",)


def overlay_from_run(
    folder: Path,
    method: str,
    case: str | None = None,
    *,
    target: str | None = None,
    colours: str | None = None,
    **options: Any,
) -> Picture:
    """The overlay of a method's first map for a case of a run folder, with the given and the predicted region."""
    found = case_maps(folder, case, target=target, method=method)
    regions = {"given mask": found.mask, "prediction": found.prediction}
    shown = replace(Shown.of(found.maps[0]), colours=colours)
    there = {name: region for name, region in regions.items() if region is not None}
    return draw_overlay(found.image, shown, **{"outlines": there, **options})


def planes_from_run(
    folder: Path, method: str, case: str | None = None, *, target: str | None = None, **options: Any
) -> Picture:
    """The three planes (of a 2D image: the two pictures) of a method's first map, with the given mask outlined."""
    found = case_maps(folder, case, target=target, method=method)
    mask = None if found.mask is None else Image.of(found.mask.astype(np.float32), found.image.grid)
    return draw(found.image, found.maps[0], **{"mask": mask, **options})
