"""Deletion: the area under the score while the most relevant voxels are removed. Petsiuk et al., arXiv:1806.07421."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import AreaMetric, along_removal, area


@dataclass(frozen=True, kw_only=True)
class Deletion(AreaMetric):
    """In units of the score: low where the score falls as soon as the first voxels are gone.

    Maps of one case compare; across cases the score itself differs. Costs steps - 1 forwards a map, and one for the
    empty image.
    """

    name: ClassVar[str] = "deletion"
    title: ClassVar[str] = "Deletion"
    citation: ClassVar[str] = "Petsiuk, Das, Saenko: RISE. BMVC (2018), arXiv:1806.07421"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)

    def _judge(self, probe: Probe, row: int) -> Measured:
        scores = self._removing(probe, row)
        return Measured(area(scores), curves={"removed": along_removal(self._shares(), scores)})
