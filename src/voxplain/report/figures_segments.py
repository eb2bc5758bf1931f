"""Segments with their weights, as LIME's users know them: best ones alone, outlined, for and against, as heat map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from scipy import ndimage

from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.display import Array, number
from voxplain.report.figures import Picture
from voxplain.report.figures_board import PAPER, Cell, Row, draw_board
from voxplain.report.figures_overlay import rim
from voxplain.report.figures_runs import CaseMaps, case_maps
from voxplain.report.figures_view import Shown, image_cell, map_cell, on_grid, view
from voxplain.report.palettes import painted
from voxplain.report.panels import HALO, Panel
from voxplain.report.sheet import Ground
from voxplain.types import Quantity

BLANKED = "#27313d"
"""What covers segments that are not shown: a colour that no grey image has, unlike black."""

FOR, AGAINST, RIM = "#2fbf4a", "#e0342f", "#ffe14d"
"""Green, red and yellow of the source study; signs in the segments say the same to colour-blind readers."""

TINT = 0.45
"""Opacity of green and red."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of an image and what each is worth for each class."""

    labels: npt.NDArray[np.integer[Any]]
    """(i, j, k) on the image's grid, whole numbers from 0."""
    weights: npt.NDArray[np.floating[Any]]
    """(class, segment), signed."""
    class_names: tuple[str, ...]
    unit: str = ""

    def __post_init__(self) -> None:
        labels, weights = np.asarray(self.labels), np.asarray(self.weights)
        if labels.size == 0 or not np.issubdtype(labels.dtype, np.integer) or int(labels.min()) < 0:
            raise InputError(f"labels must be whole numbers from 0, got {labels.dtype} values")
        if weights.ndim != 2 or weights.shape[1] <= int(labels.max()):
            raise InputError(
                f"weights must be (class, segment) with {int(labels.max()) + 1} segments, got {weights.shape}"
            )
        if len(self.class_names) != len(weights):
            raise InputError(f"class_names must be {len(weights)} names, got {len(self.class_names)}")

    def strongest(self, place: int, count: int, *, positive: bool) -> list[int]:
        """The segments of a class with the largest weights: positive ones only, or of both signs by magnitude."""
        if not 0 <= place < len(self.weights):
            raise InputError(f"class must be between 0 and {len(self.weights) - 1}, got {place}")
        if count < 1:
            raise InputError(f"count must be at least 1, got {count}")
        weights = np.asarray(self.weights[place])
        order = np.argsort(-weights if positive else -np.abs(weights), kind="stable")
        return [int(one) for one in order[:count] if (weights[one] > 0 if positive else weights[one] != 0)]


def draw_best(
    image: Image, segments: Segments, place: int, *, count: int = 3, title: str = "", **where: Any
) -> Picture:
    """The image, and what is left of it when only the best positive segments of class `place` are shown."""
    on, labels = _ground(image, segments, place, where)
    best = segments.strongest(place, count, positive=True)
    pixels = np.where(np.isin(labels, best)[..., None], on.panel.pixels, np.array(to_rgb(BLANKED), dtype=np.float32))
    name = f"{len(best)} best segments for {segments.class_names[place]}"
    cell = Cell(_bare(on, name, pixels, _none(best, segments, place)), _weights(segments, place, best))
    words = [*on.words, "Slate covers all other segments."]
    return draw_board([Row((image_cell(on), cell))], title=title or image.identifier, caption=words, largest=(2.6, 2.8))


def draw_outlines(
    image: Image, segments: Segments, place: int, *, count: int = 5, title: str = "", **where: Any
) -> Picture:
    """The image, and the same with the best positive segments of class `place` outlined and ranked."""
    on, labels = _ground(image, segments, place, where)
    best = segments.strongest(place, count, positive=True)
    name = f"{len(best)} best segments for {segments.class_names[place]}"
    panel = _bare(on, name, on.panel.pixels, _none(best, segments, place))
    ranks = {one: str(rank) for rank, one in enumerate(best, 1)}
    cell = Cell(panel, _weights(segments, place, best), more=_marks(on, labels, best, ranks))
    words = [*on.words, "Yellow: rims of the segments, numbered from the best one."]
    return draw_board([Row((image_cell(on), cell))], title=title or image.identifier, caption=words, largest=(2.6, 2.8))


def draw_signed(
    rows: Sequence[tuple[str, Image, Segments]], *, count: int = 5, title: str = "", **where: Any
) -> Picture:
    """A row a case (named), a column a class: the strongest segments, green and + for the class, red and − against it.

    The study sets a right and a wrong prediction below each other. Raises InputError where classes differ.
    """
    if len({segments.class_names for _, _, segments in rows}) != 1:
        raise InputError("cases must have the same classes in the same order to share columns")
    drawn = []
    for name, image, segments in rows:
        on, labels = _ground(image, segments, None, where)
        cells = [_signed_cell(on, labels, segments, place, count) for place in range(len(segments.class_names))]
        drawn.append(Row((image_cell(on), *cells), name=name))
    on = view(rows[0][1], index=where.get("index"), plane=where.get("plane"))
    place = [] if rows[0][1].grid.is_2d else [on.words[0]]
    words = [*place, f"Up to {count} segments of largest weight: green (+) speaks for the class, red (−) against it."]
    return draw_board(drawn, title=title, caption=words, look=PAPER)


def _signed_cell(on: Ground, labels: npt.NDArray[Any], segments: Segments, place: int, count: int) -> Cell:
    found = segments.strongest(place, count, positive=False)
    weights = segments.weights[place]
    pixels = on.panel.pixels / 2 + 0.25
    for one in found:
        colour = np.array(to_rgb(FOR if weights[one] > 0 else AGAINST), dtype=np.float32)
        inside = labels == one
        pixels[inside] = (1 - TINT) * pixels[inside] + TINT * colour
    signs = {one: "+" if weights[one] > 0 else "−" for one in found}
    panel = _bare(on, segments.class_names[place], pixels, "" if found else "all weights are 0")
    return Cell(panel, _weights(segments, place, found), more=_marks(on, labels, found, signs))


def draw_weights(image: Image, segments: Segments, *, title: str = "", **where: Any) -> Picture:
    """The image and each class's weights in red, white and blue, with common limits (largest magnitude) and one bar.

    Both signs count for the limits, so that strong weights against a class are not cut off.
    """
    maps = [_map(image, segments, place) for place in range(len(segments.class_names))]
    on = view(image, maps, **where)
    limit = float(np.abs(segments.weights).max()) or 1.0
    scales = [
        painted(one.values, one.quantity, colours="red_white_blue", opacity=0.8, limits=(-limit, limit)) for one in maps
    ]
    cells = [map_cell(on, one, scale, backdrop="image", bar=False) for one, scale in zip(maps, scales, strict=True)]
    low, high = float(segments.weights.min()), float(segments.weights.max())
    bar = next((replace(scale, raw=(low, high)) for scale in scales if not scale.blank), None)
    words = [*on.words, "One bar for all classes: red speaks for the class, blue against it, at opacity 0.8."]
    row = Row((image_cell(on), *cells), bar=bar, unit=segments.unit or "weight")
    return draw_board([row], title=title or image.identifier, caption=words, look=PAPER)


def _map(image: Image, segments: Segments, place: int) -> Shown:
    labels = on_grid(segments.labels, image, "labels")
    values = np.asarray(segments.weights[place], dtype=np.float32)[labels.astype(np.int64)]
    return Shown(segments.class_names[place], values, Quantity.RELEVANCE, segments.unit)


def _ground(
    image: Image, segments: Segments, place: int | None, where: dict[str, Any]
) -> tuple[Ground, npt.NDArray[np.int64]]:
    """The slice on which the weights are strongest, and the segments on it (columns, rows)."""
    labels = on_grid(segments.labels, image, "labels").astype(np.int64)
    places = range(len(segments.class_names)) if place is None else [place]
    maps = [_map(image, segments, one) for one in places if one < len(segments.weights)]
    on = view(image, maps, **where)
    return on, np.asarray(on.cut.take(labels)).astype(np.int64)


def _bare(on: Ground, name: str, pixels: npt.NDArray[Any], words: str) -> Panel:
    return replace(
        on.panel,
        name=name,
        pixels=np.asarray(pixels, dtype=np.float32),
        letters=("", "", "", ""),
        ruler="",
        words=words,
    )


def _none(best: Sequence[int], segments: Segments, place: int) -> str:
    return "" if best else f"no segment speaks for {segments.class_names[place]}"


def _weights(segments: Segments, place: int, found: Sequence[int]) -> tuple[str, ...]:
    weights = segments.weights[place]
    told = ", ".join(number(float(weights[one])) for one in found)
    low, high = number(float(weights.min())), number(float(weights.max()))
    unit = f" {segments.unit}" if segments.unit else ""
    return (*([f"weights {told}"] if told else []), f"all {len(weights)}: {low} to {high}{unit}")


def _marks(
    on: Ground, labels: npt.NDArray[np.int64], found: Sequence[int], signs: dict[int, str]
) -> Callable[[Axes], None]:
    """Draws yellow rims and, in the middle of each segment, its sign or rank."""

    def marks(axes: Axes) -> None:
        for one in found:
            inside = labels == one
            if not inside.any():
                continue
            rim(axes, on.panel, inside, RIM, width=0.8)
            x, y = _middle(inside) * np.array(on.panel.step)
            axes.text(x, y, signs[one], color="white", fontsize=8, fontweight="bold", ha="center", va="center",
                      path_effects=HALO)  # fmt: skip

    return marks


def _middle(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Column and row deep inside a region: of its deepest pixels the one nearest to their centre."""
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    deepest = np.argwhere(depth >= 0.9 * depth.max())
    nearest = np.argmin(((deepest - deepest.mean(axis=0)) ** 2).sum(axis=1))
    return np.asarray(deepest[nearest], dtype=np.float64)


def segments_from_run(folder: Path, method: str = "lime", case: str | None = None) -> tuple[CaseMaps, Segments]:
    """A case of a run folder and the segments of a method's map, with the weights of every class that was kept.

    Raises InputError where the map has no segments of its own.
    """
    found = case_maps(folder, case, method=method)
    one = found.maps[0]
    if "segments" not in one.parts:
        raise InputError(f"map of {method!r} must have segments, got parts {', '.join(one.parts) or 'none'}")
    labels = np.rint(one.parts["segments"][0]).astype(np.int64)
    maps = class_maps(found, method)
    count = int(labels.max()) + 1
    # Maps were brought to the image's grid: at rims two segments mix, so the middle value of each is taken.
    gather = ndimage.sum_labels if one.quantity.adds_up else ndimage.median
    weights = np.stack([gather(values, labels, np.arange(count)) for values in maps.values()])
    return found, Segments(labels, np.nan_to_num(weights), tuple(maps), one.unit)


def signed_from_run(
    folder: Path, method: str = "lime", case: str | None = None, *, count: int = 5, **options: Any
) -> Picture:
    """A case of a run folder with the segments for and against each class, as `segments_from_run` reads them."""
    found, segments = segments_from_run(folder, method, case)
    said = [f"truth {found.truth}" if found.truth else "", f"predicted {found.predicted}" if found.predicted else ""]
    title = "; ".join(part for part in (method, *said) if part)
    return draw_signed([(found.identifier, found.image, segments)], **{"count": count, "title": title, **options})


def class_maps(found: CaseMaps, method: str) -> dict[str, Array]:
    """The maps (i, j, k) of all classes that came from a method's calls, by class name and in the classes' order."""
    one = found.of_method(method)[0]
    own = one.numbers.get("class")
    own_place = int(own) if isinstance(own, int | float) else 0
    maps = {own_place: one.values.sum(axis=0)}
    for name, values in one.parts.items():
        if name.startswith("class_"):
            maps[int(name.removeprefix("class_"))] = values.sum(axis=0)
    names = list(found.probabilities) or []
    return {names[place] if place < len(names) else f"class {place}": maps[place] for place in sorted(maps)}
