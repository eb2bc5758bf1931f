"""AOPC, most relevant first: how far the score falls on average. Samek et al., arXiv:1509.06321."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import AreaMetric, along_removal


@dataclass(frozen=True, kw_only=True)
class MorfAopc(AreaMetric):
    """Mean fall of the score over all steps, the first one (0) included, the most relevant removed first; score units.

    The paper removes blocks of 9 x 9 voxels (patch=9). Costs steps - 1 forwards a map, and one for the empty image.
    """

    name: ClassVar[str] = "morf_aopc"
    title: ClassVar[str] = "AOPC, most relevant first"
    citation: ClassVar[str] = (
        "Samek et al.: Evaluating the visualization of what a deep neural network has learned. IEEE TNNLS 28 (2017), "
        "arXiv:1509.06321"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)

    def _judge(self, probe: Probe, row: int) -> Measured:
        scores = self._removing(probe, row)
        fall = float((probe.clean - scores).mean())
        return Measured(fall, curves={"most relevant first": along_removal(self._shares(), scores)})
