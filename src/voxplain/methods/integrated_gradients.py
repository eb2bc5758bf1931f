"""Integrated gradients. Sundararajan, Taly, Yan, ICML 2017, arXiv:1703.01365, equations 1 and 3."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.ops.baselines import FILLS, baseline
from voxplain.ops.quadrature import Rule, nodes
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Method):
    """What each voxel contributes on the straight way from a baseline to the image, in units of the score.

    Law (completeness): the map sums to f(x) - f(baseline), up to the quadrature error, which is reported.
    Costs 2 n + 2 forwards.
    """

    name = "integrated_gradients"
    title: ClassVar[str] = "Integrated gradients"
    citation: ClassVar[str] = "Sundararajan et al., Axiomatic attribution for deep networks, arXiv:1703.01365"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - f(baseline)"

    steps: int = 32
    """Points on the way at which the gradient is taken."""
    rule: Rule = "gauss_legendre"
    """Quadrature: gauss_legendre, midpoint or trapezoid."""
    baseline: float | Literal["zero", "mean", "minimum", "blur"] = "zero"
    """Where the way begins: zero, mean, minimum, blur or a number, in units of the network's input."""

    def _check(self) -> None:
        self._require(self.steps >= 1, "steps", "at least 1")
        self._require(not isinstance(self.baseline, str) or self.baseline in FILLS, "baseline", f"one of {FILLS}")

    def _map(self, score: Score, x: Tensor) -> Map:
        start = baseline(x, self.baseline)
        at_x, frozen = score.freeze(x)
        at_start = frozen(start)
        gradient = self._mean_gradient(frozen, x, start)
        values = gradient * (x - start)
        gap = values.flatten(1).sum(dim=1, dtype=torch.float64) - (at_x - at_start)
        numbers = {"score_at_baseline": at_start, "completeness_gap": gap, "steps": self.steps}
        return Map(values, self.quantity, score.target.unit, numbers=numbers, score=at_x, classes=frozen.classes)

    def _mean_gradient(self, score: Score, x: Tensor, start: Tensor) -> Tensor:
        """Weighted mean of the gradients on the way, accumulated in float64; samples times steps, step by step."""
        points, weights = (torch.tensor(part, dtype=torch.float64) for part in nodes(self.rule, self.steps))
        count = len(x)

        def make(index: Tensor) -> tuple[Tensor, Tensor]:
            rows = index % count
            alpha = points[index // count].to(x).reshape(-1, *[1] * (x.ndim - 1))
            return start[rows] + alpha * (x[rows] - start[rows]), rows

        total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
        for piece in score.stream_grad(count * self.steps, make, like=x):
            weight = weights[piece.samples // count].to(x.device).reshape(-1, *[1] * (x.ndim - 1))
            total.index_add_(0, (piece.samples % count).to(x.device), piece.gradient.double() * weight)
        return total.to(x.dtype)
