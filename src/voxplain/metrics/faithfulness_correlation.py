"""Faithfulness correlation: do random sets that a map calls important matter? Bhatt et al., arXiv:2005.00631."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import SetMetric


@dataclass(frozen=True, kw_only=True)
class FaithfulnessCorrelation(SetMetric):
    """Pearson's correlation, over random sets of one size, of the map's sum with the fall of the score without the set.

    Values are signed and channels summed. The sets are the same for all maps. Costs as many forwards as samples.
    """

    name: ClassVar[str] = "faithfulness_correlation"
    title: ClassVar[str] = "Faithfulness correlation"
    citation: ClassVar[str] = (
        "Bhatt, Weller, Moura: Evaluating and aggregating feature-based model explanations. IJCAI (2020), "
        "arXiv:2005.00631"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (-1.0, 1.0)

    share: float = 0.1
    """Size of the sets, as a share of all voxels."""

    def _check(self) -> None:
        super()._check()
        self._require(0 < self.share < 1, "share", "between 0 and 1")

    def _measure(self, probe: Probe) -> list[Measured]:
        found = self._correlations(probe, self.share)
        flat = Measured.not_applicable("the map's sums or the score are the same for all sets", chance=0.0)
        return [flat if one is None else Measured(one, chance=0.0) for one in found]
