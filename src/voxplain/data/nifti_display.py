"""NIfTI files in memory, for viewers: one volume, exact or in few bits."""

import gzip

import nibabel as nib
import numpy as np
import numpy.typing as npt

from voxplain.data.image import Voxels
from voxplain.space.grid import Grid

SCANNER = 1
"""The form code of an affine in the scanner's own space."""

DATA_OFFSET = 352
"""Where the voxels of a NIfTI-1 file begin: after the header and four bytes that announce no extension."""

PAGE_GZIP_LEVEL = 6
"""Volumes of few bits get a third smaller than at level 1, which matters in a page."""


def nifti_bytes(
    values: npt.NDArray[np.generic], grid: Grid, *, step: float = 1.0, offset: float = 0.0, packed: bool = False
) -> bytes:
    """A whole NIfTI-1 file of stored numbers (i, j, k) that mean `stored * step + offset`, gzipped where `packed`.

    The affine is stated exactly; the header holds geometry only.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    header.set_slope_inter(step, offset)
    header.set_sform(grid.affine, SCANNER)
    header.set_qform(grid.affine, 0, strip_shears=True)
    header.set_xyzt_units("mm" if grid.physical else "unknown")
    header["vox_offset"] = DATA_OFFSET
    header["magic"] = b"n+1"
    body = np.asfortranarray(values).tobytes(order="F")
    whole = bytes(header.binaryblock) + b"\0\0\0\0" + body
    return gzip.compress(whole, PAGE_GZIP_LEVEL, mtime=0) if packed else whole


def quantised(
    values: Voxels, low: float, high: float, kind: npt.DTypeLike
) -> tuple[npt.NDArray[np.integer], float, float]:
    """Values from `low` to `high` as whole numbers of `kind`, with the step and offset that bring them back.

    Signed kinds are for limits that are symmetric, and keep 0 exactly; beyond the limits values are cut.
    """
    dtype = np.dtype(kind)
    ends = np.iinfo(dtype)
    if dtype.kind == "i":
        step, offset, least = (high / ends.max or 1.0), 0.0, -ends.max
    else:
        step, offset, least = ((high - low) / ends.max or 1.0), low, 0
    stored = np.rint((values.astype(np.float64) - offset) / step)
    return np.clip(stored, least, ends.max).astype(dtype), step, offset
