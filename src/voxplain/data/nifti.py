"""NIfTI files: read lazily with their affine kept exactly, written beside and then renamed."""

import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, ImageDataError

from voxplain.data.image import Image, Voxels, default_channels
from voxplain.data.writing import written_beside
from voxplain.errors import FileError, InputError
from voxplain.space.grid import Grid

BROKEN = (
    ImageFileError, HeaderDataError, ImageDataError, OSError, EOFError, ValueError, KeyError, zlib.error, struct.error,
)  # fmt: skip
"""What nibabel and gzip raise on a file that is cut short or is none."""

MILLIMETRES = {1: 1000.0, 3: 0.001}
"""Length of the header's units metre (1) and micrometre (3); millimetre (2) and unknown (0) are taken as they are."""

SCANNER = 1
"""The form code of an affine in the scanner's own space."""

LONGEST_AXIS = 32767
"""NIfTI-1 counts voxels in 16 bits; longer axes need NIfTI-2."""

GZIP_LEVEL = 1
"""Float32 maps hardly get smaller at higher levels, only slower."""


MOST_PACKED = 1100
"""Gzip cannot pack tighter than about 1032 to 1."""


def read_nifti(path: str | Path, *, identifier: str | None = None) -> Image:
    """The image of a .nii or .nii.gz file: 2D becomes depth 1, a 4th axis becomes channels; voxels are read when used.

    Raises `FileError` for a file that is none or is cut short, `InputError` for complex or colour voxels.
    """
    path = Path(path)
    file = _opened(path)
    if file.get_data_dtype().kind not in "iuf":
        raise InputError(f"{path.name!r} must hold one real number a voxel, got {file.get_data_dtype()}")
    shape, count = _layout(file.shape, path.name)
    _check_size(path, file)
    grid, notices = _grid(file, shape, path.name)
    identifier = identifier or content_id(path)
    return Image(lambda: _voxels(path, (*shape, count)), grid, default_channels(count), "a.u.", identifier, notices)


def write_nifti(path: str | Path, values: npt.NDArray[Any], grid: Grid, dtype: npt.DTypeLike = np.float32) -> None:
    """Write values (channel, i, j, k) or (i, j, k) on `grid`, channels as the 4th axis, as floats or whole numbers.

    The file appears complete or not at all; its header holds geometry only. Raises `FileError` where it cannot be
    written, `InputError` for values that are not on the grid or do not fit `dtype`.
    """
    path = Path(path)
    volume = values if values.ndim == 3 else np.moveaxis(values, 0, -1)
    if volume.shape[:3] != grid.shape or volume.ndim not in (3, 4):
        raise InputError(f"{path.name!r}: values are {values.shape} but the grid is {grid.shape}")
    volume = volume[..., 0] if volume.shape[3:] == (1,) else volume
    kind: Any = nib.Nifti2Image if max(volume.shape) > LONGEST_AXIS else nib.Nifti1Image
    file = kind(_cast(volume, np.dtype(dtype), path.name), grid.affine, dtype=np.dtype(dtype))
    _set_forms(file, grid)
    with written_beside(path) as beside, beside.open("wb") as stream:
        if path.suffix != ".gz":
            file.to_stream(stream)
            return
        # No file name and no time in the gzip header: equal maps are equal bytes.
        with gzip.GzipFile("", "wb", GZIP_LEVEL, stream, mtime=0) as packed:
            file.to_stream(packed)


def content_id(*paths: Path) -> str:
    """Twelve hexadecimal digits of the SHA-256 of the files' bytes, whatever their names and order."""
    digests = []
    for path in paths:
        try:
            with path.open("rb") as stream:
                digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
        except OSError as error:
            raise FileError(f"{path.name!r} cannot be read: {_reason(error)}") from error
    whole = digests[0] if len(digests) == 1 else hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    return whole[:12]


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "unknown reason"


def _opened(path: Path) -> nib.Nifti1Image:
    try:
        file = nib.load(path, mmap=False)
    except FileNotFoundError as error:
        raise FileError(f"{path.name!r} does not exist") from error
    except BROKEN as error:
        raise FileError(f"{path.name!r} must be a NIfTI file (.nii or .nii.gz), got something else") from error
    if not isinstance(file, nib.Nifti1Image):
        raise FileError(f"{path.name!r} must be a NIfTI file (.nii or .nii.gz), got another format")
    return file


def _check_size(path: Path, file: nib.Nifti1Image) -> None:
    """Refuse a header that promises more than the file can hold, before memory is asked for it."""
    promised = math.prod(file.shape) * file.get_data_dtype().itemsize
    if promised > path.stat().st_size * (MOST_PACKED if path.name.endswith(".gz") else 1):
        raise FileError(f"{path.name!r} must be a whole NIfTI file, got one that is cut short or broken")


def _layout(shape: tuple[int, ...], name: str) -> tuple[tuple[int, int, int], int]:
    """Voxels along i, j, k and the number of channels; a vector axis (5th) counts where the 4th has length one."""
    i, j, k = (*shape, 1)[:3] if len(shape) > 1 else (0, 0, 0)
    count = int(np.prod(shape[3:], dtype=np.int64))
    if min(i, j, k, count) < 1 or sum(n > 1 for n in shape[3:]) > 1:
        raise InputError(f"{name!r} must have two or three axes and one of channels, got shape {shape}")
    return (int(i), int(j), int(k)), count


def _grid(file: nib.Nifti1Image, shape: tuple[int, int, int], name: str) -> tuple[Grid, tuple[str, ...]]:
    notices = []
    affine = np.array(file.affine, dtype=np.float64)
    if shape[2] == 1 and not affine[:3, 2].any():
        # Some writers leave the third axis of a 2D file empty; any step out of the plane will do.
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1]) / float(np.linalg.norm(affine[:3, 0]) or 1.0)
    if not file.header["sform_code"] and not file.header["qform_code"]:
        notices.append(
            "the file states no orientation (qform and sform code 0); it is taken to be stored right to left"
        )
    factor = MILLIMETRES.get(int(file.header["xyzt_units"]) & 7)
    if factor:
        affine[:3] *= factor
        notices.append(f"lengths were changed to millimetres (times {factor:g})")
    try:
        return Grid(shape, affine, "mm"), tuple(notices)
    except InputError as error:
        raise InputError(f"{name!r}: {error}") from error


def _voxels(path: Path, shape: tuple[int, ...]) -> Voxels:
    try:
        stored = np.asarray(_opened(path).dataobj)
    except BROKEN as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path.name!r} must be a whole NIfTI file, got one that is cut short or broken") from error
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # beyond float32 becomes infinite, and infinite voxels are refused in words
        return np.ascontiguousarray(np.moveaxis(stored.reshape(shape), -1, 0), dtype=np.float32)


def _cast(volume: npt.NDArray[Any], dtype: np.dtype[Any], name: str) -> npt.NDArray[Any]:
    with np.errstate(invalid="ignore", over="ignore"):
        cast = volume.astype(dtype)
        if dtype.kind in "iu" and not np.array_equal(cast, volume):
            raise InputError(f"{name!r}: values must be whole numbers that fit {dtype}, got others")
    return cast


def _set_forms(file: nib.Nifti1Image, grid: Grid) -> None:
    """State the affine twice, as sform exactly and as qform where a quaternion can say it (no shear)."""
    file.set_sform(grid.affine, SCANNER)
    file.set_qform(grid.affine, SCANNER, strip_shears=True)
    if not np.allclose(file.get_qform(), grid.affine, atol=1e-4 * min(grid.spacing)):
        file.set_qform(None, 0)
    file.header.set_xyzt_units("mm" if grid.physical else "unknown")
