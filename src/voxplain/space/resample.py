"""Values carried from one grid to another: read by interpolation, or poured out so that their sums survive."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from voxplain.errors import InputError, OptionError
from voxplain.space import axes
from voxplain.space.affine import Array
from voxplain.space.axes import Mode, Triple, Truth, Volume
from voxplain.space.grid import Grid

Values = npt.NDArray[np.float32]
Outside = Literal["zero", "edge"]

POINTS_AT_ONCE = 1 << 20
"""Oblique grids are visited this many points at a time, so that no array of all coordinates ever exists."""

Lines = tuple[Array, Array, Array]
UNDIVIDED: Triple = (1, 1, 1)
"""One point a voxel."""


def resample(
    values: Volume,
    source: Grid,
    target: Grid,
    *,
    mode: Mode = "linear",
    outside: Outside = "zero",
    antialias: bool = False,
) -> Values:
    """Values (channel, i, j, k) on `source` read at the voxel centres of `target`: (channel, *target.shape), float32.

    The outermost half voxel of the source repeats its outermost centres; beyond it lies 0, or for outside='edge' the
    edge value. `antialias` averages over sub-points where a target voxel is larger than a source voxel. A target on
    the source's lattice (permuted, flipped, cropped, padded) gets bit-equal values.
    """
    _check(values, source, target)
    if antialias and mode == "nearest":
        raise OptionError("resample: antialias must be false with mode 'nearest', got true")
    parts = axes.parts(source, target) if antialias else UNDIVIDED
    runs = axes.runs(source, target)
    if runs is None:
        return _read_oblique(values, source, target, mode, outside, parts)
    bands = [
        axes.reading_band(run, source.shape[run.axis], count, split, mode, cut=outside == "zero")
        for run, count, split in zip(runs, target.shape, parts, strict=True)
    ]
    return np.stack([axes.along(volume, runs, bands).astype(np.float32) for volume in values])


def resample_sum(values: Volume, source: Grid, target: Grid, *, within: Grid | None = None) -> tuple[Values, Array]:
    """Values (channel, i, j, k) poured from `source` onto `target` as densities, and what fell outside it (channel,).

    Sums survive: sum(out) + lost = sum(values) for each channel. Every source voxel is spread over the points of the
    target's lattice (subdivided to be at least as dense as the source) with its linear interpolation weights there,
    normalised to one. Points beyond the outer edges of `within` (the source's own by default) take nothing.
    """
    _check(values, source, target)
    within = within or source
    _check(values, source, within)
    runs, bounds = axes.runs(source, target), axes.runs(within, target)
    if runs is None or bounds is None:
        poured = _pour_oblique(values, source, target, within)
    else:
        bands = []
        for run, bound, first, extent, count, split in zip(
            runs, bounds, *axes.reach(within, target), target.shape, axes.pouring_parts(source, target), strict=True
        ):
            allowed = axes.seen(axes.points(bound, first, extent, split), within.shape[bound.axis])
            if abs(run.step) < 1:  # of voxels this fine, one whose centre lies outside takes nothing with its rim
                allowed &= axes.seen(axes.points(bound, first, extent, 1), within.shape[bound.axis]).repeat(split)
            bands.append(axes.pouring_band(run, source.shape[run.axis], allowed, first, count, split))
        poured = np.stack([axes.along(volume, runs, bands) for volume in values])
    lost = np.sum(values, axis=(1, 2, 3), dtype=np.float64) - poured.sum(axis=(1, 2, 3))
    return poured.astype(np.float32), lost


def inside(view: Grid, target: Grid) -> Truth:
    """Which voxel centres of `target` lie within the outer edges of `view`: boolean, target.shape."""
    runs = axes.runs(view, target)
    if runs is None:
        slabs = _slabs((0, 0, 0), target.shape, UNDIVIDED)
        return np.concatenate([_seen(view, _places(view, target, lines)) for _, lines in slabs])
    i, j, k = (
        axes.seen(axes.points(run, 0, count, 1), view.shape[run.axis])
        for run, count in zip(runs, target.shape, strict=True)
    )
    return np.asarray(i[:, None, None] & j[:, None] & k)


def _check(values: Volume, source: Grid, target: Grid) -> None:
    if values.ndim != 4 or values.shape[1:] != source.shape:
        raise InputError(f"values to resample are {values.shape} but their grid is {source.shape}")
    if source.physical != target.physical:
        raise InputError(f"grids to resample between must share a unit, got {source.unit} and {target.unit}")


def _slabs(first: Triple, count: Triple, parts: Triple) -> Iterator[tuple[slice, Lines]]:
    """Sub-points along i, j and k in target voxels, some planes at a time, with the slice of the target they fill."""
    j, k = (axes.fine(first[n], count[n], parts[n]) for n in (1, 2))
    planes = max(1, POINTS_AT_ONCE // (parts[0] * j.size * k.size))
    for start in range(0, count[0], planes):
        stop = min(start + planes, count[0])
        yield slice(start, stop), (axes.fine(first[0] + start, stop - start, parts[0]), j, k)


def _places(source: Grid, target: Grid, lines: Lines) -> Array:
    """Positions (3, a, b, c) in source voxels of the points that three lines of target voxels span."""
    matrix = axes.relative(source, target)
    i, j, k = lines[0][:, None, None], lines[1][:, None], lines[2]
    return np.stack([row[0] * i + (row[1] * j + (row[2] * k + row[3])) for row in matrix[:3]])


def _seen(view: Grid, places: Array) -> Truth:
    """True where places (3, ...) in voxels of `view` lie within its outer edges."""
    i, j, k = (axes.seen(line, size) for line, size in zip(places, view.shape, strict=True))
    return np.asarray(i & j & k)


def _read_oblique(values: Volume, source: Grid, target: Grid, mode: Mode, outside: Outside, parts: Triple) -> Values:
    """`resample` for grids whose axes do not run alike."""
    out = np.empty((len(values), *target.shape), dtype=np.float32)
    volume = torch.from_numpy(np.array(values, dtype=np.float64))
    for rows, lines in _slabs((0, 0, 0), target.shape, parts):
        places = _places(source, target, lines)
        read = _pick(values, places) if mode == "nearest" else _sample(volume, places).numpy()
        kept = np.where(_seen(source, places), read, 0) if outside == "zero" else read
        out[:, rows] = _blocks(kept, parts) / np.prod(parts)
    return out


def _pour_oblique(values: Volume, source: Grid, target: Grid, within: Grid) -> Array:
    """`resample_sum` for grids whose axes do not run alike: W (values / W^T 1)."""
    parts = axes.parts(source, target)
    total = _weights(source, target, within, parts)
    densities = torch.from_numpy(np.asarray(values, dtype=np.float64) / np.where(total > 0, total, 1.0))
    out = np.empty((len(values), *target.shape))
    for rows, lines in _slabs((0, 0, 0), target.shape, parts):
        read = _sample(densities, _places(source, target, lines)).numpy()
        out[:, rows] = _blocks(np.where(_seen(within, _places(within, target, lines)), read, 0.0), parts)
    _drop(values, np.argwhere(total == 0), source, target, within, out)
    return out


def _weights(source: Grid, target: Grid, within: Grid, parts: Triple) -> Array:
    """W^T 1: the interpolation weight each source voxel has on the extended lattice, by automatic differentiation.

    Voxels that nowhere touch the target are not needed, so the lattice ends two source voxels beyond it.
    """
    total = np.zeros(source.shape)
    margin = np.ceil(2 * np.abs(axes.relative(target, source)[:3, :3]).sum(axis=1)).astype(int)
    lattice = axes.reach(within, target, target.window(-margin, target.shape + 2 * margin))
    for _, lines in _slabs(*lattice, parts):
        places = _places(source, target, lines)[:, _seen(within, _places(within, target, lines)), None, None]
        with torch.inference_mode(False), torch.enable_grad():
            probe = torch.zeros((1, *source.shape), dtype=torch.float64, requires_grad=True)
            total += torch.autograd.grad(_sample(probe, places).sum(), probe)[0][0].numpy()
    return total


def _drop(values: Volume, missed: npt.NDArray[np.intp], source: Grid, target: Grid, within: Grid, out: Array) -> None:
    """Give voxels that no lattice point touched (thin slices, sharp corners) to the target voxel they lie in."""
    world = source.world(missed)
    places = np.rint(target.voxels(world)).astype(np.intp)
    near = np.all((places >= 0) & (places < target.shape), axis=1) & _seen(within, within.voxels(world).T)
    for (i, j, k), (a, b, c) in zip(missed[near], places[near], strict=True):
        out[:, a, b, c] += values[:, i, j, k]


def _sample(volume: torch.Tensor, places: Array) -> torch.Tensor:
    """A volume (channel, i, j, k) read linearly at places (3, a, b, c) in voxels: (channel, a, b, c); edges repeat."""
    grid = np.empty((1, *places.shape[1:], 3))
    for axis, (line, size) in enumerate(zip(places, volume.shape[1:], strict=True)):
        # torch counts the axes backwards and places the outermost centres at -1 and 1.
        grid[0, ..., 2 - axis] = np.clip(line, 0, size - 1) * (2 / max(size - 1, 1)) - 1
    return torch.nn.functional.grid_sample(
        volume[None], torch.from_numpy(grid), padding_mode="border", align_corners=True
    )[0]


def _pick(values: Volume, places: Array) -> Volume:
    """The nearest voxel's value at places (3, a, b, c) in voxels; edges repeat."""
    i, j, k = (
        np.clip(np.floor(line + 0.5), 0, size - 1).astype(np.intp)
        for line, size in zip(places, values.shape[1:], strict=True)
    )
    return values[:, i, j, k]


def _blocks(values: Volume, parts: Triple) -> Array:
    """Sums over blocks of sub-points: (channel, a, b, c)."""
    channel, a, b, c = values.shape
    split = values.reshape(channel, a // parts[0], parts[0], b // parts[1], parts[1], c // parts[2], parts[2])
    return np.asarray(split.sum(axis=(2, 4, 6), dtype=np.float64))  # type: ignore[no-untyped-call, unused-ignore]
