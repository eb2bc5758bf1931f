"""Whole heads with a glioma in four sequences of magnetic resonance: FLAIR, T1, T1 after contrast agent, T2."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, Literal

import numpy as np

from voxplain.data.image import Image
from voxplain.phantoms.base import Array, Kept, Sample, Simulation, dealt, generator
from voxplain.phantoms.head import within
from voxplain.phantoms.lesion import FULL_SCALE, head_grid
from voxplain.phantoms.person import Person, Tissues
from voxplain.phantoms.waves import Waves

FIELD_MM = (240.0, 240.0, 155.0)
"""The field of view, as that of the tumour segmentation challenge (BraTS): 1 mm at full size."""

NECROSIS, OEDEMA, RIM = 1, 2, 3

TISSUES = {
    "flair": {
        "air": 0.01, "fat": 0.55, "bone": 0.06, "fluid": 0.08, "grey": 0.52, "white": 0.42, "muscle": 0.28,
        "mucosa": 0.5,
    },
    "t1": {
        "air": 0.01, "fat": 0.85, "bone": 0.08, "fluid": 0.14, "grey": 0.46, "white": 0.64, "muscle": 0.36,
        "mucosa": 0.4,
    },
    "t1ce": {
        "air": 0.01, "fat": 0.85, "bone": 0.08, "fluid": 0.14, "grey": 0.48, "white": 0.64, "muscle": 0.42,
        "mucosa": 0.7,
    },
    "t2": {
        "air": 0.01, "fat": 0.55, "bone": 0.05, "fluid": 0.95, "grey": 0.50, "white": 0.36, "muscle": 0.18,
        "mucosa": 0.7,
    },
}  # fmt: skip
"""Sequence -> brightness of the tissues as shares of full scale."""

TUMOUR = {
    "flair": (0.34, 0.88, 0.72),
    "t1": (0.22, 0.40, 0.42),
    "t1ce": (0.22, 0.42, 1.00),
    "t2": (0.82, 0.76, 0.60),
}
"""Sequence -> brightness of necrosis, oedema and rim: the rim is bright in T1ce alone, oedema in FLAIR and T2."""


@dataclass(frozen=True)
class Glioma(Simulation):
    """A 3D head with one glioma; a high grade has a bright rim around necrosis in T1ce, a low grade has no rim."""

    name: ClassVar[str] = "glioma"
    title: ClassVar[str] = "3D heads with a glioma in FLAIR, T1, T1ce and T2; labels and grade are known"
    kept: ClassVar[Kept] = "float"
    labels: ClassVar[tuple[str, ...]] = ("HGG", "LGG")
    mask_labels: ClassVar[tuple[str, ...]] = ("necrosis", "oedema", "enhancing rim")
    shares: ClassVar[tuple[tuple[str, float], ...]] = (("train", 0.7), ("val", 0.15), ("test", 0.15))

    size: tuple[int, int, int] = (64, 64, 64)
    """Voxels along columns, rows and slices of the field of view of 240 x 240 x 155 mm."""
    grade: Literal["both", "high", "low"] = "both"
    """Which grades there are; both in equal shares."""
    noise: float = 0.02
    """Deviation of the Rician noise, as a share of full scale."""
    shading: float = 0.12
    """Deviation of the bias field's logarithm."""

    def _check(self) -> None:
        fits = all(16 <= side <= most for side, most in zip(self.size, (240, 240, 155), strict=True))
        self._require(fits, "size", "three numbers from 16 to 240, 240 and 155")
        self._require(0 <= self.noise <= 0.5, "noise", "from 0 to 0.5")
        self._require(0 <= self.shading <= 1, "shading", "from 0 to 1")

    def sample(self, number: int, seed: int) -> Sample:
        """Head `number`: person, tumour, then the four sequences."""
        draw = generator(seed, "sample", number)
        high = self.grade == "high" or (self.grade == "both" and dealt(2, number, seed) == 0)
        person, radius = Person.draw(draw), float(draw.uniform(16, 25))
        spacing = (FIELD_MM[0] / self.size[0], FIELD_MM[1] / self.size[1], FIELD_MM[2] / self.size[2])
        grid = head_grid(self.size, spacing, orientation="LPS", tilt_degrees=(0, 0, 0), centre=(0, 0, 0))
        tissues = person.on(grid)
        centre = _centre(draw)
        covers = _covers(tissues, centre, radius, Waves.draw(1.3 * radius, draw), high=high)
        mask = _mask(covers)
        identifier = f"glioma-{number:04d}"
        mottle = 1 + 0.04 * person.mottle.at(tissues.places)
        values = np.stack([self._sequence(name, tissues, covers, mottle, draw) for name in TISSUES])
        volumes = [round(float((mask == label).sum()) * grid.voxel_volume, 1) for label in (NECROSIS, OEDEMA, RIM)]
        truth = dict(zip(("necrosis_mm3", "oedema_mm3", "rim_mm3"), volumes, strict=True)) | {"radius_mm": radius}
        image = Image.of(values, grid, channels=tuple(TISSUES), identifier=identifier)
        labels = Image.of(mask, grid, channels=("mask",), unit="label", identifier=identifier)
        return Sample(identifier, image, labels, "HGG" if high else "LGG", identifier, truth)

    def files(self, sample: Sample) -> dict[str, tuple[PurePosixPath, Image]]:
        """A folder a case and a file a sequence, as in the challenge."""
        case = sample.identifier
        images = {name: sample.image.select((name,)) for name in sample.image.channels}
        return {
            name: (PurePosixPath(case, f"{case}_{'seg' if name == 'mask' else name}.nii.gz"), image)
            for name, image in {**images, "mask": sample.mask}.items()
        }

    def _sequence(
        self, name: str, tissues: Tissues, covers: list[Array], mottle: Array, draw: np.random.Generator
    ) -> Array:
        """One sequence (i, j, k) as float32, 0 to about 1000."""
        seen = tissues.seen(TISSUES[name]) * mottle
        for cover, brightness in zip(covers, TUMOUR[name], strict=True):
            seen += cover * (brightness * mottle - seen)
        if self.shading:
            seen *= np.exp(np.float32(self.shading) * Waves.draw(300.0, draw).at(tissues.places))
        real, imaginary = (np.float32(self.noise) * draw.standard_normal(seen.shape, np.float32) for _ in range(2))
        return np.asarray(FULL_SCALE * np.hypot(seen + real, imaginary), dtype=np.float32)


def _centre(draw: np.random.Generator) -> Array:
    """In mm in the head: within one half, away from the midline."""
    side = draw.choice([-1.0, 1.0])
    return np.array([side * draw.uniform(22, 38), draw.uniform(-38, 36), draw.uniform(2, 32)])


def _covers(tissues: Tissues, centre: Array, radius: float, growth: Waves, *, high: bool) -> list[Array]:
    """Covers (i, j, k) from 0 to 1 of necrosis, oedema and rim, which lie over each other in order of painting."""
    waves = growth.at(tissues.places)
    away = np.sqrt(((tissues.places - centre.astype(np.float32)[:, None, None, None]) ** 2).sum(axis=0))
    brain = within(tissues.below_brain, tissues.soft) * within(tissues.to_ventricle, tissues.soft)
    to_edge = radius * (1 + 0.2 * waves) - away
    solid = within(to_edge, tissues.soft) * brain
    swollen = within(to_edge + (0.55 if high else 0.35) * radius * (1 + 0.35 * waves), 6.0) * brain
    core = within(to_edge - (0.32 if high else 0.45) * radius * (1 + 0.3 * waves), tissues.soft) * brain
    rim = solid - core if high else np.zeros_like(core)
    # Shares of one voxel: what is painted later lies above, so the parts below must not shine through.
    oedema = swollen - (np.maximum(core, rim) if high else core)
    return [np.asarray(core), np.asarray(np.clip(oedema, 0, 1)), np.asarray(np.clip(rim, 0, 1))]


def _mask(covers: list[Array]) -> Array:
    """The label of the largest cover of at least half a voxel; later ones win a tie."""
    mask = np.zeros(covers[0].shape, np.uint8)
    best = np.full(covers[0].shape, 0.5, np.float32)
    for label, cover in zip((NECROSIS, OEDEMA, RIM), covers, strict=True):
        mask[cover >= best] = label
        best = np.maximum(best, cover)
    return mask
