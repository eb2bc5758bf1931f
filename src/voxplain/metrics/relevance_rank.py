"""Relevance rank accuracy: of the strongest voxels, as many as the mask has, the share inside (Arras et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Array, Localisation, Place
from voxplain.ops.ranks import marked_among_top


@dataclass(frozen=True, kw_only=True)
class RelevanceRank(Localisation):
    """Between 0 and 1; how far evidence reaches does not matter, only its order. `chance` is the mask's share."""

    name: ClassVar[str] = "relevance_rank"
    title: ClassVar[str] = "Relevance rank accuracy"
    citation: ClassVar[str] = (
        "Arras, Osman, Samek: CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network "
        "explanations. Information Fusion 81 (2022)"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _located(self, strength: Array, place: Place) -> Measured:
        values, labels = torch.from_numpy(strength[place.counted]), torch.from_numpy(place.labels)
        most = int(place.inside.sum())
        return Measured(marked_among_top(values, labels, most) / most, place.share)

    def _chance(self, place: Place) -> float:
        return place.share
