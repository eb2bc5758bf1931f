"""IROF: iterative removal of features, here supervoxels. Rieger, Hansen, arXiv:2003.08747."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import FLAT, Imputer, PerturbedMetric, along_removal, area
from voxplain.ops.removal import part_sums, removal_ranks
from voxplain.ops.segments import consecutive, given, grid, slic


@dataclass(frozen=True, kw_only=True)
class Irof(PerturbedMetric):
    """Area over the score, as a share of the clean one, while segments are replaced, the highest mean value first.

    A segment's value is the mean over its voxels, channels summed. Meant for scores above 0, such as probabilities;
    where the clean score is not, it does not apply. Costs segments - 1 forwards a map, and one for the empty image.
    """

    name: ClassVar[str] = "irof"
    title: ClassVar[str] = "Iterative removal of features"
    citation: ClassVar[str] = (
        "Rieger, Hansen: IROF: a low resource evaluation metric for explanation methods. arXiv:2003.08747 (2020)"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)

    imputer: Imputer = "mean"
    """What a removed segment is replaced with; the paper takes the mean."""
    segmenter: Literal["slic", "grid", "given"] = "slic"
    """How the image is cut: superpixels or supervoxels, equal boxes, or the labels that come with it."""
    segments: int = 64
    """About how many segments; given labels are taken as they are."""
    sign: Literal["signed", "absolute"] = "signed"
    """Whether negative values count against a segment, or by their size."""

    def _check(self) -> None:
        super()._check()
        self._require(self.segments >= 2, "segments", "at least 2")

    def _measure(self, probe: Probe) -> list[Measured]:
        if probe.clean <= 0:
            lost = Measured.not_applicable("the clean score is not above 0, so that no share of it remains")
            return [lost] * len(probe.maps)
        labels = self._labels(probe)
        means = self._means(probe, labels)
        if means.shape[1] < 2:
            return [Measured.not_applicable("the image could not be cut into segments")] * len(probe.maps)
        shares = torch.linspace(0, 1, means.shape[1] + 1, dtype=torch.float64).tolist()
        scores = self._walked(probe, labels, removal_ranks(means, self._seed(probe)), shares)
        flat = (means.amax(dim=1) == means.amin(dim=1)).tolist()
        found = zip(scores / probe.clean, flat, strict=True)
        return [Measured.not_applicable(FLAT) if same else self._judge(left, shares) for left, same in found]

    @staticmethod
    def _judge(left: Tensor, shares: list[float]) -> Measured:
        return Measured(1 - area(left), curves={"share of the score left": along_removal(shares, left)})

    def _means(self, probe: Probe, labels: Tensor) -> Tensor:
        """The mean value (map, segment) over each segment."""
        net = torch.stack([values.sum(dim=0, dtype=torch.float64) for values in probe.maps])
        return part_sums(net.abs() if self.sign == "absolute" else net, labels) / labels.flatten().bincount()

    def _labels(self, probe: Probe) -> Tensor:
        """The segment (*space) of each voxel, cut once a case."""
        x, score = probe.x, probe.score

        def cut() -> Tensor:
            if self.segmenter == "given":
                return consecutive(given(score.segments, x, self.name)[0])
            if self.segmenter == "grid":
                return grid(x.shape[2:], self.segments, score.spacing_mm).to(x.device)
            return slic(x[0], self.segments, spacing=score.spacing_mm)

        return probe.once(("segments", self.segmenter, self.segments), cut)
