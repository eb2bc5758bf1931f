"""How several maps of one image become one: options shared by the ensemble of methods and the fusion of saved maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from voxplain.ops.fusion import Rule, blocks, fused, rank_correlations, to_ranks, to_unit_range, votes
from voxplain.spec import Options


class Fused(NamedTuple):
    """Several maps made into one."""

    values: Tensor
    """(batch, channel, *space), from 0 to 1."""
    agreement: Tensor
    """Share of the maps that point at a voxel (batch, channel, *space)."""
    correlations: Tensor
    """Spearman's rank correlation of each pair (batch, map, map)."""
    blank: list[int]
    """Numbers of the maps that are constant and add nothing."""


@dataclass(frozen=True, kw_only=True)
class Fusing(Options):
    """Blocks, normalisation, votes and rules of the myopathy study, and six further rules."""

    name: ClassVar[str] = "fusion"

    rule: Rule = "average"
    """How they are combined."""
    block: int = 7
    """Side of the blocks, in voxels, over which each map is averaged first; 1: none."""
    normalise: Literal["minmax", "rank"] = "minmax"
    """How each map comes to 0..1: negative values cut and the rest stretched, or ranks."""
    threshold: float = 0.5
    """From which value on a map votes for a voxel (rules threshold and majority, and the agreement map)."""
    weights: tuple[float, ...] = ()
    """One weight a member; left out: equal."""
    binary: bool = False
    """Give 1 where enough members vote and 0 elsewhere, instead of their values."""
    sign: Literal["positive", "absolute"] = "positive"
    """Which values of a map are evidence: positive ones, or all by their size."""

    def _check(self) -> None:
        super()._check()
        self._require(self.block >= 1, "block", "at least 1")
        self._require(0 < self.threshold <= 1, "threshold", "above 0 and at most 1")
        self._require(all(weight >= 0 for weight in self.weights), "weights", "at least 0 each")
        self._require(not self.weights or sum(self.weights) > 0, "weights", "more than 0 in all")

    def joined(self, maps: Sequence[Tensor]) -> Fused:
        """Maps (batch, channel or 1, *space) in one; a map of one channel counts for every channel of the others."""
        self._require(len(self.weights) in (0, len(maps)), "weights", f"one number a member ({len(maps)})")
        ready = _on_one_grid([self._evidence(one) for one in maps])
        weights = self.weights or (1.0,) * len(maps)
        values = fused(ready, self.rule, threshold=self.threshold, weights=weights, binary=self.binary)
        agreement = votes(ready, self.rule, self.threshold).to(values.dtype).mean(dim=0)
        blank = [number for number, one in enumerate(ready) if not bool(one.any())]
        return Fused(values, agreement, rank_correlations(ready), blank)

    def _evidence(self, values: Tensor) -> Tensor:
        """A map (batch, channel, *space) in blocks, from 0 to 1."""
        wide = values.to(torch.float64)
        wide = blocks(wide.abs() if self.sign == "absolute" else wide, self.block)
        unit = to_unit_range(wide)
        return (unit if self.normalise == "minmax" else to_ranks(wide.clamp(min=0))).to(values.dtype)


def _on_one_grid(maps: Sequence[Tensor]) -> Tensor:
    """Maps (map, batch, channel, *space), those of one channel repeated for each channel of the others."""
    channels = max(one.shape[1] for one in maps)
    return torch.stack([one.expand(-1, channels, *one.shape[2:]) for one in maps])
