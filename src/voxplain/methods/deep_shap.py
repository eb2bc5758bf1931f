"""DeepSHAP. Lundberg, Lee, NeurIPS 2017, arXiv:1705.07874, section 4.2: DeepLIFT averaged over reference images."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.ops.references import references
from voxplain.score.deep_lift import contributions
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class DeepShap(Method):
    """What each voxel adds to the score's difference from the mean over reference images, in units of the score.

    Law: the map sums to f(x) - mean of f(reference); what is missed is reported. Costs 1 + 4 n forwards for n
    reference images.
    """

    name = "deep_shap"
    title: ClassVar[str] = "DeepSHAP"
    citation: ClassVar[str] = "Lundberg and Lee, A unified approach to interpreting predictions, arXiv:1705.07874"
    access: ClassVar[Access] = Access.RULES
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - mean of f(reference)"
    cost: ClassVar[str] = "1 + 4 references"
    needs_reference: ClassVar[bool] = True

    def _map(self, score: Score, x: Tensor) -> Map:
        images = references(score.reference, x, self.name)
        at_x, frozen = score.freeze(x)
        found = contributions(frozen, x, images[:, None])
        gap = found.values.flatten(1).sum(dim=1, dtype=torch.float64) - (at_x - found.at_reference)
        numbers = {"score_at_baseline": found.at_reference, "completeness_gap": gap, "references": len(images)}
        return Map(found.values, self.quantity, score.target.unit, numbers=numbers, score=at_x, classes=frozen.classes)
