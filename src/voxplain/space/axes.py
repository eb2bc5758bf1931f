"""Grids whose axes run alike, taken one axis at a time: sparse weights from source to target voxels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from voxplain.space.affine import Array
from voxplain.space.grid import GRID_TOLERANCE, Grid

Indices = npt.NDArray[np.intp]
Truth = npt.NDArray[np.bool_]
Volume = npt.NDArray[np.integer[Any] | np.floating[Any] | np.bool_]
Triple = tuple[int, int, int]
Mode = Literal["linear", "nearest"]


@dataclass(frozen=True)
class Run:
    """How one target axis runs in the source: along which axis, from where, in what steps (source voxels)."""

    axis: int
    start: float
    step: float


@dataclass(frozen=True)
class Band:
    """A sparse matrix: target voxel t gets the sum over w of weight[t, w] * source[index[t, w]]."""

    index: Indices
    weight: Array


def relative(source: Grid, target: Grid) -> Array:
    """The affine from target voxels to source voxels."""
    return np.asarray(np.linalg.inv(source.affine) @ target.affine, dtype=np.float64)


def runs(source: Grid, target: Grid) -> list[Run] | None:
    """One `Run` a target axis, or None where an axis drifts off its own by more than the grid tolerance (oblique)."""
    matrix = relative(source, target)
    axes = np.abs(matrix[:3, :3]).argmax(axis=0)
    if sorted(axes) != [0, 1, 2]:
        return None
    drift = np.abs(matrix[:3, :3]) * np.array(target.shape)
    drift[axes, range(3)] = 0.0
    if drift.sum(axis=1).max() > GRID_TOLERANCE:
        return None
    return [Run(int(axis), float(matrix[axis, 3]), float(matrix[axis, n])) for n, axis in enumerate(axes)]


EIGHTHS = 8
"""Sub-points in a source voxel where a finer target takes from it: its weights then differ by less than a hundredth."""


def parts(source: Grid, target: Grid) -> Triple:
    """Sub-points along each target axis that make it at least as dense as the source."""
    steps = np.linalg.norm(relative(source, target)[:3, :3], axis=0)
    i, j, k = (max(1, int(np.ceil(step - GRID_TOLERANCE))) for step in steps)
    return i, j, k


def pouring_parts(source: Grid, target: Grid) -> Triple:
    """Sub-points along each axis of a target that runs along the source's axes, for pouring.

    Where the target is finer, a source voxel holds now more, now fewer of its centres, which would print a lattice on
    an even map; with eighths of a source voxel these counts hardly differ.
    """
    steps = np.linalg.norm(relative(source, target)[:3, :3], axis=0)
    i, j, k = (
        max(1, int(np.ceil((step if step > 1 - GRID_TOLERANCE else EIGHTHS * step) - GRID_TOLERANCE))) for step in steps
    )
    return i, j, k


def reach(view: Grid, target: Grid, limit: Grid | None = None) -> tuple[Triple, Triple]:
    """First voxel and number of voxels of the target's lattice, enough to cover `view`, but not past `limit`."""
    edges = target.voxels(view.edges())
    low, high = edges.min(axis=0), edges.max(axis=0)
    if limit is not None:
        bounds = target.voxels(limit.edges())
        low, high = np.maximum(low, bounds.min(axis=0)), np.minimum(high, bounds.max(axis=0))
    first = np.floor(low + 0.5 + GRID_TOLERANCE).astype(int)
    last = np.ceil(high - 0.5 - GRID_TOLERANCE).astype(int)
    i, j, k = (int(n) for n in first)
    a, b, c = (int(n) for n in np.maximum(last - first + 1, 1))
    return (i, j, k), (a, b, c)


def fine(first: int, count: int, split: int) -> Array:
    """Positions of `count` target voxels, each split into `split` points, in target voxels."""
    return np.asarray(first + (np.arange(count * split) + 0.5) / split - 0.5, dtype=np.float64)


def points(run: Run, first: int, count: int, split: int) -> Array:
    """Source positions of the (sub-)points along one target axis; whole numbers where the lattices coincide."""
    places = run.start + run.step * fine(first, count, split)
    whole = np.rint(places)
    return whole if np.abs(places - whole).max() <= GRID_TOLERANCE else places


def seen(places: Array, size: int) -> Truth:
    """True within the outer edges of `size` voxels, half a voxel beyond the outermost centres."""
    return np.asarray((places >= -0.5 - GRID_TOLERANCE) & (places <= size - 0.5 + GRID_TOLERANCE))


def reading_band(run: Run, size: int, count: int, split: int, mode: Mode, *, cut: bool) -> Band:
    """Rows that read `count` target voxels off `size` source voxels, averaged over sub-points.

    With `cut`, points beyond the source's outer edges read 0, else the edge value.
    """
    places = points(run, 0, count, split)
    band = _linear(places, size) if mode == "linear" else _nearest(places, size)
    weight = band.weight * (seen(places, size)[:, None] if cut else 1.0) / split
    return _pooled(Band(band.index, weight), split)


def pouring_band(run: Run, size: int, allowed: Truth, first: int, count: int, split: int) -> Band:
    """Rows that pour `size` source voxels out with weights that add up to one each, cut to `count` target voxels.

    The lattice they are poured on starts at target voxel `first`; only its `allowed` sub-points take anything.
    """
    extent = len(allowed) // split
    band = _linear(points(run, first, extent, split), size)
    weight = band.weight * allowed[:, None]
    total = np.bincount(band.index.ravel(), weight.ravel(), size)
    pooled = _pooled(Band(band.index, weight / np.where(total > 0, total, 1.0)[band.index]), split)
    width = pooled.index.shape[1]
    rows = Band(np.zeros((count, width), dtype=np.intp), np.zeros((count, width)))
    start, stop = max(first, 0), max(min(first + extent, count), 0)
    if start < stop:
        rows.index[start:stop] = pooled.index[start - first : stop - first]
        rows.weight[start:stop] = pooled.weight[start - first : stop - first]
    return rows


def along(volume: Volume, order: Sequence[Run], bands: Sequence[Band]) -> Array:
    """One volume (source axes) through a band for each target axis, in float64, the most shrinking axis first."""
    result = np.asarray(volume, dtype=np.float64).transpose([run.axis for run in order])
    for axis in sorted(range(3), key=lambda n: len(bands[n].index) / result.shape[n]):
        result = _weighed(result, bands[axis], axis)
    return result


def _weighed(volume: Array, band: Band, axis: int) -> Array:
    shape = [-1 if n == axis else 1 for n in range(3)]
    out = np.take(volume, band.index[:, 0], axis) * band.weight[:, 0].reshape(shape)
    for index, weight in zip(band.index.T[1:], band.weight.T[1:], strict=True):
        out += np.take(volume, index, axis) * weight.reshape(shape)
    return out


def _linear(places: Array, size: int) -> Band:
    """Linear interpolation between voxel centres, the edge value beyond them."""
    places = np.clip(places, 0, size - 1)
    low = np.floor(places).astype(np.intp)
    share = places - low
    # A neighbour of weight 0 must not be touched: 0 * NaN would spread a hole.
    high = np.where(share > 0, low + 1, low)
    return Band(np.stack([low, high], axis=1), np.stack([1 - share, share], axis=1))


def _nearest(places: Array, size: int) -> Band:
    index = np.clip(np.floor(places + 0.5), 0, size - 1).astype(np.intp)
    return Band(index[:, None], np.ones((len(places), 1)))


def _pooled(band: Band, split: int) -> Band:
    """The rows of `split` sub-points joined into one row a voxel; columns that weigh nothing are dropped."""
    rows = len(band.index) // split
    index, weight = band.index.reshape(rows, -1), band.weight.reshape(rows, -1)
    used = (weight != 0).any(axis=0)
    used[0] = True
    return Band(index[:, used], weight[:, used])
