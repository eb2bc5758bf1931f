"""Relevance of the pumpkin study: heat maps with and without pointers to the true marks, and the gallery by age."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.contents import mapping, read_run
from voxplain.report.display import number
from voxplain.report.figures import Picture
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_runs import case_maps, case_names
from voxplain.report.figures_view import Shown, checked, image_cell, map_cell, view
from voxplain.report.palettes import Fire, fire
from voxplain.report.panels import Panel
from voxplain.types import Quantity

POINTER = "#90ee90"
"""Light green, as in the study: no colour of the map is like it."""

RIM = [withStroke(linewidth=2.0, foreground="black", alpha=0.7)]
"""A dark rim keeps the marks visible on white and yellow relevance."""

ARROW = 7.0
"""Length in pixels of an arrow to a lesion."""

SOURCE = {"clip": 0.0001, "intensifier": 5.0, "gamma": 0.2}
"""How the study's pictures were coloured: nearly any relevance that is not 0 gets full colour."""

Places = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Pumpkin:
    """One image with the relevance of its predicted age, and where its true marks are."""

    image: Image
    relevance: npt.NDArray[np.floating[Any]]
    """(i, j) or (i, j, 1), signed: positive for older than the output bias."""
    age: float
    predicted: float
    atrophies: Places | None = None
    """(mark, 2): column and row of each removed pixel."""
    lesions: Places | None = None
    """(mark, 2): column and row of the centre of each bright spot."""
    unit: str = "years"

    @property
    def words(self) -> str:
        """Age and prediction in a title."""
        return f"age {self.age:g}, predicted {self.predicted:.1f}"


def draw_heat_map(
    pumpkin: Pumpkin,
    *,
    pointers: bool = False,
    colours: Mapping[str, Any] | None = None,
    title: str = "",
) -> Picture:
    """The image and its relevance in black-fire-red with a bar; `pointers` add squares on atrophies, arrows to lesions.

    `colours` are options of `palettes.fire`; those of the study are in `SOURCE`. Raises InputError for marks outside
    the image.
    """
    cell, scale, words = _heat(pumpkin, pointers=pointers, colours=colours)
    on = view(pumpkin.image)
    first = replace(image_cell(on, "image"), more=_marks(pumpkin, on.panel) if pointers else None)
    row = Row((first, replace(cell, panel=replace(cell.panel, name="relevance"))), bar=scale, unit=pumpkin.unit)
    total = float(np.sum(pumpkin.relevance, dtype=np.float64))
    caption = [
        f"{scale.words[0].upper()}{scale.words[1:]}.",
        f"Sum of relevance {number(total)} {pumpkin.unit}.",
        *words,
    ]
    heading = title or f"{pumpkin.image.identifier}: {pumpkin.words}"
    return draw_board([row], title=heading, caption=[*caption, _reading()], largest=(2.8, 2.8))


def draw_gallery(
    pumpkins: Sequence[Pumpkin],
    *,
    pointers: bool = False,
    columns: int = 5,
    colours: Mapping[str, Any] | None = None,
    title: str = "",
) -> Picture:
    """Heat maps sorted by age, all with the limits of the strongest unless `colours` gives `limits`, and one bar."""
    if columns < 1:
        raise InputError(f"columns must be at least 1, got {columns}")
    if not pumpkins:
        raise InputError("pumpkins must be at least one, got none")
    by_age = sorted(pumpkins, key=lambda one: one.age)
    options = {**(colours or {})}
    options.setdefault("limits", _common(by_age, options))
    found = [_heat(one, pointers=pointers, colours=options) for one in by_age]
    rows = [Row(tuple(cell for cell, _, _ in found[at : at + columns])) for at in range(0, len(found), columns)]
    scales = [scale for _, scale, _ in found]
    raw = min(scale.raw[0] for scale in scales), max(scale.raw[1] for scale in scales)
    bar = next((replace(scale, raw=raw) for scale in scales if not scale.blank), None)
    rows[0] = replace(rows[0], bar=bar, unit=by_age[0].unit)
    caption = ["Sorted by age; all maps share their colour limits.", *found[0][2], _reading()]
    return draw_board(rows, title=title, caption=caption, largest=(1.6, 1.6))


def _common(pumpkins: Sequence[Pumpkin], options: Mapping[str, Any]) -> tuple[float, float] | None:
    shown = [fire(_values(one).values, **options) for one in pumpkins]
    high = max((scale.high for scale in shown if not scale.blank), default=0.0)
    return (-high, high) if high > 0 else None


def _values(pumpkin: Pumpkin) -> Shown:
    return checked(pumpkin.image, Shown(pumpkin.words, pumpkin.relevance, Quantity.RELEVANCE, pumpkin.unit))


def _heat(pumpkin: Pumpkin, *, pointers: bool, colours: Mapping[str, Any] | None) -> tuple[Cell, Fire, tuple[str, ...]]:
    if not pumpkin.image.grid.is_2d:
        raise InputError(f"a pumpkin must be a 2D image, got {pumpkin.image.grid.shape} voxels")
    shown = _values(pumpkin)
    scale = fire(shown.values, **(colours or {}))
    on = view(pumpkin.image)
    cell = map_cell(on, shown, scale, backdrop="image", bar=False)
    if not pointers:
        return cell, scale, ()
    words = ("Light green: squares on atrophies, arrows to lesions.",)
    return replace(cell, more=_marks(pumpkin, on.panel)), scale, words


def _marks(pumpkin: Pumpkin, panel: Panel) -> Callable[[Axes], None]:
    atrophies, lesions = (_inside(marks, panel) for marks in (pumpkin.atrophies, pumpkin.lesions))
    across, down = panel.step

    def marks(axes: Axes) -> None:
        squares = [Rectangle(((c - 0.5) * across, (r - 0.5) * down), across, down) for c, r in atrophies]
        drawn = PatchCollection(squares, facecolor="none", edgecolor=POINTER, linewidth=0.6, path_effects=RIM)
        axes.add_collection(drawn, autolim=False)
        middle = (panel.pixels.shape[0] - 1) / 2, (panel.pixels.shape[1] - 1) / 2
        for column, row in lesions:
            # From the middle outwards, so that arrows do not cross each other.
            away = np.array([column - middle[0], row - middle[1]], dtype=np.float64)
            away *= ARROW / max(float(np.hypot(*away)), 1e-9)
            tail = (column + away[0]) * across, (row + away[1]) * down
            axes.annotate("", (column * across, row * down), tail, annotation_clip=False,
                          arrowprops={"arrowstyle": "->", "color": POINTER, "linewidth": 0.9, "shrinkA": 0,
                                      "shrinkB": 1.5, "mutation_scale": 7, "path_effects": RIM})  # fmt: skip

    return marks


def _inside(marks: Places | None, panel: Panel) -> Places:
    if marks is None or not len(marks):
        return np.zeros((0, 2), dtype=np.int64)
    found: Places = np.asarray(marks)
    columns, rows = panel.pixels.shape[:2]
    if found.ndim != 2 or found.shape[1] != 2:
        raise InputError(f"marks must be (mark, 2) with column and row, got {found.shape}")
    if bool(np.any(found < 0)) or bool(np.any(found >= np.array([columns, rows]))):
        raise InputError(f"marks must lie inside the image of {columns} columns and {rows} rows")
    return found


def _reading() -> str:
    return (
        "Red to yellow makes the prediction older than the output bias, blue to cyan younger; white is the end of both "
        "sides. Weak relevance is more transparent."
    )


def places(text: str) -> Places:
    """Marks (mark, 2), column and row, of a phantom's table: '45:74 48:29'. Raises InputError for anything else."""
    try:
        pairs = [[int(number) for number in pair.split(":")] for pair in text.split()]
        return np.array(pairs, dtype=np.int64).reshape(len(pairs), 2)
    except ValueError as error:
        raise InputError(f"marks must be column:row pairs, got {text[:40]!r}") from error


def pumpkins_from_run(folder: Path, table: Path | None = None, *, method: str = "lrp") -> Iterator[Pumpkin]:
    """The cases of a run folder with a method's first map; `table` is the phantoms' own, for ages and marks.

    Without it the age is the case's label. Raises InputError for a case whose age or prediction is not known.
    """
    marks = {} if table is None else _rows(table)
    run = read_run(folder)
    for name in case_names(run):
        found = case_maps(run, name)
        row = marks.get(name, {})
        one = found.of_method(method)[0]
        value = mapping(found.facts.get("prediction")).get("scores")
        predicted = value[0] if isinstance(value, list) and value else one.numbers.get("score")
        try:
            age, said = float(row.get("age") or found.truth), float(predicted)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise InputError(f"case {name!r} must have an age and a predicted age to be shown") from error
        atrophies, lesions = (places(row[key]) if row else None for key in ("atrophy_places", "lesion_places"))
        yield Pumpkin(found.image, one.values.sum(axis=0), age, said, atrophies, lesions)


def gallery_from_run(folder: Path, method: str = "lrp", *, most: int = 20, **options: Any) -> Picture:
    """The gallery of a run folder's 2D cases whose labels are numbers, at most the first `most` of them."""
    return draw_gallery(list(islice(pumpkins_from_run(folder, method=method), most)), **options)


def _rows(table: Path) -> dict[str, dict[str, str]]:
    import csv

    with table.open(newline="", encoding="utf-8") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}
