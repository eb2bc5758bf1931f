"""Modality Shapley values. Jin, Li, Hamarneh, AAAI 2022, arXiv:2203.06487 (MRI modalities as players); Shapley 1953.

Interactions: Grabisch, Roubens, Int. J. Game Theory 28, 1999.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.methods.base import Map, Method
from voxplain.ops.baselines import baseline
from voxplain.ops.coalitions import every_coalition, interactions
from voxplain.score.players import coalition_scores
from voxplain.score.score import Score
from voxplain.types import Access, Quantity

MOST = 12
"""Channels at most: every further one doubles the cost, which is 4096 forwards here."""


@dataclass(frozen=True, kw_only=True)
class ModalityShapley(Method):
    """What each channel, such as an MRI sequence or a CT phase, adds to the score: exact Shapley values.

    In units of the score; each channel of the map holds its value shared out evenly, so that it sums to it. `shapley`
    lists the values, `interactions` what each two channels add together beyond both alone (positive: they help each
    other; the diagonal repeats the values). Law (efficiency): the map sums to f(x) - f(absent). Costs 2^channels
    forwards.
    """

    name = "modality_shapley"
    title: ClassVar[str] = "Modality Shapley values"
    citation: ClassVar[str] = (
        "Jin et al., Evaluating explainable AI on a multi-modal medical imaging task, arXiv:2203.06487"
    )
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.SCORE_UNITS
    law: ClassVar[str] = "sums to f(x) - f(absent)"
    cost: ClassVar[str] = "2^channels"

    absent: float | Literal["zero", "mean", "minimum", "blur"] = "zero"
    """What an absent channel shows: zero, mean, minimum, blur or a number, in units of the network's input."""

    def _map(self, score: Score, x: Tensor) -> Map:
        count, space = x.shape[1], x.shape[2:]
        if not 2 <= count <= MOST:
            raise InputError(
                f"modality_shapley: the input must have 2 to {MOST} channels as players, got {count}; "
                "use kernel_shap or shapley_sampling for parts of the image"
            )
        clean, frozen = score.freeze(x)
        index = interactions(self._worth(frozen, x, clean).T).movedim(-1, 0)
        values = index.diagonal(dim1=1, dim2=2)
        spread = (values / space.numel()).reshape(*values.shape, *[1] * len(space)).expand(-1, -1, *space)
        return Map(
            spread.to(x.dtype),
            self.quantity,
            score.target.unit,
            numbers={"shapley": values, "interactions": index},
            score=clean,
            classes=frozen.classes,
        )

    def _worth(self, score: Score, x: Tensor, clean: Tensor) -> Tensor:
        """Scores (batch, 2^channels) of every coalition of channels; the last one is the clean image itself."""
        channels = torch.arange(x.shape[1]).reshape(-1, *[1] * (x.ndim - 2))
        some = every_coalition(x.shape[1])[:-1]
        cover = baseline(x, self.absent)
        pairs = enumerate(zip(x, cover, strict=True))
        worth = [coalition_scores(score, *pair, channels, some, row, every=False) for row, pair in pairs]
        return torch.cat([torch.stack(worth), clean[:, None]], dim=1)
