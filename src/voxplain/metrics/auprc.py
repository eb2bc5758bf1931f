"""AUPRC of a map as a classifier of voxels, as average precision. Arun et al. 2021 measured localisation by it."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Array, Localisation, Place
from voxplain.ops.ranks import average_precision


@dataclass(frozen=True, kw_only=True)
class Auprc(Localisation):
    """Precision averaged over recall, one step for each distinct value; `chance` is the mask's share of the voxels."""

    name: ClassVar[str] = "auprc"
    title: ClassVar[str] = "Area under the precision-recall curve of voxels"
    citation: ClassVar[str] = (
        "Arun et al.: Assessing the trustworthiness of saliency maps for localizing abnormalities in medical imaging. "
        "Radiology: Artificial Intelligence 3 (2021)"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _located(self, strength: Array, place: Place) -> Measured:
        values, labels = torch.from_numpy(strength[place.counted]), torch.from_numpy(place.labels)
        return Measured(average_precision(values, labels), place.share)

    def _chance(self, place: Place) -> float:
        return place.share
