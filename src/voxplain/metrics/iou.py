"""Intersection over union of the marked voxels and the mask, as Saporta et al. 2022 held saliency against readers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.stats import hypergeom

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Overlap, Place, Truth


@dataclass(frozen=True, kw_only=True)
class Iou(Overlap):
    """Between 0 and 1; `chance` is the mean for as many voxels drawn at random. A constant map marks everything."""

    name: ClassVar[str] = "iou"
    title: ClassVar[str] = "Intersection over union"
    citation: ClassVar[str] = (
        "Saporta et al.: Benchmarking saliency methods for chest X-ray interpretation. "
        "Nature Machine Intelligence 4 (2022)"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _overlap(self, chosen: Truth, place: Place) -> Measured:
        size, mask, total = int(chosen.sum()), int(place.inside.sum()), int(place.counted.sum())
        hits = int((chosen & place.inside).sum())
        possible = np.arange(max(0, size + mask - total), min(size, mask) + 1)
        chance = hypergeom(total, mask, size).pmf(possible) @ (possible / (size + mask - possible))
        return Measured(hits / (size + mask - hits), float(chance))
