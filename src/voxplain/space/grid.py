"""The grid: a shape laid into the world by an affine, and the only carrier of geometry."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from voxplain.errors import InputError
from voxplain.space import affine as affines
from voxplain.space.affine import Array

Unit = Literal["mm", "detector mm", "px"]

GRID_TOLERANCE = 1e-3
"""Two grids are one when every corner agrees to a thousandth of the smallest voxel side: far below any scanner."""

NEAR_SINGULAR = 1e-9
"""A determinant below this share of the spacings' product means two axes run the same way."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels in the world: `world = affine @ (i, j, k, 1)` in RAS+, voxel centres at whole numbers.

    A 2D image is a grid of depth 1: first axis = columns (picture left to right), second = rows (top to bottom).
    """

    shape: tuple[int, int, int]
    """Number of voxels along i, j, k."""
    affine: Array = field(default_factory=lambda: np.eye(4))
    """4x4, float64, voxel centres to world."""
    unit: Unit = "mm"
    """What one unit of the world is: millimetres, millimetres at a detector, or pixels of unknown size."""

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError(f"affine must be a finite 4x4 matrix, got shape {affine.shape}")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"grid shape must be three numbers of at least 1, got {tuple(self.shape)}")
        steps = affines.spacing(affine)
        if abs(np.linalg.det(affine[:3, :3])) <= NEAR_SINGULAR * float(np.prod(steps)):
            raise InputError("affine must have three independent axes, got a singular matrix")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along i, j, k in `unit`."""
        i, j, k = (float(step) for step in affines.spacing(self.affine))
        return i, j, k

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel, in cubed `unit`."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def orientation(self) -> str:
        """Where i, j and k run to, such as 'LPS'."""
        return affines.orientation(self.affine)

    @property
    def is_2d(self) -> bool:
        """True for a single picture: depth 1."""
        return self.shape[2] == 1

    @property
    def physical(self) -> bool:
        """True where the unit is a length in the world."""
        return self.unit != "px"

    def world(self, voxels: npt.ArrayLike) -> Array:
        """World positions (..., 3) of voxel positions i j k (..., 3)."""
        return affines.apply(self.affine, voxels)

    def voxels(self, world: npt.ArrayLike) -> Array:
        """Voxel positions i j k (..., 3) of world positions (..., 3)."""
        return affines.apply(np.asarray(np.linalg.inv(self.affine), dtype=np.float64), world)

    def corners(self) -> Array:
        """World positions (8, 3) of the outermost voxel centres."""
        ends = [(0, n - 1) for n in self.shape]
        return self.world([[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]])

    def edges(self) -> Array:
        """World positions (8, 3) of the outer corners of the field of view, half a voxel beyond the centres."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        return self.world([[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]])

    def same_as(self, other: "Grid") -> bool:
        """True when shape, unit kind and every corner agree within `GRID_TOLERANCE` of the smallest voxel side."""
        if self.shape != other.shape or self.physical != other.physical:
            return False
        gap = np.abs(self.corners() - other.corners()).max()
        return bool(gap <= GRID_TOLERANCE * min(*self.spacing, *other.spacing))

    def permuted(self, order: Sequence[int]) -> "Grid":
        """The same voxels with axes in another order: new axis n is old axis `order[n]`."""
        matrix = self.affine.copy()
        matrix[:, :3] = self.affine[:, list(order)]
        i, j, k = (self.shape[axis] for axis in order)
        return Grid((i, j, k), matrix, self.unit)

    def flipped(self, axes: Sequence[int]) -> "Grid":
        """The same voxels counted from the other end along `axes`."""
        matrix = self.affine.copy()
        for axis in axes:
            matrix[:3, 3] += matrix[:3, axis] * (self.shape[axis] - 1)
            matrix[:3, axis] *= -1
        return Grid(self.shape, matrix, self.unit)

    def window(self, start: Sequence[float], shape: Sequence[int]) -> "Grid":
        """The grid of `shape` whose first centre lies at voxel `start` of this one; may reach outside (padding)."""
        matrix = self.affine.copy()
        matrix[:3, 3] = self.world(list(start))
        i, j, k = (int(n) for n in shape)
        return Grid((i, j, k), matrix, self.unit)

    def resized(self, shape: Sequence[int]) -> "Grid":
        """Another number of voxels over the same outer edges (half-pixel convention: edges align, not centres)."""
        ratio = np.array(self.shape, dtype=np.float64) / np.array(shape, dtype=np.float64)
        matrix = self.affine.copy()
        matrix[:3, :3] = self.affine[:3, :3] * ratio
        matrix[:3, 3] = self.world((ratio - 1) / 2)
        i, j, k = (int(n) for n in shape)
        return Grid((i, j, k), matrix, self.unit)
