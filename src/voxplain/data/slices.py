"""One slice of a volume as a picture of its own, where it lies."""

from dataclasses import replace

from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.space.planes import plane, slice_grid, take


def axial_slice(image: Image, index: int) -> Image:
    """The axial slice `index` of a volume (counted along its own axis), as a 2D image in radiological convention."""
    if image.grid.is_2d:
        raise InputError(f"image {image.identifier!r} is 2D already; leave --slice out")
    view = plane(image.grid, "axial")
    grid = slice_grid(image.grid, view, index)
    values = take(image.values, view, index)[..., None]
    return replace(image, read=lambda: values, grid=grid)
