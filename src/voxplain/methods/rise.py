"""RISE. Petsiuk, Das, Saenko, BMVC 2018, arXiv:1806.07421, equations 4 to 6."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import InputError, OptionError
from voxplain.methods.base import Map, Sampled
from voxplain.ops.baselines import FILLS, baseline
from voxplain.ops.grid_masks import grid_masks
from voxplain.ops.mask_moments import MaskMoments
from voxplain.ops.per_axis import listed, per_axis
from voxplain.ops.rounds import rounds
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class Rise(Sampled):
    """How much the mean score of randomly masked images rises where a voxel is visible, in units of the score.

    Signed. The paper's map (normalise='expected', with probability as target) is the same plus the mean score, which
    all voxels share and which points nowhere. Costs 1 + samples forwards and nothing but calls.
    """

    name = "rise"
    title: ClassVar[str] = "RISE"
    citation: ClassVar[str] = "Petsiuk et al., RISE, arXiv:1806.07421"
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = (
        "its expectation is the mean of f(masked) times mask, over the mean mask, less the mean of f; 0 on a constant"
    )
    cost: ClassVar[str] = "1 + samples"

    samples: int = 1000
    """Random masks at most; the paper takes 4000 to 8000."""
    cells: int | tuple[int, ...] = 7
    """Cells of the coarse grid, one number or one an axis."""
    p: float = 0.5
    """Probability that a cell is visible."""
    fill: float | Literal["zero", "mean", "minimum", "blur"] = "zero"
    """What hides: zero (the paper), mean, minimum, blur or a number, in units of the network's input."""
    normalise: Literal["difference", "expected", "mask_sum", "centred"] = "difference"
    """How the masks' scores are weighed: less their mean score, or as one of three forms that keep it.

    'expected' divides by samples times p (the paper), 'mask_sum' by how often each voxel was visible; 'centred' takes
    the mean out before weighing and adds it back: the same expectation as 'expected', less noise.
    """

    def _check(self) -> None:
        super()._check()
        self._require(self.samples >= 2, "samples", "at least 2, for an error to be known")
        self._require(min(listed(self.cells), default=0) >= 1, "cells", "at least 1")
        self._require(0 < self.p < 1, "p", "between 0 and 1")
        self._require(not isinstance(self.fill, str) or self.fill in FILLS, "fill", f"one of {FILLS}")

    def _map(self, score: Score, x: Tensor) -> Map:
        size = tuple(x.shape[2:])
        cells = self._grid(size)
        clean, frozen = score.freeze(x)
        moments = MaskMoments(clean, size)
        for rows, numbers in rounds(self._schedule(), len(x), lambda row: self._known(moments, row)):
            self._draw(frozen, x, moments, torch.tensor(rows), numbers, cells)
        values, error = self._estimate(moments)
        if not bool(torch.isfinite(values).all()):
            raise InputError("rise: every voxel must be visible in some mask; take more samples or a larger p")
        return Map(
            values[:, None].to(x.dtype),
            self.quantity,
            f"{score.target.unit} ({self._meaning})",
            standard_error=error[:, None].to(x.dtype),
            numbers={"samples": moments.count.long()},
            score=clean,
            classes=frozen.classes,
        )

    @property
    def _meaning(self) -> str:
        return "rise of the mean where visible" if self.normalise == "difference" else "mean where visible"

    def _grid(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Cells along each axis."""
        cells = per_axis(self.cells, len(size), "rise: cells")
        if any(count > length for count, length in zip(cells, size, strict=True)):
            raise OptionError(f"rise: cells must be at most the voxels of each axis {size}, got {cells}")
        return cells

    def _known(self, moments: MaskMoments, row: int) -> bool:
        """True where a sample of the batch is known well enough to stop."""
        if self.tolerance is None:
            return False
        values, error = self._estimate(moments)
        return self._precise(values[row : row + 1], error[row : row + 1])

    def _draw(
        self, score: Score, x: Tensor, moments: MaskMoments, left: Tensor, numbers: range, cells: tuple[int, ...]
    ) -> None:
        """Add the draws of the given numbers for the samples that are left; masks are made where they are needed."""
        fill, seed = baseline(x, self.fill), self._seed(score)

        def masks(index: Tensor) -> Tensor:
            drawn, which = (numbers.start + index // len(left)).unique(return_inverse=True)
            return grid_masks(seed, drawn, x.shape[2:], cells, self.p, x.device)[which.to(x.device)]

        def make(index: Tensor) -> tuple[Tensor, Tensor]:
            rows, mask = left[index % len(left)], masks(index)[:, None].to(x.dtype)
            at = rows.to(x.device)
            return x[at] * mask + fill[at] * (1 - mask), rows

        for piece in score.stream(len(numbers) * len(left), make, like=x):
            moments.add(left[piece.samples % len(left)], piece.values, masks(piece.samples))

    def _estimate(self, moments: MaskMoments) -> tuple[Tensor, Tensor]:
        """Map and standard error (batch, *space)."""
        if self.normalise == "mask_sum":
            return moments.mask_sum()
        forms = {"difference": moments.difference, "expected": moments.expected, "centred": moments.centred}
        return forms[self.normalise](self.p)
