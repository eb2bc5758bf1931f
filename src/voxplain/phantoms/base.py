"""What every simulation is: options that give sample number n of a seed, and where its files and table columns go."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from voxplain.data.image import Image
from voxplain.data.raster import PICTURE_AFFINE
from voxplain.errors import InputError
from voxplain.space.grid import Grid
from voxplain.spec import Options

Array = npt.NDArray[Any]
Cell = str | int | float

PART = {"group": 1, "sample": 2, "labels": 3}
"""Keeps the random numbers of a patient, of one of its images and of the order of labels apart."""

Kept = Literal["8-bit", "16-bit", "float"]


@dataclass(frozen=True, eq=False)
class Sample:
    """A made-up image and what is true about it."""

    identifier: str
    image: Image
    """Channels on a grid; a picture holds whole numbers, so that its file holds exactly these values."""
    mask: Image
    """The ground truth, labels from 0 on the grid of the image."""
    label: str
    """True class or value."""
    group: str = ""
    """The patient, where several images are of one."""
    truth: Mapping[str, Cell] = field(default_factory=dict)
    """Further columns of the table."""


@dataclass(frozen=True)
class Simulation(Options):
    """Base of all phantoms: a frozen record of options whose sample n depends on the seed and n alone."""

    title: ClassVar[str]
    """One sentence on what is shown, for listings."""
    kept: ClassVar[Kept] = "8-bit"
    """How voxels are kept: as a PNG of whole numbers, or a NIfTI file of 32-bit numbers."""
    labels: ClassVar[tuple[str, ...]] = ()
    """The classes; none for a number such as an age."""
    mask_labels: ClassVar[tuple[str, ...]] = ()
    """What the mask's labels 1, 2 ... are."""
    shares: ClassVar[tuple[tuple[str, float], ...]] = (("train", 0.8), ("val", 0.1), ("test", 0.1))
    """Parts of the study in the order of patients, and which share of them each has."""

    @abstractmethod
    def sample(self, number: int, seed: int) -> Sample:
        """Sample `number` (from 0) of this seed."""

    def files(self, sample: Sample) -> dict[str, tuple[PurePosixPath, Image]]:
        """Column -> path within the folder and what is written there."""
        name = f"{sample.identifier}{'.nii.gz' if self.kept == 'float' else '.png'}"
        return {
            "image": (PurePosixPath("images", name), sample.image),
            "mask": (PurePosixPath("masks", name), sample.mask),
        }

    def tables(self, rows: Sequence[Mapping[str, Cell]]) -> dict[str, str]:
        """Name -> text of further tables beside `cases.csv`, such as the one of the study the layout is from."""
        return {}

    def facts(self) -> dict[str, Cell]:
        """What else than its options decides what is made; part of the request."""
        return {}

    def count(self) -> int | None:
        """How many samples there are, where that is not for the user to say."""
        return None

    def split(self, groups: Sequence[str]) -> list[str]:
        """The part of the study of every row, whole patients at a time, in the order of patients."""
        order = list(dict.fromkeys(groups))
        ends = np.cumsum([share for _, share in self.shares])
        names = [name for name, _ in self.shares]
        place = {group: (n + 0.5) / len(order) for n, group in enumerate(order)}
        return [names[int(np.searchsorted(ends[:-1], place[group], side="right"))] if names else "" for group in groups]


def generator(seed: int, part: str, *numbers: int) -> np.random.Generator:
    """The generator of a `part` of `PART`, for a patient or sample; raises `InputError` for a negative seed."""
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}")
    return np.random.default_rng(np.random.SeedSequence([seed, PART[part], *numbers]))


def dealt(count: int, number: int, seed: int) -> int:
    """The card that `number` gets when 0 ... count - 1 are dealt in a random order, over and over: even shares."""
    turn, place = divmod(number, count)
    return int(generator(seed, "labels", turn).permutation(count)[place])


def picture(pixels: Array, identifier: str, *, bits: int = 8, scale: float = 1.0) -> Image:
    """A grey picture of (rows, columns) with white at `scale`, rounded to the whole numbers that its file will hold."""
    full = 2**bits - 1
    whole = np.rint(np.clip(pixels / scale, 0, 1) * full)
    return _laid(whole, identifier, f"{bits}-bit grey", ("image",))


def label_picture(labels: Array, identifier: str) -> Image:
    """Labels (rows, columns) as a mask."""
    return _laid(labels, identifier, "label", ("mask",))


def _laid(pixels: Array, identifier: str, unit: str, channels: tuple[str, ...]) -> Image:
    """Columns first: that is how a picture lies on a grid."""
    columns_first = np.ascontiguousarray(pixels.T[:, :, None])
    height, width = pixels.shape
    grid = Grid((width, height, 1), PICTURE_AFFINE, "px")
    return Image.of(columns_first, grid, channels=channels, unit=unit, identifier=identifier)
