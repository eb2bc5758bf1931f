"""Dice overlap of the marked voxels and the mask. Dice 1945."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Overlap, Place, Truth


@dataclass(frozen=True, kw_only=True)
class Dice(Overlap):
    """Between 0 and 1; `chance` is the mean for as many voxels drawn at random. A constant map marks everything."""

    name: ClassVar[str] = "dice"
    title: ClassVar[str] = "Dice overlap"
    citation: ClassVar[str] = "Dice: Measures of the amount of ecologic association between species. Ecology 26 (1945)"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _overlap(self, chosen: Truth, place: Place) -> Measured:
        size, mask = int(chosen.sum()), int(place.inside.sum())
        hits = int((chosen & place.inside).sum())
        return Measured(2 * hits / (size + mask), 2 * size * place.share / (size + mask))
