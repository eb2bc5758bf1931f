"""Pointing game: does the strongest voxel lie inside the mask or close to it? Zhang et al. 2018, section 4.2."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy import ndimage

from voxplain.errors import InputError
from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Array, Localisation, Place, Truth
from voxplain.metrics.base_peak import chance_to_hit, hit_share

ROUNDING = 1e-9
"""Distances are sums of squares of spacings: a voxel exactly at the tolerance must not be lost to their last digit."""


@dataclass(frozen=True, kw_only=True)
class PointingGame(Localisation):
    """1 or 0 for one case, between them where several voxels share the peak.

    `chance` is the share of the voxels that lie within the tolerance, so that a generous one does not flatter.
    """

    name: ClassVar[str] = "pointing_game"
    title: ClassVar[str] = "Pointing game"
    citation: ClassVar[str] = (
        "Zhang, Bargal, Lin, Brandt, Shen, Sclaroff: Top-down neural attention by excitation backprop. IJCV 126 (2018)"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    tolerance_mm: float | None = None
    """How far from the nearest voxel of the mask the peak may lie, in mm between centres."""
    tolerance: float = 0.0
    """The same in voxels, where tolerance_mm is left out; the paper took 15 pixels on photographs."""

    def _check(self) -> None:
        for option in ("tolerance_mm", "tolerance"):
            self._require((getattr(self, option) or 0) >= 0, option, "at least 0")
        self._require(self.tolerance_mm is None or self.tolerance == 0, "tolerance", "left out with tolerance_mm")

    def _located(self, strength: Array, place: Place) -> Measured:
        accepted = self._accepted(place)
        return Measured(hit_share(strength, place, accepted), chance_to_hit(place, accepted))

    def _chance(self, place: Place) -> float:
        return chance_to_hit(place, self._accepted(place))

    def _accepted(self, place: Place) -> Truth:
        if self.tolerance_mm is not None and not place.grid.physical:
            raise InputError(
                "pointing_game: tolerance_mm needs a grid in mm, but this image has none; pass tolerance=... in pixels"
            )
        steps = (1.0, 1.0, 1.0) if self.tolerance_mm is None else place.grid.spacing
        reach = self.tolerance if self.tolerance_mm is None else self.tolerance_mm
        distance = ndimage.distance_transform_edt(~place.inside, sampling=steps)
        return np.asarray(distance <= reach * (1 + ROUNDING))
