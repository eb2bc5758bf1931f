"""A made-up head, drawn in millimetres and then sampled on any grid: scalp, skull, fluid, folded brain, ventricles.

Everything is a smooth function of the position in the head (x Right, y Anterior, z Superior, centre 0), so the same
person can be sampled as a slice or a volume, on straight or oblique voxels.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from voxplain.space.grid import Grid

Field = npt.NDArray[np.float64]

AIR, FAT, BONE, FLUID, GREY, WHITE = 0.01, 0.82, 0.10, 0.16, 0.50, 0.72
"""Brightness of the tissues in a T1-weighted picture, as shares of full scale."""

TEXTURE = 0.04
"""Deviation of the brain's brightness from place to place, as a share of it."""

FOLD_MM = 5.0
"""Length of the random field whose zero lines become the furrows of the brain; gives gyri about 1 cm wide."""


@dataclass(frozen=True)
class Head:
    """One person: sizes in mm, and how the head lies in the scanner."""

    half_axes_mm: tuple[float, float, float]
    """Centre to skin along Right, Anterior and Superior."""
    scalp_mm: float
    skull_mm: float
    fluid_mm: float
    """Thickness of the layers outside the brain."""
    ventricle_mm: float
    """Half width of the lateral ventricles."""
    turn_degrees: tuple[float, float, float]
    """How the head is turned about x, y and z against the scanner."""
    shift_mm: tuple[float, float, float]
    """Where the head's centre lies in the world."""

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Self:
        """A random person in a random, slightly crooked position."""
        right, anterior, superior = np.array([70.0, 87.0, 72.0]) * generator.uniform(0.95, 1.05, 3)
        turn_x, turn_y, turn_z = generator.uniform(-5, 5, 3)
        shift_x, shift_y, shift_z = generator.uniform(-4, 4, 3)
        return cls(
            half_axes_mm=(right, anterior, superior),
            scalp_mm=generator.uniform(4, 6),
            skull_mm=generator.uniform(4, 6),
            fluid_mm=generator.uniform(1.5, 3),
            ventricle_mm=generator.uniform(3.5, 6),
            turn_degrees=(turn_x, turn_y, turn_z),
            shift_mm=(shift_x, shift_y, shift_z),
        )

    def on(self, grid: Grid) -> "Anatomy":
        """Where every voxel of `grid` lies in this head."""
        voxels = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
        turn = Rotation.from_euler("xyz", self.turn_degrees, degrees=True).as_matrix()
        places = (grid.world(voxels) - np.array(self.shift_mm)) @ turn
        below_skin = self._depth(places)
        below_brain = below_skin - self.scalp_mm - self.skull_mm - self.fluid_mm
        return Anatomy(self, grid, np.moveaxis(places, -1, 0), below_skin, below_brain, self._to_ventricle(places))

    def _depth(self, places: Field) -> Field:
        """Millimetres below the skin, measured along the ray from the centre; negative outside."""
        right, anterior, superior = self.half_axes_mm
        x, y, z = np.moveaxis(places, -1, 0)
        narrow = 1 - 0.10 * np.clip(y / anterior, -1, 1)  # the forehead is narrower than the back of the head
        radius = np.sqrt((x / (right * narrow)) ** 2 + (y / anterior) ** 2 + (z / superior) ** 2)
        radius = np.maximum(radius, 1e-3)
        return np.asarray(np.linalg.norm(places, axis=-1) * (1 / radius - 1))

    def _to_ventricle(self, places: Field) -> Field:
        """Millimetres to the wall of the ventricles, negative inside: two horns bent outwards and a midline slit."""
        x, y, z = np.moveaxis(places, -1, 0)
        bend = 5 + 13 * (y / 34) ** 2
        beyond = np.maximum(np.abs(y) - 30, 0)
        horns = np.sqrt((np.abs(x) - bend) ** 2 + beyond**2 + (0.55 * (z - 6)) ** 2) - self.ventricle_mm
        slit = np.sqrt((2.5 * x) ** 2 + (0.4 * (y + 2)) ** 2 + (0.6 * (z + 8)) ** 2) - self.ventricle_mm
        return np.asarray(np.minimum(horns, slit))


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One head on one grid; all distances in mm."""

    head: Head
    grid: Grid
    places: Field
    """Position in the head's own millimetres: (3, i, j, k)."""
    below_skin: Field
    """Depth below the skin (i, j, k), negative in air."""
    below_brain: Field
    """Depth below the brain's surface, negative outside the brain."""
    to_ventricle: Field
    """Distance to the nearest ventricle, negative inside."""


def paint(anatomy: Anatomy, generator: np.random.Generator) -> Field:
    """Brightness (i, j, k) of the head, 0 to about 1, with neither coil shading nor noise."""
    head, soft = anatomy.head, softness(anatomy.grid)
    picture = np.full(anatomy.grid.shape, AIR)
    layers = ((0.0, FAT), (head.scalp_mm, BONE), (head.scalp_mm + head.skull_mm, FLUID))
    for start, brightness in layers:
        picture = blend(picture, brightness, within(anatomy.below_skin - start, soft))
    return blend(picture, _brain(anatomy, generator), within(anatomy.below_brain, soft))


def _brain(anatomy: Anatomy, generator: np.random.Generator) -> Field:
    """Grey ribbon along random furrows, white matter below, deep nuclei, fluid in furrows, fissure and ventricles."""
    grid, below, soft = anatomy.grid, anatomy.below_brain, softness(anatomy.grid)
    x, y, z = anatomy.places
    folds = smooth_noise(grid, FOLD_MM, generator)
    ribbon = within(4 + 20 * np.exp(-((folds / 0.6) ** 2)) - below, 4.0)
    brain = blend(np.full(grid.shape, WHITE), GREY, ribbon)
    nuclei = 9 - np.sqrt((np.abs(x) - 21) ** 2 + (0.5 * (y - 2)) ** 2 + (0.7 * z) ** 2)
    brain = blend(brain, 0.5 * (GREY + WHITE), within(nuclei, 2 * soft))
    furrows = np.exp(-((folds / 0.22) ** 2)) * within(16 - below, 10.0)
    fissure = np.exp(-((x / 1.8) ** 2)) * within(26 - below, 8.0)
    brain = blend(brain, FLUID, 0.85 * np.maximum(furrows, fissure))
    brain = blend(brain, FLUID, within(-anatomy.to_ventricle, soft))
    return np.asarray(brain * (1 + TEXTURE * smooth_noise(grid, 3.0, generator)))


def scan(picture: Field, grid: Grid, generator: np.random.Generator, *, noise: float, shading: float) -> Field:
    """The picture as a scanner would see it: uneven coil sensitivity, and Rician noise of that share of full scale."""
    shaded = picture * np.exp(shading * smooth_noise(grid, 45.0, generator))
    real, imaginary = noise * generator.standard_normal((2, *grid.shape))
    return np.asarray(np.hypot(shaded + real, imaginary))


def smooth_noise(grid: Grid, length_mm: float, generator: np.random.Generator) -> Field:
    """A random field (i, j, k) of mean 0 and deviation 1 that changes over about `length_mm`."""
    sigma = [length_mm / step for step in grid.spacing]
    field = gaussian_filter(generator.standard_normal(grid.shape), sigma, mode="reflect", truncate=2.5)
    return np.asarray((field - field.mean()) / field.std())


def softness(grid: Grid) -> float:
    """Width in mm of the ramp at an edge: one voxel side in the plane of i and j."""
    return float(np.mean(grid.spacing[:2]))


def within(distance_mm: Field, soft_mm: float) -> Field:
    """1 where the distance is positive, 0 where negative, a ramp of `soft_mm` between: the partial volume effect."""
    return np.asarray(np.clip(distance_mm / soft_mm + 0.5, 0, 1))


def blend(under: Field, over: Field | float, share: Field) -> Field:
    """`over` painted on `under` with that share."""
    return np.asarray(under + share * (over - under))
