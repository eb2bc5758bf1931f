"""Integrated gradients. Sundararajan, Taly, Yan, ICML 2017, arXiv:1703.01365, equations 1 and 3."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.ops.baselines import baseline
from voxplain.ops.quadrature import Rule
from voxplain.ops.references import references
from voxplain.score.score import Score
from voxplain.score.straight_path import straight_path_integral
from voxplain.types import Access, Quantity

Start = float | Literal["zero", "mean", "minimum", "blur", "reference"]
"""Where a way begins."""


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Method):
    """What each voxel contributes on the straight way from a baseline to the image, in units of the score.

    Law (completeness): the map sums to f(x) - f(baseline), up to the quadrature error, which is reported; with several
    baselines the map and f(baseline) are means over them. Costs 2 n + 2 forwards (2 n + 1 a baseline, and 1); with a
    tolerance the steps of all rounds add up.
    """

    name = "integrated_gradients"
    title: ClassVar[str] = "Integrated gradients"
    citation: ClassVar[str] = "Sundararajan et al., Axiomatic attribution for deep networks, arXiv:1703.01365"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - f(baseline)"
    cost: ClassVar[str] = "2 + 2 steps"

    steps: int = 32
    """Points on the way at which the gradient is taken."""
    rule: Rule = "gauss_legendre"
    """Quadrature: gauss_legendre, midpoint or trapezoid."""
    baseline: Start | tuple[Start, ...] = "zero"
    """Where the way begins: zero, mean, minimum, blur, reference or a number in input units, or a list of these."""
    tolerance: float | None = None
    """Double the steps of a sample until its sum misses f(x) - f(baseline) by at most this share of it."""
    max_steps: int = 512
    """With a tolerance, stop doubling before the steps exceed this number."""

    def _check(self) -> None:
        self._require(self.steps >= 1, "steps", "at least 1")
        self._require(len(self._starts) > 0, "baseline", "at least one baseline")
        self._require(self.tolerance is None or self.tolerance > 0, "tolerance", "more than 0")
        self._require(self.tolerance is None or self.max_steps >= self.steps, "max_steps", "at least steps")

    @property
    def _starts(self) -> tuple[Start, ...]:
        return self.baseline if isinstance(self.baseline, tuple) else (self.baseline,)

    def _map(self, score: Score, x: Tensor) -> Map:
        starts = self._baselines(score, x)
        at_x, frozen = score.freeze(x)
        at_start = torch.stack([frozen(start) for start in starts]).mean(dim=0)
        values = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
        gap, used = torch.full_like(at_x, torch.inf), torch.zeros_like(at_x, dtype=torch.int64)
        rows, steps = torch.arange(len(x)), self.steps
        while len(rows):  # each sample grows its own steps, so that no sample of a batch changes another's map
            values[rows] = straight_path_integral(frozen, x, starts, self.rule, steps, rows)
            gap[rows] = values[rows].flatten(1).sum(dim=1) - (at_x - at_start)[rows]
            used[rows], steps = steps, 2 * steps
            rows = rows[self._open(gap, at_x - at_start)[rows].cpu()] if steps <= self.max_steps else rows[:0]
        numbers = {"score_at_baseline": at_start, "completeness_gap": gap, "steps": used}
        unit = score.target.unit
        return Map(values.to(x.dtype), self.quantity, unit, numbers=numbers, score=at_x, classes=frozen.classes)

    def _baselines(self, score: Score, x: Tensor) -> list[Tensor]:
        """One batch of starting points a baseline; every reference image is a baseline of its own."""
        found = []
        for one in self._starts:
            if one == "reference":
                found += [image.expand_as(x) for image in references(score.reference, x, self.name)]
            else:
                found.append(baseline(x, one))
        return found

    def _open(self, gap: Tensor, difference: Tensor) -> Tensor:
        """Which samples still miss the tolerance."""
        if self.tolerance is None:
            return torch.zeros_like(gap, dtype=torch.bool)
        return gap.abs() > self.tolerance * difference.abs()
