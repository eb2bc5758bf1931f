"""Relevance mass accuracy: the share of a map's positive mass that lies inside the mask (Arras et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.metrics.base import MaskMetric, Measured


@dataclass(frozen=True, kw_only=True)
class RelevanceMass(MaskMetric):
    """Between 0 and 1; a map that is the same everywhere gets the mask's share of the voxels, which is `chance`."""

    name: ClassVar[str] = "relevance_mass"
    title: ClassVar[str] = "Relevance mass accuracy"
    citation: ClassVar[str] = (
        "Arras, Osman, Samek: CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network "
        "explanations. Information Fusion 81 (2022)"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    sign: Literal["positive", "absolute"] = "positive"
    """Which mass counts: evidence for the target only, or the size of the values whatever their sign."""

    def _measure(self, attribution: Attribution, mask: Image, body: Image | None) -> Measured:
        inside = mask.values[0] != 0
        counted = np.ones_like(inside) if body is None else body.values[0] != 0
        inside = inside & counted
        if not inside.any():
            return Measured.not_applicable("the mask is empty" if body is None else "the mask is empty inside the body")
        chance = float(inside.sum() / counted.sum())
        # Channels are summed first: what counts is a voxel's net evidence.
        net = attribution.values.sum(axis=0, dtype=np.float64)
        if not np.isfinite(net).all():
            return Measured.not_applicable("the map holds values that are NaN or infinite", chance)
        mass = np.abs(net) if self.sign == "absolute" else np.maximum(net, 0.0)
        total = float(mass[counted].sum())
        if total == 0.0:
            words = "no values but 0" if self.sign == "absolute" else "no positive values"
            return Measured.not_applicable(f"the map has {words}", chance)
        return Measured(float(mass[inside].sum()) / total, chance)
