"""The figure of a network dissection: the best channels of a layer in several cases, and the rim of their label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from voxplain.errors import InputError
from voxplain.report.display import number
from voxplain.report.figures import Picture
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_view import Shown, map_cell, scales, view
from voxplain.study.units import Units
from voxplain.study.units_run import UnitMap
from voxplain.types import Quantity


def draw_units(units: Units, maps: Sequence[UnitMap], names: Sequence[str] = (), *, title: str = "") -> Picture:
    """A row a channel, a column a case: where the channel is active, over the image, and the rim of its best label.

    Each picture is the slice on which that label is largest.
    """
    if not maps:
        raise InputError("maps must hold at least one channel, got none")
    rows = []
    for channel in dict.fromkeys(one.channel for one in maps):
        own = [one for one in maps if one.channel == channel]
        place = int(units.best[channel])
        label = units.labels[place]
        cells = _cells(own, f"all cases {units.iou[channel, place]:.3f}, by chance {units.chance[channel, place]:.3f}")
        name = names[label] if label < len(names) else f"label {label}"
        rows.append(Row(tuple(cells), name=f"channel {channel}: {name}"))
    caption = (
        "Coloured: where the channel exceeds its threshold over all cases; white line: rim of its best label. Each "
        "picture is the slice on which that label is largest. IoU below a picture is that of the whole case; by chance "
        "means a channel as often active, but anywhere."
    )
    return draw_board(rows, title=title, caption=[caption], largest=(1.7, 1.9))


def _cells(maps: Sequence[UnitMap], told: str) -> list[Cell]:
    """One channel in all cases; what is told of all of them stands below the first."""
    shown = [Shown(one.case, (one.values > 0).astype(np.float32), Quantity.MASK) for one in maps]
    cells: list[Cell] = []
    for one, what, scale in zip(maps, shown, scales(shown), strict=True):
        on = view(one.image, (), mask=one.mask)
        blank = "" if (one.values > 0).any() else "nowhere active"
        iou = f"IoU {number(one.iou)}" if one.mask.any() else "label not there"
        more = () if cells else (told,)
        cell = map_cell(on, what, scale, name=one.case, bar=False)
        cells.append(replace(cell, told=(iou, *more), panel=replace(cell.panel, words=blank)))
    return cells
