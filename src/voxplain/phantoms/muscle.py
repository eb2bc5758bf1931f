"""Cross-sections of thighs with healthy or fat-infiltrated muscles, in the layout of a study of distal myopathies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, Literal

import numpy as np

from voxplain.data.image import Image
from voxplain.phantoms.base import Array, Cell, Sample, Simulation, dealt, generator, label_picture, picture
from voxplain.phantoms.head import within
from voxplain.phantoms.waves import Waves

CLASSES = ("healthy", "affected")

LARGEST = 224
"""Pixels: the study's networks take no larger tile."""

FAT, FLESH, CORTEX, MARROW = 0.86, 0.36, 0.05, 0.74
"""Brightness in a T1-weighted picture, as shares of white."""

COMPARTMENTS = (
    (0.62, 90), (0.30, 100), (0.58, 45), (0.60, 138), (0.66, 10), (0.62, -25), (0.62, -62), (0.66, -98), (0.62, -132),
    (0.66, -168),
)  # fmt: skip
"""Middles of the muscles: distance from the axis as a share of the radius, and degrees from medial to anterior."""

INFILTRATED = 2
"""Label of muscle that fat has grown into; other muscle is 1."""


@dataclass(frozen=True)
class Muscle(Simulation):
    """Tiles of one or both thighs without background; in the affected, fat replaces some of the muscles by grades."""

    name: ClassVar[str] = "muscle"
    title: ClassVar[str] = "thigh cross-sections, several a patient, with graded fatty infiltration of muscles"
    labels: ClassVar[tuple[str, ...]] = CLASSES
    mask_labels: ClassVar[tuple[str, ...]] = ("muscle", "infiltrated muscle")
    shares: ClassVar[tuple[tuple[str, float], ...]] = ()

    legs: Literal["one", "both"] = "one"
    """Whether a tile shows one leg or both side by side."""
    slices: int = 4
    """Tiles of each patient."""
    severity: float = 0.5
    """Share of a muscle that fat replaces on average where it is affected."""
    square: bool = False
    """Whether tiles are padded to 224 x 224 pixels with black, as the study does while it reads them."""

    def _check(self) -> None:
        self._require(self.slices >= 1, "slices", "at least 1")
        self._require(0.05 <= self.severity <= 0.9, "severity", "from 0.05 to 0.9")

    def sample(self, number: int, seed: int) -> Sample:
        """Tile `number`: disease and build are the patient's, height in the leg and coil shading the tile's."""
        patient, place = divmod(number, self.slices)
        theirs, draw = generator(seed, "group", patient), generator(seed, "sample", number)
        affected = dealt(2, patient, seed) == 1
        fat = self._fat_shares(theirs) if affected else theirs.uniform(0.0, 0.05, len(COMPARTMENTS))
        rim, radius = float(theirs.uniform(0.10, 0.24)), float(theirs.uniform(0.8, 1.0))
        count = 1 if self.legs == "one" else 2
        tiles = [_leg(LARGEST // count, rim, radius, fat, draw, mirrored=side == 1) for side in range(count)]
        pixels, mask = (np.concatenate(parts, axis=1) for parts in zip(*tiles, strict=True))
        pixels, mask = (_padded(part) if self.square else part for part in _cropped(pixels, mask))
        label = CLASSES[affected]
        identifier = f"{label}-{patient:04d}-{place:02d}"
        grade = int(np.ceil(4 * float(fat.max()) - 0.4)) if affected else 0
        truth: dict[str, Cell] = {"fat_share": round(float(fat.mean()), 4), "grade": grade}
        truth["muscles_affected"] = int((fat > 0.1).sum())
        image, labels = picture(pixels, identifier), label_picture(mask, identifier)
        return Sample(identifier, image, labels, label, f"patient-{patient:04d}", truth)

    def _fat_shares(self, draw: np.random.Generator) -> Array:
        """Share of fat in every muscle: three or more muscles are affected, two or more spared."""
        hit = draw.permutation(len(COMPARTMENTS)) < draw.integers(3, len(COMPARTMENTS) - 1)
        grown = np.clip(self.severity * draw.uniform(0.5, 1.5, len(COMPARTMENTS)), 0.12, 0.95)
        return np.where(hit, grown, draw.uniform(0, 0.05, len(COMPARTMENTS)))

    def files(self, sample: Sample) -> dict[str, tuple[PurePosixPath, Image]]:
        """TIFF tiles in folders named by class, masks under the same names in a parallel folder."""
        name = f"{sample.label}/{sample.identifier}.tif"
        return {
            "image": (PurePosixPath("tiles", name), sample.image),
            "mask": (PurePosixPath("masks", name), sample.mask),
        }

    def tables(self, rows: Sequence[Mapping[str, Cell]]) -> dict[str, str]:
        """The study's own table: semicolons, label 0 healthy and 1 affected."""
        lines = [
            f"{PurePosixPath(str(row['image'])).name};{CLASSES.index(str(row['label']))};{row['group']}" for row in rows
        ]
        return {"dataset.csv": "\n".join(["img_name;label;group", *lines]) + "\n"}


def _leg(
    side: int, rim: float, radius: float, fat: Array, draw: np.random.Generator, *, mirrored: bool
) -> tuple[Array, Array]:
    """One thigh (rows, columns), 0 outside, and its muscle mask."""
    rows, columns = (np.mgrid[:side, :side] - (side - 1) / 2) / (side / 2)
    places = np.stack([rows, columns])
    soft = 2.5 / side
    bend = 0.016 * Waves.draw(1.3, draw, axes=2).at(places)
    away = np.hypot(rows * 1.04, columns / draw.uniform(0.94, 1.0)) / (0.95 * radius) + bend
    pixels = within(1 - away, soft) * (FAT + 0.03 * Waves.draw(0.12, draw, axes=2).at(places))
    inner = 1 - rim * draw.uniform(0.9, 1.1)
    share, gap = _muscles(places / (inner * radius), fat, draw)
    in_flesh = np.minimum(inner - away + 0.04 * Waves.draw(0.6, draw, axes=2).at(places), gap)
    bone = 0.17 * radius - np.hypot(rows + 0.10, columns + 0.06)
    in_flesh = np.minimum(in_flesh, -bone - 0.02)
    grown = _grown(share, places, draw)
    flesh = FLESH + 0.02 * Waves.draw(0.09, draw, axes=2).at(places)
    pixels = pixels + within(in_flesh, soft) * (flesh + grown * (FAT - 0.08 - flesh) - pixels)
    pixels = pixels + within(bone, soft) * (CORTEX - pixels)
    pixels = pixels + within(bone - 0.055, soft) * (MARROW - pixels)
    for vessel in (np.hypot(rows + 0.02, columns - 0.42), np.hypot(rows - 0.42, columns - 0.05)):
        pixels = pixels + within(0.028 - vessel, soft) * (0.08 - pixels)
    shading = np.exp(0.08 * Waves.draw(2.6, draw, axes=2).at(places)) + 0.03 * draw.standard_normal(rows.shape)
    # Background is taken off: it is zero, and only it is.
    shown = np.where(away < 1, np.clip(pixels * shading, 0.01, 1), 0)
    mask = np.where((in_flesh > 0) & (away < 1), 1 + (share > 0.1), 0).astype(np.uint8)
    return (shown[:, ::-1], mask[:, ::-1]) if mirrored else (shown, mask)


def _muscles(places: Array, fat: Array, draw: np.random.Generator) -> tuple[Array, Array]:
    """Share of fat of the muscle each place belongs to, and half the distance to the next one, less the septum."""
    far, turn = np.array(COMPARTMENTS).T
    turn = np.radians(turn + draw.normal(0, 4, len(turn)))
    far = far * draw.uniform(0.95, 1.05, len(far))
    middles = np.stack([-far * np.sin(turn), far * np.cos(turn)])
    bend = np.stack([Waves.draw(0.8, draw, axes=2).at(places) for _ in range(2)])
    shifted = places + 0.05 * bend
    distances = np.linalg.norm(shifted[:, None] - middles[:, :, None, None], axis=0)
    nearest = np.sort(distances, axis=0)
    return fat[distances.argmin(axis=0)], 0.5 * (nearest[1] - nearest[0]) - 0.012


def _grown(share: Array, places: Array, draw: np.random.Generator) -> Array:
    """Fat within muscle, 0 to 1: streaks that cover about the share of each muscle."""
    streaks = 0.6 * Waves.draw(0.07, draw, axes=2).at(places) + 0.8 * Waves.draw(0.22, draw, axes=2).at(places)
    level = np.quantile(streaks, 1 - np.clip(share, 0, 0.98).ravel()).reshape(share.shape)
    return np.asarray(within(streaks - level, 0.9))


def _cropped(pixels: Array, mask: Array) -> tuple[Array, Array]:
    """Without the black rows and columns around."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return pixels[box], mask[box]


def _padded(pixels: Array) -> Array:
    """In the middle of a black square of `LARGEST` pixels."""
    before = [(LARGEST - count) // 2 for count in pixels.shape]
    return np.pad(pixels, [(first, LARGEST - count - first) for first, count in zip(before, pixels.shape, strict=True)])
