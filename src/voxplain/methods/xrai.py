"""XRAI. Kapishnikov et al., ICCV 2019, arXiv:1906.02825, algorithm 1; integrated gradients from black and white."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.ops.region_ranking import joined_by_density, regions
from voxplain.ops.segment_scales import Labels, superpixels, supervoxels
from voxplain.ops.segments import given
from voxplain.score.score import Score
from voxplain.score.straight_path import straight_path_integral
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class XRAI(Method):
    """Which regions the score rests on: each voxel has the mean contribution of the part of a region it belongs to.

    Contributions are integrated gradients from a black and a white image (the sample's smallest and largest value);
    regions of several sizes join in the order of their mean. Signed, in units of the score, one map for all channels.
    Law: the map sums to f(x) - mean f(black, white), up to the quadrature error, which is reported; the largest
    channel alone (channels='max') has no such law. Costs 4 n + 3 forwards.
    """

    name = "xrai"
    title: ClassVar[str] = "XRAI"
    citation: ClassVar[str] = "Kapishnikov et al., XRAI: better attributions through regions, arXiv:1906.02825"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - mean f(black, white)"
    cost: ClassVar[str] = "3 + 4 steps"

    steps: int = 32
    """Points on each of the two ways at which the gradient is taken (Gauss-Legendre)."""
    segments: Literal["automatic", "given"] = "automatic"
    """Felzenszwalb's superpixels at six scales in 2D and SLIC supervoxels in 3D, or the run's own segments."""
    supervoxels: tuple[int, ...] = (50, 100, 200, 400, 800)
    """How many supervoxels each segmentation of a volume has: Felzenszwalb's method is made for 2D only."""
    dilation: int = 5
    """By how many voxels each segment is grown, so that it holds its own edge."""
    least_new: int = 50
    """A region joins only while it has at least so many voxels that no other has taken."""
    channels: Literal["sum", "max"] = "sum"
    """How the contributions of a voxel's channels become one: their sum, or their largest, as in the authors' code."""

    def _check(self) -> None:
        self._require(self.steps >= 1, "steps", "at least 1")
        self._require(min(self.supervoxels, default=0) >= 1, "supervoxels", "a list of numbers of at least 1")
        self._require(self.dilation >= 0, "dilation", "at least 0")
        self._require(self.least_new >= 1, "least_new", "at least 1")

    def _map(self, score: Score, x: Tensor) -> Map:
        cuts = self._segmentations(score, x)
        flat = x.flatten(1)
        ends = (flat.amin(dim=1), flat.amax(dim=1))
        starts = [end.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x) for end in ends]
        at_x, frozen = score.freeze(x)
        parts = straight_path_integral(frozen, x, starts, "gauss_legendre", self.steps)
        one = parts.amax(dim=1, keepdim=True) if self.channels == "max" else parts.sum(dim=1, keepdim=True)
        values = torch.stack([self._ranked(single, cut) for single, cut in zip(one, cuts, strict=True)])
        found = Map(
            values.to(x.dtype),
            self.quantity,
            score.target.unit,
            score=at_x,
            classes=frozen.classes,
            notes=self._notes(x),
        )
        if self.channels == "max":
            return replace(found, quantity=Quantity.RELEVANCE)
        at_start = torch.stack([frozen(start) for start in starts]).mean(dim=0)
        gap = values.flatten(1).sum(dim=1) - (at_x - at_start)
        numbers = {"score_at_baseline": at_start, "completeness_gap": gap}
        return replace(found, numbers=numbers)

    def _segmentations(self, score: Score, x: Tensor) -> list[list[Labels]]:
        """The segmentations of each sample, from fine to coarse."""
        if self.segments == "given":
            return [[labels.cpu().numpy()] for labels in given(score.segments, x, self.name)]
        if x.ndim == 4:
            return [superpixels(image) for image in x]
        return [supervoxels(image, self.supervoxels, score.spacing_mm) for image in x]

    def _ranked(self, contributions: Tensor, cuts: list[Labels]) -> Tensor:
        values = joined_by_density(regions(cuts, self.dilation), contributions.flatten().cpu().numpy(), self.least_new)
        return torch.from_numpy(values).to(contributions.device).reshape(contributions.shape)

    def _notes(self, x: Tensor) -> tuple[str, ...]:
        if self.segments == "given" or x.ndim == 4:
            return ()
        counts = ", ".join(map(str, self.supervoxels))
        return (f"supervoxels (SLIC) at {counts} a volume: Felzenszwalb's superpixels are made for 2D only",)
