"""ABPC: the area between the perturbation curves of both orders. Samek et al., arXiv:1509.06321."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import AreaMetric, along_removal, area


@dataclass(frozen=True, kw_only=True)
class Abpc(AreaMetric):
    """Area under the score with the least relevant removed first, less that with the most relevant first; score units.

    A random order gets 0 on average. Costs 2 steps - 2 forwards a map, and one for the empty image.
    """

    name: ClassVar[str] = "abpc"
    title: ClassVar[str] = "Area between perturbation curves"
    citation: ClassVar[str] = (
        "Samek et al.: Evaluating the visualization of what a deep neural network has learned. IEEE TNNLS 28 (2017), "
        "arXiv:1509.06321"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)

    def _judge(self, probe: Probe, row: int) -> Measured:
        most, least = self._removing(probe, row), self._removing(probe, row, least=True)
        shares = self._shares()
        curves = {
            "most relevant first": along_removal(shares, most),
            "least relevant first": along_removal(shares, least),
        }
        return Measured(area(least) - area(most), chance=0.0, curves=curves)
