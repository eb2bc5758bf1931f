"""Blur integrated gradients. Xu, Venugopalan, Sundararajan, CVPR 2020, arXiv:2004.03383, equations 4 to 6."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import OptionError
from voxplain.methods.base import Map, Method
from voxplain.ops.gaussian import Border, gaussian_blur
from voxplain.score.score import Score
from voxplain.types import Access, Quantity

SHARE = 0.25
"""Without a width, the blur ends at a quarter of the longest side: 56 of 224 pixels, near the paper's 50."""


@dataclass(frozen=True, kw_only=True)
class BlurIG(Method):
    """What each voxel contributes on the way from a blurred image to the image, in units of the score.

    Detail comes in from coarse to fine (Gaussian scale space), so no foreign baseline is needed. Signed.
    Law (completeness): the map sums to f(x) - f(blurred x), up to the error of the steps, which is reported.
    Costs 2 n + 2 forwards.
    """

    name = "blur_ig"
    title: ClassVar[str] = "Blur integrated gradients"
    citation: ClassVar[str] = "Xu et al., Attribution in scale and space, arXiv:2004.03383"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - f(blurred x)"
    cost: ClassVar[str] = "2 + 2 steps"

    steps: int = 100
    """Widths at which the gradient is taken."""
    max_sigma: float | None = None
    """Standard deviation of the widest blur in voxels; left out: a quarter of the longest side."""
    max_sigma_mm: float | None = None
    """Standard deviation of the widest blur in millimetres, instead of `max_sigma`."""
    difference: float | None = None
    """Derivative by the width as a difference over so many voxels, as in PAIR's code (0.01); left out: a whole step."""
    spacing: Literal["quadratic", "linear"] = "quadratic"
    """Widths grow by the square of the step, finer where the image is sharp and changes most, or evenly as in PAIR."""
    border: Border = "reflect"
    """What lies beyond the image: reflect, nearest or constant (zeros, as in PAIR's code)."""

    def _check(self) -> None:
        self._require(self.steps >= 1, "steps", "at least 1")
        self._require(self.max_sigma is None or self.max_sigma > 0, "max_sigma", "more than 0")
        self._require(self.max_sigma_mm is None or self.max_sigma_mm > 0, "max_sigma_mm", "more than 0")
        self._require(self.max_sigma is None or self.max_sigma_mm is None, "max_sigma", "left out with max_sigma_mm")
        self._require(self.difference is None or self.difference > 0, "difference", "more than 0")

    def _map(self, score: Score, x: Tensor) -> Map:
        widest = self._widest(score, x)
        at_x, frozen = score.freeze(x)
        at_start = frozen(self._blurred(x, widest, self.steps))
        values = self._integral(frozen, x, widest)
        gap = values.flatten(1).sum(dim=1) - (at_x - at_start)
        numbers = {"score_at_baseline": at_start, "completeness_gap": gap}
        notes = (f"widest blur: {' x '.join(f'{sigma:.3g}' for sigma in widest)} voxels of standard deviation",)
        return Map(
            values.to(x.dtype),
            self.quantity,
            score.target.unit,
            numbers=numbers,
            score=at_x,
            classes=frozen.classes,
            notes=notes,
        )

    def _widest(self, score: Score, x: Tensor) -> list[float]:
        """Standard deviation of the widest blur in voxels along each axis."""
        size = x.shape[2:]
        if self.max_sigma_mm is None:
            return [SHARE * max(size) if self.max_sigma is None else self.max_sigma] * len(size)
        if score.spacing_mm is None or len(score.spacing_mm) != len(size):
            raise OptionError("blur_ig: max_sigma_mm needs a grid in mm, but this image has none; pass max_sigma=...")
        return [self.max_sigma_mm / step for step in score.spacing_mm]

    def _share(self, step: float) -> float:
        """The width of the blur at a step as a share of the widest."""
        return float((step / self.steps) ** (2 if self.spacing == "quadratic" else 1))

    def _blurred(self, x: Tensor, widest: Sequence[float], step: float, more: float = 0.0) -> Tensor:
        """The batch as it is at a step, or with `more` voxels of blur along its widest axis."""
        share = self._share(step) + more / max(widest)
        return gaussian_blur(x, [sigma * share for sigma in widest], self.border)

    def _integral(self, score: Score, x: Tensor, widest: Sequence[float]) -> Tensor:
        """Equation 6, float64, step by step from sharp to blurred; whole steps take the gradient at their middle."""
        count = len(x)
        middle = 0.5 if self.difference is None else 0.0
        total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)

        def make(index: Tensor) -> tuple[Tensor, Tensor]:
            rows, step = index % count, index // count
            parts = [self._blurred(x[rows[step == n]], widest, n + middle) for n in step.unique().tolist()]
            return torch.cat(parts), rows

        for piece in score.stream_grad(count * self.steps, make, like=x):
            rows, step = piece.samples % count, piece.samples // count
            for n in step.unique().tolist():
                here = rows[step == n]
                change = self._change(x[here].double(), widest, n)
                total[here] += piece.gradient[step == n].double() * change
        return total

    def _change(self, x: Tensor, widest: Sequence[float], step: int) -> Tensor:
        """By how much the image changes from the end of a step back to its start: what blur took away."""
        start = self._blurred(x, widest, step)
        if self.difference is None:
            return start - self._blurred(x, widest, step + 1)
        slope = (start - self._blurred(x, widest, step, self.difference)) / self.difference
        return slope * max(widest) * (self._share(step + 1) - self._share(step))
