"""Kernel SHAP. Lundberg, Lee, NIPS 2017, arXiv:1705.07874, theorem 2; in pairs, Covert, Lee, arXiv:2012.01536."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import OptionError
from voxplain.methods.segmented import Segmented, Segments
from voxplain.ops.baselines import baseline
from voxplain.ops.coalitions import design
from voxplain.ops.solve import shared_out, standard_error
from voxplain.score.players import coalition_scores
from voxplain.score.score import Score
from voxplain.types import Quantity


@dataclass(frozen=True, kw_only=True)
class KernelShap(Segmented):
    """What each segment adds to the score (its Shapley value), shared out evenly among its voxels, in score units.

    Law (efficiency): the map sums to f(x) - f(absent), whatever the samples. Coalitions come in pairs and none twice;
    where the samples reach for all 2^M - 2 of M segments the values are exact. Costs 3 + samples forwards, for all
    classes.
    """

    name = "kernel_shap"
    title: ClassVar[str] = "Kernel SHAP"
    citation: ClassVar[str] = "Lundberg and Lee, A unified approach to interpreting predictions, arXiv:1705.07874"
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - f(absent)"
    cost: ClassVar[str] = "2 + samples, or 2^segments where that is less"
    spread: ClassVar[bool] = True

    samples: int = 2048
    """Coalitions of segments scored at most; at least two a segment."""
    absent: float | Literal["zero", "mean", "minimum", "blur"] = "zero"
    """What absent segments show: zero, mean, minimum, blur or a number, in units of the network's input."""

    def _found(self, score: Score, x: Tensor, row: int, labels: Tensor) -> Segments:
        players, column = int(labels.max()) + 1, int(score.classes[row])
        self._affords(players)
        cover = baseline(x[row : row + 1], self.absent)[0]
        ends = torch.tensor([[False], [True]]).expand(2, players)
        nothing, clean = coalition_scores(score, x[row], cover, labels, ends, row)
        plan, values = design(players, self.samples, self._seed(score)), nothing[None][:0]
        for count in self._schedule():
            part = plan.first(count)
            new = part.presence[len(values) :]
            if len(new):
                values = torch.cat([values, coalition_scores(score, x[row], cover, labels, new, row)])
            found = shared_out(part.presence, values - nothing, part.weights, clean - nothing)
            error = standard_error(found, column, part.complete)
            if self._precise(found.values[None, :, column], error[None]):
                break
        numbers = {"score_at_baseline": nothing, "samples": torch.tensor(len(values))}
        return Segments(labels, found.values, error, numbers)

    def _affords(self, players: int) -> None:
        least = min(2 * players, 2**players - 2)
        if self.samples < least:
            raise OptionError(
                f"kernel_shap: samples must be at least {least} for {players} segments, got {self.samples}; "
                "take more samples or fewer segments"
            )
