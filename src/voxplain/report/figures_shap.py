"""SHAP's image row: red and blue over a faint grey image, one column a class, one scale for a row."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.display import LIMIT_PERCENTILE, number
from voxplain.report.figures import Picture
from voxplain.report.figures_board import PAPER, Row, draw_board
from voxplain.report.figures_runs import case_maps
from voxplain.report.figures_segments import class_maps
from voxplain.report.figures_view import FADED, Shown, checked, image_cell, joint, map_cell, view
from voxplain.report.palettes import painted
from voxplain.types import Quantity

Rows = Sequence[tuple[Image, Mapping[str, npt.ArrayLike]]]


def draw_shap(
    rows: Rows,
    *,
    unit: str = "",
    names: Sequence[str] = (),
    quantity: Quantity = Quantity.SCORE_UNITS,
    title: str = "",
    **where: Any,
) -> Picture:
    """One row an image: the image, then each class's map (i, j, k) by name, red for and blue against the class.

    The grey image lies below at opacity 0.15; the limits are symmetric, at the 99.9th percentile of the magnitude of
    all maps of a row, zeros counted. Raises InputError where a row has no maps or they are off the image's grid.
    """
    drawn: list[Row] = []
    words: tuple[str, ...] = ()
    for place, (image, maps) in enumerate(rows):
        if not maps:
            raise InputError(f"maps of {image.identifier!r} must be at least one, got none")
        shown = [checked(image, Shown(name, np.asarray(one), quantity, unit)) for name, one in maps.items()]
        on = view(image, shown, **where)
        limit = _limit(shown)
        scales = [painted(one.values, quantity, colours="red_blue", limits=limit) for one in shown]
        cells = [
            map_cell(on, one, scale, backdrop="faded", bar=False) for one, scale in zip(shown, scales, strict=True)
        ]
        sums = [f"sum {number(float(one.values.sum(dtype=np.float64)))}" for one in shown]
        cells = [replace(cell, told=(*cell.told, total)) for cell, total in zip(cells, sums, strict=True)]
        drawn.append(
            Row((image_cell(on), *cells), name=names[place] if place < len(names) else "", bar=joint(scales),
                unit=unit or quantity.value)
        )  # fmt: skip
        words = words or on.words
    reading = f"Red speaks for the class, blue against it; the image below is at opacity {FADED:g}."
    limits = f"One scale a row, its ends at the {LIMIT_PERCENTILE:g}th percentile of all magnitudes."
    look = replace(PAPER, under_bar=1.0)
    return draw_board(drawn, title=title, caption=[*words, reading, limits], look=look)


def _limit(shown: Sequence[Shown]) -> tuple[float, float] | None:
    magnitudes = np.abs(np.concatenate([np.nan_to_num(one.values).ravel() for one in shown]))
    limit = float(np.percentile(magnitudes, LIMIT_PERCENTILE)) or float(magnitudes.max())
    return (-limit, limit) if limit > 0 else None


def shap_from_run(folder: Path, method: str = "partition_shap", case: str | None = None, **options: Any) -> Picture:
    """The row of all classes of a case of a run folder; titled with what is true and what was predicted."""
    found = case_maps(folder, case, method=method)
    one = found.maps[0]
    said = [f"truth {found.truth}" if found.truth else "", f"predicted {found.predicted}" if found.predicted else ""]
    title = f"{found.identifier}: {one.method}\n{'; '.join(part for part in said if part)}"
    named = {"unit": one.unit, "quantity": one.quantity, "title": title, **options}
    return draw_shap([(found.image, class_maps(found, method))], **named)
