"""Where a prepared tensor lies: every geometric step composed into one grid, so that voxels are read only once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voxplain.data.image import Image
from voxplain.errors import InputError, OptionError
from voxplain.space import layout
from voxplain.space.grid import Grid

if TYPE_CHECKING:
    from voxplain.data.prepare import Prepare

AXES = {2: "rows, columns", 3: "i, j, k"}
"""A tensor's axes by the number of its spatial dimensions."""


def tensor_grid(options: Prepare, image: Image, rank: int) -> Grid:
    """The grid of the tensor that `options` make of an image; for rank 2 its shape is (rows, columns, 1)."""
    _check_rank(image, rank)
    _check_options(options, image, rank)
    grid = image.grid if rank == 3 else image.grid.permuted((1, 0, 2))
    if options.orientation is not None:
        grid = layout.oriented(grid, options.orientation)
    if options.spacing_mm is not None:
        grid = layout.respaced(grid, (*options.spacing_mm, *grid.spacing[rank:]))
    if options.size is not None:
        grid = grid.resized((*options.size, *grid.shape[rank:]))
    if options.crop_pad is not None:
        grid = layout.centred(grid, (*options.crop_pad, *grid.shape[rank:]))
    if options.pad_multiple is not None:
        grid = layout.centred(grid, (*_multiples(grid.shape[:rank], options.pad_multiple), *grid.shape[rank:]))
    return grid


def _multiples(shape: Sequence[int], multiple: int) -> list[int]:
    return [-(-count // multiple) * multiple for count in shape]


def _check_rank(image: Image, rank: int) -> None:
    if rank not in AXES:
        raise InputError(f"a model must read 2 or 3 spatial dimensions, got {rank}")
    if rank == 2 and not image.grid.is_2d:
        raise InputError(f"the model reads 2D images but {image.identifier!r} is 3D; pass --slice")
    if rank == 3 and image.grid.is_2d:
        raise InputError(f"the model reads 3D volumes but {image.identifier!r} is a single 2D image; pass a volume")


def _check_options(options: Prepare, image: Image, rank: int) -> None:
    for option in ("spacing_mm", "size", "crop_pad"):
        values = getattr(options, option)
        if values is not None and len(values) != rank:
            raise OptionError(
                f"prepare: {option} must have {rank} values ({AXES[rank]}) for a {rank}D model, got {values!r}"
            )
    if options.orientation is not None and rank == 2:
        raise OptionError(f"prepare: orientation must be left out for a 2D model, got {options.orientation!r}")
    for option, instead in (("spacing_mm", "; pass size=... in pixels"), ("orientation", "; leave it out")):
        if getattr(options, option) is not None and not image.grid.physical:
            raise InputError(f"{option} needs a grid in mm, but {image.identifier!r} has none{instead}")
