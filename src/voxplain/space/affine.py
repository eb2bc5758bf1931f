"""Pure functions on 4x4 affines that carry voxel indices i j k to world millimetres x y z (RAS+)."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

AXIS_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
"""Ends of the world's axes in RAS+: x runs from Left to Right, y Posterior to Anterior, z Inferior to Superior."""


def spacing(affine: Array) -> Array:
    """Length of one step along i, j and k, in the affine's unit."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0), dtype=np.float64)


def apply(affine: Array, points: npt.ArrayLike) -> Array:
    """Carry points (..., 3) through an affine."""
    return np.asarray(np.asarray(points, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3])


def from_parts(directions: npt.ArrayLike, steps: npt.ArrayLike, origin: npt.ArrayLike) -> Array:
    """The affine whose columns are unit `directions` (3x3, one column an axis) times `steps`, starting at `origin`."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(directions, dtype=np.float64) * np.asarray(steps, dtype=np.float64)
    affine[:3, 3] = origin
    return affine


def world_axes(affine: Array) -> tuple[tuple[int, int], ...]:
    """For each voxel axis its nearest world axis and direction: (axis 0..2, +1 or -1), each world axis used once.

    Axes are given out greedily by the largest direction cosine, so oblique grids still get three different axes.
    """
    cosines = affine[:3, :3] / spacing(affine)
    left = np.abs(cosines)
    chosen: dict[int, tuple[int, int]] = {}
    for _ in range(3):
        world, voxel = np.unravel_index(int(np.argmax(left)), left.shape)
        chosen[int(voxel)] = (int(world), 1 if cosines[world, voxel] >= 0 else -1)
        left[world, :] = -1.0
        left[:, voxel] = -1.0
    return tuple(chosen[axis] for axis in range(3))


def orientation(affine: Array) -> str:
    """Three letters that say where i, j and k run to, such as 'RAS' or 'LPS'."""
    return "".join(AXIS_LETTERS[world][sign > 0] for world, sign in world_axes(affine))
