"""Relevance mass accuracy: the share of a map's positive mass that lies inside the mask (Arras et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Array, Localisation, Place


@dataclass(frozen=True, kw_only=True)
class RelevanceMass(Localisation):
    """Between 0 and 1; a map that is the same everywhere gets the mask's share of the voxels, which is `chance`."""

    name: ClassVar[str] = "relevance_mass"
    title: ClassVar[str] = "Relevance mass accuracy"
    citation: ClassVar[str] = (
        "Arras, Osman, Samek: CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network "
        "explanations. Information Fusion 81 (2022)"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _located(self, strength: Array, place: Place) -> Measured:
        share = float(strength[place.inside].sum() / strength[place.counted].sum())
        return Measured(min(share, 1.0), place.share)

    def _chance(self, place: Place) -> float:
        return place.share
