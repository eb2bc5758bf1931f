"""Network dissection into a folder: the table of all channels, and maps of those that fit a label best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.nifti import write_nifti
from voxplain.spec import table_of
from voxplain.study.explain import Explainer
from voxplain.study.plan import Plan, file_name
from voxplain.study.run_folder import RunFolder
from voxplain.study.units import Dissecting, Units, activation, dissect, readable, unit_rows

Say = Callable[[str], None]

COLUMNS = ("layer", "channel", "label", "label_name", "iou", "best", "chance", "ceiling", "threshold", "active", "size")


@dataclass(frozen=True, eq=False)
class UnitMap:
    """Where one channel is active in one case."""

    case: str
    channel: int
    image: Image
    mask: npt.NDArray[np.bool_]
    """(i, j, k): the channel's best label."""
    values: npt.NDArray[np.float32]
    """(i, j, k): what the activation exceeds its threshold by, 0 where it does not."""

    @property
    def iou(self) -> float:
        """Of this case alone; NaN where the channel is not active and the label is not there."""
        active = self.values > 0
        either = int((active | self.mask).sum())
        return int((active & self.mask).sum()) / either if either else float("nan")


@dataclass(frozen=True, eq=False)
class Dissected:
    """What a dissection found."""

    units: Units
    rows: list[dict[str, Any]]
    maps: list[UnitMap]
    """Of the best channels in the first cases, channel by channel."""


def run_units(
    plan: Plan,
    cases: Sequence[Case],
    out: Path,
    how: Dissecting,
    *,
    names: Sequence[str] = (),
    channels: int = 6,
    shown: int = 4,
    say: Say = lambda line: None,
) -> Dissected:
    """Dissect, and write plan, rows, table and the maps of the best `channels` in the first `shown` cases to `out`."""
    table = {**plan.to_table([case.identifier for case in cases]), "units": table_of(how)}
    folder = RunFolder.at(out, table)
    explainer = Explainer(plan.model, plan.prepare, plan.budget, plan.seed)
    plan.model.layer(how.layer)
    units = dissect(explainer, cases, how, say)
    rows = unit_rows(units, names)
    folder.begin(table)
    folder.write_rows(rows, COLUMNS)
    best = [one for one in units.ranked() if units.above_chance[one]][:channels] or units.ranked()[:1]
    by_case = [_maps(explainer, case, units, best) for case in cases[:shown]]
    maps = [of_case[place] for place in range(len(best)) for of_case in by_case]
    for one in maps:
        file = out / "maps" / file_name(one.case) / f"{file_name(how.layer)}-channel{one.channel}.nii.gz"
        write_nifti(file, one.values[None], one.image.grid)
    return Dissected(units, rows, maps)


def _maps(explainer: Explainer, case: Case, units: Units, channels: Sequence[int]) -> list[UnitMap]:
    found = activation(explainer, case, units.layer, readable(explainer, case))
    return [
        UnitMap(
            case.identifier,
            channel,
            found.image,
            found.labels == units.labels[units.best[channel]],
            np.where(found.labels >= 0, found.on_image(channel) - np.float32(units.thresholds[channel]), 0).clip(0),
        )
        for channel in channels
    ]


def unit_lines(rows: Sequence[dict[str, Any]], most: int = 20) -> list[str]:
    """The best channels with their best label as lines of a table."""
    best = sorted((row for row in rows if row["best"]), key=lambda row: -row["iou"])[:most]
    head = ("channel", "label", "IoU", "by chance", "at most", "active", "label's share")
    lines = [head]
    for row in best:
        shares = (f"{row['active']:.2%}", f"{row['size']:.2%}")
        numbers = (f"{row[key]:.3f}" for key in ("iou", "chance", "ceiling"))
        lines.append((str(row["channel"]), row["label_name"], *numbers, *shares))
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
