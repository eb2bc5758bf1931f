"""DICOM files and series: grey values in their own unit, on the grid that their positions say."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array

from voxplain.data import dicom_geometry as geometry
from voxplain.data.dicom_series import BROKEN, Picture, find_pictures
from voxplain.data.image import Image, Voxels
from voxplain.data.nifti import content_id
from voxplain.errors import FileError, InputError, VoxplainError
from voxplain.space.grid import Grid, Unit

PET_UNITS = {"BQML": "Bq/ml", "GML": "g/ml", "CNTS": "counts"}
"""Words for the units that PET headers state."""


def read_dicom(
    path: str | Path, *, series: str | None = None, identifier: str | None = None, resample_slices: bool = False
) -> Image:
    """The image of a DICOM file, or of the one series in a folder (`series`: a number, or the end of a UID, picks one).

    Slices that are missing, doubled, tilted or unevenly spaced raise `InputError`, or with `resample_slices` are put
    on a regular grid with a notice. Headers are read at once, voxels when used; CT comes in HU.
    """
    path = Path(path)
    try:
        pictures, notices = find_pictures(path, series)
        slices = _slices(pictures, path.name)
        image = _flat(pictures[0]) if slices is None else _stack(pictures, slices, path.name, resample_slices)
    except VoxplainError:
        raise
    except BROKEN as error:
        raise FileError(f"{path.name!r} must have a sound DICOM header, got one that is broken") from error
    return replace(
        image,
        unit=_unit(pictures[0]),
        identifier=identifier or content_id(*dict.fromkeys(picture.path for picture in pictures)),
        notices=(*notices, *_value_notices(pictures[0]), *image.notices),
    )


def _slices(pictures: Sequence[Picture], name: str) -> list[geometry.Slice] | None:
    """Where each picture lies; None for a single one without a position, such as a radiograph."""
    placed = [one for one in pictures if one.get("ImagePositionPatient") and one.get("ImageOrientationPatient")]
    if not placed and len(pictures) == 1:
        return None
    if len(placed) < len(pictures):
        count = f"{len(pictures) - len(placed)} of {len(pictures)} pictures"
        raise InputError(f"{name!r} must have a position for every picture, got none for {count}; name one file")
    return [_slice(one) for one in placed]


def _slice(picture: Picture) -> geometry.Slice:
    if not picture.get("PixelSpacing"):
        raise InputError(f"{picture.name!r} must state its pixel spacing, got none")
    down, across = (float(step) for step in picture.get("PixelSpacing"))  # DICOM: between rows, then between columns
    directions = np.array([float(cosine) for cosine in picture.get("ImageOrientationPatient")]).reshape(2, 3)
    position = np.array([float(value) for value in picture.get("ImagePositionPatient")]).reshape(3)
    thickness = picture.number("SliceThickness", 0.0) or 1.0
    return geometry.Slice(
        picture.name, _shape(picture), position, directions[0], directions[1], (across, down), thickness
    )


def _shape(picture: Picture) -> tuple[int, int]:
    return int(picture.header.Columns), int(picture.header.Rows)


def _stack(pictures: Sequence[Picture], slices: Sequence[geometry.Slice], name: str, resample_slices: bool) -> Image:
    """The volume of slices in their true order, on a regular grid or else refused."""
    order = geometry.in_order(slices)
    ordered = [slices[index] for index in order]
    wrong = geometry.faults(ordered, [repr(one.name) for one in ordered])
    if not wrong:
        ready = [pictures[index] for index in order]
        return Image(lambda: _values(ready)[None], geometry.stack_grid(ordered))
    if not resample_slices:
        raise InputError(
            f"{name!r} must be a regular upright stack of slices, got {' and '.join(wrong)}; "
            "pass --resample-slices (resample_slices=True in Python) to put it on a regular grid"
        )
    kept = geometry.without_duplicates(ordered)
    stack, chosen = [ordered[index] for index in kept], [pictures[order[index]] for index in kept]
    grid = geometry.regular_grid(stack)
    return Image(lambda: _regular(chosen, stack, grid), grid, notices=(_regular_notice(ordered, grid),))


def _regular_notice(ordered: Sequence[geometry.Slice], grid: Grid) -> str:
    # By number: unlike an error, a notice goes into reports, and file names may hold a patient's.
    wrong = geometry.faults(ordered, [f"slice {n + 1}" for n in range(len(ordered))])
    return (
        f"the series had {' and '.join(wrong)}; it was interpolated linearly onto {grid.shape[2]} upright slices "
        f"{grid.spacing[2]:.1f} mm apart"
    )


def _regular(pictures: Sequence[Picture], stack: Sequence[geometry.Slice], grid: Grid) -> Voxels:
    volume = _values(pictures)
    # Outside the scanned slices stands the darkest value: in HU a zero would be water.
    return geometry.regular_values(volume, stack, grid, float(volume.min()))[None]


def _flat(picture: Picture) -> Image:
    """A picture without a position: a radiograph or a secondary capture."""
    step, unit = _flat_spacing(picture)
    letters = [str(word) for word in picture.get("PatientOrientation") or ()]
    notices: tuple[str, ...] = ()
    if not geometry.named_axes(letters):
        frontal = str(picture.get("ViewPosition")).strip() in ("PA", "AP")
        letters = ["L", "F"] if frontal else ["L", "P"]
        view = "an upright frontal view, " if frontal else ""
        notices = (f"no orientation stated; taken as {view}picture right = patient left",)
    return Image(
        lambda: _values([picture])[None], geometry.flat_grid(_shape(picture), step, unit, letters), notices=notices
    )


def _flat_spacing(picture: Picture) -> tuple[tuple[float, float], Unit]:
    """Distances between columns and rows; at the detector unless the file says otherwise."""
    patient, detector = picture.get("PixelSpacing"), picture.get("ImagerPixelSpacing")
    if not patient and not detector:
        return (1.0, 1.0), "px"
    down, across = (float(step) for step in patient or detector)
    if min(down, across) <= 0:
        raise InputError(f"{picture.name!r} must have a pixel spacing above 0, got {across:g} x {down:g}")
    # Equal spacings without a word about calibration are the detector's, written twice (DICOM PS3.3 10.7.1.3).
    calibrated = patient and (picture.get("PixelSpacingCalibrationType") or not detector or patient != detector)
    return (across, down), "mm" if calibrated else "detector mm"


def _value_notices(first: Picture) -> list[str]:
    notices = []
    if first.get("PhotometricInterpretation") == "MONOCHROME1":
        notices.append("stored with the brightest as the smallest number (MONOCHROME1); the values were inverted")
    if first.get("PixelPaddingValue") is not None:
        notices.append(f"pixels stored as padding ({first.get('PixelPaddingValue')}) take the smallest other value")
    return notices


def _unit(picture: Picture) -> str:
    if picture.get("Modality") == "CT" and picture.get("RescaleType") in (None, "HU"):
        return "HU"
    return PET_UNITS.get(str(picture.get("Units")), "a.u.") if picture.get("Modality") == "PT" else "a.u."


def _values(pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
    """The voxels (columns, rows, slice) of pictures in order, padding filled with the smallest other value."""
    layers: list[npt.NDArray[np.float32]] = []
    frames: npt.NDArray[Any] = np.empty(0)
    for before, picture in zip((None, *pictures), pictures, strict=False):
        if before is None or picture.path != before.path:
            frames = _stored(picture)
        layers.append(_rescaled(frames[picture.frame], picture).T)
    volume = np.stack(layers, axis=-1)
    padding = np.isnan(volume)
    if padding.any():
        volume[padding] = 0.0 if padding.all() else volume[~padding].min()
    return volume


def _stored(picture: Picture) -> npt.NDArray[Any]:
    """All frames of a file as they are stored: (frame, rows, columns)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning may quote what stands in the header
            stored = pixel_array(picture.path, raw=True)
        return stored.reshape(picture.frames, *_shape(picture)[::-1])
    except BROKEN as error:
        name, syntax = picture.path.name, picture.syntax.name
        raise FileError(f"{name!r} must hold whole pixels, got some that cannot be decoded ({syntax})") from error


def _rescaled(stored: npt.NDArray[Any], picture: Picture) -> npt.NDArray[np.float32]:
    """Stored numbers in the file's own unit, dark to bright; padding becomes NaN for the moment."""
    values = _modality(stored, picture)
    if picture.get("PhotometricInterpretation") == "MONOCHROME1":
        bits = int(picture.header.BitsStored)
        lowest = -(2 ** (bits - 1)) if picture.number("PixelRepresentation", 0) else 0
        values = _modality(np.array([lowest, lowest + 2**bits - 1]), picture).sum() - values
    value, limit = picture.get("PixelPaddingValue"), picture.get("PixelPaddingRangeLimit")
    if value is not None:
        low, high = sorted((int(value), int(value if limit is None else limit)))
        values[(stored >= low) & (stored <= high)] = np.nan
    return values.astype(np.float32)


def _modality(stored: npt.NDArray[Any], picture: Picture) -> npt.NDArray[np.float64]:
    """Stored numbers through the slice's own slope and intercept, or its table."""
    if picture.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, picture.header), dtype=np.float64)
    slope, intercept = picture.number("RescaleSlope", 1.0), picture.number("RescaleIntercept", 0.0)
    return stored.astype(np.float64) * slope + intercept
