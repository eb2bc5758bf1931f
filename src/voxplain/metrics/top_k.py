"""Top-k intersection: the share of the k strongest voxels that lies inside the mask (Theiner et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Array, Localisation, Place
from voxplain.ops.ranks import marked_among_top


@dataclass(frozen=True, kw_only=True)
class TopK(Localisation):
    """Between 0 and 1; `chance` is the mask's share of the voxels. A mask smaller than k cannot reach 1."""

    name: ClassVar[str] = "top_k"
    title: ClassVar[str] = "Top-k intersection"
    citation: ClassVar[str] = (
        "Theiner, Müller-Budack, Ewerth: Interpretable semantic photo geolocation. WACV 2022, arXiv:2104.14995"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    k: int = 100
    """How many voxels; all that count where the image has fewer."""

    def _check(self) -> None:
        self._require(self.k >= 1, "k", "at least 1")

    def _located(self, strength: Array, place: Place) -> Measured:
        values, labels = torch.from_numpy(strength[place.counted]), torch.from_numpy(place.labels)
        most = min(self.k, len(values))
        return Measured(marked_among_top(values, labels, most) / most, place.share)

    def _chance(self, place: Place) -> float:
        return place.share
