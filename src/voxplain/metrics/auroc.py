"""AUROC of a map as a classifier of voxels: does evidence rank voxels of the mask above the others? Fawcett 2006."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Array, Localisation, Place
from voxplain.ops.ranks import area_under_roc


@dataclass(frozen=True, kw_only=True)
class Auroc(Localisation):
    """The chance that a voxel of the mask has more evidence than one outside, ties counted half; `chance` is 0.5.

    Small lesions in large images make high values easy: `auprc` is the stricter reading. A mask that fills everything
    is not applicable.
    """

    name: ClassVar[str] = "auroc"
    title: ClassVar[str] = "Area under the ROC curve of voxels"
    citation: ClassVar[str] = "Fawcett: An introduction to ROC analysis. Pattern Recognition Letters 27 (2006)"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _located(self, strength: Array, place: Place) -> Measured:
        if place.labels.all():
            return Measured.not_applicable("the mask fills all that counts", self._chance(place))
        values, labels = torch.from_numpy(strength[place.counted]), torch.from_numpy(place.labels)
        return Measured(area_under_roc(values, labels), self._chance(place))

    def _chance(self, place: Place) -> float:
        return 0.5
