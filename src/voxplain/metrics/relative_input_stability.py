"""Relative input stability: change of the map over change of the image. Agarwal et al. 2022, equation 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Explained
from voxplain.metrics.base_neighbours import RelativeStability, relative


@dataclass(frozen=True, kw_only=True)
class RelativeInputStability(RelativeStability):
    """The largest relative change of a map over the relative change of the image."""

    name: ClassVar[str] = "relative_input_stability"
    title: ClassVar[str] = "Relative input stability"
    citation: ClassVar[str] = (
        "Agarwal, Johnson, Pawelczyk, Krishna, Saxena, Zitnik, Lakkaraju: Rethinking stability for attribution-based "
        "explanations. 2022, arXiv:2203.06877"
    )

    def _divisor(self, clean: Explained, other: Explained) -> float:
        return relative(clean.x, other.x)
