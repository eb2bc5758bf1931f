"""One map through a whole volume: slices from side to side with one scale, so that nothing lies outside the picture."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.display import Scale
from voxplain.report.figures import Picture
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_runs import case_maps
from voxplain.report.figures_view import Shown, checked, image_cell, map_cell, reading, told, view, views
from voxplain.report.palettes import painted
from voxplain.report.sheet import Ground
from voxplain.space import affine as affines
from voxplain.space.affine import AXIS_LETTERS
from voxplain.space.grid import Grid

SLICES, COLUMNS = 15, 5
"""Slices of a montage, and slices in a row."""


def draw_montage(
    image: Image,
    shown: Shown,
    *,
    slices: int = SLICES,
    indices: Sequence[int] | None = None,
    columns: int = COLUMNS,
    limits: Sequence[float] | None = None,
    opacity: float | None = None,
    title: str = "",
    **where: Any,
) -> Picture:
    """A map over `slices` slices of a volume from one side to the other, or over the slices `indices`.

    They are evenly spaced over the slices where the image is not 0, and the strongest slice is always one of them. All
    have the limits of the whole map; below each stands its share of the map's magnitude. `where` is the plane, mask,
    channel and window of `figures_view.view`. Raises InputError for a 2D image and for slices that it does not have.
    """
    if image.grid.is_2d:
        raise InputError(f"a montage must be of a volume, {image.identifier!r} is a 2D image")
    if slices < 1 or columns < 1:
        raise InputError(f"slices and columns must be at least 1, got {slices} and {columns}")
    one = checked(image, shown)
    on = view(image, [one], **where)
    scale = painted(one.values, one.quantity, colours=one.colours, opacity=opacity, limits=limits, known=one.scale)
    chosen = list(indices) if indices is not None else _spread(image, on, slices)
    shares = _shares(one, on.cut.view.order[2])
    cells = [image_cell(on, f"image, slice {on.cut.index}")]
    for at in views(image, chosen, **where):
        cells.append(_cell(at, one, scale, shares, _name(image.grid, on, at.cut.index, scale)))
    cells[1] = replace(cells[1], alarm=one.alarm, doubt=scale.doubt)
    rows = [Row(tuple(cells[at : at + columns])) for at in range(0, len(cells), columns)]
    rows[0] = replace(rows[0], bar=scale, unit=one.unit or one.quantity.value)
    caption = [*_words(on, chosen, shares), *on.words[1:], *_raw(one, scale), *reading([one], shared=True)[1:]]
    return draw_board(rows, title=title or f"{image.identifier}: {one.name}", caption=caption, largest=(1.35, 1.6))


def _spread(image: Image, on: Ground, count: int) -> list[int]:
    """Evenly spaced slices of the part that is not 0, the nearest one moved to where the map is strongest."""
    axis = on.cut.view.order[2]
    others = tuple(n for n in range(3) if n != axis)
    present = np.flatnonzero(np.any([channel.any(axis=others) for channel in image.values], axis=0))
    first, last = (int(present[0]), int(present[-1])) if len(present) else (0, image.grid.shape[axis] - 1)
    even = np.unique(np.linspace(first, last, min(count, last - first + 1)).round().astype(int))
    even[np.abs(even - on.cut.index).argmin()] = on.cut.index
    upwards = image.grid.affine[_world_axis(image.grid, axis), axis] > 0
    return [int(index) for index in (np.unique(even) if upwards else np.unique(even)[::-1])]


def _shares(one: Shown, axis: int) -> list[float]:
    """Each slice's share of the magnitude of the whole map."""
    strength = np.abs(np.nan_to_num(one.values, posinf=0.0, neginf=0.0))
    sums = strength.sum(axis=tuple(n for n in range(3) if n != axis), dtype=np.float64)
    return [float(value) for value in sums / (sums.sum() or 1.0)]


def _cell(at: Ground, one: Shown, scale: Scale, shares: Sequence[float], name: str) -> Cell:
    cell = map_cell(at, one, scale, name=name, bar=False)
    return replace(cell, told=(f"{shares[at.cut.index]:.1%} of the magnitude",), alarm="", doubt="")


def _name(grid: Grid, on: Ground, index: int, scale: Scale) -> str:
    strongest = ", strongest" if index == on.cut.index and not scale.blank else ""
    return f"{index}{_place(grid, on.cut.view.order[2], index)}{strongest}"


def _place(grid: Grid, axis: int, index: int) -> str:
    """Where the middle of a slice lies, such as ': 12.0 mm S'; nothing where millimetres are unknown."""
    if not grid.physical:
        return ""
    world = _world_axis(grid, axis)
    middle = [(count - 1) / 2 for count in grid.shape]
    middle[axis] = index
    value = float(grid.world(middle)[world])
    return f": {abs(value):.1f} mm {AXIS_LETTERS[world][value >= 0]}"


def _world_axis(grid: Grid, axis: int) -> int:
    return affines.world_axes(grid.affine)[axis][0]


def _words(on: Ground, chosen: Sequence[int], shares: Sequence[float]) -> list[str]:
    total = sum(shares[index] for index in set(chosen))
    name, count = on.cut.view.name, len(shares)
    return [
        f"{len(chosen)} of {count} {name} slices, which hold {total:.0%} of the map's magnitude. {on.words[0]}",
        "Below each slice: its share of the magnitude of the whole map.",
    ]


def _raw(one: Shown, scale: Scale) -> list[str]:
    limits = f"{scale.words[0].upper()}{scale.words[1:]}." if not scale.blank else f"Nothing is shown: {scale.blank}."
    return [f"Whole map: {told(one, scale, bar=False)[0]}.", limits]


def montage_from_run(
    folder: Path,
    method: str,
    case: str | None = None,
    *,
    target: str | None = None,
    colours: str | None = None,
    **options: Any,
) -> Picture:
    """The montage of a method's first map for a case of a run folder, with the given mask outlined."""
    found = case_maps(folder, case, target=target, method=method)
    one = found.maps[0]
    told = {"title": found.title(one), "mask": found.mask}
    return draw_montage(found.image, replace(Shown.of(one), colours=colours), **{**told, **options})
