"""Attention rollout. Abnar, Zuidema, ACL 2020, arXiv:2005.00928, section 3, equation 1."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import OptionError
from voxplain.methods.base import Map, Method
from voxplain.score.attention import attention
from voxplain.score.layers import chosen_layer
from voxplain.score.score import Score
from voxplain.score.tokens import folded
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class AttentionRollout(Method):
    """Which share of the answer's token came from each patch, if attention moved values and nothing else changed them.

    The same for every class: it tells where a transformer looked, not what for. One value a patch; 1 forward of cost.
    """

    name = "attention_rollout"
    title: ClassVar[str] = "Attention rollout"
    citation: ClassVar[str] = "Abnar and Zuidema, Quantifying attention flow in transformers, arXiv:2005.00928"
    access: ClassVar[Access] = Access.LAYERS
    quantity: ClassVar[Quantity] = Quantity.SALIENCY
    law: ClassVar[str] = "sums to 1 less the share of tokens without a place"
    cost: ClassVar[str] = "1"

    heads: Literal["mean", "max", "min"] = "mean"
    """How the heads of a layer are joined: mean (as in the paper), max or min."""
    residual: float = 0.5
    """Share that each token keeps of itself, for the connection around the attention."""
    discard: float = 0.0
    """Share of the smallest weights of each layer, heads joined, that is set to zero."""
    row: Literal["auto", "class", "mean"] = "auto"
    """Whose shares: the class token's, the mean over patches, or auto: by what the answer is read from."""

    def _check(self) -> None:
        self._require(0 <= self.residual < 1, "residual", "from 0 to below 1")
        self._require(0 <= self.discard < 1, "discard", "from 0 to below 1")
        self._require(self.discard == 0 or self.residual > 0, "discard", "0 without a residual")

    def _map(self, score: Score, x: Tensor) -> Map:
        found, values, frozen = attention(score, x, self._step)
        place, shares = replace(found.place, axes=(1,), batch=0), found.found
        row, told = self._read(score, x, any(place.extra))
        if row == "class":
            shares = shares[:, 0 if place.extra[0] else -1, :, None]
        else:
            shares = folded(shares, place).flatten(2).mean(dim=2)[:, :, None]
        cells = folded(shares, place)
        numbers = {"share_without_place": 1 - cells.flatten(1).sum(dim=1), "layers": found.layers}
        return Map(
            cells.to(x.dtype),
            self.quantity,
            "share of attention",
            cells=place.cells,
            numbers=numbers,
            score=values,
            classes=frozen.classes,
            notes=(f"shares of {told}, the same for every class",),
        )

    def _step(self, before: Tensor | None, weights: Tensor) -> Tensor:
        """The rollout up to a layer from that before it (batch, token, token) and the layer's weights with heads."""
        weights = weights.double()
        joined = weights.mean(dim=1)
        if self.heads != "mean":
            joined = weights.amax(dim=1) if self.heads == "max" else weights.amin(dim=1)
        if self.discard:
            smallest = joined.flatten(1).argsort(dim=1, stable=True)[:, : int(self.discard * joined[0].numel())]
            joined = joined.flatten(1).scatter(1, smallest, 0.0).view_as(joined)
        own = torch.eye(joined.shape[-1], dtype=joined.dtype, device=joined.device)
        mixed = self.residual * own + (1 - self.residual) * joined  # 0.5 W + 0.5 I in the paper
        mixed = mixed / mixed.sum(dim=-1, keepdim=True)
        return mixed if before is None else mixed @ before  # equation 1

    def _read(self, score: Score, x: Tensor, extra: bool) -> tuple[str, str]:
        """Whose row is read, and how that is told."""
        if self.row == "class" and not extra:
            raise OptionError(f"{self.name}: row must be 'mean' or 'auto' for a model without a class token")
        by_class = self.row == "class"
        if self.row == "auto" and extra and score.target.name != "region":
            by_class = chosen_layer(score.model, x, maps=False).classes_only is not False
        return ("class", "the class token") if by_class else ("mean", "the mean over patches")
