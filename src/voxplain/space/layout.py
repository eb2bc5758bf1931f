"""Grids laid anew over the same part of the world: turned, respaced, cropped or padded about the middle."""

from collections.abc import Sequence

import numpy as np

from voxplain.errors import InputError
from voxplain.space import affine as affines
from voxplain.space.affine import AXIS_LETTERS
from voxplain.space.grid import GRID_TOLERANCE, Grid


def is_orientation(letters: str) -> bool:
    """True for three letters, one of each pair L/R, P/A, I/S, in any order."""
    pairs = sorted(pair for pair, ends in enumerate(AXIS_LETTERS) for letter in letters if letter in ends)
    return len(letters) == 3 and pairs == [0, 1, 2]


def oriented(grid: Grid, letters: str) -> Grid:
    """The same voxels with axes permuted and flipped so that i, j and k run to `letters`, such as 'RAS'.

    On an oblique grid each voxel axis counts as the world axis nearest to it.
    """
    if not is_orientation(letters):
        raise InputError(f"orientation must be three letters such as 'RAS', got {letters!r}")
    nearest = affines.world_axes(grid.affine)
    order, flipped = [], []
    for axis, letter in enumerate(letters):
        world = next(n for n, ends in enumerate(AXIS_LETTERS) if letter in ends)
        voxel_axis = next(n for n, (where, _) in enumerate(nearest) if where == world)
        order.append(voxel_axis)
        if AXIS_LETTERS[world][nearest[voxel_axis][1] > 0] != letter:
            flipped.append(axis)
    return grid.permuted(order).flipped(flipped)


def respaced(grid: Grid, steps: Sequence[float]) -> Grid:
    """Voxels of exactly `steps` about the same middle, as many as come nearest to the same extent."""
    ratio = np.array(steps, dtype=np.float64) / np.array(grid.spacing)
    # Half a voxel more is one more: without the tolerance the affine's rounding would decide.
    counts = np.maximum(np.floor(np.array(grid.shape) / ratio + 0.5 + GRID_TOLERANCE), 1).astype(int)
    matrix = grid.affine.copy()
    matrix[:3, :3] = grid.affine[:3, :3] * ratio
    matrix[:3, 3] = grid.world((np.array(grid.shape) - 1 - ratio * (counts - 1)) / 2)
    i, j, k = (int(count) for count in counts)
    return Grid((i, j, k), matrix, grid.unit)


def centred(grid: Grid, shape: Sequence[int]) -> Grid:
    """The grid cropped or padded to `shape` about its middle; of an odd rest the larger half is at the end."""
    gaps = [
        (have - want) // 2 if have >= want else -((want - have) // 2)
        for have, want in zip(grid.shape, shape, strict=True)
    ]
    return grid.window(gaps, shape)


def overlap(grid: Grid, other: Grid) -> Grid:
    """The box, along the axes of `grid` and in voxels no larger than its own, that the outer edges of both enclose."""
    box = grid.voxels(other.edges())
    low = np.maximum(-0.5, box.min(axis=0))
    high = np.minimum(np.array(grid.shape) - 0.5, box.max(axis=0))
    if (high <= low).any():
        raise InputError(f"grids must overlap, got {grid.shape} and {other.shape} voxels apart from each other")
    counts = np.maximum(np.ceil(high - low - GRID_TOLERANCE), 1).astype(int)
    ratio = (high - low) / counts
    matrix = grid.affine.copy()
    matrix[:3, :3] = grid.affine[:3, :3] * ratio
    matrix[:3, 3] = grid.world(low + ratio / 2)
    i, j, k = (int(count) for count in counts)
    return Grid((i, j, k), matrix, grid.unit)
