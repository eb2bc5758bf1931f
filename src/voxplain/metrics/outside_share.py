"""Share of a map's magnitude that lies outside the body, or an organ: where nothing can be seen."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.metrics.base import MapMetric, Measured
from voxplain.metrics.base_evidence import evidence


@dataclass(frozen=True, kw_only=True)
class OutsideShare(MapMetric):
    """Between 0 and 1, of values by their size; `chance` is the share of the voxels outside. Needs a body."""

    name: ClassVar[str] = "outside_share"
    title: ClassVar[str] = "Magnitude outside the body"
    citation: ClassVar[str] = (
        "DeGrave, Janizek, Lee: AI for radiographic COVID-19 detection selects shortcuts over signal. "
        "Nature Machine Intelligence 3 (2021), attributions outside the lungs"
    )
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _measure(self, attribution: Attribution, body: Image | None) -> Measured:
        if body is None:
            return Measured.not_applicable("no mask of the body was given")
        inside = body.values[0] != 0
        if not inside.any():
            return Measured.not_applicable("the body is empty")
        chance = float(np.mean(~inside))
        strength, reason = evidence(attribution, "absolute", np.ones_like(inside))
        if reason:
            return Measured.not_applicable(reason, chance)
        return Measured(min(float(strength[~inside].sum() / strength.sum()), 1.0), chance)
