"""The way back: a map made on a tensor's grid, laid on the image's own grid in one resampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.errors import InputError
from voxplain.space.grid import Grid
from voxplain.space.layout import overlap
from voxplain.space.resample import inside, resample, resample_sum
from voxplain.types import Quantity

Map = npt.NDArray[np.floating[Any]]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Returned:
    """A map on the image's grid, and what the way cost."""

    values: Values
    """(channel or 1, i, j, k), float32."""
    sum_on_image: float | None
    """Sum over all voxels and channels, for a quantity that adds up."""
    share_lost: float
    """Share of the map's magnitude that lay in the tensor's padding, outside the image: 0 to 1."""


def cell_grid(tensor_grid: Grid, start: Sequence[float], step: Sequence[float], shape: Sequence[int]) -> Grid:
    """The grid of a coarse map whose cell n of an axis is centred at voxel `start + n * step` of the tensor.

    `start`, `step` and `shape` have 2 entries (rows, columns) or 3.
    """
    rest = 3 - len(shape)
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([*step, *[1.0] * rest])
    matrix[:3, 3] = [*start, *[0.0] * rest]
    i, j, k = (*shape, *[1] * rest)
    return Grid((i, j, k), tensor_grid.affine @ matrix, tensor_grid.unit)


def bring_back(
    values: Map,
    tensor_grid: Grid,
    image_grid: Grid,
    quantity: Quantity,
    replicated: bool = False,
    cells: Grid | None = None,
) -> Returned:
    """Lay a map (channel, rows, columns) or (channel, i, j, k) of the tensor, or of its `cells`, on the image's grid.

    Quantities that add up are poured out as densities, so that sum_on_image plus what lay in padding is the map's sum;
    others are read by linear interpolation at voxel centres (averaged where voxels grow). The outermost cells of a
    coarse map reach one cell beyond their centres, where a next cell would be, but nothing reaches beyond the tensor.

    Channels that preparation `replicated` are summed into one, as the adjoint of repeating them (mask probabilities
    are averaged).
    """
    source = cells or tensor_grid
    own = _merged(_own_shape(values, source, cells is not None), quantity, replicated)
    view = tensor_grid if cells is None else overlap(tensor_grid, _grown(cells))
    if quantity.adds_up:
        return _poured(own, source, view, image_grid)
    read = resample(own, source, image_grid, outside="edge", antialias=True)
    return Returned(
        np.where(inside(view, image_grid), read, np.float32(0)),
        None,
        _share_outside(own, source, tensor_grid, view, image_grid),
    )


def _grown(cells: Grid) -> Grid:
    """Cells whose outer edges lie one whole cell beyond the outermost centres of `cells`."""
    return cells.window((-0.5,) * 3, [count + 1 for count in cells.shape])


def _own_shape(values: Map, source: Grid, coarse: bool) -> Map:
    """Values (channel, i, j, k), with the depth of 1 that a 2D map leaves out."""
    full = values[..., None] if values.ndim == 3 else values
    if full.ndim != 4 or full.shape[1:] != source.shape:
        raise InputError(
            f"map is {values.shape} but the grid of its {'cells' if coarse else 'tensor'} is {source.shape}"
        )
    return full


def _merged(values: Map, quantity: Quantity, replicated: bool) -> Map:
    """The map in the image's own channels."""
    if replicated and len(values) > 1:
        total: Map = values.sum(axis=0, keepdims=True, dtype=np.float64)
        return total / len(values) if quantity is Quantity.MASK else total
    return values


def _poured(values: Map, source: Grid, view: Grid, image_grid: Grid) -> Returned:
    # Magnitudes travel along: losses of either sign must not cancel in the share.
    both = np.concatenate([values, np.abs(values)])
    poured, lost = resample_sum(both, source, image_grid, within=view)
    kept = poured[: len(values)]
    whole = float(np.abs(values).sum(dtype=np.float64))
    share = float(lost[len(values) :].sum()) / whole if whole > 0 else 0.0
    return Returned(kept, float(kept.sum(dtype=np.float64)), min(max(share, 0.0), 1.0))


def _share_outside(values: Map, source: Grid, tensor_grid: Grid, view: Grid, image_grid: Grid) -> float:
    """Share of the magnitude, read on the tensor's voxels, whose centres lie outside the image."""
    size = resample(np.abs(values), source, tensor_grid, outside="edge").sum(axis=0, dtype=np.float64)
    size *= inside(view, tensor_grid)
    whole = float(size.sum())
    return float(size[~inside(image_grid, tensor_grid)].sum()) / whole if whole > 0 else 0.0
