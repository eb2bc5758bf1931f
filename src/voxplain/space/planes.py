"""Anatomical planes: how to cut a grid so that a slice shows in radiological convention, with its letters.

Axial slices are seen from the feet (picture right = patient Left), coronal ones from the front, sagittal ones from the
patient's left (picture left = Anterior). On an oblique grid the voxel axis nearest to a world axis stands for it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from voxplain.errors import InputError, unknown
from voxplain.space import affine as affines
from voxplain.space.affine import AXIS_LETTERS
from voxplain.space.grid import Grid

Pixels = npt.NDArray[Any]

VIEWS: dict[str, tuple[tuple[int, int], tuple[int, int], int]] = {
    "axial": ((0, -1), (1, -1), 2),
    "coronal": ((0, -1), (2, -1), 1),
    "sagittal": ((1, -1), (2, -1), 0),
}
"""The planes in the order they are shown: world axis and direction of columns and of rows, and the axis that is cut."""


class Letters(NamedTuple):
    """What lies at the four sides of the picture: one of L R A P I S each, or '' where nobody knows."""

    left: str
    right: str
    top: str
    bottom: str


@dataclass(frozen=True)
class Plane:
    """A way to cut a grid: which voxel axes become columns and rows, and which of them run backwards."""

    name: str
    """'axial', 'coronal', 'sagittal', or 'picture' for a grid of depth 1."""
    order: tuple[int, int, int]
    """Voxel axes shown from left to right, from top to bottom, and along which slices are counted."""
    flipped: tuple[int, ...]
    """Voxel axes that run backwards on the screen."""
    slices: int
    """Number of slices."""
    pixel: tuple[float, float]
    """Width and height of one pixel, in the grid's unit."""
    letters: Letters

    @property
    def aspect(self) -> float:
        """Height of a pixel over its width."""
        return self.pixel[1] / self.pixel[0]


def plane(grid: Grid, name: str) -> Plane:
    """The plane `name` of a volume; a grid of depth 1 is one 'picture', shown as it is whatever plane is asked for."""
    if grid.is_2d:
        return _plane(grid, "picture", (0, 1, 2), ())
    if name not in VIEWS:
        raise unknown("plane", name, VIEWS)
    nearest = affines.world_axes(grid.affine)
    voxel_axis = {world: axis for axis, (world, _) in enumerate(nearest)}
    (across, right), (along, down), through = VIEWS[name]
    order = voxel_axis[across], voxel_axis[along], voxel_axis[through]
    flipped = tuple(axis for axis, wanted in zip(order, (right, down), strict=False) if nearest[axis][1] != wanted)
    return _plane(grid, name, order, flipped)


def planes(grid: Grid) -> tuple[Plane, ...]:
    """Every plane a grid is shown in: the picture itself for a depth of 1, else axial, coronal and sagittal."""
    return (plane(grid, "picture"),) if grid.is_2d else tuple(plane(grid, name) for name in VIEWS)


def slice_grid(grid: Grid, view: Plane, index: int) -> Grid:
    """Where slice `index` (a voxel index along the third axis of `view.order`) lies: a grid (columns, rows, 1)."""
    _check(view, index)
    start, shape = [0, 0, 0], list(grid.shape)
    start[view.order[2]], shape[view.order[2]] = index, 1
    return grid.window(start, shape).flipped(view.flipped).permuted(view.order)


def take(values: Pixels, view: Plane, index: int) -> Pixels:
    """Slice `index` of values (channel, i, j, k): (channel, columns, rows), as `slice_grid` lays it out."""
    _check(view, index)
    columns, rows, cut = view.order
    flipped = np.flip(values, tuple(axis + 1 for axis in view.flipped))
    flat: Pixels = flipped.transpose(0, columns + 1, rows + 1, cut + 1)[..., index]
    return flat


def _check(view: Plane, index: int) -> None:
    if not 0 <= index < view.slices:
        raise InputError(f"slice must be between 0 and {view.slices - 1}, got {index}")


def _plane(grid: Grid, name: str, order: tuple[int, int, int], flipped: tuple[int, ...]) -> Plane:
    columns, rows, cut = order
    left, right = _ends(grid, columns, columns in flipped)
    top, bottom = _ends(grid, rows, rows in flipped)
    pixel = grid.spacing[columns], grid.spacing[rows]
    return Plane(name, order, flipped, grid.shape[cut], pixel, Letters(left, right, top, bottom))


def _ends(grid: Grid, axis: int, backwards: bool) -> tuple[str, str]:
    """The letters where a voxel axis begins and ends on the screen."""
    if not grid.physical:
        return "", ""
    world, sign = affines.world_axes(grid.affine)[axis]
    low, high = AXIS_LETTERS[world]
    return (low, high) if (sign > 0) != backwards else (high, low)
