"""DICOM pictures found: which files belong together, and what their headers say without a word about the patient."""

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from voxplain.errors import FileError, InputError, MissingExtra, shortened

MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
}
"""Where an enhanced (multi-frame) object keeps what a classic one says at its top."""

TAGS = [
    *MACROS, "SOPClassUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "NumberOfFrames",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "Rows", "Columns", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsStored", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "ModalityLUTSequence", "ImagerPixelSpacing", "PixelSpacingCalibrationType", "PatientOrientation", "ViewPosition",
    "Units",
]  # fmt: skip
"""All that is ever read of a header: names, identifiers and dates of the patient are not among it."""

COMPRESSIONS_IN_EXTRA = ("JPEG 2000", "High-Throughput JPEG 2000", "JPEG-LS")
"""How the names of those transfer syntaxes begin whose decoders the extra 'dicom' installs."""

BROKEN = (
    AttributeError, BytesLengthException, EOFError, IndexError, KeyError, NotImplementedError, OSError, RuntimeError,
    TypeError, ValueError, struct.error,
)  # fmt: skip
"""What pydicom and its decoders raise on a file that is cut short or broken."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One grey picture of a series: a file, or a frame of one."""

    path: Path
    """The file it is in."""
    header: pydicom.Dataset
    """The attributes named in `TAGS`, no others."""
    frame: int = 0
    """Its number in the file, from 0."""
    frames: int = 1
    """How many pictures the file holds."""

    @property
    def name(self) -> str:
        """What the user knows it by."""
        return self.path.name if self.frames == 1 else f"{self.path.name} frame {self.frame + 1}"

    def get(self, keyword: str) -> Any:
        """An attribute of this frame, of all frames or of the whole file, whichever is there; else None."""
        for groups in (self._groups("PerFrame", self.frame), self._groups("Shared", 0)):
            inner = groups.get(MACROS[keyword]) if groups is not None and keyword in MACROS else None
            if inner and inner[0].get(keyword) is not None:
                return inner[0].get(keyword)
        value = self.header.get(keyword)
        return None if value == "" else value

    def number(self, keyword: str, otherwise: float) -> float:
        """An attribute as a number."""
        value = self.get(keyword)
        try:
            return otherwise if value is None else float(value)
        except (TypeError, ValueError) as error:
            raise FileError(f"{self.name!r} must state {keyword} as a number, got something else") from error

    @property
    def syntax(self) -> UID:
        """How the pixels are stored."""
        syntax: UID = self.header.file_meta.TransferSyntaxUID
        return syntax

    def _groups(self, kind: str, index: int) -> pydicom.Dataset | None:
        sequence = self.header.get(f"{kind}FunctionalGroupsSequence")
        return sequence[index] if sequence and index < len(sequence) else None


def find_pictures(path: Path, series: str | None) -> tuple[list[Picture], list[str]]:
    """The grey, decodable pictures of a file, or of one series of a folder, and notices about what was left out.

    Raises `FileError` for no or broken files, `InputError` for several series without a choice or for colour,
    `MissingExtra` for a compression that nothing installed can decode.
    """
    headers, notices = _headers(path)
    files = _series(headers, series, path.name)
    for file in files:
        _check_grey(file)
        _check_decoder(file)
    kinds = sorted({f"{one.get('Modality')} {one.get('PhotometricInterpretation')}" for one in files})
    if len(kinds) > 1:
        raise InputError(f"{path.name!r} must hold pictures of one kind, got {shortened(kinds)}; name one file")
    return [one for file in files for one in _frames(file)], notices


def _headers(path: Path) -> tuple[list[Picture], list[str]]:
    """Headers of a file, or of the pictures directly in a folder, in order of their instance numbers."""
    if not path.exists():
        raise FileError(f"{path.name!r} does not exist")
    if path.is_file():
        one = _header(path)
        if one is None:
            raise FileError(f"{path.name!r} must be a DICOM picture, got something else")
        return [one], []
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    found = [header for header in map(_header, files) if header is not None]
    if not found:
        raise FileError(f"folder {path.name!r} must hold DICOM pictures, got none in {len(files)} files; name a file")
    ignored = len(files) - len(found)
    notices = [f"{ignored} {'file' if ignored == 1 else 'files'} without a DICOM picture left out"] if ignored else []
    return sorted(found, key=lambda one: one.number("InstanceNumber", 0)), notices


def _header(path: Path) -> Picture | None:
    """The header of a DICOM picture; None for other files and for DICOM objects without pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning may quote what stands in the header
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
            kind = UID(header.get("SOPClassUID") or header.file_meta.MediaStorageSOPClassUID).name
            # pydicom looks at a value (and complains) when it is first asked for: here, not later.
            _ = header.file_meta.TransferSyntaxUID, list(header.iterall())
    except InvalidDicomError:
        return None
    except BROKEN as error:
        raise FileError(f"{path.name!r} must be a whole DICOM file, got one that is cut short or broken") from error
    if "Rows" in header and "Columns" in header:
        return Picture(path, header)
    if "Image Storage" in kind:
        raise FileError(f"{path.name!r} must be a whole DICOM file, got one that is cut short or broken")
    return None


def _series(headers: Sequence[Picture], wanted: str | None, name: str) -> list[Picture]:
    """The pictures of the only series, or of the wanted one; several without a choice are named and refused."""
    grouped: dict[str, list[Picture]] = {}
    for one in headers:
        grouped.setdefault(str(one.get("SeriesInstanceUID")), []).append(one)
    fitting = grouped
    if wanted is not None:
        numbered = {uid: group for uid, group in grouped.items() if str(group[0].get("SeriesNumber")) == wanted}
        fitting = numbered or {uid: group for uid, group in grouped.items() if uid.endswith(wanted)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    told = shortened(_told(uid, group) for uid, group in (fitting or grouped).items())
    if wanted is not None:
        raise InputError(f"{name!r} must have one series {wanted!r}, got {len(fitting)}; choose from {told}")
    uid = next(iter(grouped))
    numbers = [str(other[0].get("SeriesNumber")) for other in grouped.values()]
    example = numbers[0] if len(set(numbers)) == len(numbers) else uid[-6:]
    raise InputError(
        f"{name!r} must hold one series, got {len(grouped)}: {told}; choose one, such as '{name}#{example}'"
    )


def _told(uid: str, group: Sequence[Picture]) -> str:
    """A series in words without its description, which may hold a name."""
    count = "1 picture" if len(group) == 1 else f"{len(group)} pictures"
    return f"{group[0].get('SeriesNumber')} ({group[0].get('Modality')}, {count}, UID ending in {uid[-6:]})"


def _frames(file: Picture) -> list[Picture]:
    count = int(file.number("NumberOfFrames", 1))
    return [Picture(file.path, file.header, frame, count) for frame in range(count)]


def _check_grey(file: Picture) -> None:
    colours = file.get("PhotometricInterpretation")
    if colours not in ("MONOCHROME1", "MONOCHROME2") or file.number("SamplesPerPixel", 1) != 1:
        raise InputError(f"{file.name!r} must be grey (MONOCHROME1 or MONOCHROME2), got {colours}; save it as PNG")
    if file.get("Modality") == "SEG":
        raise InputError(f"{file.name!r} must be a picture, got a DICOM segmentation; convert it to NIfTI first")


def _check_decoder(file: Picture) -> None:
    """Say before anything is decoded which compression has no decoder here, and what brings one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a broken name; the error below says it
            available = get_decoder(file.syntax).is_available
    except NotImplementedError as error:
        raise FileError(
            f"{file.name!r} must hold still pictures, got the transfer syntax {file.syntax.name}"
        ) from error
    if available:
        return
    told = f"{file.name!r} is compressed as {file.syntax.name}, which needs a decoder"
    if file.syntax.name.startswith(COMPRESSIONS_IN_EXTRA):
        raise MissingExtra(f"{told}; install it with: pip install 'voxplain[dicom]'")
    raise MissingExtra(f"{told} that 'voxplain[dicom]' does not bring; install one with: pip install python-gdcm")
