"""Ensemble of explanations: blocks, normalisation, votes and rules of the myopathy study, and six further rules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.methods.base import Map, Method
from voxplain.ops.enlarge import enlarged
from voxplain.ops.fusion import Rule, blocks, fused, rank_correlations, to_ranks, to_unit_range, votes
from voxplain.score.meeting import together
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class Ensemble(Method):
    """Where several methods agree, from 0 to 1; which of them vote for a voxel and how alike they rank come with it.

    Members share their passes. A map of one channel counts for every channel of the others. Costs what they cost.
    """

    name = "ensemble"
    title: ClassVar[str] = "Ensemble of explanations"
    citation: ClassVar[str] = "Rieger and Hansen, Aggregating explanation methods, arXiv:1903.00519 (variance rule)"
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.SALIENCY
    law: ClassVar[str] = "equal members give their own normalised map back (median, majority where they vote)"
    cost: ClassVar[str] = "that of its members; shared passes count once"

    of: tuple[Method, ...]
    """The members, such as ['grad_cam', 'occlusion(window=16)']; at least two."""
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
        self._require(len(self.of) >= 2, "of", "a list of at least two methods")
        self._require(self.block >= 1, "block", "at least 1")
        self._require(0 < self.threshold <= 1, "threshold", "above 0 and at most 1")
        self._require(len(self.weights) in (0, len(self.of)), "weights", f"one number a member ({len(self.of)})")
        self._require(all(weight >= 0 for weight in self.weights), "weights", "at least 0 each")
        self._require(not self.weights or sum(self.weights) > 0, "weights", "more than 0 in all")

    @property
    def needed_access(self) -> Access:
        return max(self.access, *(member.needed_access for member in self.of))

    @property
    def wants_reference(self) -> bool:
        return any(member.wants_reference for member in self.of)

    def _map(self, score: Score, x: Tensor) -> Map:
        found = [_told(one) for one in together([(score, _job(member, x)) for member in self.of])]
        maps = _on_one_grid([self._evidence(one, x) for one in found])
        weights = self.weights or (1.0,) * len(self.of)
        values = fused(maps, self.rule, threshold=self.threshold, weights=weights, binary=self.binary)
        agreement = votes(maps, self.rule, self.threshold).to(x.dtype).mean(dim=0)
        correlations = rank_correlations(maps)
        blank = tuple(
            f"{member} is constant here and adds nothing"
            for member, one in zip(self.of, maps, strict=True)
            if not bool(one.any())
        )
        return Map(
            values,
            self.quantity,
            "share of the largest common value",
            parts={"agreement": agreement},
            numbers={"rank_correlations": correlations, "members": [str(member) for member in self.of]},
            score=found[0].score,
            classes=found[0].classes,
            notes=(*blank, *(note for one in found for note in one.notes)),
        )

    def _evidence(self, found: Map, x: Tensor) -> Tensor:
        """A member's map at the voxels of the input, in blocks, from 0 to 1."""
        values = found.values.to(torch.float64)
        if found.cells is not None:
            values = enlarged(values, found.cells.start, found.cells.step, tuple(x.shape[2:]))
        values = blocks(values.abs() if self.sign == "absolute" else values, self.block)
        unit = to_unit_range(values)
        return (unit if self.normalise == "minmax" else to_ranks(values.clamp(min=0))).to(x.dtype)


def _job(member: Method, x: Tensor) -> Callable[[Score], Map]:
    return lambda score: member(score, x)


def _told(found: Map | Exception) -> Map:
    if isinstance(found, Exception):
        raise found
    if found.siblings:
        raise InputError(f"ensemble: a member must give one map, got one for each of {1 + len(found.siblings)} layers")
    return found


def _on_one_grid(maps: Sequence[Tensor]) -> Tensor:
    """Maps (map, batch, channel, *space), those of one channel repeated for each channel of the others."""
    channels = max(one.shape[1] for one in maps)
    return torch.stack([one.expand(-1, channels, *one.shape[2:]) for one in maps])
