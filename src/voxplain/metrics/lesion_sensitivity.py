"""Lesion-wise sensitivity: the share of the lesions of which enough is marked."""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Literal

import numpy as np
from scipy import ndimage
from scipy.stats import hypergeom

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Overlap, Place, Truth


@dataclass(frozen=True, kw_only=True)
class LesionSensitivity(Overlap):
    """Between 0 and 1: found lesions over all lesions, the connected parts of the mask (corners connect).

    `chance` is the mean for as many voxels drawn at random: scattered voxels touch every lesion, so a small `overlap`
    makes finding easy.
    """

    name: ClassVar[str] = "lesion_sensitivity"
    title: ClassVar[str] = "Lesion-wise sensitivity"
    citation: ClassVar[str] = (
        "Jaeger et al.: Retina U-Net: embarrassingly simple exploitation of segmentation supervision for medical "
        "object detection. ML4H 2020, arXiv:1811.08661"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    overlap: float = 0.1
    """Share of a lesion's voxels that must be marked for it to be found; always at least one voxel."""

    def _check(self) -> None:
        super()._check()
        self._require(0 <= self.overlap <= 1, "overlap", "between 0 and 1")

    def _overlap(self, chosen: Truth, place: Place) -> Measured:
        lesions, count = ndimage.label(place.inside, structure=np.ones((3, 3, 3)))
        sizes = np.bincount(lesions.ravel(), minlength=count + 1)[1:]
        hits = np.bincount(lesions[chosen], minlength=count + 1)[1:]
        needed = np.array([max(1, ceil(self.overlap * size)) for size in sizes])
        # The chance that so many random voxels hold at least the needed number of a lesion's.
        chances = hypergeom.sf(needed - 1, int(place.counted.sum()), sizes, int(chosen.sum()))
        numbers = {"lesions": count, "found": int((hits >= needed).sum())}
        return Measured(numbers["found"] / count, float(np.mean(chances)), numbers=numbers)
