"""Slices of contrast-enhanced heads with one of three tumours, which differ in place and texture, in three planes."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np

from voxplain.data.image import Image
from voxplain.phantoms.base import Array, Cell, Sample, Simulation, dealt, generator, label_picture, picture
from voxplain.phantoms.head import within
from voxplain.phantoms.lesion import head_grid
from voxplain.phantoms.person import Person, Tissues
from voxplain.phantoms.waves import Waves
from voxplain.space.grid import Grid

CLASSES = ("glioma", "meningioma", "pituitary")

PLANES = {"axial": ("LPS", 2), "coronal": ("LIP", 1), "sagittal": ("PIR", 0)}
"""Plane -> where columns, rows and slices run to, and the axis of the world that it is cut across."""

FIELD_MM = 225.0
"""Side of the picture."""

BRIGHTNESS = {
    "air": 0.01, "fat": 0.72, "bone": 0.06, "fluid": 0.11, "grey": 0.29, "white": 0.37, "muscle": 0.30, "mucosa": 0.50,
}  # fmt: skip
"""Of the tissues, T1-weighted after contrast agent, as shares of white."""

RADIUS_MM = {"glioma": (13.0, 21.0), "meningioma": (10.0, 18.0), "pituitary": (8.0, 14.0)}

SELLA = (0.0, 14.0, -24.0)
"""Where the pituitary gland lies: x, y, z in mm in the head."""


@dataclass(frozen=True)
class Tumours(Simulation):
    """Glioma within the brain, meningioma on its surface and pituitary tumour at the skull base, one a patient."""

    name: ClassVar[str] = "tumours"
    title: ClassVar[str] = "2D slices of three brain tumour types in three planes, several a patient"
    labels: ClassVar[tuple[str, ...]] = CLASSES
    mask_labels: ClassVar[tuple[str, ...]] = ("tumour",)
    shares: ClassVar[tuple[tuple[str, float], ...]] = (("train", 0.7), ("val", 0.15), ("test", 0.15))

    side: int = 224
    """Pixels of the square picture's side."""
    slices: int = 3
    """Slices of each patient; their planes take turns."""
    noise: float = 0.015
    """Deviation of the Rician noise, as a share of white."""

    def _check(self) -> None:
        self._require(32 <= self.side <= 1024, "side", "from 32 to 1024 pixels")
        self._require(self.slices >= 1, "slices", "at least 1")
        self._require(0 <= self.noise <= 0.5, "noise", "from 0 to 0.5")

    def sample(self, number: int, seed: int) -> Sample:
        """Slice `number`: the person and the tumour are the patient's, plane and position its own."""
        patient, slice_number = divmod(number, self.slices)
        label = CLASSES[dealt(len(CLASSES), patient, seed)]
        theirs, draw = generator(seed, "group", patient), generator(seed, "sample", number)
        person, radius = Person.draw(theirs), float(theirs.uniform(*RADIUS_MM[label]))
        growth = Waves.draw(0.9 * radius, theirs)
        centre = _place(label, radius, person, theirs)
        plane = list(PLANES)[(slice_number + int(theirs.integers(len(PLANES)))) % len(PLANES)]
        tissues = person.on(self._grid(plane, person, centre, float(draw.uniform(-0.5, 0.5)) * radius))
        seen, mask = _grown(label, tissues, centre, radius, growth, person)
        pixels = _scanned(seen, tissues, self.noise, draw)
        identifier = f"{label}-{patient:04d}-{slice_number}"
        truth: dict[str, Cell] = {
            "plane": plane,
            "radius_mm": round(radius, 2),
            "tumour_fraction": round(float(mask.mean()), 6),
        }
        image, labels = picture(pixels, identifier), label_picture(mask, identifier)
        return Sample(identifier, image, labels, label, f"patient-{patient:04d}", truth)

    def files(self, sample: Sample) -> dict[str, tuple[PurePosixPath, Image]]:
        """Folders named by class."""
        name = f"{sample.label}/{sample.identifier}.png"
        return {
            "image": (PurePosixPath("images", name), sample.image),
            "mask": (PurePosixPath("masks", name), sample.mask),
        }

    def _grid(self, plane: str, person: Person, centre: Array, offset: float) -> Grid:
        """A slice through the head, off the tumour's centre by `offset` mm."""
        orientation, axis = PLANES[plane]
        middle = np.array([0.0, 2.0, -14.0 if plane != "axial" else 0.0])
        middle[axis] = centre[axis] + offset
        step = FIELD_MM / self.side
        x, y, z = middle + np.array(person.head.shift_mm)
        shape = (self.side, self.side, 1)
        return head_grid(shape, (step, step, 5.0), orientation=orientation, tilt_degrees=(0, 0, 0), centre=(x, y, z))


def _place(label: str, radius: float, person: Person, draw: np.random.Generator) -> Array:
    """Centre in mm in the head: deep in one half, on the inside of the skull, or in the sella."""
    side = draw.choice([-1.0, 1.0])
    if label == "pituitary":
        return np.array(SELLA) + draw.normal(0, 1.0, 3) * (0.6, 1, 1) + (0, 0, 0.45 * radius)
    if label == "glioma":
        return np.array([side * draw.uniform(20, 36), draw.uniform(-38, 36), draw.uniform(4, 34)])
    bend, rise = draw.uniform(-0.8, 0.8), draw.uniform(0.05, 1.1)
    direction = np.array([side * np.cos(bend) * np.cos(rise), np.sin(bend) * np.cos(rise), np.sin(rise)])
    inner = np.array(person.head.half_axes_mm) - person.head.scalp_mm - person.head.skull_mm - 1.0
    narrow = np.array([1 - 0.10 * direction[1], 1, 1])
    surface = direction / np.linalg.norm(direction / (inner * narrow))
    return np.asarray(surface - 0.55 * radius * direction)


def _grown(
    label: str, tissues: Tissues, centre: Array, radius: float, growth: Waves, person: Person
) -> tuple[Array, Array]:
    """The slice (columns, rows) with its tumour, and the tumour's mask."""
    away = tissues.places - centre.astype(np.float32)[:, None, None, None]
    rough = {"glioma": 0.22, "meningioma": 0.06, "pituitary": 0.08}[label]
    waves = growth.at(tissues.places)
    upright = np.array([1, 1, 0.78 if label == "pituitary" else 1], np.float32)[:, None, None, None]
    inside = radius * (1 + rough * waves) - np.sqrt(((away * upright) ** 2).sum(axis=0))
    seen = tissues.seen(BRIGHTNESS) * (1 + 0.05 * person.mottle.at(tissues.places))
    if label == "meningioma":
        inside = np.minimum(inside, tissues.below_brain + person.head.fluid_mm + 0.5)
    if label == "glioma":
        inside = np.minimum(inside, tissues.below_brain)
        seen = _glioma(seen, tissues, inside, radius, waves)
    else:
        flesh = (0.66 if label == "meningioma" else 0.55) * (1 + (0.03 if label == "meningioma" else 0.10) * waves)
        seen = seen + within(inside, tissues.soft) * (flesh - seen)
        if label == "meningioma":  # the dura beside it takes up contrast agent as well
            tail = within(1.6 * radius - np.sqrt((away**2).sum(axis=0)), 6.0)
            dura = within(1.2 - np.abs(tissues.below_brain + person.head.fluid_mm), tissues.soft)
            seen = seen + tail * dura * (0.6 - seen)
    return seen[..., 0], (inside[..., 0] > 0).T.astype(np.uint8)


def _glioma(seen: Array, tissues: Tissues, inside: Array, radius: float, waves: Array) -> Array:
    """Dark oedema around an uneven bright rim with a dark, mottled core."""
    brain = within(tissues.below_brain, tissues.soft) * within(tissues.to_ventricle, tissues.soft)
    swelling = within(inside + 0.55 * radius * (1 + 0.5 * waves), 8.0)
    seen = seen + 0.75 * brain * swelling * (0.23 - seen)
    rim = 0.62 + 0.16 * waves
    seen = seen + within(inside, tissues.soft) * (rim - seen)
    core = within(inside - 0.24 * radius * (1 + 0.35 * waves), tissues.soft)
    return np.asarray(seen + core * (0.17 + 0.03 * waves - seen))


def _scanned(seen: Array, tissues: Tissues, noise: float, draw: np.random.Generator) -> Array:
    """Rows and columns as the scanner shows them: uneven sensitivity, Rician noise, a window of its own."""
    shading = np.exp(0.10 * Waves.draw(260.0, draw).at(tissues.places)[..., 0])
    real, imaginary = noise * draw.standard_normal((2, *seen.shape))
    return np.asarray(np.hypot(seen * shading + real, imaginary).T * draw.uniform(0.85, 1.1))
