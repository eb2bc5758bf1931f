"""Relative output stability: change of the map over change of the output. Agarwal et al. 2022, equation 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Explained
from voxplain.metrics.base_neighbours import RelativeStability, distance


@dataclass(frozen=True, kw_only=True)
class RelativeOutputStability(RelativeStability):
    """The largest relative change of a map over the distance between the outputs of the model."""

    name: ClassVar[str] = "relative_output_stability"
    title: ClassVar[str] = "Relative output stability"
    citation: ClassVar[str] = (
        "Agarwal, Johnson, Pawelczyk, Krishna, Saxena, Zitnik, Lakkaraju: Rethinking stability for attribution-based "
        "explanations. 2022, arXiv:2203.06877"
    )

    def _divisor(self, clean: Explained, other: Explained) -> float:
        return distance(clean.output, other.output)
