"""Distance from the centre of a map's mass to the lesion's surface, in millimetres."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy import ndimage

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Array, Localisation, Place


@dataclass(frozen=True, kw_only=True)
class MassDistance(Localisation):
    """0 where the centre lies inside a voxel of the mask, else mm to the nearest face of one (pixels without mm).

    `chance` is the distance for a map that is the same everywhere: that of the middle of what counts.
    """

    name: ClassVar[str] = "mass_distance"
    title: ClassVar[str] = "Distance from the centre of mass to the lesion"
    citation: ClassVar[str] = (
        "Jin, Li, Fatehi, Hamarneh: Guidelines and evaluation of clinical explainable AI in medical image analysis. "
        "Medical Image Analysis 84 (2023), plausibility"
    )
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, None)

    def _located(self, strength: Array, place: Place) -> Measured:
        return Measured(distance(np.where(place.counted, strength, 0.0), place), self._chance(place))

    def _chance(self, place: Place) -> float:
        return distance(place.counted.astype(np.float64), place)


def distance(mass: Array, place: Place) -> float:
    """From the centre of `mass` (i, j, k) to the nearest point of the mask's voxels, in the grid's unit."""
    centre = np.array(ndimage.center_of_mass(mass))
    voxels = np.argwhere(place.inside)
    gap = centre - np.clip(centre, voxels - 0.5, voxels + 0.5)
    return float(np.linalg.norm(gap @ place.grid.affine[:3, :3].T, axis=1).min())
