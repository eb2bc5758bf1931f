"""What the viewer shows of a run: each image channel, mask, prediction and map as one volume with its facts."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.nifti_display import nifti_bytes, quantised
from voxplain.errors import FileError, VoxplainError
from voxplain.report.contents import CaseEntry, MapEntry, Run, listing, mapping
from voxplain.report.display import Array, grey_window, one_map, scale
from voxplain.report.place import place_words, strongest
from voxplain.space.affine import world_axes
from voxplain.space.grid import Grid

LARGEST_SIDE = 2048
"""Voxels along an axis that every WebGL 2 takes as a 3D texture; longer ones are shown in blocks."""

FEW_STEPS = 4
"""A map whose peak is beyond so many colour limits gets 16 bits: in 8, its colours would have less than 32 steps."""

MOST_LIMITS = 500
"""A peak beyond so many colour limits is cut there, as 16 bits could not tell the colours apart any more."""

PLANES = ("sagittal", "coronal", "axial")
"""The plane across each world axis."""

PICTURE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Where a grid without geometry is laid, so that its columns run to the right and its rows down."""

KEPT = 8
"""Volumes kept in memory: those of one view and of the maps looked at before."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume as a viewer shows it."""

    facts: Mapping[str, Any]
    """What stands beside it, as plain JSON values."""
    values: Array
    """(i, j, k), finite."""
    grid: Grid
    limits: tuple[float, float]
    """Smallest and largest value that few bits must tell apart."""
    kind: npt.DTypeLike
    """The whole numbers that few bits are stored in."""

    def exact(self) -> bytes:
        """As a NIfTI file of float32."""
        return nifti_bytes(self.values, self.grid)

    def packed(self) -> tuple[dict[str, Any], bytes]:
        """Facts and gzipped NIfTI file of few bits; the facts then say how coarse and within which limits."""
        stored, step, offset = quantised(self.values, *self.limits, self.kind)
        exact = bool(np.array_equal(stored * step + offset, self.values))
        facts = {**self.facts, "step": 0.0 if exact else step, "cut": None if exact else list(self.limits)}
        return facts, nifti_bytes(stored, self.grid, step=step, offset=offset, packed=True)


@dataclass(frozen=True, eq=False)
class Labels:
    """A mask on the image's grid."""

    image: Image
    names: tuple[str, ...]
    """What each label means, from 0 on; empty for a given mask, whose labels nobody named."""


class Shelf:
    """The volumes of a run by key: `c0-i1` is the second channel of the first case, `c0-mask`, `c0-prediction`
    what the model segmented, `c0-m3` a map.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.images = [_image_of(case) for case in run.cases]
        self.places: dict[str, tuple[Image, Any]] = {}
        for number, (case, image) in enumerate(zip(run.cases, self.images, strict=True)):
            self.places |= {f"c{number}-{name}": place for name, place in _parts(case, image)}
        self.volume = lru_cache(KEPT)(self._volume)

    def _volume(self, key: str) -> Volume:
        """The volume of a key; raises a VoxplainError in words where its file cannot be shown."""
        image, what = self.places[key]
        try:
            if isinstance(what, MapEntry):
                return _map_volume(self.run.folder, image, what)
            return _label_volume(image, what) if isinstance(what, Labels) else _image_volume(image, what)
        except VoxplainError:
            raise
        # Files of a run folder may have been edited by hand.
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise FileError(f"the map cannot be shown: {error}") from error


def _image_of(case: CaseEntry) -> Image | None:
    """The case's image; where it is missing, black on the grid of the first map that can be read."""
    if case.image is not None:
        return case.image
    for entry in case.maps:
        with suppress(VoxplainError, OSError, ValueError, TypeError, AttributeError):
            if (image := entry.load(None).image) is not None:
                return replace(image, channels=("image is missing",))
    return None


def _parts(case: CaseEntry, image: Image | None) -> list[tuple[str, tuple[Image, Any]]]:
    """Everything of a case that may be shown: its name, the image it lies on, and channel, labels or map."""
    if image is None:
        return []
    parts: list[tuple[str, Any]] = [(f"i{channel}", channel) for channel in range(len(image.channels))]
    parts += _label_maps(case, image.grid)
    parts += [(f"m{number}", entry) for number, entry in enumerate(case.maps) if entry.path is not None]
    return [(name, (image, what)) for name, what in parts]


def _label_maps(case: CaseEntry, grid: Grid) -> list[tuple[str, Labels]]:
    """The given mask and the predicted one, where they lie on the image; one number a voxel predicts no class."""
    maps = (("mask", case.mask, ()), ("prediction", case.labels, _label_names(mapping(case.facts.get("prediction")))))
    return [
        (name, Labels(image, names))
        for name, image, names in maps
        if image is not None and image.grid.same_as(grid) and len(names) != 1
    ]


def _label_names(said: Mapping[str, Any]) -> tuple[str, ...]:
    """What each label of a predicted mask means; where classes overlap, 0 is none of them."""
    count, named = len(listing(said.get("scores"))), listing(said.get("class_names"))
    names = tuple(str(named[n]) if n < len(named) else f"class {n}" for n in range(count))
    return ("no class", *names) if said.get("overlapping") is True else names


def _image_volume(image: Image, channel: int) -> Volume:
    values = image.values[channel]
    window = grey_window(values, image.unit)
    shown, grid, blocks = _fitting(_finite(values), image.grid, strongest_of=False)
    whole = bool(np.all(shown == np.rint(shown)) and shown.min() >= 0 and shown.max() <= np.iinfo(np.uint8).max)
    facts = {
        "channel": image.channels[channel],
        "unit": image.unit,
        "low": window.low,
        "high": window.high,
        "words": window.words,
        "raw": [float(values.min()), float(values.max())],
        "to_voxels": np.linalg.inv(grid.affine)[:3].tolist(),
        "to_world": grid.affine[:3].tolist(),
        "axes": world_axes(grid.affine),
        "centre": [float(x) for x in grid.world([length // 2 for length in shown.shape])],
        **_geometry(image.grid, blocks),
    }
    limits = (0.0, float(np.iinfo(np.uint8).max)) if whole else (window.low, window.high)
    return Volume(facts, shown, grid, limits, np.uint8)


def _label_volume(image: Image, what: Labels) -> Volume:
    shown, grid, _ = _fitting(_finite(what.image.values[0]), image.grid, strongest_of=True)
    labels = np.rint(shown).astype(np.float32)
    facts = {"labels": [int(label) for label in np.unique(labels) if label != 0], "names": list(what.names)}
    kind = np.uint8 if labels.max() <= np.iinfo(np.uint8).max else np.uint16
    return Volume(facts, labels, grid, (0.0, float(np.iinfo(kind).max)), kind)


def _map_volume(folder: Path, image: Image, entry: MapEntry) -> Volume:
    found = entry.load(image)
    if not found.grid.same_as(image.grid):
        raise FileError("the map cannot be shown: it does not lie on the image's grid")
    values, how = one_map(found)
    colours = scale(values, found.quantity)
    peak, _ = strongest(values, image.grid)
    finite = _finite(values)
    shown, grid, _ = _fitting(finite, image.grid, strongest_of=True)
    facts = {
        **_told(found),
        "model": entry.text("model"),
        "raw": list(colours.raw),
        "limit": colours.high,
        "words": colours.words,
        "blank": colours.blank,
        "doubt": colours.doubt,
        "how": how,
        "peak": [float(x) for x in display_grid(image.grid).world(peak)],
        "peak_words": place_words(peak, image.grid),
        "lost": int(values.size - np.isfinite(values).sum()),
        "file": "" if entry.path is None else entry.path.relative_to(folder.resolve()).as_posix(),
    }
    return Volume(facts, shown, grid, *_bits(finite, colours.high))


def _told(found: Attribution) -> dict[str, Any]:
    """What the map's own story says."""
    return {
        "method": found.method,
        "target": found.target_words or found.target,
        "layer": found.layer,
        "quantity": str(found.quantity),
        "signed": found.quantity.signed,
        "derivative": found.evidence == "absolute",
        "unit": found.unit,
        "failures": [f"{check.name}: {check.sentence}" for check in found.certificate.failures],
        "checks": len(found.certificate.checks),
        "notes": list(found.notes),
    }


def _bits(values: Array, limit: float) -> tuple[tuple[float, float], npt.DTypeLike]:
    """Limits and kind of number for a map: 0 stays 0, and the colours keep their steps."""
    peak, signed = float(np.abs(values).max()), bool(values.min() < 0)
    fine = peak > FEW_STEPS * limit
    high = min(peak, MOST_LIMITS * limit) if limit > 0 else peak
    if signed:
        return (-high, high), np.int16 if fine else np.int8
    return (0.0, high), np.uint16 if fine else np.uint8


def _finite(values: Array) -> Array:
    """The values with 0 where they are no number."""
    return np.asarray(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), dtype=np.float32)


def display_grid(grid: Grid) -> Grid:
    """The grid as a viewer lays it out: one without geometry as a picture, columns to the right and rows down."""
    return grid if grid.physical else Grid(grid.shape, PICTURE, grid.unit)


def _geometry(grid: Grid, blocks: Sequence[int]) -> dict[str, Any]:
    """What a viewer must know to show a grid in its own planes and to tell places."""
    cut = world_axes(display_grid(grid).affine)[2][0]
    return {
        "shape": list(grid.shape),
        "unit_of_space": grid.unit,
        "plane": PLANES[cut] if grid.is_2d else "",
        "oriented": grid.physical,
        "blocks": list(blocks),
    }


def _fitting(values: Array, grid: Grid, *, strongest_of: bool) -> tuple[Array, Grid, list[int]]:
    """Values and display grid with no axis too long for a graphics card, and how many voxels make one, by axis.

    Several voxels become their mean, or with `strongest_of` the one of largest magnitude: no peak may vanish.
    """
    blocks = [-(-length // LARGEST_SIDE) for length in grid.shape]
    shown = display_grid(grid)
    if max(blocks) == 1:
        return values, shown, blocks
    padding = [(0, -length % block) for length, block in zip(values.shape, blocks, strict=True)]
    parts = np.pad(values, padding, mode="edge")
    for axis, block in enumerate(blocks):
        split = np.moveaxis(parts, axis, -1).reshape(*np.delete(parts.shape, axis), -1, block)
        parts = np.moveaxis(_strongest_along(split) if strongest_of else split.mean(axis=-1), -1, axis)
    matrix = shown.affine.copy()
    matrix[:3, :3] = shown.affine[:3, :3] * blocks
    matrix[:3, 3] = shown.world([(block - 1) / 2 for block in blocks])
    i, j, k = parts.shape
    return np.asarray(parts, dtype=np.float32), Grid((i, j, k), matrix, grid.unit), blocks


def _strongest_along(values: Array) -> Array:
    place = np.abs(values).argmax(axis=-1)[..., None]
    return np.take_along_axis(values, place, axis=-1)[..., 0]
