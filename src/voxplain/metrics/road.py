"""ROAD: removal without information left behind, by interpolation. Rong et al., ICML 2022, arXiv:2202.00449."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import CurveMetric, Imputer, along_removal


@dataclass(frozen=True, kw_only=True)
class Road(CurveMetric):
    """Mean over shares of the score without the least relevant voxels, less that without the most relevant.

    In units of the score. Removed voxels are interpolated from what is left, so that the shape of a hole tells the
    network little. `morf` and `lerf` hold the mean score of either order; the paper takes the accuracy over a data set
    instead. A random order gets 0 on average. Costs 2 forwards a map and share.
    """

    name: ClassVar[str] = "road"
    title: ClassVar[str] = "Remove and debias"
    citation: ClassVar[str] = (
        "Rong et al.: A consistent and efficient evaluation strategy for attribution methods. ICML (2022), "
        "arXiv:2202.00449"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)

    imputer: Imputer = "neighbours"
    """What removed voxels are replaced with; the metric is named after neighbours."""
    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
    """Shares of the voxels that are removed; those of the paper."""

    def _check(self) -> None:
        super()._check()
        self._require(len(self.shares) > 0 and all(0 < share < 1 for share in self.shares), "shares", "between 0 and 1")

    def _judge(self, probe: Probe, row: int) -> Measured:
        most, least = (self._curve(probe, self.shares, least=last)[row] for last in (False, True))
        curves = {
            "most relevant first": along_removal(self.shares, most),
            "least relevant first": along_removal(self.shares, least),
        }
        numbers = {"morf": float(most.mean()), "lerf": float(least.mean())}
        return Measured(numbers["lerf"] - numbers["morf"], chance=0.0, curves=curves, numbers=numbers)
