"""What a picture shows before it is drawn: the planes, their pixels, and the sentences that go with them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError, unknown
from voxplain.report.display import DIMMED, Array, Scale, blend, grey_window, number, one_map, scale
from voxplain.report.panels import Panel
from voxplain.report.place import cells, place_words, strongest
from voxplain.space import affine as affines
from voxplain.space import planes
from voxplain.space.grid import Grid, Unit

Voxel = tuple[int, int, int]
Inside = npt.NDArray[np.bool_]

RULERS: dict[Unit, str] = {"mm": "mm", "detector mm": "mm at the detector", "px": ""}
"""What the scale bar counts: a radiograph shows the patient larger than life, by a factor nobody recorded."""

OBLIQUE_DEGREES = 3.0
"""From this tilt on the caption says that planes follow the voxels and not the patient."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture's content: the image alone, the same with the map laid over, and the words."""

    plain: tuple[Panel, ...]
    """One panel a plane, grey."""
    laid_over: tuple[Panel, ...]
    """The same planes with the map's colours."""
    scale: Scale
    title: str
    alarm: str
    """Which checks of the map failed, and whether it lies like noise; empty where nothing is wrong."""
    caption: tuple[str, ...]
    """Sentences: place, window, channels, raw range, limits, convention."""
    volume: bool
    voxel: Voxel = (0, 0, 0)
    """The voxel that the planes of a volume go through."""


def scene(
    image: Image,
    attribution: Attribution,
    *,
    mask: Image | None = None,
    channel: str | None = None,
    limits: Sequence[float] | None = None,
    window: Sequence[float] | None = None,
    title: str | None = None,
) -> Scene:
    """What `figures.draw` draws, with the same arguments."""
    _check(image, attribution, mask, channel)
    shown = channel if channel in image.channels else image.channels[0]
    values, origin = one_map(attribution, channel if channel in attribution.channels else None)
    colours = scale(values, attribution.quantity, limits)
    voxels = image.values[image.channels.index(shown)]
    grey = grey_window(voxels, image.unit, window)
    inside = None if mask is None else (mask.values != 0).any(axis=0)
    voxel, place = _place(values, image.grid, colours)
    cuts = _cuts(image.grid, voxel, crossed=not (image.grid.is_2d or colours.blank or colours.doubt))
    plain = tuple(grey_panel(cut, image.grid, grey(cut.take(voxels)), inside) for cut in cuts)
    laid_over = tuple(coloured_panel(cut, panel, values, colours) for cut, panel in zip(cuts, plain, strict=True))
    caption = (
        *place,
        f"Image: {'' if image.channels == ('image',) else f'channel {shown}, '}{grey.words}.",
        *_map_words(attribution, colours, origin),
        *conventions(plain, inside, image.grid),
    )
    heading = title if title is not None else _title(image, attribution)
    return Scene(plain, laid_over, colours, heading, _alarm(attribution, colours), caption, not image.grid.is_2d, voxel)


def _check(image: Image, attribution: Attribution, mask: Image | None, channel: str | None) -> None:
    for what, grid in (("map", attribution.grid), ("mask", mask.grid if mask else image.grid)):
        if not grid.same_as(image.grid):
            raise InputError(
                f"{what} must lie on the image's grid to be drawn over it, got {grid.shape} voxels running to "
                f"{grid.orientation} for an image of {image.grid.shape} running to {image.grid.orientation}"
            )
    if channel is not None and channel not in (*image.channels, *attribution.channels):
        raise unknown("channel", channel, image.channels)


def _title(image: Image, attribution: Attribution) -> str:
    return f"{image.identifier}: {attribution.target_words or attribution.target}\n{attribution.method}"


def _alarm(attribution: Attribution, colours: Scale) -> str:
    names = ", ".join(check.name for check in attribution.certificate.failures)
    return "; ".join([f"CHECK FAILED: {names}"] * bool(names) + [colours.doubt.upper()] * bool(colours.doubt))


def _place(values: Array, grid: Grid, colours: Scale) -> tuple[Voxel, tuple[str, ...]]:
    """The voxel the planes go through, and the sentence that says how it was chosen."""
    if grid.is_2d:
        return (0, 0, 0), ()
    if colours.blank or colours.doubt:
        i, j, k = (count // 2 for count in grid.shape)
        why = ", as noise is strongest anywhere" if colours.doubt else ""
        return (i, j, k), (f"Planes through the middle, {place_words((i, j, k), grid)}{why}.",)
    voxel, width = strongest(values, grid)
    unit = grid.unit if grid.physical else "voxels"
    how = f"where the map's magnitude, smoothed over {number(width)} {unit}, is largest"
    return voxel, (f"Planes through {place_words(voxel, grid)}, {how}.",)


@dataclass(frozen=True, eq=False)
class Cut:
    """One slice of the image."""

    view: planes.Plane
    index: int
    cross: tuple[float, float] | None
    """Column and row of the chosen voxel; None where it means nothing."""

    def take(self, volume: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The slice (columns, rows) of a volume (i, j, k)."""
        return np.asarray(planes.take(volume[None], self.view, self.index)[0])


def _cuts(grid: Grid, voxel: Voxel, *, crossed: bool) -> list[Cut]:
    return [_cut(grid, view, voxel, crossed) for view in wide_planes(grid)]


def wide_planes(grid: Grid) -> Sequence[planes.Plane]:
    """The planes worth a picture: one in which the volume is a single voxel thin would be a line."""
    views = planes.planes(grid)
    return [view for view in views if min(grid.shape[axis] for axis in view.order[:2]) > 1] or views


def _cut(grid: Grid, view: planes.Plane, voxel: Voxel, crossed: bool) -> Cut:
    index = voxel[view.order[2]]
    column, row, _ = planes.slice_grid(grid, view, index).voxels(grid.world(voxel))
    return Cut(view, index, (float(column), float(row)) if crossed else None)


def grey_panel(cut: Cut, grid: Grid, grey: Array, inside: Inside | None) -> Panel:
    """The image alone on a slice, with the rim of what is `inside` the mask."""
    return Panel(
        name="image" if grid.is_2d else cut.view.name,
        pixels=np.repeat(grey[..., None], 3, axis=-1),
        step=cut.view.pixel,
        letters=cut.view.letters,
        cross=cut.cross,
        outline=None if inside is None else np.asarray(cut.take(inside), dtype=np.bool_),
        ruler=RULERS[grid.unit],
    )


def coloured_panel(cut: Cut, plain: Panel, values: Array, colours: Scale) -> Panel:
    """A map's values (i, j, k) laid over the image of a slice."""
    pixels = blend(plain.pixels[..., 0] * (1.0 if colours.blank else DIMMED), colours(cut.take(values)))
    name = "map over image" if plain.name == "image" else plain.name
    return replace(plain, name=name, pixels=pixels, words=colours.blank)


def _map_words(attribution: Attribution, colours: Scale, origin: str) -> tuple[str, ...]:
    low, high = (number(value) for value in colours.raw)
    unit = f", {attribution.unit}" if attribution.unit else ""
    made = f" ({origin})" if origin else ""
    sentences = [f"Map{made}: {attribution.quantity.value}{unit}, raw range {low} to {high}."]
    if colours.blank:
        return (*sentences, f"Nothing is laid over the image: {colours.blank}.")
    sentences.append(
        f"{colours.words[0].upper()}{colours.words[1:]}; weaker values are more transparent, the image below is dimmed."
    )
    if attribution.quantity.signed:
        sentences.append(_sides(attribution))
    if attribution.coarse is not None:
        sentences.append(f"The map was made on {cells(attribution.coarse.grid)} and is no finer than that.")
    return tuple(sentences)


def _sides(attribution: Attribution) -> str:
    """What the two colours mean: a derivative's sign is a direction, not evidence for or against."""
    if attribution.evidence == "absolute":
        return "A derivative: red to orange where a brighter voxel would raise the score, blue where it would lower it."
    return "Red to orange speaks for what was explained, blue against it."


def conventions(panels: Sequence[Panel], inside: Inside | None, grid: Grid) -> tuple[str, ...]:
    """Sentences on what is drawn into panels and on which side is which."""
    sentences = [] if inside is None else ["White line: rim of the mask."]
    rights = {panel.letters[1] for panel in panels}
    if "L" in rights:
        sentences.append("Radiological convention: the patient's right is on the picture's left.")
    elif "R" in rights:
        sentences.append("As stored, not in radiological convention: the patient's right is on the picture's right.")
    elif not grid.physical:
        sentences.append("The file does not say which side is the patient's right.")
    tilt = _tilt(grid)
    if tilt >= OBLIQUE_DEGREES:
        sentences.append(f"Planes follow the voxels, tilted by up to {tilt:.0f}° from the patient's axes.")
    return tuple(sentences)


def _tilt(grid: Grid) -> float:
    """Largest angle in degrees between a voxel axis and its nearest patient axis."""
    directions = grid.affine[:3, :3] / np.array(grid.spacing)
    along = [abs(directions[world, axis]) for axis, (world, _) in enumerate(affines.world_axes(grid.affine))]
    return float(np.degrees(np.arccos(np.clip(min(along), 0, 1))))
