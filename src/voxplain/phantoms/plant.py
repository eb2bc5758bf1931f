"""A cause planted into given images: a lesion, marker, blur, bias field or shift, with a probability for each class."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from voxplain.data.case import Case, read_cases
from voxplain.data.image import Image
from voxplain.errors import InputError, OptionError
from voxplain.phantoms.base import Array, Cell, Sample, Simulation, generator
from voxplain.phantoms.head import within
from voxplain.phantoms.waves import Waves

Kind = Literal["lesion", "marker", "blur", "bias_field", "shift"]

WHOLE = {"8-bit grey": 255.0, "16-bit grey": 65535.0}
"""White of pictures that are written as PNG again."""

EDGE = 0.05
"""Distance of a marker from the border, as a share of the sides."""

FIELD_LENGTH = 1.5
"""Length of a bias field's waves, in longest sides of the image."""


@dataclass(frozen=True)
class Plant(Simulation):
    """Given images, some of them changed in one way: as shortcut, confounder, suppressor or sign in one sequence."""

    name: ClassVar[str] = "plant"
    title: ClassVar[str] = "a lesion, marker, blur, bias field or shift put into images of your own"
    mask_labels: ClassVar[tuple[str, ...]] = ("planted",)
    shares: ClassVar[tuple[tuple[str, float], ...]] = ()

    kind: Kind = "lesion"
    """lesion: a soft ball in the object; marker: a square near the border; blur: in a ball; the others: everywhere."""
    strength: float = 0.5
    """In shares of the range from percentile 1 to 99; of a blur, in radii; of a bias field, its log's deviation."""
    radius: float = 0.08
    """Of lesion and blur, and half the side of a marker, as a share of the image's shortest side."""
    share: tuple[float, ...] = (0.0, 1.0)
    """Probability of each class, in the order of their sorted names; a single one holds for all."""
    channels: tuple[str, ...] = ()
    """Channels that are changed (none: all), for signs that one sequence shows."""
    cases: str = ""
    """The table of the images."""

    def _check(self) -> None:
        self._require(
            bool(self.share) and all(0 <= one <= 1 for one in self.share), "share", "probabilities from 0 to 1"
        )
        self._require(0 < self.radius <= 0.5, "radius", "above 0 and at most 0.5")
        positive = self.kind in ("blur", "bias_field")
        self._require(self.strength > 0 or not positive, "strength", f"above 0 for a {self.kind}")
        self._require(self.strength != 0, "strength", "other than 0")

    def count(self) -> int:
        """As many as the table has rows."""
        return len(self._cases())

    def facts(self) -> dict[str, Cell]:
        """What the table says and what its images hold: other images, another request."""
        self._classes()
        digest = hashlib.sha256(Path(self.cases).read_bytes())
        for case in self._cases():
            digest.update(replace(case.image).content_hash.encode())
        return {"cases": digest.hexdigest()[:12]}

    def sample(self, number: int, seed: int) -> Sample:
        """Row `number` of the table, changed or not as chance has it for its class."""
        case, classes = self._cases()[number], self._classes()
        given = replace(case.image)  # the table's own would keep its voxels for as long as the table is known
        share = self.share[0] if len(self.share) == 1 else self.share[classes.index(case.label or "")]
        draw = generator(seed, "sample", number)
        changed = bool(draw.random() < share)
        image, mask = planted(given, self, draw) if changed else (given, _empty(given))
        truth: dict[str, Cell] = {"planted": int(changed)}
        if case.split:
            truth["split"] = case.split
        return Sample(case.identifier, image, mask, case.label or "", case.group or "", truth)

    def files(self, sample: Sample) -> dict[str, tuple[PurePosixPath, Image]]:
        """A picture stays a PNG; others become NIfTI, a file a channel."""
        image, name = sample.image, sample.identifier
        flat = image.unit in WHOLE and image.grid.is_2d and len(image.channels) == 1
        suffix = ".png" if flat else ".nii.gz"
        files = {"mask": (PurePosixPath("masks", name + suffix), sample.mask)}
        if len(image.channels) == 1:
            return {"image": (PurePosixPath("images", name + suffix), image), **files}
        one = {channel: image.select((channel,)) for channel in image.channels}
        return {c: (PurePosixPath("images", f"{name}_{c}.nii.gz"), part) for c, part in one.items()} | files

    def _cases(self) -> Sequence[Case]:
        if not self.cases:
            raise OptionError("plant: cases must name a table of images, got none; pass --cases TABLE")
        table = Path(self.cases).absolute()
        return _read(table, table.stat().st_mtime_ns) if table.is_file() else read_cases(self.cases)

    def _classes(self) -> list[str]:
        classes = sorted({case.label or "" for case in self._cases()})
        if len(self.share) not in (1, len(classes)):
            raise OptionError(
                f"plant: share must be one probability or one for each of {', '.join(classes)}, got {len(self.share)}"
            )
        return classes


@lru_cache(maxsize=4)
def _read(table: Path, changed: int) -> Sequence[Case]:
    """The cases of a table as it was when last `changed`."""
    return tuple(read_cases(table))


def planted(image: Image, options: Plant, draw: np.random.Generator) -> tuple[Image, Image]:
    """The image with the cause in it, and the mask of the voxels that it may have changed (1) on the image's grid.

    Raises `InputError` for channels that the image does not have. Pictures keep whole numbers.
    """
    chosen = options.channels or image.channels
    image.select(chosen)
    rows = [image.channels.index(name) for name in chosen]
    before = image.values.astype(np.float64)
    cover = _cover(before, options, draw)
    field = Waves.draw(FIELD_LENGTH * max(image.grid.shape), draw).at(_places(before.shape[1:]).astype(np.float32))
    after = before.copy()
    for row in rows:
        after[row] = _changed(before[row], options, cover, field)
    if image.unit in WHOLE:
        after = np.rint(np.clip(after, 0, WHOLE[image.unit]))
    mask = Image.of(cover > 0, image.grid, channels=("mask",), unit="label", identifier=image.identifier)
    return image.with_values(after), mask


def _changed(values: Array, options: Plant, cover: Array, field: Array) -> Array:
    """One channel (i, j, k) with the change."""
    low, high = np.percentile(values, (1, 99))
    if high <= low:
        raise InputError("plant: every image must have contrast, got one that is the same nearly everywhere")
    step = options.strength * (high - low)
    if options.kind == "marker":
        return np.asarray(np.where(cover > 0, low + step, values))
    if options.kind == "bias_field":
        return np.asarray(values * np.exp(options.strength * field))
    if options.kind == "blur":
        blurred = gaussian_filter(values, options.strength * _radius(values.shape, options), mode="nearest")
        return np.asarray(values + cover * (blurred - values))
    return np.asarray(values + cover * step)


def _cover(values: Array, options: Plant, draw: np.random.Generator) -> Array:
    """Cover (i, j, k) from 0 to 1; everything for what has no place."""
    shape = values.shape[1:]
    if options.kind in ("bias_field", "shift"):
        return np.ones(shape)
    radius = _radius(shape, options)
    places = _places(shape)
    if options.kind == "marker":
        away = np.abs(places - _corner(shape, radius, draw)[:, None, None, None])
        return np.asarray((away <= radius).all(axis=0).astype(float))
    away = np.linalg.norm(places - _inside(values, radius, draw)[:, None, None, None], axis=0)
    return within(radius - away, 1.0)


def _radius(shape: Sequence[int], options: Plant) -> float:
    """In voxels, at least one; an axis of one voxel does not count."""
    return max(options.radius * min(side for side in shape if side > 1), 1.0)


def _places(shape: Sequence[int]) -> Array:
    return np.asarray(np.indices(tuple(shape), dtype=np.float64))


def _corner(shape: Sequence[int], radius: float, draw: np.random.Generator) -> Array:
    """A voxel near a corner of the picture; in a volume, on any of its slices."""
    near = [radius + EDGE * side if draw.random() < 0.5 else side - 1 - radius - EDGE * side for side in shape[:2]]
    return np.array([*np.clip(near, 0, np.array(shape[:2]) - 1).round(), int(draw.integers(shape[2]))])


def _inside(values: Array, radius: float, draw: np.random.Generator) -> Array:
    """A voxel of the object: brighter than two fifths of the range once smoothed, away from the border if it can be."""
    smooth = gaussian_filter(values.mean(axis=0), radius / 2, mode="nearest")
    low, high = np.percentile(smooth, (1, 99))
    inner = np.ones(smooth.shape, dtype=bool)
    for axis, side in enumerate(smooth.shape):
        line = np.minimum(np.arange(side), side - 1 - np.arange(side)) >= min(radius + 1, (side - 1) // 2)
        inner &= line.reshape([-1 if n == axis else 1 for n in range(3)])
    bright = np.argwhere(inner & (smooth > low + 0.4 * (high - low)))
    places = bright if len(bright) else np.argwhere(inner)
    return np.asarray(places[draw.integers(len(places))], dtype=np.float64)


def _empty(image: Image) -> Image:
    return Image.of(
        np.zeros(image.grid.shape), image.grid, channels=("mask",), unit="label", identifier=image.identifier
    )
