"""Where the evidence of a map lies, in words: place, side, anatomy, and over how much of the image it is spread."""

from dataclasses import dataclass

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.report.atlas import Atlas
from voxplain.report.display import Array, number, one_map
from voxplain.report.place import place_words, strongest
from voxplain.report.scene import Scene
from voxplain.space import planes
from voxplain.space.grid import Grid

NEAR_MIDDLE = 0.05
"""Closer to the image's middle than this share of its extent is neither side."""

WORDS = {
    "L": "left", "R": "right", "A": "anterior", "P": "posterior", "S": "superior", "I": "inferior",
}  # fmt: skip
"""The patient's sides by their letters."""


@dataclass(frozen=True)
class Evidence:
    """The place where a map is strongest; nothing but `none` where it has no place."""

    none: str = ""
    """Why there is no such place: the map is constant, has no evidence, or lies like noise."""
    voxel: tuple[int, int, int] = (0, 0, 0)
    world: tuple[float, float, float] | None = None
    """Millimetres in the world (RAS+); None for pixels of unknown size."""
    place: str = ""
    """The place as a caption says it."""
    sides: str = ""
    """Which part of the image that is."""
    anatomy: str = ""
    """The atlas's name for it, '' without an atlas."""
    against: bool = False
    """True where the strongest value speaks against what was explained."""
    half: float = 0.0
    """The smallest share of the image's voxels that holds half of the evidence, 0 to 1."""


def evidence(attribution: Attribution, shown: Scene, atlas: Atlas | None = None) -> Evidence:
    """Where a map is strongest by magnitude, and how much of the image half of its evidence takes.

    The place in a volume is the one through which the planes of its scene were cut.
    """
    if shown.scale.blank or shown.scale.doubt:  # noise, too, is strongest somewhere
        return Evidence(none=shown.scale.blank or shown.scale.doubt)
    values, _ = one_map(attribution)
    grid = attribution.grid
    voxel = shown.voxel if shown.volume else strongest(values, grid)[0]
    x, y, z = (float(one) for one in grid.world(voxel))
    return Evidence(
        voxel=voxel,
        world=(x, y, z) if grid.physical else None,
        place=place_words(voxel, grid) if grid.physical or not grid.is_2d else _pixel(voxel, grid),
        sides=sides(voxel, grid),
        anatomy=atlas.name_at((x, y, z)) if atlas is not None and grid.physical else "",
        against=bool(values[voxel] < 0) and attribution.evidence == "positive",
        half=_half(values, attribution.evidence),
    )


def sides(voxel: tuple[int, int, int], grid: Grid) -> str:
    """The part of the image a voxel lies in, told from the image's middle: the patient's sides where they are known.

    On a 2D image the words follow the picture's edges, so that they are true for a plane of any orientation.
    """
    view = planes.planes(grid)[0]
    if not grid.is_2d:
        return _world_sides(voxel, grid)
    column, row = (_beyond(voxel[axis], grid.shape[axis]) for axis in view.order[:2])
    edges = ((row, view.letters.top, view.letters.bottom, "upper", "lower"),
             (column, view.letters.left, view.letters.right, "left", "right"))  # fmt: skip
    if all(view.letters):
        named = [WORDS[low if beyond < 0 else high] for beyond, low, high, _, _ in edges if beyond]
        return f"{_joined(named)} part" if named else "middle"
    named = [before if beyond < 0 else after for beyond, _, _, before, after in edges if beyond]
    return f"{' '.join(named)} part of the picture" if named else "middle of the picture"


def _world_sides(voxel: tuple[int, int, int], grid: Grid) -> str:
    corners = grid.corners()
    middle, extent = corners.mean(axis=0), np.ptp(corners, axis=0)
    gaps = grid.world(voxel) - middle
    named = [
        WORDS[plus if gap > 0 else minus]
        for gap, size, (plus, minus) in zip(gaps, extent, (("R", "L"), ("A", "P"), ("S", "I")), strict=True)
        if abs(gap) > NEAR_MIDDLE * size
    ]
    return f"{_joined(named)} part" if named else "middle"


def _beyond(index: int, count: int) -> int:
    """On which side of the middle an index lies, 0 near it."""
    gap = (index - (count - 1) / 2) / count
    return 0 if abs(gap) <= NEAR_MIDDLE else int(np.sign(gap))


def _joined(words: list[str]) -> str:
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1]


def _pixel(voxel: tuple[int, int, int], grid: Grid) -> str:
    """The place in a picture without geometry."""
    return f"column {voxel[0]}, row {voxel[1]} of {grid.shape[0]} × {grid.shape[1]}, counted from 0"


def _half(values: Array, counted: str) -> float:
    """The smallest share of all voxels that holds half of the evidence."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).ravel()
    strength = np.abs(finite) if counted == "absolute" else np.clip(finite, 0, None)
    if not strength.any():
        strength = np.abs(finite)
    running = np.cumsum(np.sort(strength)[::-1], dtype=np.float64)
    return float(np.searchsorted(running, running[-1] / 2) + 1) / strength.size if running[-1] > 0 else 0.0


def apart(places: list[Evidence], grid: Grid) -> str:
    """The largest distance between the strongest points of several maps, '' for fewer than two."""
    found = [one for one in places if not one.none]
    if len(found) < 2:
        return ""
    points = grid.world([one.voxel for one in found])
    gap = float(np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1)).max())
    return f"{number(gap)} {grid.unit if grid.physical else 'pixels'}"
