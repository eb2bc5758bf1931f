"""Maps and masks on grids in millimetres, for metrics that read them voxel by voxel."""

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.space.grid import Grid
from voxplain.types import Quantity

GRIDS = {2: Grid((9, 7, 1), np.diag([2.0, 1.5, 1.0, 1.0])), 3: Grid((6, 5, 4), np.diag([1.0, 2.0, 3.0, 1.0]))}
"""A picture and a volume by their rank; no two sides and no two spacings of an image are equal."""


def attribution(values, grid, channels=("all",)):
    """A map of voxels (channel, i, j, k), or (i, j, k) for one channel."""
    voxels = np.asarray(values, dtype=np.float32)
    voxels = voxels[None] if voxels.ndim == 3 else voxels
    return Attribution(voxels, grid, Quantity.RELEVANCE, "gradient", "class_score(1)", channels=channels)


def drawn(grid, seed=0):
    """A map that knows nothing, signed, without ties (i, j, k)."""
    return np.random.default_rng(seed).standard_normal(grid.shape)


def voxels(grid, *places, value=1.0):
    """`value` at the places, 0 elsewhere (i, j, k)."""
    found = np.zeros(grid.shape)
    for place in places:
        found[place] = value
    return found


def box(grid, start, stop):
    """1 within a box, 0 elsewhere (i, j, k)."""
    found = np.zeros(grid.shape)
    found[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = 1
    return found


def image(values, grid, **named):
    """An image of these voxels."""
    return Image.of(values, grid, **named)
