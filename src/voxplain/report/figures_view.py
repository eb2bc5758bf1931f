"""What the studies' figures are made of: the slice that all maps of a figure share, and one map laid on it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError, unknown
from voxplain.report.display import DIMMED, Array, GreyWindow, Scale, blend, grey_window, number, one_map, scale
from voxplain.report.figures_board import Cell
from voxplain.report.palettes import painted, widest
from voxplain.report.place import strongest
from voxplain.report.scene import Cut, conventions, grey_panel, wide_planes
from voxplain.report.sheet import Ground
from voxplain.space import planes
from voxplain.types import Quantity

Backdrop = Literal["dimmed", "image", "faded", "black"]
"""What lies below a map: the image at two thirds, the image as it is, the image at opacity 0.15 on white, nothing."""

FADED = 0.15
"""Opacity of the grey image below SHAP values, as in the source studies."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One map that a figure shows, whole: the slice is taken from it, the raw range is told of all of it."""

    name: str
    values: Array
    """(i, j, k) on the image's grid; (i, j) will do where the image has depth 1."""
    quantity: Quantity
    unit: str = ""
    alarm: str = ""
    """Which checks of the map failed; empty where none did."""
    derivative: bool = False
    """True where signs are directions and not evidence for and against."""
    coarse: bool = False
    """True for a map made on a coarser grid, such as a CAM: shown alone and laid over the image."""
    colours: str | None = None
    """A palette's name; None for the one that follows from the quantity."""

    @cached_property
    def scale(self) -> Scale:
        """The colours and limits that follow from its quantity; found once, as it takes a look at every voxel."""
        return scale(self.values, self.quantity)

    @classmethod
    def of(cls, attribution: Attribution, name: str | None = None, *, channel: str | None = None) -> "Shown":
        """A map as the run made it; channels are joined as `display.one_map` does."""
        return cls(
            _own_name(attribution) if name is None else name,
            one_map(attribution, channel)[0],
            attribution.quantity,
            attribution.unit,
            ", ".join(check.name for check in attribution.certificate.failures),
            attribution.evidence == "absolute",
            attribution.coarse is not None,
        )


def _own_name(attribution: Attribution) -> str:
    """Method and layer; a list of layers among the options would say what the layer's name says."""
    if not attribution.layer:
        return attribution.method
    method = re.sub(r"layer=(\[[^\]]*\]|\([^)]*\)|'[^']*')(, )?", "", attribution.method).replace("()", "")
    return f"{method}, {attribution.layer}"


def on_grid(values: npt.ArrayLike, image: Image, what: str) -> npt.NDArray[np.generic]:
    """The values as (i, j, k) on the image's grid; raises InputError for another shape."""
    found: npt.NDArray[np.generic] = np.asarray(values)
    shape = image.grid.shape
    if image.grid.is_2d and found.shape == shape[:2]:
        return found[..., None]
    if found.shape != shape:
        raise InputError(f"{what} must have the image's shape {shape}, got {found.shape}")
    return found


def checked(image: Image, shown: Shown) -> Shown:
    """The map with values (i, j, k) in single precision; raises InputError where it is not on the image's grid."""
    values = on_grid(shown.values, image, f"map {shown.name!r}")
    return shown if values is shown.values and values.dtype == np.float32 else _with(shown, values)


def _with(shown: Shown, values: npt.NDArray[np.generic]) -> Shown:
    return replace(shown, values=values.astype(np.float32))


def view(
    image: Image,
    maps: Sequence[Shown] = (),
    *,
    mask: npt.ArrayLike | None = None,
    plane: str | None = None,
    index: int | None = None,
    channel: str | None = None,
    window: Sequence[float] | None = None,
) -> Ground:
    """The slice a figure shows, and in its words why: as asked, else where the maps together are strongest, else where
    the mask is largest, else the middle one. A 2D image has only one.

    `plane` is axial (the default), coronal or sagittal; `index` counts voxels along its third axis. The rim of a mask
    (i, j, k) is drawn on all panels. Raises InputError for a slice, channel or mask that the image does not have.
    """
    cut_plane = planes.plane(image.grid, plane) if plane else wide_planes(image.grid)[0]
    inside = None if mask is None else on_grid(mask, image, "mask") != 0
    chosen, why = _slice(image, cut_plane, [checked(image, one) for one in maps], inside, index)
    grey = grey_window(image.values[_channel(image, channel)], image.unit, window)
    return _ground(image, Cut(cut_plane, chosen, None), why, inside, channel, grey)


def views(
    image: Image,
    indices: Sequence[int],
    *,
    plane: str | None = None,
    mask: npt.ArrayLike | None = None,
    channel: str | None = None,
    window: Sequence[float] | None = None,
) -> list[Ground]:
    """Several slices of one plane, with the window of the whole volume; as `view` for each `index`, but faster."""
    cut_plane = planes.plane(image.grid, plane) if plane else wide_planes(image.grid)[0]
    inside = None if mask is None else on_grid(mask, image, "mask") != 0
    grey = grey_window(image.values[_channel(image, channel)], image.unit, window)
    chosen = [_slice(image, cut_plane, (), inside, index) for index in indices]
    return [_ground(image, Cut(cut_plane, index, None), why, inside, channel, grey) for index, why in chosen]


def _ground(
    image: Image, cut: Cut, why: str, inside: npt.NDArray[np.bool_] | None, channel: str | None, grey: GreyWindow
) -> Ground:
    shown = _channel(image, channel)
    panel = grey_panel(cut, image.grid, grey(np.asarray(cut.take(image.values[shown]))), inside)
    named = "" if image.channels == ("image",) else f"channel {image.channels[shown]}, "
    place = () if image.grid.is_2d else (f"{cut.view.name.capitalize()} slice {cut.index}, {why}.",)
    words = (*place, f"Image: {named}{grey.words}.", *conventions([panel], inside, image.grid))
    name = "image" if image.channels == ("image",) else image.channels[shown]
    return Ground(cut, replace(panel, name=name), words)


def _channel(image: Image, channel: str | None) -> int:
    if channel is None:
        return 0
    if channel not in image.channels:
        raise unknown("channel", channel, image.channels)
    return image.channels.index(channel)


def _slice(
    image: Image, through: planes.Plane, maps: Sequence[Shown], inside: npt.NDArray[np.bool_] | None, index: int | None
) -> tuple[int, str]:
    """The slice's number and why it was taken."""
    axis, count = through.order[2], image.grid.shape[through.order[2]]
    if index is not None:
        if not 0 <= index < count:
            raise InputError(f"slice must be between 0 and {count - 1} in the {through.name} plane, got {index}")
        return index, "as asked"
    evidence = _evidence(maps, image.grid.shape)
    if evidence is not None:
        together = "the map is" if len(maps) == 1 else f"the {len(maps)} maps together are"
        return strongest(evidence, image.grid)[0][axis], f"where {together} strongest"
    areas = np.zeros(count) if inside is None else inside.sum(axis=tuple(n for n in range(3) if n != axis))
    if areas.any():
        largest = np.flatnonzero(areas == areas.max())
        return int(largest[len(largest) // 2]), "where the mask is largest"
    return count // 2, "the middle one"


def _evidence(maps: Sequence[Shown], shape: tuple[int, ...]) -> Array | None:
    """The magnitudes of all maps together, each counted by its own limit; None where there is none to see."""
    total, strength, any_seen = np.zeros(shape, dtype=np.float32), np.empty(shape, dtype=np.float32), False
    for one in maps:
        # Noise is strongest anywhere: it has no say in where to look.
        if one.scale.blank or one.scale.doubt or one.scale.high <= 0:
            continue
        np.multiply(one.values, np.float32(1 / one.scale.high), out=strength)
        if one.quantity.signed:
            np.abs(strength, out=strength)
        if np.isnan(strength.min()):
            np.nan_to_num(strength, copy=False)
        total += np.clip(strength, 0, 1, out=strength)
        any_seen = True
    return total if any_seen else None


def laid(on: Ground, values: Array, scale: Scale, backdrop: Backdrop = "dimmed") -> Array:
    """Pixels (columns, rows, 3) of a map (i, j, k) on the slice; where it may not be shown, the image is left bare."""
    grey = on.panel.pixels[..., 0]
    below = {
        "dimmed": grey * DIMMED,
        "image": grey,
        "faded": FADED * grey + (1 - FADED),
        "black": np.zeros_like(grey),
    }[backdrop]
    if scale.blank and backdrop == "dimmed":
        below = grey
    return blend(np.asarray(below, dtype=np.float32), scale(np.asarray(on.cut.take(values))))


def map_cell(
    on: Ground, shown: Shown, scale: Scale, *, name: str | None = None, backdrop: Backdrop = "dimmed", bar: bool = True
) -> Cell:
    """A map as one cell of a board, its raw range and limits told below it."""
    bare = replace(on.panel, letters=("", "", "", ""), cross=None, ruler="")
    panel = replace(
        bare, name=shown.name if name is None else name, pixels=laid(on, shown.values, scale, backdrop),
        words=scale.blank,
    )  # fmt: skip
    told_below = told(shown, scale, bar=bar)
    return Cell(panel, told_below, alarm=shown.alarm, doubt=scale.doubt, scale=scale if bar else None)


def told(shown: Shown, scale: Scale, *, bar: bool = True) -> tuple[str, ...]:
    """The raw range of the whole map, and the limits where the cell has a bar of its own."""
    low, high = (number(value) for value in scale.raw)
    unit = f" {shown.unit}" if shown.unit else ""
    lines = [f"raw {low} to {high}{unit}"]
    if bar and not scale.blank:
        ends = f"±{number(scale.high)}" if scale.low == -scale.high else f"{number(scale.low)} to {number(scale.high)}"
        lines.append(f"colours {ends}")
    return tuple(lines)


def image_cell(on: Ground, name: str | None = None) -> Cell:
    """The image alone, with orientation letters and scale bar."""
    return Cell(on.panel if name is None else replace(on.panel, name=name))


def reading(maps: Sequence[Shown], *, shared: bool) -> tuple[str, ...]:
    """How to read the colours of the maps that are there."""
    first = "Every map has colour limits of its own: compare places, not brightness."
    if shared:
        several = len({(one.quantity, one.unit) for one in maps}) > 1
        whose, where = ("Maps of one unit", " among these") if several else ("All maps", "")
        first = f"{whose} share their colour limits: brightness compares{where}."
    sentences = [f"{first} Raw ranges are those of whole maps; full colour is reached at the limit."]
    sides = [one for one in maps if one.quantity.signed]
    if any(not one.derivative for one in sides):
        sentences.append("Warm colours speak for what was explained, cold ones against it.")
    if any(one.derivative for one in sides):
        sentences.append(
            "Derivatives: warm where a brighter voxel would raise the score, cold where it would lower it."
        )
    if any(one.colours == "black_fire_red" for one in sides):
        sentences.append("White is the end of both sides: read the bar.")
    return tuple(sentences)


def scales(
    maps: Sequence[Shown],
    *,
    shared: bool = False,
    opacity: float | None = None,
    limits: Sequence[float] | None = None,
) -> list[Scale]:
    """The colours of several maps; `shared` gives those of one quantity and unit the same limits."""
    found = []
    for one in maps:
        alike = [other.scale for other in maps if (other.quantity, other.unit) == (one.quantity, one.unit)]
        common = limits
        if shared and limits is None and not all(other.blank for other in alike):
            common = widest(alike)
        asked = painted(
            one.values, one.quantity, colours=one.colours, opacity=opacity, limits=common, known=one.scale
        )  # fmt: skip
        found.append(asked)
    return found


def joint(drawn: Sequence[Scale]) -> Scale | None:
    """A bar for several maps with common limits, its raw range theirs together; None if all are blank."""
    common = next((scale for scale in drawn if not scale.blank), None)
    if common is None:
        return None
    return replace(common, raw=(min(scale.raw[0] for scale in drawn), max(scale.raw[1] for scale in drawn)))
