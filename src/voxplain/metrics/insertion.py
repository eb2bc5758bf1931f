"""Insertion: the area under the score while the most relevant voxels are put back. Petsiuk et al., arXiv:1806.07421."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Curve, Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import AreaMetric, Imputer, area


@dataclass(frozen=True, kw_only=True)
class Insertion(AreaMetric):
    """In units of the score: high where the first voxels put back into an empty image bring the score up.

    What is put back last is what is removed first with the least relevant in front: the curve is shared with LeRF of
    the same options. The image begins blurred, as in the paper. Costs steps - 1 forwards a map, and one for the
    blurred image.
    """

    name: ClassVar[str] = "insertion"
    title: ClassVar[str] = "Insertion"
    citation: ClassVar[str] = "Petsiuk, Das, Saenko: RISE. BMVC (2018), arXiv:1806.07421"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)

    imputer: Imputer = "blur"
    """What the image begins as: blur or another of what removed voxels can be replaced with."""

    def _judge(self, probe: Probe, row: int) -> Measured:
        scores = self._removing(probe, row, least=True).flip(0)
        curve = Curve(tuple(self._shares()), tuple(scores.tolist()), "share of voxels put back")
        return Measured(area(scores), curves={"put back": curve})
