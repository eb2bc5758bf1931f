"""DICOM files made up for tests: an oblique series with a known affine, or single pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ACROSS, DOWN = np.linalg.qr(np.array([[1.0, 0.1], [0.2, 1.0], [-0.1, 0.3]]))[0].T * [[-1], [-1]]
"""An oblique pair of unit vectors, LPS."""

NORMAL = np.cross(ACROSS, DOWN)
ORIGIN = np.array([-40.0, 25.0, 110.0])
STEP_ACROSS, STEP_DOWN, GAP = 0.5, 0.8, 3.0
PATIENT = "Doe^Jane"


def picture(pixels: np.ndarray, **attributes: Any) -> Dataset:
    """A CT slice of stored pixels (rows, columns); attributes replace the defaults, None leaves one out."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.PatientName, header.PatientID, header.PatientBirthDate = PATIENT, "id-4711", "19700101"
    header.SeriesDescription = f"head of {PATIENT}"
    bits = pixels.dtype.itemsize * 8
    told = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(), "Modality": "CT", "SeriesNumber": 2,
        "SeriesInstanceUID": "1.2.3.4", "StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.9",
        "Rows": pixels.shape[-2], "Columns": pixels.shape[-1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"), "PixelSpacing": [STEP_DOWN, STEP_ACROSS],
        "ImageOrientationPatient": [round(float(c), 9) for c in (*ACROSS, *DOWN)],
        "ImagePositionPatient": [round(float(c), 6) for c in ORIGIN], "SliceThickness": 1.0,
        "RescaleSlope": 1.0, "RescaleIntercept": 0.0, **attributes,
    }  # fmt: skip
    for keyword, value in told.items():
        if value is not None:
            setattr(header, keyword, value)
    header.PixelData = pixels.tobytes()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    return header


def save(header: Dataset, path: Path) -> Path:
    """Write a picture as a DICOM file."""
    header.save_as(path, enforce_file_format=True)
    return path


def at(depth: float, shift: Sequence[float] = (0.0, 0.0)) -> list[float]:
    """The position of a slice `depth` mm along the normal, shifted by mm across and down."""
    return [round(float(c), 6) for c in ORIGIN + depth * NORMAL + shift[0] * ACROSS + shift[1] * DOWN]


def volume(count: int = 5, columns: int = 7, rows: int = 6) -> np.ndarray:
    """Different stored numbers everywhere: (slice, rows, columns), int16."""
    return np.arange(count * rows * columns, dtype=np.int16).reshape(count, rows, columns)


def write_series(
    folder: Path,
    positions: Sequence[Sequence[float]] | None = None,
    stored: np.ndarray | None = None,
    **attributes: Any,
) -> Path:
    """A series in a folder, its file names in another order than its slices; attributes may be lists, one a slice."""
    folder.mkdir(exist_ok=True)
    stored = volume(5 if positions is None else len(positions)) if stored is None else stored
    positions = [at(GAP * n) for n in range(len(stored))] if positions is None else positions
    for n, (pixels, position) in enumerate(zip(stored, positions, strict=True)):
        own = {key: value[n] if isinstance(value, list) else value for key, value in attributes.items()}
        header = picture(pixels, ImagePositionPatient=position, **{"InstanceNumber": (n * 3) % 7 + 1, **own})
        save(header, folder / f"{'dbeacfg'[n]}.dcm")
    return folder


def known_affine(gap: float = GAP) -> np.ndarray:
    """The RAS+ affine of the default series, columns first."""
    affine = np.eye(4)
    affine[:3] = np.stack([ACROSS * STEP_ACROSS, DOWN * STEP_DOWN, NORMAL * gap, ORIGIN], axis=1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def compressed(header: Dataset, syntax: str) -> Dataset:
    """The picture compressed by pydicom."""
    header.compress(syntax, generate_instance_uid=False)
    return header


def pretend(header: Dataset, syntax: str) -> Dataset:
    """The picture said to be compressed by something that nothing here can decode."""
    header.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    header.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 no decoder will see this"])
    header["PixelData"].VR = "OB"
    return header
