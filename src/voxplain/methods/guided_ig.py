"""Guided integrated gradients. Kapishnikov et al., CVPR 2021, arXiv:2106.09788, algorithm 1 (bounded path)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.ops.baselines import FILLS, baseline
from voxplain.ops.guided_path import Stretch, advanced
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class GuidedIG(Method):
    """What each voxel contributes on a way from a baseline to the image that puts off voxels of steep slope.

    Each step moves the voxels (channel by channel) with the smallest gradients first, so that less of the map comes
    from noise met on the way. Signed, in units of the score. Law (completeness): the map sums to
    f(x) - f(baseline), up to the error of the steps. It is reported and can be large: on networks with many kinks the
    gradients chosen for being small do not stay so within a step. Costs 2 n + 2 forwards, one step after another.
    """

    name = "guided_ig"
    title: ClassVar[str] = "Guided integrated gradients"
    citation: ClassVar[str] = "Kapishnikov et al., Guided integrated gradients, arXiv:2106.09788"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - f(baseline)"
    cost: ClassVar[str] = "2 + 2 steps"

    steps: int = 200
    """Points on the way at which the gradient is taken."""
    fraction: float = 0.25
    """Share of the voxels that moves at once: those with the smallest gradients."""
    max_distance: float = 0.02
    """How far, as a share of its whole way, a voxel may run ahead of or lag behind the straight line; 1: freely."""
    baseline: float | Literal["zero", "mean", "minimum", "blur"] = "zero"
    """Where the way begins: zero, mean, minimum, blur or a number, in units of the network's input."""

    def _check(self) -> None:
        self._require(self.steps >= 1, "steps", "at least 1")
        self._require(0 < self.fraction <= 1, "fraction", "more than 0 and at most 1")
        self._require(0 <= self.max_distance <= 1, "max_distance", "in 0..1")
        self._require(not isinstance(self.baseline, str) or self.baseline in FILLS, "baseline", f"one of {FILLS}")

    def _map(self, score: Score, x: Tensor) -> Map:
        start = baseline(x, self.baseline)
        at_x, frozen = score.freeze(x)
        at_start = frozen(start)
        values = self._along_the_path(frozen, x, start)
        gap = values.flatten(1).sum(dim=1) - (at_x - at_start)
        numbers = {"score_at_baseline": at_start, "completeness_gap": gap}
        unit = score.target.unit
        return Map(values.to(x.dtype), self.quantity, unit, numbers=numbers, score=at_x, classes=frozen.classes)

    def _along_the_path(self, score: Score, x: Tensor, start: Tensor) -> Tensor:
        """The map in float64: all samples take their n-th step together, each on a path of its own."""
        ends = [Stretch(begin.double(), end.double()) for begin, end in zip(start, x, strict=True)]
        points = start.double()
        values = torch.zeros_like(points)
        for step in range(1, self.steps + 1):
            gradients = _gradients(score, points, x)
            moved = [
                advanced(end, point, gradient, step / self.steps, self.fraction, self.max_distance)
                for end, point, gradient in zip(ends, points, gradients, strict=True)
            ]
            points, before = torch.stack(moved), points
            values += (points - before) * gradients
        return values


def _gradients(score: Score, points: Tensor, x: Tensor) -> Tensor:
    """The gradient at one point a sample, float64."""
    pieces = score.stream_grad(len(x), lambda rows: (points[rows].to(x.dtype), rows), like=x)
    return torch.cat([piece.gradient for piece in pieces]).double()
