"""Sensitivity-n: faithfulness correlation over sets of many sizes. Ancona et al., ICLR 2018, arXiv:1711.06104."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar, Literal

from voxplain.metrics.base import Curve, Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import SetMetric


@dataclass(frozen=True, kw_only=True)
class SensitivityN(SetMetric):
    """Mean over set sizes of Pearson's correlation of the map's sum over a set with the fall of the score without it.

    1 where the map says what every set is worth. The curve holds each size's own correlation; a size at which nothing
    varies is left out. Values are signed and channels summed. The sets are the same for all maps. Costs samples
    forwards a size.
    """

    name: ClassVar[str] = "sensitivity_n"
    title: ClassVar[str] = "Sensitivity-n"
    citation: ClassVar[str] = (
        "Ancona et al.: Towards better understanding of gradient-based attribution methods. ICLR (2018), "
        "arXiv:1711.06104"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (-1.0, 1.0)

    shares: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 0.8)
    """Sizes of the sets, as shares of all voxels."""
    samples: int = 40
    """Random sets of each size."""

    def _check(self) -> None:
        super()._check()
        self._require(len(self.shares) > 0 and all(0 < share < 1 for share in self.shares), "shares", "between 0 and 1")

    def _measure(self, probe: Probe) -> list[Measured]:
        by_share = [self._correlations(probe, share) for share in self.shares]
        return [self._judge(of_map) for of_map in zip(*by_share, strict=True)]

    def _judge(self, found: tuple[float | None, ...]) -> Measured:
        known = {share: one for share, one in zip(self.shares, found, strict=True) if one is not None}
        if not known:
            return Measured.not_applicable("the map's sums or the score are the same for all sets", chance=0.0)
        curve = Curve(tuple(known), tuple(known.values()), "share of voxels in a set")
        return Measured(fmean(known.values()), chance=0.0, curves={"correlation": curve})
