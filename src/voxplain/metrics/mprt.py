"""Model parameter randomisation test: does a map change when the network forgets? Adebayo et al. 2018, section 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from voxplain.metrics.base import Measured
from voxplain.metrics.base_method import Change, Explained, Networks
from voxplain.metrics.base_networks import Randomised
from voxplain.metrics.base_similarity import Gives, stage_curve


@dataclass(frozen=True, kw_only=True)
class Mprt(Gives):
    """1 less the similarity to the clean map, averaged over stages at which more layers are randomised, output first.

    0 for a map that does not depend on what the network learnt, such as an edge detector's; about 1 for one that loses
    every resemblance at once. The similarity at each stage is kept as a curve.
    """

    name: ClassVar[str] = "mprt"
    title: ClassVar[str] = "Model parameter randomisation test"
    citation: ClassVar[str] = "Adebayo et al.: Sanity checks for saliency maps. NeurIPS 2018, arXiv:1810.03292"

    stages: int = 8
    """How many stages, spread evenly over the layers; 0: every layer is one."""
    seed: int = 0
    """Seed of the random weights."""

    def _check(self) -> None:
        self._require(self.stages >= 0, "stages", "at least 0")
        self._require(self.seed >= 0, "seed", "at least 0")

    @property
    def networks(self) -> Networks:
        return Randomised(self.stages or None, self.seed)

    def judge(self, clean: Explained, kept: Sequence[tuple[Change, Any]]) -> Measured:
        curve = stage_curve([(change, 1.0 - one) for change, one in kept], 1.0)
        return replace(super().judge(clean, kept), curves={"similarity": curve})
