"""DeepLIFT, rescale rule. Shrikumar, Greenside, Kundaje, ICML 2017, arXiv:1704.02685, sections 3.2 and 3.5."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.ops.baselines import FILLS, baseline
from voxplain.score.deep_lift import contributions
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class DeepLift(Method):
    """What each voxel adds to the score's difference from a baseline, followed through every unit.

    In units of the score. Law (summation to delta): the map sums to f(x) - f(baseline); what is missed is reported.
    Costs 5 forwards: one to choose the class, image and baseline together forward and back.
    """

    name = "deep_lift"
    title: ClassVar[str] = "DeepLIFT (rescale rule)"
    citation: ClassVar[str] = "Shrikumar et al., Learning important features, arXiv:1704.02685"
    access: ClassVar[Access] = Access.RULES
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - f(baseline)"
    cost: ClassVar[str] = "5"

    baseline: float | Literal["zero", "mean", "minimum", "blur"] = "zero"
    """What the image is compared with: zero, mean, minimum, blur or a number, in units of the network's input."""

    def _check(self) -> None:
        self._require(not isinstance(self.baseline, str) or self.baseline in FILLS, "baseline", f"one of {FILLS}")

    def _map(self, score: Score, x: Tensor) -> Map:
        at_x, frozen = score.freeze(x)
        start = baseline(x, self.baseline)
        values, at_start = contributions(frozen, x, start[None])
        gap = values.flatten(1).sum(dim=1, dtype=torch.float64) - (at_x - at_start)
        numbers = {"score_at_baseline": at_start, "completeness_gap": gap}
        return Map(values, self.quantity, score.target.unit, numbers=numbers, score=at_x, classes=frozen.classes)
