"""Grids that lie askew, and points on them, for tests of geometry."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from voxplain.space.grid import Grid

Array = npt.NDArray[np.float64]


def turned(
    shape: Sequence[int],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    degrees: Sequence[float] = (0.0, 0.0, 0.0),
    middle: Sequence[float] = (0.0, 0.0, 0.0),
) -> Grid:
    """A grid turned about its middle, which lies at world point `middle`."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * np.array(spacing)
    affine[:3, 3] = np.array(middle) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    i, j, k = shape
    return Grid((i, j, k), affine)


def marked(grid: Grid, voxel: Sequence[int], value: float = 1.0) -> npt.NDArray[np.float32]:
    """One channel of zeros with one marked voxel."""
    values = np.zeros((1, *grid.shape), dtype=np.float32)
    values[(0, *voxel)] = value
    return values


def centre_of_mass(values: npt.NDArray[np.float32], grid: Grid) -> Array:
    """World position of the centre of mass of values (i, j, k)."""
    voxels = np.argwhere(values != 0)
    mass = values[values != 0].astype(np.float64)
    return np.asarray(grid.world(mass @ voxels / mass.sum()))


def strongest(values: npt.NDArray[np.float32], grid: Grid) -> Array:
    """World position of the largest of values (i, j, k); the middle of them all where several share it."""
    top = np.argwhere(values >= values.max() * (1 - 1e-6))
    return np.asarray(grid.world(top.mean(axis=0)))


def apart(one: Array, other: Array, grid: Grid) -> float:
    """How far two world points lie apart, in voxels of `grid`, along the axis where it is most."""
    return float(np.abs(grid.voxels(one) - grid.voxels(other)).max())


def linear_field(grid: Grid, slope: Sequence[float] = (1.0, -2.0, 3.0)) -> npt.NDArray[np.float32]:
    """A field (1, i, j, k) that rises evenly through the world: linear interpolation reads it exactly."""
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    return np.asarray(grid.world(voxels) @ np.array(slope), dtype=np.float32)[None]
