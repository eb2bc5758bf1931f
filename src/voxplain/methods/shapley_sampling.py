"""Shapley sampling. Castro, Gomez, Tejada, Computers & Operations Research 36, 2009, section 3.

Both ways along an order: Mitchell, Cooper, Frank, Holmes, JMLR 23, 2022, arXiv:2104.12199, section 4 (antithetic).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.methods.segmented import Segmented, Segments
from voxplain.ops.baselines import baseline
from voxplain.ops.draws import generator
from voxplain.ops.running import RunningMean
from voxplain.score.players import coalition_scores
from voxplain.score.score import Score
from voxplain.types import Quantity

TOGETHER = 16
"""Orders scored at once, so that memory does not grow with their number."""


@dataclass(frozen=True, kw_only=True)
class ShapleySampling(Segmented):
    """What each segment adds to the score (its Shapley value), shared out evenly among its voxels, in score units.

    The mean, over random orders, of the gain when the segment joins those before it. Law (efficiency): the map sums to
    f(x) - f(absent), order by order. Costs 3 + samples (M - 1) forwards for M segments, twice that both ways, for all
    classes.
    """

    name = "shapley_sampling"
    title: ClassVar[str] = "Shapley value sampling"
    citation: ClassVar[str] = "Castro et al., Polynomial calculation of the Shapley value based on sampling, 2009"
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - f(absent)"
    cost: ClassVar[str] = "2 + samples x segments"
    spread: ClassVar[bool] = True

    samples: int = 20
    """Orders drawn in which the segments join."""
    antithetic: bool = True
    """Walk each order both ways: twice the cost, and pairs whose errors partly cancel."""
    absent: float | Literal["zero", "mean", "minimum", "blur"] = "zero"
    """What absent segments show: zero, mean, minimum, blur or a number, in units of the network's input."""

    def _found(self, score: Score, x: Tensor, row: int, labels: Tensor) -> Segments:
        players, column = int(labels.max()) + 1, int(score.classes[row])
        cover = baseline(x[row : row + 1], self.absent)[0]
        ends = torch.tensor([[False], [True]]).expand(2, players)
        nothing, clean = coalition_scores(score, x[row], cover, labels, ends, row)
        total = RunningMean((players, len(clean)), x.device)
        for until in self._schedule():
            for first in range(total.count, until, TOGETHER):
                orders = self._orders(players, self._seed(score), range(first, min(first + TOGETHER, until)))
                inside = torch.cat([_joined(order) for order in orders])
                values = coalition_scores(score, x[row], cover, labels, inside, row).unflatten(0, (len(orders), -1))
                gains = torch.stack([_gains(*pair, nothing, clean) for pair in zip(orders, values, strict=True)])
                total.add(gains.unflatten(0, (-1, 2 if self.antithetic else 1)).mean(dim=1))
            error = total.standard_error[:, column]
            if self._precise(total.mean[None, :, column], error[None]):
                break
        numbers = {"score_at_baseline": nothing, "samples": torch.tensor(total.count)}
        return Segments(labels, total.mean, error if total.count > 1 else None, numbers)

    def _orders(self, players: int, seed: int, numbers: range) -> list[Tensor]:
        """The orders of some draws, each followed by its reverse where they are walked both ways."""
        drawn = [torch.randperm(players, generator=generator(seed, number)) for number in numbers]
        return [way for order in drawn for way in ((order, order.flip(0)) if self.antithetic else (order,))]


def _joined(order: Tensor) -> Tensor:
    """Who is present (player - 1, player) after each but the last has joined."""
    place = order.argsort()
    return place <= torch.arange(len(order) - 1)[:, None]


def _gains(order: Tensor, inside: Tensor, nothing: Tensor, clean: Tensor) -> Tensor:
    """What each player (player, class) adds when it joins; `inside` are the scores in between."""
    gains = torch.diff(torch.cat([nothing[None], inside, clean[None]]), dim=0)
    return gains[order.argsort().to(gains.device)]
