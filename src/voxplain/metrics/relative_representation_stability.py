"""Relative representation stability: change of the map over change in a layer. Agarwal et al. 2022, equation 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Explained
from voxplain.metrics.base_neighbours import RelativeStability, relative
from voxplain.score.layers import automatic_layer


@dataclass(frozen=True, kw_only=True)
class RelativeRepresentationStability(RelativeStability):
    """The largest relative change of a map over the relative change of a layer's activations."""

    name: ClassVar[str] = "relative_representation_stability"
    title: ClassVar[str] = "Relative representation stability"
    citation: ClassVar[str] = (
        "Agarwal, Johnson, Pawelczyk, Krishna, Saxena, Zitnik, Lakkaraju: Rethinking stability for attribution-based "
        "explanations. 2022, arXiv:2203.06877"
    )

    layer: str | None = None
    """Which layer; left out: the last one before the decision that still knows places."""

    def _divisor(self, clean: Explained, other: Explained) -> float:
        name = self.layer or automatic_layer(clean.score.model, clean.x, clean.output.ndim > 2)
        return relative(clean.activation(name), other.activation(name))
