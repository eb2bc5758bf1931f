"""Where the evidence is: the one point of a volume through which its three planes are drawn."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxplain.report.display import Array
from voxplain.space.grid import Grid

PLATEAU = 0.99
"""Voxels within this share of the peak count as one plateau: an occlusion window is as strong at its rim as inside."""


def strongest(values: Array, grid: Grid) -> tuple[tuple[int, int, int], float]:
    """The voxel (i, j, k) where a map (i, j, k) is strongest, and the smoothing width that decided it.

    The magnitude is smoothed with a Gaussian whose standard deviation is the largest voxel side, the same length in
    every direction, so that one noisy voxel does not win over a lump; outside the volume counts as 0. On a plateau the
    voxel nearest to the plateau's centre is taken. The width is in the grid's unit.
    """
    strength = np.abs(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0))
    width = max(grid.spacing)
    sigma = [width / step if count > 1 else 0.0 for step, count in zip(grid.spacing, grid.shape, strict=True)]
    smooth = ndimage.gaussian_filter(strength, sigma, mode="constant", truncate=2.0)
    peak = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    plateau = _plateau(smooth >= PLATEAU * smooth[peak], peak)
    i, j, k = (int(n) for n in plateau[_nearest(plateau, plateau.mean(axis=0), grid)])
    return (i, j, k), width


def _plateau(high: npt.NDArray[np.bool_], peak: tuple[np.intp, ...]) -> npt.NDArray[np.intp]:
    """The voxels (voxel, 3) of `high` that hang together with the peak, looked for in the box around all of them."""
    axes = range(high.ndim)
    ends = [np.flatnonzero(high.any(axis=tuple(one for one in axes if one != axis))) for axis in axes]
    corner = [int(one[0]) for one in ends]
    labels, _ = ndimage.label(high[tuple(slice(one[0], one[-1] + 1) for one in ends)])
    own = labels[tuple(int(place) - first for place, first in zip(peak, corner, strict=True))]
    return np.argwhere(labels == own) + corner


def _nearest(voxels: npt.NDArray[np.intp], centre: npt.NDArray[np.float64], grid: Grid) -> int:
    gaps = (voxels - centre) * np.array(grid.spacing)
    return int(np.argmin((gaps**2).sum(axis=1)))


def place_words(voxel: tuple[int, int, int], grid: Grid) -> str:
    """A voxel's place as a caption says it: its indices and, where known, its place in the world."""
    indices = f"voxel {voxel}"
    if not grid.physical:
        return indices
    x, y, z = (float(value) for value in grid.world(voxel))
    sides = ((x, "R", "L"), (y, "A", "P"), (z, "S", "I"))
    millimetres = ", ".join(f"{abs(value):.1f} mm {plus if value >= 0 else minus}" for value, plus, minus in sides)
    return f"{millimetres} ({indices})"


def cells(grid: Grid) -> str:
    """The size of a coarse map's grid in words, such as '7 × 7 cells'."""
    return " × ".join(str(count) for count in grid.shape[: 2 if grid.is_2d else 3]) + " cells"
