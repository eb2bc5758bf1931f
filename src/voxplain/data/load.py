"""Any image or mask by what its file is: NIfTI, DICOM, picture or array; several files as named channels."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from voxplain.data.image import Image, Voxels
from voxplain.data.nifti import read_nifti
from voxplain.data.raster import read_npy, read_raster
from voxplain.errors import FileError, InputError
from voxplain.space.grid import Grid

Source = str | Path
Kind = Literal["nifti", "dicom", "raster", "npy"]

SUFFIXES: dict[str, Kind] = {
    ".nii": "nifti", ".nii.gz": "nifti", ".dcm": "dicom", ".dicom": "dicom", ".ima": "dicom", ".npy": "npy",
    ".png": "raster", ".jpg": "raster", ".jpeg": "raster", ".tif": "raster", ".tiff": "raster",
}  # fmt: skip
"""File endings and what they promise; files without one are known by their first bytes."""

MARKS: dict[bytes, Kind] = {
    b"\x89PNG": "raster", b"\xff\xd8\xff": "raster", b"II*\x00": "raster", b"MM\x00*": "raster", b"\x93NUMPY": "npy",
}  # fmt: skip
"""How files of a kind begin."""

JPEG_MARK = b"\xff\xd8\xff"

FULL = {"8-bit grey": 255, "8-bit colour": 255, "16-bit grey": 65535}
"""White of a picture: a mask of only black and white has label 1 where it is white."""

JPEG_THRESHOLD = 128
"""Compression smears a mask's edges; half of white decides."""

MOST_LABELS = 64
"""A picture with more different greys is no mask but a photograph or a smoothed one."""

WHOLE_TOLERANCE = 1e-3
"""Labels stored with a scale factor come back as whole numbers only to about four digits."""


def load_image(
    source: Source | Mapping[str, Source], *, identifier: str | None = None, resample_slices: bool = False
) -> Image:
    """The image of a file or DICOM folder, or several files as named channels on the grid of the first.

    'folder#2' picks DICOM series number 2, 'stack.tif#3' the third frame. Other channels are resampled linearly onto
    the first with a notice. Raises `FileError` for what cannot be read, `InputError` for what cannot be combined.
    """
    if isinstance(source, Mapping):
        return _channels(source, identifier, resample_slices)
    return _read(source, identifier=identifier, resample_slices=resample_slices)


def load_mask(source: Source, like: Image | None = None, what: str = "mask") -> Image:
    """Labels (1, i, j, k), whole numbers from 0, on the grid of `like` (resampled to the nearest voxel with a notice).

    A picture of only black and white has label 1 where it is white; a palette's numbers are labels; a JPEG is cut at
    half of white. Raises `InputError` for anything but labels or for a mask that lies elsewhere than the image; errors
    and notices call it `what`.
    """
    path, _ = split_choice(source)
    image = _read(source, labels=True, identifier=None if like is None else like.identifier)
    lossy = _begins(path, len(JPEG_MARK)) == JPEG_MARK
    notices = [*image.notices, f"the {what} is a JPEG; half of white was taken as edge"] if lossy else image.notices
    mask = replace(
        image,
        read=lambda: _labels(image, f"{what} {path.name!r}", lossy),
        channels=(what,),
        unit="label",
        notices=tuple(notices),
    )
    return mask if like is None else _onto(mask, like.grid, f"{what} {path.name!r}", f"the {what}", "nearest")


def split_choice(source: Source) -> tuple[Path, str | None]:
    """The path of 'path#choice' and the choice, or None where there is none or a file has that very name."""
    path = Path(source).expanduser()
    stem, mark, choice = path.name.rpartition("#")
    return (path.with_name(stem), choice) if mark and stem and choice and not path.exists() else (path, None)


def image_kind(path: Path) -> Kind | None:
    """What a file is, by its first bytes or else its ending; a folder with DICOM files is 'dicom'; else None."""
    if path.is_dir():
        return "dicom" if any(_is_dicom(file) for file in path.iterdir() if file.is_file()) else None
    if _is_dicom(path):
        return "dicom"
    start = _begins(path, 8)
    by_mark = [kind for mark, kind in MARKS.items() if start.startswith(mark)]
    by_name = [kind for suffix, kind in SUFFIXES.items() if path.name.lower().endswith(suffix)]
    return next(iter(by_mark + by_name), None)


def _is_dicom(path: Path) -> bool:
    """True for a file with the mark 'DICM' behind its preamble."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _read(
    source: Source, *, identifier: str | None = None, resample_slices: bool = False, labels: bool = False
) -> Image:
    path, choice = split_choice(source)
    kind = _checked_kind(path)
    if kind == "dicom":
        from voxplain.data.dicom import read_dicom  # takes half a second that pictures need not wait for

        return read_dicom(path, series=choice, identifier=identifier, resample_slices=resample_slices)
    if kind == "raster":
        return read_raster(path, frame=_frame(choice, path.name), labels=labels, identifier=identifier)
    if choice is not None:
        raise InputError(f"{path.name!r} holds one image, got the choice '#{choice}'; leave it out")
    return read_nifti(path, identifier=identifier) if kind == "nifti" else read_npy(path, identifier=identifier)


def _checked_kind(path: Path) -> Kind:
    if not path.exists():
        raise FileError(f"image {str(path)!r} does not exist")
    kind = image_kind(path)
    if path.is_dir() and kind is None:
        raise FileError(f"folder {path.name!r} must hold DICOM pictures, got none; name a file")
    if path.is_file() and path.stat().st_size == 0:
        raise FileError(f"{path.name!r} must be an image, got an empty file")
    if kind is None:
        raise FileError(
            f"{path.name!r} must be NIfTI (.nii, .nii.gz), DICOM, PNG, JPEG, TIFF or .npy, got something else"
        )
    return kind


def _begins(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(count)
    except IsADirectoryError:
        return b""
    except OSError as error:
        raise FileError(f"{path.name!r} cannot be read: {error.strerror}") from error


def _frame(choice: str | None, name: str) -> int | None:
    if choice is None or choice.isdecimal():
        return None if choice is None else int(choice)
    raise InputError(f"{name!r}: frame must be a whole number from 1, got {choice!r}")


def _channels(sources: Mapping[str, Source], identifier: str | None, resample_slices: bool) -> Image:
    """Files as named channels; a lone one keeps its own channels where it has several (a colour picture)."""
    if not sources:
        raise InputError("image must have at least one channel, got none")
    images = {name: _read(source, resample_slices=resample_slices) for name, source in sources.items()}
    if len(images) == 1 and len(next(iter(images.values())).channels) > 1:
        lone = next(iter(images.values()))
        return replace(lone, identifier=identifier or lone.identifier)
    for name, image in images.items():
        if len(image.channels) > 1:
            raise InputError(f"channel {name!r} must be a file of one channel, got {len(image.channels)}")
    grid = next(iter(images.values())).grid
    placed = [_onto(image, grid, f"channel {name!r}", f"channel {name!r}") for name, image in images.items()]
    units = {image.unit for image in placed}
    return Image(
        lambda: np.concatenate([image.values for image in placed]),
        grid,
        tuple(images),
        units.pop() if len(units) == 1 else "a.u.",
        identifier or hashlib.sha256("".join(image.identifier for image in placed).encode()).hexdigest()[:12],
        tuple(f"{name}: {notice}" for name, image in zip(images, placed, strict=True) for notice in image.notices),
    )


def _onto(image: Image, grid: Grid, subject: str, short: str, mode: Literal["linear", "nearest"] = "linear") -> Image:
    """The image on another grid: as it is on the same one, voxel by voxel where one has no geometry, else resampled."""
    if image.grid.same_as(grid):
        return replace(image, grid=grid)
    if image.grid.unit != grid.unit or not grid.physical:
        if image.grid.shape != grid.shape:
            raise InputError(
                f"{subject} must be {_size(grid)} voxels like the image (without geometry it cannot be resampled), "
                f"got {_size(image.grid)}"
            )
        return replace(image, grid=grid, notices=(*image.notices, f"{short} was laid on the image voxel by voxel"))
    if not _overlap(image.grid, grid):
        raise InputError(f"{subject} must lie where the image lies, got a place without a common voxel")
    spacing = " x ".join(f"{step:.3g}" for step in image.grid.spacing)
    told = (
        f"{short} was resampled from {_size(image.grid)} voxels of {spacing} {grid.unit} onto the image's grid ({mode})"
    )
    return replace(image, read=lambda: _resampled(image, grid, mode), grid=grid, notices=(*image.notices, told))


def _resampled(image: Image, grid: Grid, mode: Literal["linear", "nearest"]) -> Voxels:
    from voxplain.space.resample import resample

    return resample(image.values, image.grid, grid, mode=mode)


def _overlap(one: Grid, other: Grid) -> bool:
    """True where the boxes around both grids touch, seen along the voxel axes of either."""
    for base, guest in ((one, other), (other, one)):
        corners = base.voxels(guest.corners())
        if (corners.max(axis=0) < -0.5).any() or (corners.min(axis=0) > np.array(base.shape) - 0.5).any():
            return False
    return True


def _size(grid: Grid) -> str:
    return " x ".join(str(n) for n in (grid.shape[:2] if grid.is_2d else grid.shape))


def _labels(image: Image, subject: str, lossy: bool) -> Voxels:
    values, white = image.values, FULL.get(image.unit)
    if lossy:
        return np.asarray(values.mean(axis=0, keepdims=True) >= JPEG_THRESHOLD, dtype=np.float32)
    if not np.array_equal(values, np.broadcast_to(values[:1], values.shape), equal_nan=True):
        raise InputError(f"{subject} must have one channel, got {len(image.channels)} that differ")
    single = values[:1]
    whole = np.round(single)
    if not np.isfinite(single).all() or np.abs(single - whole).max() > WHOLE_TOLERANCE or whole.min() < 0:
        raise InputError(f"{subject} must hold whole numbers from 0, got others; threshold it first")
    found = np.unique(whole)
    if white is not None and len(found) > MOST_LABELS:
        raise InputError(f"{subject} must hold labels, got {len(found)} different greys; threshold it first")
    return _black_and_white(whole, found, white)


def _black_and_white(whole: Voxels, found: npt.NDArray[np.float32], white: int | None) -> Voxels:
    only = white is not None and set(found.tolist()) <= {0.0, float(white)}
    return np.asarray(whole > 0, dtype=np.float32) if only else whole
