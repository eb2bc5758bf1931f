"""Ensemble of explanations: blocks, normalisation, votes and rules of the myopathy study, and six further rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.errors import InputError
from voxplain.methods.base import Map, Method
from voxplain.ops.enlarge import enlarged
from voxplain.ops.fusing import Fusing
from voxplain.score.meeting import together
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class Ensemble(Fusing, Method):
    """Where several methods agree, from 0 to 1; which of them vote for a voxel and how alike they rank come with it.

    Members share their passes. A map of one channel counts for every channel of the others. Costs what they cost.
    Maps of several models are joined in the same way by `voxplain fuse`.
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

    def _check(self) -> None:
        super()._check()
        self._require(len(self.of) >= 2, "of", "a list of at least two methods")
        self._require(len(self.weights) in (0, len(self.of)), "weights", f"one number a member ({len(self.of)})")

    @property
    def needed_access(self) -> Access:
        return max(self.access, *(member.needed_access for member in self.of))

    @property
    def wants_reference(self) -> bool:
        return any(member.wants_reference for member in self.of)

    def _map(self, score: Score, x: Tensor) -> Map:
        found = [_told(one) for one in together([(score, _job(member, x)) for member in self.of])]
        one = self.joined([_at_voxels(member, x) for member in found])
        return Map(
            one.values,
            self.quantity,
            "share of the largest common value",
            parts={"agreement": one.agreement},
            numbers={"rank_correlations": one.correlations, "members": [str(member) for member in self.of]},
            score=found[0].score,
            classes=found[0].classes,
            notes=(
                *(f"{self.of[number]} is constant here and adds nothing" for number in one.blank),
                *(note for member in found for note in member.notes),
            ),
        )


def _at_voxels(found: Map, x: Tensor) -> Tensor:
    """A member's map at the voxels of the input, in its number type."""
    if found.cells is None:
        return found.values.to(x.dtype)
    return enlarged(found.values.double(), found.cells.start, found.cells.step, tuple(x.shape[2:])).to(x.dtype)


def _job(member: Method, x: Tensor) -> Callable[[Score], Map]:
    return lambda score: member(score, x)


def _told(found: Map | Exception) -> Map:
    if isinstance(found, Exception):
        raise found
    if found.siblings:
        raise InputError(f"ensemble: a member must give one map, got one for each of {1 + len(found.siblings)} layers")
    return found
