"""Pictures without geometry (PNG, JPEG, TIFF; 8 and 16 bit) and plain arrays (.npy), laid on a grid of pixels."""

import struct
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from voxplain.data.image import Image, Voxels, default_channels
from voxplain.data.nifti import content_id
from voxplain.errors import FileError, InputError, VoxplainError
from voxplain.space.grid import Grid

FORMATS = ("PNG", "JPEG", "TIFF")
"""The only decoders that are ever started, whatever a file claims to be."""

BROKEN = (
    OSError, EOFError, ValueError, KeyError, IndexError, TypeError, SyntaxError, OverflowError, struct.error,
    tokenize.TokenError,
)  # fmt: skip
"""What picture and array decoders raise on a file that is cut short or is none."""

PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Columns run to the patient's Left, rows to Posterior: picture right = patient left."""

ORIENTATION_TAG = 0x0112
"""EXIF and TIFF: how the camera was turned; 1 is upright."""

WHITE_IS_ZERO = 0
"""TIFF's photometric interpretation of grey values stored inverted."""


@dataclass(frozen=True)
class _Mode:
    """How a picture's stored mode becomes numbers."""

    unit: str
    colour: bool = False
    convert: str = ""
    notice: str = ""


COLOUR = "8-bit colour"
ALPHA = "its transparency was dropped"

MODES = {
    "1": _Mode("1-bit grey"),
    "L": _Mode("8-bit grey"),
    "LA": _Mode("8-bit grey", convert="L", notice=ALPHA),
    "I;16": _Mode("16-bit grey"),
    "I;16B": _Mode("16-bit grey"),
    "I;16L": _Mode("16-bit grey"),
    "I": _Mode("integer grey"),
    "F": _Mode("a.u."),
    "RGB": _Mode(COLOUR, colour=True),
    "RGBX": _Mode(COLOUR, colour=True, convert="RGB"),
    "RGBA": _Mode(COLOUR, colour=True, convert="RGB", notice=ALPHA),
    "CMYK": _Mode(COLOUR, colour=True, convert="RGB", notice="its printing colours (CMYK) were converted to RGB"),
    "YCbCr": _Mode(COLOUR, colour=True, convert="RGB"),
}
"""Pillow's modes that are read; others are refused by name."""


def read_raster(
    path: str | Path, *, frame: int | None = None, labels: bool = False, identifier: str | None = None
) -> Image:
    """The picture of a PNG, JPEG or TIFF file, grey or red, green, blue; pixels are read when used.

    `frame` (from 1) picks one of a file with several; `labels` takes a palette's numbers instead of its colours.
    Raises `FileError` for a file that is none or is cut short, `InputError` for several pictures in one file.
    """
    path = Path(path)
    with _opened(path, frame) as picture:
        mode = _mode(picture, path.name, labels)
        turned = _orientation(picture) != 1
        notices = [note for note in (mode.notice, _depth_notice(picture), _white_notice(picture)) if note]
        size = picture.size
    if turned:
        # Whether the size is told before or after the turn depends on the format: only the pixels say.
        notices.append("it was turned as its EXIF orientation says")
        size = _pixels(path, frame, mode).shape[1:3]
    channels = ("red", "green", "blue") if mode.colour else ("image",)
    grid = Grid((*size, 1), PICTURE_AFFINE, "px")
    name = identifier or content_id(path)
    return Image(lambda: _pixels(path, frame, mode), grid, channels, mode.unit, name, tuple(notices))


def read_npy(path: str | Path, *, identifier: str | None = None) -> Image:
    """The array of a .npy file: (rows, columns), (i, j, k) or (channel, i, j, k), in pixels; never unpickled.

    Raises `FileError` for a file that is none or is cut short, `InputError` for other shapes or complex numbers.
    """
    path = Path(path)
    stored = _array(path)
    if stored.dtype.kind not in "biuf" or stored.ndim not in (2, 3, 4) or stored.size == 0:
        raise InputError(
            f"{path.name!r} must hold numbers of shape (rows, columns), (i, j, k) or (channel, i, j, k), "
            f"got {stored.dtype} of shape {stored.shape}"
        )
    count, *shape = _channels_first(stored).shape
    grid = Grid((shape[0], shape[1], shape[2]), PICTURE_AFFINE if shape[2] == 1 else np.eye(4), "px")
    name = identifier or content_id(path)
    return Image(lambda: _numbers(path), grid, default_channels(count), "a.u.", name)


def _numbers(path: Path) -> Voxels:
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # beyond float32 becomes infinite, and infinite voxels are refused in words
        return np.array(_channels_first(_array(path)), dtype=np.float32, order="C")


def _array(path: Path) -> npt.NDArray[Any]:
    try:
        # A memory map: the header is read now, the numbers when used, and objects (pickles) are refused.
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise FileError(f"{path.name!r} does not exist") from error
    except BROKEN as error:
        raise FileError(f"{path.name!r} must be a whole .npy file of plain numbers, got something else") from error


def _channels_first(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As (channel, i, j, k); the rows and columns of a picture change places, as columns come first on a grid."""
    if stored.ndim == 2:
        return stored.T[None, :, :, None]
    return stored if stored.ndim == 4 else stored[None]


@contextmanager
def _opened(path: Path, frame: int | None) -> Iterator[PIL.Image.Image]:
    try:
        # A stream, not a name: by name Pillow maps plain TIFFs into memory and garbles those that are turned.
        stream = path.open("rb")
    except OSError as error:
        raise FileError(f"{path.name!r} does not exist or cannot be read") from error
    with stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow muses about broken headers; what fails is told below
        try:
            picture = PIL.Image.open(stream, formats=FORMATS)
        except PIL.Image.DecompressionBombError as error:
            raise InputError(f"{path.name!r} must have fewer pixels, got more than a picture plausibly has") from error
        except BROKEN as error:
            raise FileError(f"{path.name!r} must be a PNG, JPEG or TIFF picture, got something else") from error
        try:
            _turn_to(picture, frame, path.name)
            yield picture
        except VoxplainError:
            raise
        except BROKEN as error:
            raise FileError(f"{path.name!r} must be a whole picture, got one that is cut short or broken") from error


def _turn_to(picture: PIL.Image.Image, frame: int | None, name: str) -> None:
    """Go to the frame asked for; several frames without a choice are refused (a phone's JPEG preview is none)."""
    count = 1 if picture.format == "MPO" else int(getattr(picture, "n_frames", 1))
    if frame is None and count > 1:
        raise InputError(f"{name!r} must hold one picture, got {count} frames; choose one, such as '{name}#1'")
    if frame is not None and not 1 <= frame <= count:
        raise InputError(f"{name!r}: frame must be from 1 to {count}, got {frame}")
    if frame is not None and count > 1:
        picture.seek(frame - 1)


def _mode(picture: PIL.Image.Image, name: str, labels: bool) -> _Mode:
    if picture.mode == "P":
        return _palette(picture, labels)
    if picture.mode == "I" and picture.format == "PNG":
        return MODES["I;16"]  # older Pillow's name for a 16-bit PNG
    if picture.mode not in MODES:
        raise InputError(f"{name!r} must be grey or RGB, got mode {picture.mode}; save it as PNG first")
    return MODES[picture.mode]


def _palette(picture: PIL.Image.Image, labels: bool) -> _Mode:
    if labels:
        return _Mode("label")
    triples = np.asarray(picture.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    if (triples == triples[:, :1]).all():
        return _Mode("8-bit grey", convert="L", notice="its palette of greys was converted to grey values")
    return _Mode(COLOUR, colour=True, convert="RGB", notice="its palette was converted to RGB")


def _depth_notice(picture: PIL.Image.Image) -> str:
    """Pillow keeps 8 bits of 16-bit colours; that must not go unsaid."""
    tiles = getattr(picture, "tile", [])
    told = str(tiles[0][3]) if tiles else ""
    return "its 16-bit colours were read with 8 bits" if ";16" in told and "I;16" not in told else ""


def _white_notice(picture: PIL.Image.Image) -> str:
    return "its grey values are stored inverted (white is zero) and were turned round" if _inverted(picture) else ""


def _inverted(picture: PIL.Image.Image) -> bool:
    """True where a TIFF counts white as zero in 16 bits; Pillow turns round fewer bits itself."""
    tags = getattr(picture, "tag_v2", {})
    return picture.mode.startswith("I;16") and tags.get(262) == WHITE_IS_ZERO


def _orientation(picture: PIL.Image.Image) -> int:
    tags = getattr(picture, "tag_v2", None)
    if tags is None:
        # Asking a PNG without EXIF would decode it whole.
        tags = picture.getexif() if "exif" in picture.info else {}
    return int(tags.get(ORIENTATION_TAG, 1))


def _pixels(path: Path, frame: int | None, mode: _Mode) -> Voxels:
    """The picture upright as (channel, columns, rows, 1)."""
    with _opened(path, frame) as picture:
        inverted = _inverted(picture)
        picture.load()
        upright = PIL.ImageOps.exif_transpose(picture)
    if mode.convert and upright.mode == "P":
        upright = upright.convert("RGBA")  # Pillow warns when a palette with transparency loses it at once
    stored = np.asarray(upright.convert("RGB").convert(mode.convert) if mode.convert else upright)
    values = np.atleast_3d(stored).transpose(2, 1, 0)[..., None].astype(np.float32, order="C")
    return np.float32(65535) - values if inverted else values
